/* Losses of elements beside their targets, and their slopes. Sums are in double precision. */
#ifndef FC_LOSS_H
#define FC_LOSS_H

#include "../fc_api.h"
#include "entropy.h"

typedef struct priced {
    vec loss, slope;
} priced;

/* The logistic loss: with e = exp(-|x|), -log(sigmoid(|x|)) is log(1 + e), and that of sigmoid(-|x|) is |x| more. */
INLINE priced logistic_loss(vec x, vec target, real a)
{
    const vec yes = a * target, no = 1 - target, size = magnitude(x);
    const flags positive = greater(x, (vec){0});
    const vec e = exp_of(-size), near = 1 / (1 + e), far = e * near;
    const vec wrong = choose_by(positive, no, yes);
    const vec loss = (yes + no) * log1p_of(e) + choose_by(greater(wrong, (vec){0}), wrong * size, (vec){0});
    const vec slope = no * choose_by(positive, near, far) - yes * choose_by(positive, far, near);
    return (priced){loss, slope};
}

INLINE priced price_of(vec x, vec target, int formula, real a)
{
    const vec d = x - target;
    switch (formula) {
    case FC_LOSS_SQUARE: return (priced){d * d, 2 * d};
    case FC_LOSS_ABSOLUTE:
        return (priced){magnitude(d), choose_by(greater(magnitude(d), (vec){0}), with_sign_of(splat(1), d), d)};
    case FC_LOSS_HUBER: {
        const vec inside = between(-a, a, d);
        return (priced){inside * (d - (real)0.5 * inside), inside};
    }
    default: return logistic_loss(x, target, a);
    }
}

INLINE void price(lane_sums *sums, real *losses, real *slopes, const real *x, const real *t, int n, const fc_loss *how,
                  int formula)
{
    const priced p = price_of(load_up_to(x, n), load_up_to(t, n), formula, (real)how->a);
    if (losses) store_up_to(losses, (real)how->times * p.loss, n);
    if (slopes) store_up_to(slopes, (real)how->slope_times * p.slope, n);
    /* lanes that are not there are 0 beside a target of 0, which costs something in the logistic loss only */
    add_to(sums, formula == FC_LOSS_LOGISTIC ? zero_from(p.loss, n) : p.loss);
}

INLINE double price_row(real *losses, real *slopes, const real *x, const real *t, int64_t count, const fc_loss *how,
                        int formula)
{
    enum { STRANDS = 2 };  /* sums that wait for one another less */
    lane_sums sums[STRANDS] = {{{{0}}}, {{{0}}}};
    int64_t i = 0;
    for (; i + STRANDS * LANES <= count; i += STRANDS * LANES) {
        UNROLL
        for (int s = 0; s < STRANDS; s++) {
            const int64_t at = i + s * LANES;
            price(&sums[s], losses ? losses + at : NULL, slopes ? slopes + at : NULL, x + at, t + at, LANES, how,
                  formula);
        }
    }
    for (; i < count; i += LANES)
        price(&sums[0], losses ? losses + i : NULL, slopes ? slopes + i : NULL, x + i, t + i, clamp_lane(count - i),
              how, formula);
    return sum_of_lanes(&sums[0]) + sum_of_lanes(&sums[1]);
}

/* A loop without a choice inside for what is asked most. */
INLINE double price_as_asked(real *losses, real *slopes, const real *x, const real *t, int64_t count,
                             const fc_loss *how, int formula)
{
    if (losses) return price_row(losses, slopes, x, t, count, how, formula);
    if (slopes) return price_row(NULL, slopes, x, t, count, how, formula);
    return price_row(NULL, NULL, x, t, count, how, formula);
}

static double loss_row(void *losses, void *slopes, const void *prediction, const void *target, int64_t count,
                       const fc_loss *how)
{
    switch (how->formula) {
    case FC_LOSS_SQUARE: return price_as_asked(losses, slopes, prediction, target, count, how, FC_LOSS_SQUARE);
    case FC_LOSS_ABSOLUTE: return price_as_asked(losses, slopes, prediction, target, count, how, FC_LOSS_ABSOLUTE);
    case FC_LOSS_HUBER: return price_as_asked(losses, slopes, prediction, target, count, how, FC_LOSS_HUBER);
    default: return price_as_asked(losses, slopes, prediction, target, count, how, FC_LOSS_LOGISTIC);
    }
}

#endif
