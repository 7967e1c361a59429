/* Activations and their gradients over rows of adjacent reals.
 *
 * A row's end goes through the same vector code as the rest of it, with lanes that are not there: the bits of an
 * element do not depend on where it lies. Formulas are arranged so that nothing overflows, cancels or becomes
 * 0 * infinity on the way to a finite result; beyond the clamped ranges a function is at its limit.
 */
#ifndef FC_ACTIVATION_H
#define FC_ACTIVATION_H

#include "../fc_api.h"
#include "exponential.h"
#include "rectifier.h"

/* Parameters in the precision of the data. */
typedef struct settings {
    real a, b, c;
} settings;

static const real GELU_CUBE = (real)0.044715, GELU_TWICE_ROOT = (real)1.59576912160573071;  /* 2 sqrt(2 / pi) */
static const real GELU_TANH_END = 30;  /* the exponent of the tanh form is -2000 there */

/* sigmoid(x) as (above 0 ? 1 : exp(x)) / (1 + exp(-|x|)). */
typedef struct logistic {
    flags positive;
    scaled e;        /* exp(-|x|) */
    vec inverse;     /* 1 / (1 + e) */
} logistic;

INLINE logistic logistic_of(vec x)
{
    const scaled e = exp_scaled(-magnitude(x), (vec){0});
    return (logistic){greater(x, (vec){0}), e, 1 / (1 + e.value * e.scale)};
}

/* factor * sigmoid(x). */
INLINE vec times_logistic(vec factor, vec x)
{
    const scaled e = exp_scaled(-magnitude(x), (vec){0});
    const flags positive = greater(x, (vec){0});
    const vec top = choose_by(positive, factor, factor * e.value), bottom = 1 + e.value * e.scale;
    return top / bottom * choose_by(positive, splat(1), e.scale);
}

/* factor * sigmoid'(x). */
INLINE vec times_logistic_slope(vec factor, vec x)
{
    const logistic s = logistic_of(x);
    return factor * (s.e.value * (s.inverse * s.inverse)) * s.e.scale;
}

/* gradient * (s + w s'), with s = sigmoid(x): the slope of v * sigmoid(x) by v is that with w = v dx/dv. */
INLINE vec times_gated_slope(vec gradient, vec w, vec x)
{
    const logistic s = logistic_of(x);
    const vec through = choose_by(s.positive, w * (s.e.value * s.e.scale), w);
    const vec share = choose_by(s.positive, splat(1), s.e.value) * s.inverse;
    return gradient * (share * (1 + through * s.inverse)) * choose_by(s.positive, splat(1), s.e.scale);
}

INLINE vec softplus(vec x, const settings *set)  /* a: beta, b: threshold */
{
    const vec z = set->a * x;
    const vec soft = log1p_of(exp_of(-magnitude(z))) / set->a + choose_by(greater(z, (vec){0}), x, (vec){0});
    return choose_by(greater(z, splat(set->b)), x, soft);
}

/* tanh(softplus(x)) = n / (n + 2) with n = w (w + 2) and w = exp(x); for x > 0 all of it times exp(-2x). */
typedef struct mish_parts {
    flags positive;
    scaled e;  /* exp(-|x|) */
    vec whole, top, inverse;
} mish_parts;

INLINE mish_parts mish_of(vec x)
{
    const scaled e = exp_scaled(-magnitude(x), (vec){0});
    const flags positive = greater(x, (vec){0});
    const vec whole = e.value * e.scale;
    const vec top = choose_by(positive, 1 + 2 * whole, 2 + whole);
    const vec bottom = choose_by(positive, top + 2 * (whole * whole), whole * top + 2);
    return (mish_parts){positive, e, whole, top, 1 / bottom};
}

INLINE vec mish(vec x)
{
    x = at_least(splat(EXP_LOW), x);
    const mish_parts p = mish_of(x);
    const vec share = x * (choose_by(p.positive, splat(1), p.e.value) * (p.top * p.inverse));
    return share * choose_by(p.positive, splat(1), p.e.scale);
}

INLINE vec times_mish_slope(vec gradient, vec x)
{
    x = between(EXP_LOW, -EXP_LOW, x);
    const mish_parts p = mish_of(x);
    const vec square = choose_by(p.positive, p.whole * p.whole, splat(1));
    const vec through = 4 * x * ((1 + p.whole) * square * p.inverse);
    const vec share = choose_by(p.positive, splat(1), p.e.value) * (p.inverse * (p.top + through));
    return gradient * share * choose_by(p.positive, splat(1), p.e.scale);
}

INLINE vec gelu(vec x)  /* x Phi(x), and beyond 0 that is x - x Phi(-x) */
{
    const vec z = at_most(splat(NORMAL_END), magnitude(x));
    return at_least((vec){0}, x) - (z * normal_tail_of(z).tail) * NORMAL_SCALE;
}

INLINE vec times_gelu_slope(vec gradient, vec x)
{
    const vec z = at_most(splat(NORMAL_END), magnitude(x));
    const normal_tail n = normal_tail_of(z);
    const vec slope = n.tail - (z * INVERSE_ROOT_TWO_PI) * n.density;  /* at -z */
    return choose_by(greater(x, (vec){0}), gradient * (1 - slope * NORMAL_SCALE), gradient * slope * NORMAL_SCALE);
}

INLINE vec gelu_exponent(vec x) { return x * (GELU_TWICE_ROOT + (GELU_TWICE_ROOT * GELU_CUBE) * (x * x)); }

INLINE vec gelu_tanh(vec x)
{
    x = at_least(splat(-GELU_TANH_END), x);
    return times_logistic(x, gelu_exponent(at_most(splat(GELU_TANH_END), x)));
}

INLINE vec times_gelu_tanh_slope(vec gradient, vec x)
{
    x = between(-GELU_TANH_END, GELU_TANH_END, x);
    const vec slope = GELU_TWICE_ROOT + (3 * GELU_TWICE_ROOT * GELU_CUBE) * (x * x);
    return times_gated_slope(gradient, x * slope, gelu_exponent(x));
}

INLINE vec elu(vec x, const settings *set)  /* a: scale, b: scale * alpha, c: width */
{
    return choose_by(greater(x, (vec){0}), set->a * x, set->b * expm1_of(x / set->c));
}

INLINE vec times_elu_slope(vec gradient, vec x, const settings *set)  /* a: scale, b: slope left of 0, c: width */
{
    const scaled e = exp_scaled(x / set->c, (vec){0});
    return choose_by(not_at_most(x, (vec){0}), set->a * gradient, gradient * (set->b * e.value) * e.scale);
}

INLINE vec hardswish(vec x)
{
    const vec sloped = x * (between(0, 6, x + 3) / 6);
    return choose_by(greater(splat(-3), x), splat((real)-0.0), sloped);
}

INLINE vec times_hardswish_slope(vec gradient, vec x)
{
    const vec sloped = choose_by(greater(splat(3), x), gradient * (x / 3 + (real)0.5), gradient);
    return choose_by(not_at_most(x, splat(-3)), sloped, (vec){0});
}

INLINE vec softsign(vec x)
{
    x = between((real)-1e30, (real)1e30, x);  /* where it is 1 already, and infinity over infinity not far */
    return x / (1 + magnitude(x));
}

INLINE vec times_softsign_slope(vec gradient, vec x)
{
    const vec inverse = 1 / (1 + magnitude(x));
    return gradient * inverse * inverse;
}

INLINE vec times_tanh_square(vec gradient, vec x)
{
    const vec t = tanh_of(x);
    return gradient * t * t;
}

/* gradient where low < x < high or x is NaN, else 0. */
INLINE vec where_inside(vec gradient, vec x, real low, real high)
{
    const vec above = choose_by(not_at_most(x, splat(low)), gradient, (vec){0});
    return choose_by(not_at_most(splat(high), x), above, (vec){0});
}

/* ---- rows ---------------------------------------------------------------------------------------- */

/* The parameters of an activation, where it has any, are named in fc_api.h. */
INLINE vec value_at(vec x, vec slope, int activation, const settings *set)
{
    const vec zero = {0};
    switch (activation) {
    case FC_RELU: return relu(x);
    case FC_LEAKY_RELU: return leaky_relu(x, splat(set->a));
    case FC_RELU6: return relu6(x);
    case FC_PRELU: return leaky_relu(x, slope);
    case FC_HARDTANH: return between(set->a, set->b, x);
    case FC_THRESHOLD: return choose_by(not_at_most(x, splat(set->a)), x, splat(set->b));
    case FC_HARDSIGMOID: return between(0, 6, x + 3) / 6;
    case FC_HARDSWISH: return hardswish(x);
    case FC_SOFTSHRINK: return x - between(-set->a, set->a, x);
    case FC_HARDSHRINK: return choose_by(not_at_most(magnitude(x), splat(set->a)), x, zero);
    case FC_SIGMOID: return times_logistic(splat(1), x);
    case FC_TANH: return tanh_of(x);
    case FC_LOGSIGMOID: return at_most(zero, x) - log1p_of(exp_of(-magnitude(x)));
    case FC_SOFTSIGN: return softsign(x);
    case FC_TANHSHRINK: return tanhshrink_of(x);
    case FC_SOFTPLUS: return softplus(x, set);
    case FC_ELU: return elu(x, set);
    case FC_SILU: x = at_least(splat(EXP_LOW), x); return times_logistic(x, x);
    case FC_MISH: return mish(x);
    case FC_GELU: return gelu(x);
    case FC_GELU_TANH: return gelu_tanh(x);
    default: return x;
    }
}

INLINE vec gradient_at(vec g, vec x, vec slope, int activation, const settings *set)
{
    const vec zero = {0};
    switch (activation) {
    case FC_RELU: return choose_by(not_at_most(x, zero), g, zero);
    case FC_LEAKY_RELU: return choose_by(greater(x, zero), g, set->a * g);
    case FC_RELU6: return where_inside(g, x, 0, 6);
    case FC_PRELU: return choose_by(greater(x, zero), g, slope * g);
    case FC_PRELU_SLOPE: return choose_by(greater(x, zero), zero, x * g);
    case FC_HARDTANH: return where_inside(g, x, set->a, set->b);
    case FC_THRESHOLD: return choose_by(not_at_most(x, splat(set->a)), g, zero);
    case FC_HARDSIGMOID: return choose_by(greater(splat(3), magnitude(x)), g / 6, zero);
    case FC_HARDSWISH: return times_hardswish_slope(g, x);
    case FC_SOFTSHRINK:
    case FC_HARDSHRINK: return choose_by(not_at_most(magnitude(x), splat(set->a)), g, zero);
    case FC_SIGMOID: return times_logistic_slope(g, x);
    case FC_TANH: return 4 * times_logistic_slope(g, 2 * x);
    case FC_LOGSIGMOID: return times_logistic(g, -x);
    case FC_SOFTSIGN: return times_softsign_slope(g, x);
    case FC_TANHSHRINK: return times_tanh_square(g, x);
    case FC_SOFTPLUS: return choose_by(greater(set->a * x, splat(set->b)), g, times_logistic(g, set->a * x));
    case FC_ELU: return times_elu_slope(g, x, set);
    case FC_SILU: return times_gated_slope(g, between(EXP_LOW, -EXP_LOW, x), x);
    case FC_MISH: return times_mish_slope(g, x);
    case FC_GELU: return times_gelu_slope(g, x);
    case FC_GELU_TANH: return times_gelu_tanh_slope(g, x);
    default: return g;
    }
}

INLINE void activate_row(real *out, const real *input, const real *gradient, const real *slopes, int64_t count,
                         int activation, const settings *set)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int n = count - i < LANES ? (int)(count - i) : LANES;
        const vec x = load_up_to(input + i, n), slope = slopes ? load_up_to(slopes + i, n) : (vec){0};
        const vec y = gradient ? gradient_at(load_up_to(gradient + i, n), x, slope, activation, set)
                               : value_at(x, slope, activation, set);
        store_up_to(out + i, y, n);
    }
}

/* A loop for each activation, without a choice inside. */
#define EACH_ACTIVATION(ROW)                                                                                    \
    ROW(FC_RELU) ROW(FC_LEAKY_RELU) ROW(FC_RELU6) ROW(FC_HARDTANH) ROW(FC_THRESHOLD) ROW(FC_HARDSIGMOID)         \
    ROW(FC_HARDSWISH) ROW(FC_SOFTSHRINK) ROW(FC_HARDSHRINK) ROW(FC_SIGMOID) ROW(FC_TANH) ROW(FC_LOGSIGMOID)      \
    ROW(FC_SOFTSIGN) ROW(FC_TANHSHRINK) ROW(FC_SOFTPLUS) ROW(FC_ELU) ROW(FC_SILU) ROW(FC_MISH) ROW(FC_GELU)      \
    ROW(FC_GELU_TANH)

static void activate_values(void *out, const void *input, const void *slopes, int64_t count, const fc_pointwise *how)
{
    const settings set = {(real)how->a, (real)how->b, (real)how->c};
#define ROW(activation) \
    case activation: activate_row(out, input, NULL, NULL, count, activation, &set); break;
    switch (how->activation) {
        EACH_ACTIVATION(ROW)
    case FC_PRELU: activate_row(out, input, NULL, slopes, count, FC_PRELU, &set); break;
    }
#undef ROW
}

static void activate_gradient(void *out, const void *input, const void *gradient, const void *slopes, int64_t count,
                              const fc_pointwise *how)
{
    const settings set = {(real)how->a, (real)how->b, (real)how->c};
#define ROW(activation) \
    case activation: activate_row(out, input, gradient, NULL, count, activation, &set); break;
    switch (how->activation) {
        EACH_ACTIVATION(ROW)
    case FC_PRELU: activate_row(out, input, gradient, slopes, count, FC_PRELU, &set); break;
    case FC_PRELU_SLOPE: activate_row(out, input, gradient, NULL, count, FC_PRELU_SLOPE, &set); break;
    }
#undef ROW
}

#endif
