/* Activations and their gradients against long double, with the error bound that functional/activation.py states. */
#include "check.h"

#include <float.h>
#include <math.h>

#define MOST 8  /* units in the last place */

static real ulp(long double x)
{
    const real size = (real)fabsl(x), next = FC_REAL_BYTES == 4 ? (real)nextafterf((float)size, INFINITY)
                                                                : (real)nextafter((double)size, INFINITY);
    return isinf(next) ? size - (FC_REAL_BYTES == 4 ? (real)nextafterf((float)size, 0) : (real)nextafter((double)size, 0))
                       : next - size;
}

static long double logistic(long double x) { return x > 0 ? 1 / (1 + expl(-x)) : expl(x) / (1 + expl(x)); }
static long double logistic_slope(long double x) { return logistic(x) * logistic(-x); }
static long double soft(long double x) { return fmaxl(x, 0) + log1pl(expl(-fabsl(x))); }
static long double normal(long double x) { return erfcl(-x * sqrtl(0.5L)) / 2; }
static long double exponent(long double x) { return 1.59576912160573071175978423973L * (x + 0.044715L * x * x * x); }

/* x - tanh(x) near 0, where long double has too few digits for the difference. */
static long double shrink_series(long double x)
{
    static const long double terms[] = {1 / 3.0L, -2 / 15.0L, 17 / 315.0L, -62 / 2835.0L, 1382 / 155925.0L,
                                        -21844 / 6081075.0L};
    long double sum = 0;
    for (int i = COUNT(terms) - 1; i >= 0; i--) sum = sum * x * x + terms[i];
    return x * x * x * sum;
}

/* tanh(softplus(x)) and its slope, from w = exp(x) or its inverse. */
static long double mish_share(long double x)
{
    const long double e = expl(-fabsl(x));
    return x > 0 ? (1 + 2 * e) / (1 + 2 * e + 2 * e * e) : e * (e + 2) / (e * (e + 2) + 2);
}
static long double mish_slope(long double x)
{
    const long double t = mish_share(x), e = expl(-fabsl(x));
    const long double square = x > 0 ? 4 * e * e * (1 + e) * (1 + e) / powl(1 + 2 * e + 2 * e * e, 2) : 4 * powl(1 + e, 2) / powl(e * (e + 2) + 2, 2);
    return t + x * logistic(x) * square;
}

static long double value_of(long double x, const fc_pointwise *how)
{
    const long double a = how->a, b = how->b, c = how->c;
    switch (how->activation) {
    case FC_RELU: return x < 0 ? 0 : x;
    case FC_LEAKY_RELU: return x < 0 ? (real)a * x : x;
    case FC_RELU6: return x < 0 ? 0 : x > 6 ? 6 : x;
    case FC_HARDTANH: return x < a ? a : x > b ? b : x;
    case FC_THRESHOLD: return x <= a ? b : x;
    case FC_HARDSIGMOID: return x < -3 ? 0 : x > 3 ? 1 : (x + 3) / 6;
    case FC_HARDSWISH: return x < -3 ? 0 : x > 3 ? x : x * (x + 3) / 6;
    case FC_SOFTSHRINK: return x > a ? x - a : x < -a ? x + a : 0;
    case FC_HARDSHRINK: return fabsl(x) <= a ? 0 : x;
    case FC_SIGMOID: return logistic(x);
    case FC_TANH: return tanhl(x);
    case FC_LOGSIGMOID: return -soft(-x);
    case FC_SOFTSIGN: return x / (1 + fabsl(x));
    case FC_TANHSHRINK: return fabsl(x) < 0.05L ? shrink_series(x) : x - tanhl(x);
    case FC_SOFTPLUS: return a * x > b ? x : soft(a * x) / a;
    case FC_ELU: return x > 0 ? (real)a * x : (real)b * expm1l(x / c);
    case FC_SILU: return x * logistic(x);
    case FC_MISH: return x * mish_share(x);
    case FC_GELU: return x * normal(x);
    default: return x * logistic(exponent(x));
    }
}

static long double slope_of(long double x, const fc_pointwise *how)
{
    const long double a = how->a, b = how->b, c = how->c, density = 0.39894228040143267793994605993438L;
    switch (how->activation) {
    case FC_RELU: return x > 0;
    case FC_LEAKY_RELU: return x > 0 ? 1 : (real)a;
    case FC_RELU6: return x > 0 && x < 6;
    case FC_HARDTANH: return x > a && x < b;
    case FC_THRESHOLD: return x > a;
    case FC_HARDSIGMOID: return x > -3 && x < 3 ? 1 / 6.0L : 0;
    case FC_HARDSWISH: return x <= -3 ? 0 : x < 3 ? x / 3 + 0.5L : 1;
    case FC_SOFTSHRINK:
    case FC_HARDSHRINK: return fabsl(x) > a;
    case FC_SIGMOID: return logistic_slope(x);
    case FC_TANH: return 4 * logistic_slope(2 * x);
    case FC_LOGSIGMOID: return logistic(-x);
    case FC_SOFTSIGN: return 1 / ((1 + fabsl(x)) * (1 + fabsl(x)));
    case FC_TANHSHRINK: return tanhl(x) * tanhl(x);
    case FC_SOFTPLUS: return a * x > b ? 1 : logistic(a * x);
    case FC_ELU: return x > 0 ? (real)a : (real)b * expl(x / c);
    case FC_SILU: return logistic(x) + x * logistic_slope(x);
    case FC_MISH: return mish_slope(x);
    case FC_GELU: return normal(x) + x * density * expl(-x * x / 2);
    default: return logistic(exponent(x))
                    + x * logistic_slope(exponent(x)) * 1.59576912160573071175978423973L * (1 + 3 * 0.044715L * x * x);
    }
}

static int crosses_zero(int activation)  /* its slope does, where two terms cancel */
{
    return activation == FC_SILU || activation == FC_MISH || activation == FC_GELU || activation == FC_HARDSWISH;
}

/* Arguments of all sizes: near 0, ordinary, and out to where results underflow. */
static void fill_arguments(real *x, int64_t count)
{
    static const real ends[] = {0.01, 1, 4, 30, FC_REAL_BYTES == 4 ? 110 : 760};
    fill_fractions(x, count);
    for (int64_t i = 0; i < count; i++) x[i] *= ends[random_below(COUNT(ends))];
}

static void check_values(const fc_pointwise *how, int gradient)
{
    enum { COUNT_OF = 4000 };
    static real x[COUNT_OF], ones[COUNT_OF], out[COUNT_OF];
    fill_arguments(x, COUNT_OF);
    for (int i = 0; i < COUNT_OF; i++) ones[i] = 1;
    describe("activation %d (%g, %g, %g)%s", how->activation, how->a, how->b, how->c, gradient ? ", gradient" : "");
    if (gradient) table->pointwise.activate_gradient(out, x, ones, NULL, COUNT_OF, how);
    else table->pointwise.activate(out, x, NULL, COUNT_OF, how);
    for (int i = 0; i < COUNT_OF; i++) {
        const long double expected = gradient ? slope_of(x[i], how) : value_of(x[i], how);
        long double most = MOST * ulp(expected);
        if (gradient && crosses_zero(how->activation) && fabs((double)x[i]) < 4) most += MOST * ulp(0.25L);
        if (how->activation == FC_HARDSWISH || how->activation == FC_HARDSIGMOID) most += MOST * ulp(0.25L);
        if (how->activation == FC_GELU_TANH) most += MOST * ulp(fmaxl(0.25L, fabsl(x[i])));
        if (!(fabsl(out[i] - expected) <= most))
            fail("at %.9g it is %.9g, expected %.9Lg", (double)x[i], (double)out[i], expected);
    }
}

/* The same bits wherever an element lies, nothing outside of the row touched, and NaN where one is. */
static void check_rows(const fc_pointwise *how, enum side side)
{
    enum { LONGEST = 40 };
    real x[LONGEST], g[LONGEST], value[LONGEST], slope[LONGEST];
    fill_arguments(x, LONGEST);
    fill_fractions(g, LONGEST);
    x[3] = (real)NAN;
    table->pointwise.activate(value, x, NULL, LONGEST, how);
    table->pointwise.activate_gradient(slope, x, g, NULL, LONGEST, how);
    for (int count = 0; count <= 2 * table->lanes + 1 && count <= LONGEST; count++) {
        const int first = (int)random_below(LONGEST - count + 1);
        const guarded in = guarded_new(count, side), behind = guarded_new(count, side), out = guarded_new(count, side);
        for (int i = 0; i < count; i++) in.data[i] = x[first + i], behind.data[i] = g[first + i];
        describe("activation %d, %d elements", how->activation, count);
        table->pointwise.activate(out.data, in.data, NULL, count, how);
        expect_same(out.data, value + first, count);
        table->pointwise.activate_gradient(out.data, in.data, behind.data, NULL, count, how);
        expect_same(out.data, slope + first, count);
        guarded_free(in);
        guarded_free(behind);
        guarded_free(out);
    }
    if (!isnan(value[3])) fail("NaN becomes %g", (double)value[3]);
}

static void check_slopes(void)
{
    enum { COUNT_OF = 37 };
    real x[COUNT_OF], g[COUNT_OF], slopes[COUNT_OF], out[COUNT_OF], expected[COUNT_OF];
    const fc_pointwise how = {.activation = FC_PRELU}, by_slope = {.activation = FC_PRELU_SLOPE};
    fill_integers(x, COUNT_OF);
    fill_integers(g, COUNT_OF);
    fill_integers(slopes, COUNT_OF);
    describe("prelu");
    for (int i = 0; i < COUNT_OF; i++) expected[i] = x[i] > 0 ? x[i] : slopes[i] * x[i];
    table->pointwise.activate(out, x, slopes, COUNT_OF, &how);
    expect_same(out, expected, COUNT_OF);
    for (int i = 0; i < COUNT_OF; i++) expected[i] = x[i] > 0 ? g[i] : slopes[i] * g[i];
    table->pointwise.activate_gradient(out, x, g, slopes, COUNT_OF, &how);
    expect_same(out, expected, COUNT_OF);
    for (int i = 0; i < COUNT_OF; i++) expected[i] = x[i] > 0 ? 0 : x[i] * g[i];
    table->pointwise.activate_gradient(out, x, g, NULL, COUNT_OF, &by_slope);
    expect_same(out, expected, COUNT_OF);
}

void check_activate(void)
{
    static const fc_pointwise all[] = {
        {.activation = FC_RELU},
        {.activation = FC_LEAKY_RELU, .a = 0.01},
        {.activation = FC_RELU6},
        {.activation = FC_HARDTANH, .a = -1, .b = 2},
        {.activation = FC_THRESHOLD, .a = 0.5, .b = -7},
        {.activation = FC_HARDSIGMOID},
        {.activation = FC_HARDSWISH},
        {.activation = FC_SOFTSHRINK, .a = 0.5},
        {.activation = FC_HARDSHRINK, .a = 0.5},
        {.activation = FC_SIGMOID},
        {.activation = FC_TANH},
        {.activation = FC_LOGSIGMOID},
        {.activation = FC_SOFTSIGN},
        {.activation = FC_TANHSHRINK},
        {.activation = FC_SOFTPLUS, .a = 1, .b = INFINITY},
        {.activation = FC_SOFTPLUS, .a = -2, .b = 3},
        {.activation = FC_ELU, .a = 1, .b = 1, .c = 1},
        {.activation = FC_ELU, .a = 1.0507009873554804934, .b = 1.7580993408473768599, .c = 1},
        {.activation = FC_ELU, .a = 1, .b = 2, .c = 2},
        {.activation = FC_SILU},
        {.activation = FC_MISH},
        {.activation = FC_GELU},
        {.activation = FC_GELU_TANH},
    };
    for (int i = 0; i < COUNT(all); i++) {
        check_values(&all[i], 0);
        check_values(&all[i], 1);
        check_rows(&all[i], AT_START);
        check_rows(&all[i], AT_END);
    }
    check_slopes();
}
