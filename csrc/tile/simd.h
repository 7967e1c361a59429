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
#define UNROLL _Pragma("GCC unroll 16")

INLINE vec load(const real *p) { return *(const unaligned_vec *)p; }
INLINE void store(real *p, vec v) { *(unaligned_vec *)p = v; }

/* The first n lanes (0 <= n <= LANES); the others read as zero and are not written. Memory past the n-th
 * element is never touched. */
#if defined(__AVX512F__) && FC_REAL_BYTES == 4
INLINE vec load_first(const real *p, int n) { return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
INLINE void store_first(real *p, vec v, int n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v); }
#elif defined(__AVX512F__)
INLINE vec load_first(const real *p, int n) { return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p); }
INLINE void store_first(real *p, vec v, int n) { _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v); }
#elif defined(__AVX2__) && FC_REAL_BYTES == 4
INLINE __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
INLINE vec load_first(const real *p, int n) { return (vec)_mm256_maskload_ps(p, first_lanes(n)); }
INLINE void store_first(real *p, vec v, int n) { _mm256_maskstore_ps(p, first_lanes(n), (__m256)v); }
#elif defined(__AVX2__)
INLINE __m256i first_lanes(int n)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), _mm256_setr_epi64x(0, 1, 2, 3));
}
INLINE vec load_first(const real *p, int n) { return (vec)_mm256_maskload_pd(p, first_lanes(n)); }
INLINE void store_first(real *p, vec v, int n) { _mm256_maskstore_pd(p, first_lanes(n), (__m256d)v); }
#else
INLINE vec load_first(const real *p, int n)
{
    vec v = {0};
    memcpy(&v, p, (size_t)n * sizeof(real));
    return v;
}
INLINE void store_first(real *p, vec v, int n) { memcpy(p, &v, (size_t)n * sizeof(real)); }
#endif

INLINE vec splat(real x)
{
    vec v;
    UNROLL
    for (int i = 0; i < LANES; i++) v[i] = x;
    return v;
}

/* Lane-wise condition ? yes : no; a condition lane is all ones or all zeros. */
INLINE vec choose(ivec condition, vec yes, vec no)
{
    return (vec)(((ivec)yes & condition) | ((ivec)no & ~condition));
}

/* Even and odd interleavings of two vectors: {a0 b0 a1 b1 ...} from the lower and from the upper halves. */
#if FC_VECTOR_BYTES / FC_REAL_BYTES == 16
#define ZIP_LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 8
#define ZIP_LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_UPPER 4, 12, 5, 13, 6, 14, 7, 15
#elif FC_VECTOR_BYTES / FC_REAL_BYTES == 4
#define ZIP_LOWER 0, 4, 1, 5
#define ZIP_UPPER 2, 6, 3, 7
#else
#define ZIP_LOWER 0, 2
#define ZIP_UPPER 1, 3
#endif
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

/* In-register transpose of LANES vectors: log2(LANES) rounds, each interleaving vector i with vector
 * i + LANES/2 (a perfect shuffle of the rows, so the last round leaves the columns in order). */
INLINE void transpose(vec *rows)
{
    vec next[LANES];
    UNROLL
    for (int round = 1; round < LANES; round *= 2) {
        UNROLL
        for (int i = 0; i < LANES / 2; i++) {
            next[2 * i] = SHUFFLE(rows[i], rows[i + LANES / 2], ZIP_LOWER);
            next[2 * i + 1] = SHUFFLE(rows[i], rows[i + LANES / 2], ZIP_UPPER);
        }
        UNROLL
        for (int i = 0; i < LANES; i++) rows[i] = next[i];
    }
}

#endif
