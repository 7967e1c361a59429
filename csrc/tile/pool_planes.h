/* Averages of whole planes, and their gradient: windows as wide as what they lie on.
 *
 * A sum has STRANDS strands whatever the instruction set and the memory order: pixel p adds to strand p % STRANDS, and
 * the strands are added up in pairs. So neighbouring pixels fill vectors where they are adjacent, and where channels
 * are, every lane does the same for its own plane.
 */
#include "../fc_api.h"
#include "simd.h"

enum { STRANDS = 16, STRAND_VECTORS = STRANDS / LANES, STRAND_SUMS = STRAND_VECTORS * PARTS };
enum { SIDE_BY_SIDE = 4 };  /* vectors of planes summed at a time */

/* The pixels of STRANDS strands, or as many of them as are left. */
INLINE void add_pixels(double_vec *strands, const real *pixels, int64_t left)
{
    UNROLL
    for (int v = 0; v < STRAND_VECTORS; v++) {
        const vec x = left >= STRANDS ? load(pixels + v * LANES)
                                      : load_first(pixels + v * LANES, clamp_lane(left - v * LANES));
        UNROLL
        for (int n = 0; n < PARTS; n++) strands[v * PARTS + n] += widen(x, n);
    }
}

INLINE double plane_sum(const real *plane, int64_t pixels)
{
    double_vec strands[STRAND_SUMS] = {{0}};
    int64_t p = 0;
    for (; p + STRANDS <= pixels; p += STRANDS) add_pixels(strands, plane + p, STRANDS);
    if (p < pixels) add_pixels(strands, plane + p, pixels - p);
    UNROLL
    for (int half = STRAND_SUMS / 2; half > 0; half /= 2) {
        UNROLL
        for (int i = 0; i < half; i++) strands[i] += strands[i + half];
    }
    return sum_in_pairs(strands[0]);
}

/* `planes` planes that lie side by side, at most SIDE_BY_SIDE vectors of them (`whole`: exactly). */
INLINE void average_side_by_side(int whole, real *out, const real *source, const fc_planes *p, int64_t planes)
{
    double_vec sums[STRANDS][SIDE_BY_SIDE * PARTS];
    for (int64_t strand = 0; strand < STRANDS; strand++) {
        double_vec sum[SIDE_BY_SIDE * PARTS] = {{0}};
        for (int64_t pixel = strand; pixel < p->pixels; pixel += STRANDS) {
            const real *row = source + pixel * p->pixel_step;
            UNROLL
            for (int v = 0; v < SIDE_BY_SIDE; v++) {
                const vec x = whole ? load(row + v * LANES) : load_first(row + v * LANES, clamp_lane(planes - v * LANES));
                UNROLL
                for (int n = 0; n < PARTS; n++) sum[v * PARTS + n] += widen(x, n);
            }
        }
        memcpy(sums[strand], sum, sizeof sum);
    }
    for (int half = STRANDS / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) {
            UNROLL
            for (int n = 0; n < SIDE_BY_SIDE * PARTS; n++) sums[i][n] += sums[i + half][n];
        }
    for (int v = 0; v < SIDE_BY_SIDE; v++) {
        double_vec mean[PARTS];
        UNROLL
        for (int n = 0; n < PARTS; n++) mean[n] = sums[0][v * PARTS + n] / p->divisor;
        store_first(out + v * LANES, narrow(mean), clamp_lane(planes - v * LANES));
    }
}

static void average_planes(void *out, const void *source, const fc_planes *p)
{
    real *to = out;
    const real *from = source;
    if (p->pixel_step == 1) {
        for (int64_t i = 0; i < p->planes; i++)
            to[i] = (real)(plane_sum(from + i * p->plane_step, p->pixels) / p->divisor);
        return;
    }
    for (int64_t i = 0, left = p->planes; left > 0; i += SIDE_BY_SIDE * LANES, left -= SIDE_BY_SIDE * LANES) {
        if (left >= SIDE_BY_SIDE * LANES) average_side_by_side(1, to + i, from + i, p, SIDE_BY_SIDE * LANES);
        else average_side_by_side(0, to + i, from + i, p, left);
    }
}

static void spread_planes(void *target, const void *source, const fc_planes *p)
{
    const real *from = source;
    for (int64_t i = 0; i < p->planes; i++) {
        real *plane = (real *)target + i * p->plane_step;
        const vec share = splat((real)((double)from[i] / p->divisor));
        int64_t x = 0;
        for (; x + LANES <= p->pixels; x += LANES) store(plane + x, share);
        if (x < p->pixels) store_first(plane + x, share, (int)(p->pixels - x));
    }
}
