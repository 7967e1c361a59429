/* Cross-entropy of slices and losses of elements against plain loops. */
#include "check.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON (FC_REAL_BYTES == 4 ? FLT_EPSILON : DBL_EPSILON)

static void expect_close(double got, double expected, double most, const char *what)
{
    if (!(fabs(got - expected) <= most * EPSILON * fmax(1, fabs(expected))))
        fail("%s is %.9g, expected %.9g", what, got, expected);
}

/* ---- cross-entropy --------------------------------------------------------------------------------- */

enum { MOST_CLASSES = 70 };

/* Which of `wanted`'s arrays there are; NOTHING is no `wanted` at all. */
enum { EVENLY, WEIGHTS, TARGETS, BOTH, NOTHING };

static double wanted_of(const fc_wanted *wanted, int64_t class, int64_t at)
{
    const real *weight = wanted->weight, *target = wanted->target;
    return ((target ? wanted->share * (double)target[at] : 0) + wanted->spread) * (weight ? (double)weight[class] : 1);
}

static void check_entropy_of(int64_t count, int slices, int across, int how, enum side side)
{
    const int64_t step = across ? slices + random_below(3) : 0;
    const int64_t size = across ? (count - 1) * step + slices : count * slices;
    const guarded x = guarded_new(size, side), t = guarded_new(size, side), e = guarded_new(size, side);
    const guarded w = guarded_new(count, side);
    fc_entropy *got = malloc(sizeof *got), *again = malloc(sizeof *again);
    fc_wanted wanted = {how & WEIGHTS ? w.data : NULL, how & TARGETS ? t.data : NULL, 0.75, 0.25};
    const fc_wanted *asked = how == NOTHING ? NULL : &wanted;
    double factor[FC_SOFTMAX_COLUMNS], less[FC_SOFTMAX_COLUMNS];
    fill_fractions(x.data, size);
    fill_fractions(t.data, size);
    fill_fractions(w.data, count);
    for (int64_t i = 0; i < size; i++) t.data[i] = (real)fabs((double)t.data[i]);
    for (int64_t i = 0; i < count; i++) w.data[i] = random_below(4) ? (real)fabs((double)w.data[i]) : 0;
    if (how & WEIGHTS && how != NOTHING) w.data[0] = 0, x.data[0] = (real)-INFINITY;  /* nothing is wanted of it */
    if (count == 1) x.data[0] = 1;
    for (int s = 0; s < slices; s++) factor[s] = 0.5 + s, less[s] = s % 3 ? 0.25 : 0;
    describe("entropy_sums of %lld, %d slices, step %lld, wanted %d", (long long)count, slices, (long long)step, how);
    table->pointwise.entropy_sums(again, NULL, x.data, asked, count, step, slices);
    table->pointwise.entropy_sums(got, e.data, x.data, asked, count, step, slices);
    for (int s = 0; s < slices; s++) {
        double top = -INFINITY, sum = 0, cost = 0, all = 0;
        for (int64_t i = 0; i < count; i++) {
            const double logit = (double)x.data[step ? i * step + s : s * count + i];
            if (logit > top) top = logit;
        }
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = step ? i * step + s : s * count + i;
            const double much = wanted_of(&wanted, i, at);
            sum += exp((double)x.data[at] - top);
            if (much > 0 && how != NOTHING) cost += much * (top - (double)x.data[at]);
            all += much;
            expect_close((double)e.data[at], exp((double)x.data[at] - top), 8, "an exponential");
        }
        expect_close(got->top[s], top, 0, "the largest");
        expect_close(got->sum[s], sum, 16, "the sum");
        expect_close(got->log_sum[s], log(sum), 4, "its logarithm");
        if (how != NOTHING) expect_close(got->cost[s], cost, 16, "the cost");
        if (how & TARGETS && how != NOTHING) expect_close(got->wanted[s], all, 16, "what is wanted");
        if (again->sum[s] != got->sum[s] || again->log_sum[s] != got->log_sum[s])
            fail("other sums without exponentials");
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = step ? i * step + s : s * count + i;
            const double much = wanted_of(&wanted, i, at);
            const double slope = factor[s] * (double)e.data[at] - (how == NOTHING ? 0 : less[s] * much);
            x.data[at] = (real)(less[s] > 0 ? slope : 0);
        }
    }
    describe("entropy_slopes of %lld, %d slices, step %lld, wanted %d", (long long)count, slices, (long long)step, how);
    table->pointwise.entropy_slopes(e.data, asked, factor, less, count, step, slices);
    for (int64_t i = 0; i < size; i++) {
        const int between = step && i % step >= slices;
        if (between && e.data[i] != UNTOUCHED) fail("writes between slices");
        if (!between) expect_close((double)e.data[i], (double)x.data[i], 4, "a slope");
    }
    guarded_free(x);
    guarded_free(t);
    guarded_free(e);
    guarded_free(w);
    free(got);
    free(again);
}

void check_entropy(void)
{
    for (int side = AT_START; side <= AT_END; side++)
        for (int how = EVENLY; how <= NOTHING; how++)
            for (int64_t count = 1; count <= MOST_CLASSES; count += 1 + random_below(table->lanes + 3)) {
                check_entropy_of(count, 1 + (int)random_below(FC_SOFTMAX_COLUMNS), 1, how, side);
                check_entropy_of(count, 1 + (int)random_below(5), 0, how, side);
                check_entropy_of(count, FC_SOFTMAX_COLUMNS, 0, how, side);
            }
}

/* ---- losses of elements ---------------------------------------------------------------------------- */

static double logistic_of(double x) { return 1 / (1 + exp(-x)); }

static double loss_of(double x, double t, const fc_loss *how, double *slope)
{
    const double d = x - t, a = how->a, size = fabs(d);
    switch (how->formula) {
    case FC_LOSS_SQUARE: *slope = 2 * d; return d * d;
    case FC_LOSS_ABSOLUTE: *slope = (d > 0) - (d < 0); return size;
    case FC_LOSS_HUBER: *slope = size <= a ? d : copysign(a, d); return size <= a ? d * d / 2 : a * (size - a / 2);
    default:
        *slope = (1 - t) * logistic_of(x) - a * t * logistic_of(-x);
        return a * t * log1p(exp(-x)) + (1 - t) * log1p(exp(x));
    }
}

static void check_losses(int64_t count, const fc_loss *how, enum side side)
{
    const guarded x = guarded_new(count, side), t = guarded_new(count, side);
    const guarded losses = guarded_new(count, side), slopes = guarded_new(count, side);
    double sum = 0, slope;
    fill_fractions(x.data, count);
    fill_fractions(t.data, count);
    for (int64_t i = 0; i < count; i++) x.data[i] *= 4, t.data[i] = (real)fabs((double)t.data[i]);
    if (count > 2) t.data[2] = x.data[2] = (real)0.5;
    describe("loss_row %d of %lld", how->formula, (long long)count);
    const double all = table->pointwise.loss_row(losses.data, slopes.data, x.data, t.data, count, how);
    for (int64_t i = 0; i < count; i++) {
        const double loss = loss_of((double)x.data[i], (double)t.data[i], how, &slope);
        sum += loss;
        expect_close((double)losses.data[i], how->times * loss, 16, "a loss");
        expect_close((double)slopes.data[i], how->slope_times * slope, 16, "a slope");
    }
    expect_close(all, sum, 16, "the sum");
    expect_close(table->pointwise.loss_row(NULL, NULL, x.data, t.data, count, how), all, 4, "the sum by itself");
    expect_close(table->pointwise.loss_row(NULL, slopes.data, x.data, t.data, count, how), all, 4,
                 "the sum beside slopes");
    guarded_free(x);
    guarded_free(t);
    guarded_free(losses);
    guarded_free(slopes);
}

void check_loss_row(void)
{
    static const fc_loss all[] = {
        {.formula = FC_LOSS_SQUARE, .times = 2, .slope_times = 0.5},
        {.formula = FC_LOSS_ABSOLUTE, .times = 2, .slope_times = 0.5},
        {.formula = FC_LOSS_HUBER, .a = 0.7, .times = 2, .slope_times = 0.5},
        {.formula = FC_LOSS_LOGISTIC, .a = 3, .times = 2, .slope_times = 0.5},
    };
    for (int side = AT_START; side <= AT_END; side++)
        for (int i = 0; i < COUNT(all); i++)
            for (int64_t count = 0; count <= 5 * table->lanes; count++) check_losses(count, &all[i], side);
}
