/* The vector vocabulary that every tile is written in: one name per operation, any width.
 *
 * GCC and Clang vector extensions carry it; where those fall short (masked memory access, maximum and minimum as one
 * instruction) the instruction set's header in csrc/isa has intrinsics, and the shapes of tiles that fit its registers.
 * Compile with -DFC_ISA=avx2, say, and -DFC_REAL_BYTES=4 or 8.
 *
 * Of csrc/isa:
 *     FC_IN_REGISTER   the asm constraint of a vector register
 *     mask             first_lanes(n), or lane_range(low, high): of load_masked the others read as zero (of load_or as
 *                      `fill`), of store_masked they are not written; memory outside them is never touched. With hardware
 *                      for it (FC_MASKS) also even_lanes(n), every other of the first n
 *     flags            lanes that a condition holds in, as choose_by, choose_index_by and add_where take them: a mask
 *                      where there are mask registers, else all ones or all zeros per lane
 *     exceeds          where a value replaces the maximum so far: the first of equals stays, and so does the first NaN
 *     not_at_most      greater, or NaN
 *     at_most          the lesser (at_least: the greater) of a bound and x; a NaN in x stays
 *     places_below     where an index is less than another
 *     bytes_equal      lanes whose byte is `value`
 *     widen, narrow    a part of a vector in double precision, and all parts back
 *     sum_in_pairs     all lanes added up, those of one half to those of the other
 */
#ifndef FC_SIMD_H
#define FC_SIMD_H

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#include TEXT(../isa/FC_ISA.h)

/* A place counted from lane 0, or the nearest end of the vector. */
INLINE int clamp_lane(int64_t lane) { return lane < 0 ? 0 : lane > LANES ? LANES : (int)lane; }

INLINE vec load_first(const real *p, int n) { return load_masked(p, first_lanes(n)); }
#ifndef FC_STORE_FIRST  /* else the instruction set has a better way */
INLINE void store_first(real *p, vec v, int n) { store_masked(p, v, first_lanes(n)); }
#endif

/* The same where n is LANES but at the end of a row: masked stores are slow on some machines. */
INLINE vec load_up_to(const real *p, int n) { return n == LANES ? load(p) : load_first(p, n); }
INLINE void store_up_to(real *p, vec v, int n)
{
    if (n == LANES) store(p, v);
    else store_first(p, v, n);
}

INLINE vec splat(real x) { return x - (vec){0}; }  /* x itself, -0.0 too; set lane by lane, it is made lane by lane */

/* Vectors of doubles in memory, and one with a number in all lanes. */
enum { DOUBLES = LANES / PARTS };
typedef double unaligned_double_vec __attribute__((vector_size(FC_VECTOR_BYTES), aligned(8), may_alias));
INLINE double_vec doubles_at(const double *p) { return *(const unaligned_double_vec *)p; }
INLINE void put_doubles(double *p, double_vec v) { *(unaligned_double_vec *)p = v; }
INLINE double_vec splat_double(double x) { return x - (double_vec){0}; }

INLINE void store_bytes(uint8_t *p, ivec v)
{
    const byte_vec b = __builtin_convertvector(v, byte_vec);
    memcpy(p, &b, sizeof b);
}

#if FC_REAL_BYTES == 8
INLINE double_vec widen(vec v, int index) { (void)index; return v; }
INLINE vec narrow(const double_vec *parts) { return parts[0]; }
INLINE double_vec load_part(const real *p) { return (double_vec)load(p); }
#endif

/* Part `index` of the vector at p in double precision: a conversion that reads memory needs no half of a vector. */
INLINE double_vec load_wide(const real *p, int index) { return load_part(p + index * DOUBLES); }

/* Interleavings {a0 b0 a1 b1 ...} of the lower and of the upper halves of two vectors, and the inverse: every
 * other element of both. EACH_LANE: a list of indices, F(lane, ...) for each lane. */
#if FC_VECTOR_BYTES / FC_REAL_BYTES == 16
#define EACH_LANE(F, ...)                                                                                  \
    F(0, __VA_ARGS__), F(1, __VA_ARGS__), F(2, __VA_ARGS__), F(3, __VA_ARGS__), F(4, __VA_ARGS__),         \
    F(5, __VA_ARGS__), F(6, __VA_ARGS__), F(7, __VA_ARGS__), F(8, __VA_ARGS__), F(9, __VA_ARGS__),         \
    F(10, __VA_ARGS__), F(11, __VA_ARGS__), F(12, __VA_ARGS__), F(13, __VA_ARGS__), F(14, __VA_ARGS__),    \
    F(15, __VA_ARGS__)
#define ZIP_LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define UNZIP_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define UNZIP_ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 8
#define EACH_LANE(F, ...)                                                                                  \
    F(0, __VA_ARGS__), F(1, __VA_ARGS__), F(2, __VA_ARGS__), F(3, __VA_ARGS__), F(4, __VA_ARGS__),         \
    F(5, __VA_ARGS__), F(6, __VA_ARGS__), F(7, __VA_ARGS__)
#define ZIP_LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_UPPER 4, 12, 5, 13, 6, 14, 7, 15
#define UNZIP_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define UNZIP_ODD 1, 3, 5, 7, 9, 11, 13, 15
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 4
#define EACH_LANE(F, ...) F(0, __VA_ARGS__), F(1, __VA_ARGS__), F(2, __VA_ARGS__), F(3, __VA_ARGS__)
#define ZIP_LOWER 0, 4, 1, 5
#define ZIP_UPPER 2, 6, 3, 7
#define UNZIP_EVEN 0, 2, 4, 6
#define UNZIP_ODD 1, 3, 5, 7
#else
#define EACH_LANE(F, ...) F(0, __VA_ARGS__), F(1, __VA_ARGS__)
#define ZIP_LOWER 0, 2
#define ZIP_UPPER 1, 3
#define UNZIP_EVEN 0, 2
#define UNZIP_ODD 1, 3
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* The elements of `count` vectors (a power of two) interleaved: the first of each, then the second of each, and so on.
 * log2(count) rounds, each interleaving vector i with vector i + count / 2. */
enum { MOST_INTERLEAVED = LANES > 8 ? LANES : 8 };
INLINE void interleave(vec *rows, int count)
{
    vec next[MOST_INTERLEAVED];
    UNROLL
    for (int round = 1; round < count; round *= 2) {
        UNROLL
        for (int i = 0; i < count / 2; i++) {
            next[2 * i] = SHUFFLE(rows[i], rows[i + count / 2], ZIP_LOWER);
            next[2 * i + 1] = SHUFFLE(rows[i], rows[i + count / 2], ZIP_UPPER);
        }
        UNROLL
        for (int i = 0; i < count; i++) rows[i] = next[i];
    }
}

/* In-register transpose of LANES vectors. */
INLINE void transpose(vec *rows) { interleave(rows, LANES); }

#endif
