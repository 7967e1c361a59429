/* AVX2 and FMA: 16 vectors of 32 bytes; masks are vectors. What each name means stands in tile/simd.h. */
#ifndef FC_ISA_H
#define FC_ISA_H

#define FC_VECTOR_BYTES 32
#define FC_MASKS 1
#define FC_IN_REGISTER "+v"

#include "../tile/vec.h"
#include "flags.h"
#include "small.h"

#include <immintrin.h>

#if FC_REAL_BYTES == 4
#define AVX2(name) _mm256_##name##_ps
typedef __m256 ymm;
#else
#define AVX2(name) _mm256_##name##_pd
typedef __m256d ymm;
#endif

/* ---- masks ------------------------------------------------------------------------------------------ */

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
INLINE vec load_masked(const real *p, mask m) { return (vec)AVX2(maskload)(p, m); }
/* Some machines take twenty operations for a masked store: a mask of all lanes is none, and the first lanes go in pieces. */
INLINE void store_masked(real *p, vec v, mask m)
{
    if (AVX2(movemask)((ymm)m) == (1 << LANES) - 1) store(p, v);
    else AVX2(maskstore)(p, m, (ymm)v);
}
#define FC_STORE_FIRST
INLINE void store_first(real *p, vec v, int n)
{
    if (n >= LANES) {
        store(p, v);
        return;
    }
#if FC_REAL_BYTES == 4
    __m128 rest = _mm256_castps256_ps128((__m256)v);
    if (n & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps((__m256)v, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, rest);
#else
    __m128d rest = _mm256_castpd256_pd128((__m256d)v);
    if (n & 2) {
        _mm_storeu_pd(p, rest);
        rest = _mm256_extractf128_pd((__m256d)v, 1);
        p += 2;
    }
    if (n & 1) _mm_store_sd(p, rest);
#endif
}
INLINE vec load_or(const real *p, mask m, vec fill)
{
    return (vec)AVX2(blendv)((ymm)fill, AVX2(maskload)(p, m), (ymm)m);
}

INLINE vec at_most(vec bound, vec x) { return (vec)AVX2(min)((ymm)bound, (ymm)x); }
INLINE vec at_least(vec bound, vec x) { return (vec)AVX2(max)((ymm)bound, (ymm)x); }

/* ---- double precision ------------------------------------------------------------------------------- */

#if FC_REAL_BYTES == 4
INLINE double_vec widen(vec v, int index)
{
    return (double_vec)_mm256_cvtps_pd(index ? _mm256_extractf128_ps((__m256)v, 1) : _mm256_castps256_ps128((__m256)v));
}
INLINE vec narrow(const double_vec *parts)
{
    return (vec)_mm256_set_m128(_mm256_cvtpd_ps((__m256d)parts[1]), _mm256_cvtpd_ps((__m256d)parts[0]));
}
INLINE double_vec load_part(const real *p) { return (double_vec)_mm256_cvtps_pd(_mm_loadu_ps(p)); }
#endif

INLINE double sum_in_pairs(double_vec v)
{
    const __m256d four = (__m256d)v;
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return two[0] + two[1];
}

/* ---- shapes of tiles -------------------------------------------------------------------------------- */

enum { ROWS = 6, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 2 ? 4 : (rows) <= 3 ? 3 : 2)
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)

enum { DOT_ROWS = 2 };
#define DOT_COLUMNS(R) ((R) == 2 ? 5 : 6)
#define EACH_DOT_ROW_COUNT(CASE) CASE(1) CASE(2)

enum { TILE_ROWS = 4, TILE_VECTORS = 2 };
#define EACH_TILE_HEIGHT(EACH) EACH(1) EACH(2) EACH(4)

#endif
