/* The vector vocabulary that every tile is written in: one name per operation, any width.
 *
 * GCC and Clang vector extensions carry it; intrinsics stand in only where those fall short (masked memory
 * access, and maximum/minimum as one instruction). Chosen by the compiler's own target macros, so one source
 * serves every instruction set. Compile with -DFC_REAL_BYTES=4 or 8.
 */
#ifndef FC_SIMD_H
#define FC_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define FC_VECTOR_BYTES 64
#elif defined(__AVX2__)
#include <immintrin.h>
#define FC_VECTOR_BYTES 32
#else
#define FC_VECTOR_BYTES 16
#endif

#if FC_REAL_BYTES == 4
typedef float real;
typedef int32_t lane_index;
#else
typedef double real;
typedef int64_t lane_index;
#endif

enum { LANES = FC_VECTOR_BYTES / (int)sizeof(real) };

typedef real vec __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef real unaligned_vec __attribute__((vector_size(FC_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef lane_index ivec __attribute__((vector_size(FC_VECTOR_BYTES)));

/* The asm constraint of a vector register. */
#if defined(__x86_64__)
#define FC_IN_REGISTER "+v"
#else
#define FC_IN_REGISTER "+w"
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"  /* a loop that Clang leaves as it is costs speed, no more */
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")  /* lane by lane, without a copy of the code for each */
#else
#define UNROLL _Pragma("GCC unroll 16")
#define ROLLED _Pragma("GCC unroll 1")
#endif

INLINE vec load(const real *p) { return *(const unaligned_vec *)p; }
INLINE void store(real *p, vec v) { *(unaligned_vec *)p = v; }

/* The first n lanes (0 <= n <= LANES), or lanes low <= i < high: the others read as zero and are not written.
 * Memory outside them is never touched. With hardware for it (FC_MASKS) also every other of the first n lanes. */
#define FC_MASKS (FC_VECTOR_BYTES > 16)
#if defined(__AVX512F__)
typedef uint32_t mask;
INLINE mask first_lanes(int n) { return (1u << n) - 1; }
INLINE mask lane_range(int low, int high) { return first_lanes(high) & ~first_lanes(low); }
INLINE mask even_lanes(int n) { return first_lanes(n) & 0x55555555u; }
#if FC_REAL_BYTES == 4
INLINE vec load_masked(const real *p, mask m) { return (vec)_mm512_maskz_loadu_ps((__mmask16)m, p); }
INLINE void store_masked(real *p, vec v, mask m) { _mm512_mask_storeu_ps(p, (__mmask16)m, (__m512)v); }
#else
INLINE vec load_masked(const real *p, mask m) { return (vec)_mm512_maskz_loadu_pd((__mmask8)m, p); }
INLINE void store_masked(real *p, vec v, mask m) { _mm512_mask_storeu_pd(p, (__mmask8)m, (__m512d)v); }
#endif
#elif defined(__AVX2__)
typedef __m256i mask;
INLINE mask lane_range(int low, int high)
{
#if FC_REAL_BYTES == 4
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7};
#else
    const ivec lane = {0, 1, 2, 3};
#endif
    return (__m256i)((lane >= low) & (lane < high));
}
INLINE mask first_lanes(int n) { return lane_range(0, n); }
INLINE mask even_lanes(int n)
{
    ivec even = {0};
    for (int i = 0; i < LANES; i += 2) even[i] = -1;
    return first_lanes(n) & (__m256i)even;
}
#if FC_REAL_BYTES == 4
INLINE vec load_masked(const real *p, mask m) { return (vec)_mm256_maskload_ps(p, m); }
INLINE void store_masked(real *p, vec v, mask m) { _mm256_maskstore_ps(p, m, (__m256)v); }
#else
INLINE vec load_masked(const real *p, mask m) { return (vec)_mm256_maskload_pd(p, m); }
INLINE void store_masked(real *p, vec v, mask m) { _mm256_maskstore_pd(p, m, (__m256d)v); }
#endif
#else
typedef struct mask {
    int low, high;
} mask;
INLINE mask lane_range(int low, int high) { return (mask){low, high > low ? high : low}; }
INLINE mask first_lanes(int n) { return lane_range(0, n); }
INLINE vec load_masked(const real *p, mask m)
{
    if (m.low == 0 && m.high == LANES) return load(p);
    vec v = {0};
    for (int i = m.low; i < m.high; i++) {
        v[i] = p[i];
        __asm__ volatile("");  /* as in store_masked */
    }
    return v;
}
INLINE void store_masked(real *p, vec v, mask m)
{
    if (m.low == 0 && m.high == LANES) {
        store(p, v);
        return;
    }
    for (int i = m.low; i < m.high; i++) {
        p[i] = v[i];
        __asm__ volatile("");  /* no call of memcpy: vectors that live across a call live in memory */
    }
}
#endif
/* As load_masked, but the other lanes read as `fill`. */
INLINE vec load_or(const real *p, mask m, vec fill)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return (vec)_mm512_mask_loadu_ps((__m512)fill, (__mmask16)m, p);
#elif defined(__AVX512F__)
    return (vec)_mm512_mask_loadu_pd((__m512d)fill, (__mmask8)m, p);
#elif defined(__AVX2__) && FC_REAL_BYTES == 4
    return (vec)_mm256_blendv_ps((__m256)fill, _mm256_maskload_ps(p, m), (__m256)m);
#elif defined(__AVX2__)
    return (vec)_mm256_blendv_pd((__m256d)fill, _mm256_maskload_pd(p, m), (__m256d)m);
#else
    if (m.low == 0 && m.high == LANES) return load(p);
    for (int i = m.low; i < m.high; i++) fill[i] = p[i];
    return fill;
#endif
}
/* A place counted from lane 0, or the nearest end of the vector. */
INLINE int clamp_lane(int64_t lane) { return lane < 0 ? 0 : lane > LANES ? LANES : (int)lane; }

INLINE vec load_first(const real *p, int n) { return load_masked(p, first_lanes(n)); }
INLINE void store_first(real *p, vec v, int n) { store_masked(p, v, first_lanes(n)); }

/* The same where n is LANES but at the end of a row: masked stores are slow on some machines. */
INLINE vec load_up_to(const real *p, int n) { return n == LANES ? load(p) : load_first(p, n); }
INLINE void store_up_to(real *p, vec v, int n)
{
    if (n == LANES) store(p, v);
    else store_first(p, v, n);
}

INLINE vec splat(real x) { return x - (vec){0}; }  /* x itself, -0.0 too; set lane by lane, it is made lane by lane */

/* Lane-wise condition ? yes : no; a condition lane is all ones or all zeros. */
INLINE vec choose(ivec condition, vec yes, vec no)
{
    return (vec)(((ivec)yes & condition) | ((ivec)no & ~condition));
}

/* Lanes that a condition holds in, as `choose_by` and `add_where` take them: a mask where the instruction set has
 * masks, else all ones or all zeros per lane. */
#if defined(__AVX512F__)
typedef mask flags;
#if FC_REAL_BYTES == 4
INLINE vec choose_by(flags f, vec yes, vec no) { return (vec)_mm512_mask_mov_ps((__m512)no, (__mmask16)f, (__m512)yes); }
INLINE ivec choose_index_by(flags f, ivec yes, ivec no)
{
    return (ivec)_mm512_mask_mov_epi32((__m512i)no, (__mmask16)f, (__m512i)yes);
}
INLINE vec add_where(flags f, vec a, vec b) { return (vec)_mm512_mask_add_ps((__m512)a, (__mmask16)f, (__m512)a, (__m512)b); }
#else
INLINE vec choose_by(flags f, vec yes, vec no) { return (vec)_mm512_mask_mov_pd((__m512d)no, (__mmask8)f, (__m512d)yes); }
INLINE ivec choose_index_by(flags f, ivec yes, ivec no)
{
    return (ivec)_mm512_mask_mov_epi64((__m512i)no, (__mmask8)f, (__m512i)yes);
}
INLINE vec add_where(flags f, vec a, vec b) { return (vec)_mm512_mask_add_pd((__m512d)a, (__mmask8)f, (__m512d)a, (__m512d)b); }
#endif
#else
typedef ivec flags;
INLINE vec choose_by(flags f, vec yes, vec no) { return choose(f, yes, no); }
INLINE ivec choose_index_by(flags f, ivec yes, ivec no) { return (yes & f) | (no & ~f); }
INLINE vec add_where(flags f, vec a, vec b) { return a + (vec)((ivec)b & f); }
#endif

/* Where a value replaces the maximum so far: the first of equals stays, and so does the first NaN. */
INLINE flags exceeds(vec value, vec best)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    const __mmask16 number = _mm512_cmp_ps_mask((__m512)best, (__m512)best, _CMP_ORD_Q);
    return _mm512_mask_cmp_ps_mask(number, (__m512)value, (__m512)best, _CMP_NLE_UQ);
#elif defined(__AVX512F__)
    const __mmask8 number = _mm512_cmp_pd_mask((__m512d)best, (__m512d)best, _CMP_ORD_Q);
    return _mm512_mask_cmp_pd_mask(number, (__m512d)value, (__m512d)best, _CMP_NLE_UQ);
#else
    return ~(ivec)(value <= best) & (ivec)(best == best);
#endif
}

INLINE flags greater(vec a, vec b)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#elif defined(__AVX512F__)
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ);
#else
    return (ivec)(a > b);
#endif
}

/* Not a <= b: greater, or NaN. */
INLINE flags not_at_most(vec a, vec b)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_NLE_UQ);
#elif defined(__AVX512F__)
    return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_NLE_UQ);
#else
    return ~(ivec)(a <= b);
#endif
}

/* The lesser (greater) of a bound and x; a NaN in x stays. */
INLINE vec at_most(vec bound, vec x)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return (vec)_mm512_min_ps((__m512)bound, (__m512)x);
#elif defined(__AVX512F__)
    return (vec)_mm512_min_pd((__m512d)bound, (__m512d)x);
#elif defined(__AVX2__) && FC_REAL_BYTES == 4
    return (vec)_mm256_min_ps((__m256)bound, (__m256)x);
#elif defined(__AVX2__)
    return (vec)_mm256_min_pd((__m256d)bound, (__m256d)x);
#else
    return choose((ivec)(bound < x), bound, x);
#endif
}
INLINE vec at_least(vec bound, vec x)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return (vec)_mm512_max_ps((__m512)bound, (__m512)x);
#elif defined(__AVX512F__)
    return (vec)_mm512_max_pd((__m512d)bound, (__m512d)x);
#elif defined(__AVX2__) && FC_REAL_BYTES == 4
    return (vec)_mm256_max_ps((__m256)bound, (__m256)x);
#elif defined(__AVX2__)
    return (vec)_mm256_max_pd((__m256d)bound, (__m256d)x);
#else
    return choose((ivec)(bound > x), bound, x);
#endif
}

/* Where an index is less than another. */
INLINE flags places_below(ivec a, ivec b)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b);
#elif defined(__AVX512F__)
    return _mm512_cmplt_epi64_mask((__m512i)a, (__m512i)b);
#else
    return (ivec)(a < b);
#endif
}

/* One byte per lane. */
typedef uint8_t byte_vec __attribute__((vector_size(FC_VECTOR_BYTES / FC_REAL_BYTES)));

INLINE void store_bytes(uint8_t *p, ivec v)
{
    const byte_vec b = __builtin_convertvector(v, byte_vec);
    memcpy(p, &b, sizeof b);
}

/* Lanes whose byte is `value`. */
INLINE flags bytes_equal(const uint8_t *p, int value)
{
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
    return _mm_cmpeq_epi8_mask(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)value));
#elif defined(__AVX512F__)
    return _mm_cmpeq_epi8_mask(_mm_loadl_epi64((const __m128i *)p), _mm_set1_epi8((char)value)) & 0xff;
#else
    byte_vec b;
    memcpy(&b, p, sizeof b);
    return (ivec)(__builtin_convertvector(b, ivec) == value);
#endif
}

/* A vector in double precision, in as many parts as that takes. */
enum { PARTS = (int)(sizeof(double) / sizeof(real)) };
typedef double double_vec __attribute__((vector_size(FC_VECTOR_BYTES)));

#if FC_REAL_BYTES == 8
INLINE double_vec widen(vec v, int index) { (void)index; return v; }
INLINE vec narrow(const double_vec *parts) { return parts[0]; }
#elif defined(__AVX512F__)
INLINE double_vec widen(vec v, int index)
{
    return (double_vec)_mm512_cvtps_pd(index ? _mm512_extractf32x8_ps((__m512)v, 1) : _mm512_castps512_ps256((__m512)v));
}
INLINE vec narrow(const double_vec *parts)
{
    const __m512 low = _mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)parts[0]));
    return (vec)_mm512_insertf32x8(low, _mm512_cvtpd_ps((__m512d)parts[1]), 1);
}
#elif defined(__AVX2__)
INLINE double_vec widen(vec v, int index)
{
    return (double_vec)_mm256_cvtps_pd(index ? _mm256_extractf128_ps((__m256)v, 1) : _mm256_castps256_ps128((__m256)v));
}
INLINE vec narrow(const double_vec *parts)
{
    return (vec)_mm256_set_m128(_mm256_cvtpd_ps((__m256d)parts[1]), _mm256_cvtpd_ps((__m256d)parts[0]));
}
#else
typedef real half_vec __attribute__((vector_size(FC_VECTOR_BYTES / 2)));
INLINE double_vec widen(vec v, int index)
{
    half_vec half;
    memcpy(&half, (const char *)&v + index * sizeof half, sizeof half);
    return __builtin_convertvector(half, double_vec);
}
INLINE vec narrow(const double_vec *parts)
{
    vec v;
    UNROLL
    for (int i = 0; i < PARTS; i++) {
        const half_vec half = __builtin_convertvector(parts[i], half_vec);
        memcpy((char *)&v + i * sizeof half, &half, sizeof half);
    }
    return v;
}
#endif

/* Part `index` of the vector at p in double precision: a conversion that reads memory needs no half of a vector. */
INLINE double_vec load_wide(const real *p, int index)
{
    p += index * (LANES / PARTS);
#if FC_REAL_BYTES == 8
    return (double_vec)load(p);
#elif defined(__AVX512F__)
    return (double_vec)_mm512_cvtps_pd(_mm256_loadu_ps(p));
#elif defined(__AVX2__)
    return (double_vec)_mm256_cvtps_pd(_mm_loadu_ps(p));
#else
    half_vec half;
    memcpy(&half, p, sizeof half);
    return __builtin_convertvector(half, double_vec);
#endif
}

/* All lanes added up, those of one half to those of the other. */
INLINE double sum_in_pairs(double_vec v)
{
#if FC_VECTOR_BYTES > 16
#if defined(__AVX512F__)
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256((__m512d)v), _mm512_extractf64x4_pd((__m512d)v, 1));
#else
    const __m256d four = (__m256d)v;
#endif
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return two[0] + two[1];
#else
    return v[0] + v[1];
#endif
}

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
