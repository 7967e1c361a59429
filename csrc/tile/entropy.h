/* Cross-entropy of the softmax of slices: their sums, and the slopes made of their exponentials.
 *
 * Slices lie as those of softmax do, and their maximum is taken off first; sums are in double precision.
 */
#ifndef FC_ENTROPY_H
#define FC_ENTROPY_H

#include "../fc_api.h"
#include "softmax.h"

/* What is asked of a call: nothing of what is wanted, the same of every class, or an array of it. */
typedef enum asked { ASKED_NOTHING, ASKED_EVENLY, ASKED_EACH } asked;

typedef struct wishes {
    const real *weight, *target;
    real share, spread;
} wishes;

INLINE wishes wishes_of(const fc_wanted *wanted)
{
    return wanted ? (wishes){wanted->weight, wanted->target, (real)wanted->share, (real)wanted->spread} : (wishes){0};
}

INLINE asked asked_of(const fc_wanted *wanted)
{
    return !wanted ? ASKED_NOTHING : wanted->weight || wanted->target ? ASKED_EACH : ASKED_EVENLY;
}

INLINE vec zero_from(vec x, int n)  /* in the lanes from n on */
{
    static const real number[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return n == LANES ? x : choose_by(greater(splat((real)n), load(number)), x, (vec){0});
}

/* n elements of a row of what is wanted, from place i on. */
INLINE vec wanted_along(const wishes *w, int64_t i, int n)
{
    const vec all = w->target ? w->share * load_up_to(w->target + i, n) + w->spread : splat(w->spread);
    return w->weight ? all * load_up_to(w->weight + i, n) : all;
}

/* The same of neighbouring slices, all at class `i`. */
INLINE vec wanted_across(const wishes *w, int64_t i, int64_t at, int n)
{
    const vec all = w->target ? w->share * load_up_to(w->target + at, n) + w->spread : splat(w->spread);
    return w->weight ? all * w->weight[i] : all;
}

typedef struct entropy_lanes {
    lane_sums sum, wanted, cost;
} entropy_lanes;

INLINE void add_class(entropy_lanes *sums, real *exps, vec below, vec wanted, asked what, int with_target, int n)
{
    const vec e = exp_of(below);
    if (exps) store_up_to(exps, e, n);
    add_to(&sums->sum, e);
    if (what == ASKED_EVENLY) add_to(&sums->cost, zero_from(-below, n));
    if (what == ASKED_EACH) add_to(&sums->cost, choose_by(greater(wanted, (vec){0}), -(wanted * below), (vec){0}));
    if (with_target) add_to(&sums->wanted, wanted);
}

INLINE real largest_of(const real *x, int64_t count)
{
    enum { STRANDS = 4 };
    const vec lowest = splat(-(real)__builtin_inf());
    vec strand[STRANDS] = {lowest, lowest, lowest, lowest};
    int64_t i = 0;
    for (; i + STRANDS * LANES <= count; i += STRANDS * LANES) {
        UNROLL
        for (int s = 0; s < STRANDS; s++) strand[s] = at_least(load(x + i + s * LANES), strand[s]);
    }
    for (; i < count; i += LANES) strand[0] = at_least(load_filled(x + i, count - i, lowest), strand[0]);
    const vec all = at_least(at_least(strand[0], strand[1]), at_least(strand[2], strand[3]));
    real top = all[0];
    UNROLL
    for (int k = 1; k < LANES; k++) top = all[k] > top ? all[k] : top;
    return top;
}

INLINE void entropy_row(fc_entropy *to, int s, real *exps, const real *x, int64_t count, const wishes *w, asked what)
{
    const vec lowest = splat(-(real)__builtin_inf());
    const real top = largest_of(x, count);
    const int with_target = what == ASKED_EACH && w->target;
    entropy_lanes sums = {{{{0}}}, {{{0}}}, {{{0}}}};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        add_class(&sums, exps ? exps + i : NULL, load(x + i) - top,
                  what == ASKED_EACH ? wanted_along(w, i, LANES) : (vec){0}, what, with_target, LANES);
    if (i < count) {
        const int n = (int)(count - i);
        add_class(&sums, exps ? exps + i : NULL, load_or(x + i, first_lanes(n), lowest) - top,
                  what == ASKED_EACH ? zero_from(wanted_along(w, i, n), n) : (vec){0}, what, with_target, n);
    }
    to->top[s] = (double)top;
    to->sum[s] = sum_of_lanes(&sums.sum);
    to->cost[s] = sum_of_lanes(&sums.cost) * (what == ASKED_EVENLY ? (double)w->spread : 1);
    to->wanted[s] = sum_of_lanes(&sums.wanted);
}

INLINE void put_lanes(double *to, const double_vec *parts, double factor)
{
    UNROLL
    for (int i = 0; i < PARTS; i++) {
        const double_vec scaled = parts[i] * factor;
        memcpy(to + i * DOUBLES, &scaled, sizeof scaled);
    }
}

INLINE void entropy_columns(fc_entropy *to, real *exps, const real *x, int64_t count, int64_t step, int columns,
                            const wishes *w, asked what)
{
    const int vectors = (columns + LANES - 1) / LANES, with_target = what == ASKED_EACH && w->target;
    vec top[COLUMN_VECTORS];
    entropy_lanes sums[COLUMN_VECTORS];
    for (int v = 0; v < vectors; v++) {
        top[v] = splat(-(real)__builtin_inf());
        sums[v] = (entropy_lanes){{{{0}}}, {{{0}}}, {{{0}}}};
    }
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++)
            top[v] = at_least(load_up_to(x + i * step + v * LANES, clamp_lane(columns - v * LANES)), top[v]);
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v < vectors; v++) {
            const int n = clamp_lane(columns - v * LANES);
            const int64_t at = i * step + v * LANES;
            add_class(&sums[v], exps ? exps + at : NULL, load_up_to(x + at, n) - top[v],
                      what == ASKED_EACH ? wanted_across(w, i, at, n) : (vec){0}, what, with_target, n);
        }
    for (int v = 0; v < vectors; v++) {
        double_vec parts[PARTS];
        UNROLL
        for (int i = 0; i < PARTS; i++) parts[i] = widen(top[v], i);
        put_lanes(to->top + v * LANES, parts, 1);
        put_lanes(to->sum + v * LANES, sums[v].sum.part, 1);
        put_lanes(to->cost + v * LANES, sums[v].cost.part, what == ASKED_EVENLY ? (double)w->spread : 1);
        put_lanes(to->wanted + v * LANES, sums[v].wanted.part, 1);
    }
}

INLINE void entropy_slices(fc_entropy *to, real *exps, const real *x, int64_t count, int64_t step, int slices,
                           const wishes *w, asked what)
{
    if (step) {
        entropy_columns(to, exps, x, count, step, slices, w, what);
        return;
    }
    wishes row = *w;
    for (int s = 0; s < slices; s++) {
        entropy_row(to, s, exps ? exps + s * count : NULL, x + s * count, count, &row, what);
        if (row.target) row.target += count;
    }
}

static void entropy_sums(fc_entropy *to, void *exps, const void *logits, const fc_wanted *wanted, int64_t count,
                         int64_t step, int slices)
{
    const wishes w = wishes_of(wanted);
    for (int s = slices / DOUBLES * DOUBLES; s < slices / DOUBLES * DOUBLES + DOUBLES; s++)
        if (s < FC_SOFTMAX_COLUMNS) to->sum[s] = 1;
    switch (asked_of(wanted)) {
    case ASKED_NOTHING: entropy_slices(to, exps, logits, count, step, slices, &w, ASKED_NOTHING); break;
    case ASKED_EVENLY: entropy_slices(to, exps, logits, count, step, slices, &w, ASKED_EVENLY); break;
    case ASKED_EACH: entropy_slices(to, exps, logits, count, step, slices, &w, ASKED_EACH); break;
    }
    for (int s = 0; s < slices; s += DOUBLES) {
        double_vec sum;
        memcpy(&sum, to->sum + s, sizeof sum);
        sum = log_of(sum);
        memcpy(to->log_sum + s, &sum, sizeof sum);
    }
}

/* ---- slopes ---------------------------------------------------------------------------------------- */

INLINE void slopes_row(real *slopes, int64_t count, real factor, real less, const wishes *w, asked what)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int n = clamp_lane(count - i);
        const vec e = factor * load_up_to(slopes + i, n);
        store_up_to(slopes + i, what == ASKED_NOTHING ? e : e - less * wanted_along(w, i, n), n);
    }
}

INLINE void slopes_columns(real *slopes, int64_t count, int64_t step, int columns, const double *factor,
                           const double *less, const wishes *w, asked what)
{
    real times[FC_SOFTMAX_COLUMNS], off[FC_SOFTMAX_COLUMNS];
    for (int s = 0; s < FC_SOFTMAX_COLUMNS; s++) {
        times[s] = s < columns ? (real)factor[s] : 0;
        off[s] = s < columns ? (real)less[s] : 0;
    }
    for (int64_t i = 0; i < count; i++)
        for (int v = 0; v * LANES < columns; v++) {
            const int n = clamp_lane(columns - v * LANES);
            const int64_t at = i * step + v * LANES;
            const vec much = load(off + v * LANES), e = load(times + v * LANES) * load_up_to(slopes + at, n);
            const vec slope = what == ASKED_NOTHING ? e : e - much * wanted_across(w, i, at, n);
            store_up_to(slopes + at, choose_by(greater(much, (vec){0}), slope, (vec){0}), n);
        }
}

INLINE void slopes_slices(real *slopes, int64_t count, int64_t step, int slices, const double *factor,
                          const double *less, const wishes *w, asked what)
{
    if (step) {
        slopes_columns(slopes, count, step, slices, factor, less, w, what);
        return;
    }
    wishes row = *w;
    for (int s = 0; s < slices; s++) {
        if (less[s] > 0) slopes_row(slopes + s * count, count, (real)factor[s], (real)less[s], &row, what);
        else memset(slopes + s * count, 0, (size_t)count * sizeof(real));
        if (row.target) row.target += count;
    }
}

static void entropy_slopes(void *slopes, const fc_wanted *wanted, const double *factor, const double *less,
                           int64_t count, int64_t step, int slices)
{
    const wishes w = wishes_of(wanted);
    switch (asked_of(wanted)) {
    case ASKED_NOTHING: slopes_slices(slopes, count, step, slices, factor, less, &w, ASKED_NOTHING); break;
    case ASKED_EVENLY: slopes_slices(slopes, count, step, slices, factor, less, &w, ASKED_EVENLY); break;
    case ASKED_EACH: slopes_slices(slopes, count, step, slices, factor, less, &w, ASKED_EACH); break;
    }
}

#endif
