/* AVX-512 (F, VL, BW, DQ): 32 vectors of 64 bytes, and mask registers. What each name means stands in tile/simd.h. */
#ifndef FC_ISA_H
#define FC_ISA_H

#define FC_VECTOR_BYTES 64
#define FC_MASKS 1
#define FC_IN_REGISTER "+v"

#include "../tile/vec.h"

#include <immintrin.h>

#if FC_REAL_BYTES == 4
#define AVX512(name) _mm512_##name##_ps
#define AVX512_INDEX(name) _mm512_##name##_epi32
#define AVX512_COMPARE(name) _mm512_##name##_ps_mask
typedef __m512 zmm;
typedef __mmask16 lane_mask;
#else
#define AVX512(name) _mm512_##name##_pd
#define AVX512_INDEX(name) _mm512_##name##_epi64
#define AVX512_COMPARE(name) _mm512_##name##_pd_mask
typedef __m512d zmm;
typedef __mmask8 lane_mask;
#endif

/* ---- masks ------------------------------------------------------------------------------------------ */

typedef uint32_t mask;

INLINE mask first_lanes(int n) { return (1u << n) - 1; }
INLINE mask lane_range(int low, int high) { return first_lanes(high) & ~first_lanes(low); }
INLINE mask even_lanes(int n) { return first_lanes(n) & 0x55555555u; }
INLINE vec load_masked(const real *p, mask m) { return (vec)AVX512(maskz_loadu)((lane_mask)m, p); }
INLINE void store_masked(real *p, vec v, mask m) { AVX512(mask_storeu)(p, (lane_mask)m, (zmm)v); }
INLINE vec load_or(const real *p, mask m, vec fill) { return (vec)AVX512(mask_loadu)((zmm)fill, (lane_mask)m, p); }

/* ---- conditions ------------------------------------------------------------------------------------- */

typedef mask flags;

INLINE vec choose_by(flags f, vec yes, vec no) { return (vec)AVX512(mask_mov)((zmm)no, (lane_mask)f, (zmm)yes); }
INLINE ivec choose_index_by(flags f, ivec yes, ivec no)
{
    return (ivec)AVX512_INDEX(mask_mov)((__m512i)no, (lane_mask)f, (__m512i)yes);
}
INLINE vec add_where(flags f, vec a, vec b)
{
    return (vec)AVX512(mask_add)((zmm)a, (lane_mask)f, (zmm)a, (zmm)b);
}

INLINE flags exceeds(vec value, vec best)
{
    const lane_mask number = AVX512_COMPARE(cmp)((zmm)best, (zmm)best, _CMP_ORD_Q);
    return AVX512_COMPARE(mask_cmp)(number, (zmm)value, (zmm)best, _CMP_NLE_UQ);
}
INLINE flags greater(vec a, vec b) { return AVX512_COMPARE(cmp)((zmm)a, (zmm)b, _CMP_GT_OQ); }
INLINE flags not_at_most(vec a, vec b) { return AVX512_COMPARE(cmp)((zmm)a, (zmm)b, _CMP_NLE_UQ); }
INLINE vec at_most(vec bound, vec x) { return (vec)AVX512(min)((zmm)bound, (zmm)x); }
INLINE vec at_least(vec bound, vec x) { return (vec)AVX512(max)((zmm)bound, (zmm)x); }

INLINE flags places_below(ivec a, ivec b)
{
#if FC_REAL_BYTES == 4
    return _mm512_cmplt_epi32_mask((__m512i)a, (__m512i)b);
#else
    return _mm512_cmplt_epi64_mask((__m512i)a, (__m512i)b);
#endif
}

INLINE flags bytes_equal(const uint8_t *p, int value)
{
#if FC_REAL_BYTES == 4
    return _mm_cmpeq_epi8_mask(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8((char)value));
#else
    return _mm_cmpeq_epi8_mask(_mm_loadl_epi64((const __m128i *)p), _mm_set1_epi8((char)value)) & 0xff;
#endif
}

/* ---- double precision ------------------------------------------------------------------------------- */

#if FC_REAL_BYTES == 4
INLINE double_vec widen(vec v, int index)
{
    return (double_vec)_mm512_cvtps_pd(index ? _mm512_extractf32x8_ps((__m512)v, 1) : _mm512_castps512_ps256((__m512)v));
}
INLINE vec narrow(const double_vec *parts)
{
    const __m512 low = _mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)parts[0]));
    return (vec)_mm512_insertf32x8(low, _mm512_cvtpd_ps((__m512d)parts[1]), 1);
}
INLINE double_vec load_part(const real *p) { return (double_vec)_mm512_cvtps_pd(_mm256_loadu_ps(p)); }
#endif

INLINE double sum_in_pairs(double_vec v)
{
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256((__m512d)v), _mm512_extractf64x4_pd((__m512d)v, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return two[0] + two[1];
}

/* ---- shapes of tiles -------------------------------------------------------------------------------- */

enum { ROWS = 14, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 4 ? 6 : (rows) <= 6 ? 4 : (rows) <= 8 ? 3 : 2)
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) \
    CASE(11) CASE(12) CASE(13) CASE(14)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) CASE(21) CASE(22) \
    CASE(23) CASE(24) CASE(25) CASE(26) CASE(27) CASE(28)

enum { DOT_ROWS = 4 };
#define DOT_COLUMNS(R) ((R) == 4 ? 6 : 8)
#define EACH_DOT_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4)

enum { TILE_ROWS = 6, TILE_VECTORS = 4 };
#define EACH_TILE_HEIGHT(EACH) EACH(1) EACH(2) EACH(4) EACH(6)
#define TILE_FUNCTIONS(R)                                                                                       \
    TILE_FUNCTION(R, 1, 1) TILE_FUNCTION(R, 2, 1) TILE_FUNCTION(R, 3, 1) TILE_FUNCTION(R, 4, 1)                 \
    TILE_FUNCTION(R, 2, 2) TILE_FUNCTION(R, 4, 2)                                                               \
    IN_PLACE_FUNCTION(R, 1) IN_PLACE_FUNCTION(R, 2) IN_PLACE_FUNCTION(R, 3) IN_PLACE_FUNCTION(R, 4)
#define TILE_ENTRY(R) \
    {R, {depthwise_##R##x1_1, depthwise_##R##x2_1, depthwise_##R##x3_1, depthwise_##R##x4_1}, \
        {depthwise_##R##x2_2, depthwise_##R##x4_2}, \
        {depthwise_in_place_##R##x1, depthwise_in_place_##R##x2, depthwise_in_place_##R##x3, \
         depthwise_in_place_##R##x4}},
#define IN_PLACE 1

enum { GRADIENT_ROWS = 4, TAP_ROWS = 4, TAP_COLUMNS = 4, MASKS_ARE_VECTORS = 0 };
#define EACH_TAP_ROW_COUNT(EACH, S) EACH(1, S) EACH(2, S) EACH(3, S) EACH(4, S)
#define GRADIENT_FUNCTIONS(R, S) \
    GRADIENT_FUNCTION(R, 1, S) GRADIENT_FUNCTION(R, 2, S) GRADIENT_FUNCTION(R, 3, S) GRADIENT_FUNCTION(R, 4, S)
#define GRADIENT_ENTRY(R, S)                                                                                       \
    {depthwise_gradient_##R##x1_##S, depthwise_gradient_##R##x2_##S, depthwise_gradient_##R##x3_##S,               \
     depthwise_gradient_##R##x4_##S},

#endif
