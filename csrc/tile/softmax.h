/* Softmax and its logarithm along an axis, and their gradients. Sums are in double precision.
 *
 * Slices along the axis lie either along memory (one column), where lanes are neighbours of a slice, or across it, where
 * they are neighbouring slices. The maximum of a slice is taken off first (Blanchard, Higham & Higham, "Accurately
 * computing the log-sum-exp and softmax functions", IMA J. Numer. Anal. 2021).
 */
#ifndef FC_SOFTMAX_H
#define FC_SOFTMAX_H

#include "../fc_api.h"
#include "exponential.h"

enum { COLUMN_VECTORS = FC_SOFTMAX_COLUMNS / LANES };

INLINE double_vec same(double x) { return (double_vec){0} + x; }

/* Per-lane sums in double precision. */
typedef struct lane_sums {
    double_vec part[PARTS];
} lane_sums;

INLINE void add_to(lane_sums *sums, vec x)
{
    UNROLL
    for (int i = 0; i < PARTS; i++) sums->part[i] += widen(x, i);
}

INLINE void add_product(lane_sums *sums, vec x, vec y)
{
    UNROLL
    for (int i = 0; i < PARTS; i++) sums->part[i] += widen(x, i) * widen(y, i);
}

INLINE double sum_of_lanes(const lane_sums *sums)
{
    double_vec all = sums->part[0];
    UNROLL
    for (int i = 1; i < PARTS; i++) all += sums->part[i];
    return sum_in_pairs(all);
}

/* The next vector of a row of which `left` elements are left; beyond them it is `fill`. */
INLINE vec load_filled(const real *p, int64_t left, vec fill)
{
    return left >= LANES ? load(p) : load_or(p, first_lanes((int)left), fill);
}

INLINE void softmax_row(real *out, const real *x, int64_t count, int logarithm)
{
    const vec lowest = splat(-(real)__builtin_inf());
    vec largest = lowest;
    for (int64_t i = 0; i < count; i += LANES)
        largest = at_least(load_filled(x + i, count - i, lowest), largest);
    real top = largest[0];
    UNROLL
    for (int i = 1; i < LANES; i++) top = largest[i] > top ? largest[i] : top;
    lane_sums sums = {{{0}}};
    for (int64_t i = 0; i < count; i += LANES) {
        const int n = clamp_lane(count - i);
        const vec e = exp_of(load_filled(x + i, count - i, lowest) - top);
        if (!logarithm) store_up_to(out + i, e, n);
        add_to(&sums, e);
    }
    const double sum = sum_of_lanes(&sums);
    const real log_sum = logarithm ? (real)log_of(same(sum))[0] : 0;
    for (int64_t i = 0; i < count; i += LANES) {
        const int n = clamp_lane(count - i);
        const vec y = logarithm ? (load_up_to(x + i, n) - top) - log_sum : load_up_to(out + i, n) / (real)sum;
        store_up_to(out + i, y, n);
    }
}

INLINE void softmax_columns(real *out, const real *x, int64_t count, int64_t step, int columns, int logarithm)
{
    vec top[COLUMN_VECTORS];
    lane_sums sums[COLUMN_VECTORS];
    const int vectors = (columns + LANES - 1) / LANES;
    for (int v = 0; v < vectors; v++) {
        top[v] = splat(-(real)__builtin_inf());
        sums[v] = (lane_sums){{{0}}};
    }
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++)
            top[v] = at_least(load_up_to(x + i * step + v * LANES, clamp_lane(columns - v * LANES)), top[v]);
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const int n = clamp_lane(columns - v * LANES);
            const vec e = exp_of(load_up_to(x + i * step + v * LANES, n) - top[v]);
            if (!logarithm) store_up_to(out + i * step + v * LANES, e, n);
            add_to(&sums[v], e);
        }
    vec last[COLUMN_VECTORS];  /* the divisor, or what is taken off */
    for (int v = 0; v < vectors; v++) {
        UNROLL
        for (int i = 0; i < PARTS; i++) sums[v].part[i] = logarithm ? log_of(sums[v].part[i]) : sums[v].part[i];
        last[v] = narrow(sums[v].part);
    }
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const int n = clamp_lane(columns - v * LANES);
            const int64_t at = i * step + v * LANES;
            store_up_to(out + at, logarithm ? (load_up_to(x + at, n) - top[v]) - last[v]
                                             : load_up_to(out + at, n) / last[v], n);
        }
}

static void softmax(void *out, const void *input, int64_t count, int64_t step, int columns, int logarithm)
{
    if (columns == 0) {
        if (logarithm) softmax_row(out, input, count, 1);
        else softmax_row(out, input, count, 0);
    } else {
        if (logarithm) softmax_columns(out, input, count, step, columns, 1);
        else softmax_columns(out, input, count, step, columns, 0);
    }
}

/* softmax: y (g - sum of g y); its logarithm: g - exp(y) * sum of g. */
INLINE vec softmax_slope(vec y, vec g, vec sum, int logarithm)
{
    return logarithm ? g - exp_of(y) * sum : y * (g - sum);
}

INLINE void softmax_gradient_row(real *out, const real *y, const real *g, int64_t count, int logarithm)
{
    lane_sums sums = {{{0}}};
    for (int64_t i = 0; i < count; i += LANES) {
        const int n = clamp_lane(count - i);
        if (logarithm) add_to(&sums, load_up_to(g + i, n));
        else add_product(&sums, load_up_to(g + i, n), load_up_to(y + i, n));
    }
    const vec sum = splat((real)sum_of_lanes(&sums));
    for (int64_t i = 0; i < count; i += LANES) {
        const int n = clamp_lane(count - i);
        store_up_to(out + i, softmax_slope(load_up_to(y + i, n), load_up_to(g + i, n), sum, logarithm), n);
    }
}

INLINE void softmax_gradient_columns(real *out, const real *y, const real *g, int64_t count, int64_t step, int columns,
                                     int logarithm)
{
    lane_sums sums[COLUMN_VECTORS];
    const int vectors = (columns + LANES - 1) / LANES;
    for (int v = 0; v < vectors; v++) sums[v] = (lane_sums){{{0}}};
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const int n = clamp_lane(columns - v * LANES);
            const int64_t at = i * step + v * LANES;
            if (logarithm) add_to(&sums[v], load_up_to(g + at, n));
            else add_product(&sums[v], load_up_to(g + at, n), load_up_to(y + at, n));
        }
    vec sum[COLUMN_VECTORS];
    for (int v = 0; v < vectors; v++) sum[v] = narrow(sums[v].part);
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const int n = clamp_lane(columns - v * LANES);
            const int64_t at = i * step + v * LANES;
            store_up_to(out + at, softmax_slope(load_up_to(y + at, n), load_up_to(g + at, n), sum[v], logarithm), n);
        }
}

static void softmax_gradient(void *out, const void *output, const void *gradient, int64_t count, int64_t step,
                             int columns, int logarithm)
{
    if (columns == 0) {
        if (logarithm) softmax_gradient_row(out, output, gradient, count, 1);
        else softmax_gradient_row(out, output, gradient, count, 0);
    } else {
        if (logarithm) softmax_gradient_columns(out, output, gradient, count, step, columns, 1);
        else softmax_gradient_columns(out, output, gradient, count, step, columns, 0);
    }
}

#endif
