/* Passes over rows against plain loops. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static real gradient_at(real output, real gradient, int activation, real slope)
{
    switch (activation) {
    case FC_RELU: return output <= 0 ? 0 : gradient;
    case FC_LEAKY_RELU: return output > 0 ? gradient : slope * gradient;
    case FC_RELU6: return output <= 0 || output >= 6 ? 0 : gradient;
    default: return gradient;
    }
}

static void check_row(int64_t count, int activation, enum side side)
{
    const guarded output = guarded_new(count, side), gradient = guarded_new(count, side);
    const guarded out = guarded_new(count, side), expected = guarded_new(count, side);
    fill_integers(output.data, count);
    fill_integers(gradient.data, count);
    for (int64_t i = 0; i < count; i++) output.data[i] *= 2;  /* beyond 6, and at it */
    if (count > 2) {
        output.data[count / 2] = (real)NAN;
        output.data[0] = 0;
        gradient.data[0] = (real)INFINITY;  /* where the slope is 0 it must not come through */
    }
    double sum = 0, all = 0;
    for (int64_t i = 0; i < count; i++) {
        expected.data[i] = gradient_at(output.data[i], gradient.data[i], activation, (real)0.5);
        sum += (double)expected.data[i];
        all += (double)gradient.data[i];
    }
    describe("gradient_row, %lld elements, activation %d", (long long)count, activation);
    const double got = table->pointwise.gradient_row(out.data, output.data, gradient.data, count, activation, 0.5);
    expect_same(out.data, expected.data, count);
    if (got != sum) fail("sum %g, not %g", got, sum);
    describe("gradient_row, %lld elements, only the sum", (long long)count);
    const double only = table->pointwise.gradient_row(NULL, NULL, gradient.data, count, activation, 0.5);
    if (only != all) fail("sum %g, not %g", only, all);
    guarded_free(output);
    guarded_free(gradient);
    guarded_free(out);
    guarded_free(expected);
}

void check_gradient_row(void)
{
    for (int side = AT_START; side <= AT_END; side++)
        for (int activation = FC_IDENTITY; activation <= FC_RELU6; activation++)
            for (int64_t count = 0; count <= 40 * table->lanes; count += 1 + random_below(2 * table->lanes))
                check_row(count, activation, side);
}

static void check_step(int64_t count, int moving, const fc_descent *how, enum side side)
{
    const guarded value = guarded_new(count, side), velocity = guarded_new(count, side);
    const guarded gradient = guarded_new(count, side);
    const guarded value_after = guarded_new(count, side), velocity_after = guarded_new(count, side);
    fill_integers(value.data, count);
    fill_integers(velocity.data, count);
    fill_integers(gradient.data, count);
    for (int64_t i = 0; i < count; i++) {
        const double g = (double)gradient.data[i] + how->decay * (double)value.data[i];
        const double v = moving ? how->momentum * (double)velocity.data[i] + g : g;
        velocity_after.data[i] = moving ? (real)v : velocity.data[i];
        value_after.data[i] = (real)((double)value.data[i] - how->rate * (how->nesterov ? g + how->momentum * v : v));
    }
    describe("descend, %lld elements, momentum %d, nesterov %d", (long long)count, moving, how->nesterov);
    table->pointwise.descend(value.data, moving ? velocity.data : NULL, gradient.data, count, how);
    expect_same(value.data, value_after.data, count);
    expect_same(velocity.data, velocity_after.data, count);
    guarded_free(value);
    guarded_free(velocity);
    guarded_free(gradient);
    guarded_free(value_after);
    guarded_free(velocity_after);
}

void check_descend(void)
{
    static const fc_descent hows[] = {
        {.rate = 0.25, .momentum = 0.5},
        {.rate = 0.25, .momentum = 0.5, .decay = 0.125},
        {.rate = 0.5, .momentum = 0.25, .nesterov = 1},
    };
    for (int side = AT_START; side <= AT_END; side++)
        for (int h = 0; h < COUNT(hows); h++)
            for (int64_t count = 0; count <= 5 * table->lanes; count += 1 + random_below(table->lanes)) {
                check_step(count, 1, &hows[h], side);
                if (!hows[h].nesterov) check_step(count, 0, &hows[h], side);
            }
}
