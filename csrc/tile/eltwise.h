/* Passes that training makes over rows of adjacent reals: gradients of activations with their sums, and steps. */
#ifndef FC_ELTWISE_H
#define FC_ELTWISE_H

#include "../fc_api.h"
#include "simd.h"

enum { SUM_VECTORS = 16 };  /* vectors added up in their own precision, before their sum joins those in double */

/* The gradient in front of an activation, from the gradient behind it and the activation's output. */
INLINE vec activation_gradient(vec output, vec gradient, int activation, real slope)
{
    const vec zero = {0};
    switch (activation) {
    case FC_RELU: return choose((ivec)(output <= zero), zero, gradient);
    case FC_LEAKY_RELU: return choose((ivec)(output > zero), gradient, slope * gradient);
    case FC_RELU6: return choose((ivec)((output <= zero) | (output >= splat(6))), zero, gradient);
    default: return gradient;
    }
}

INLINE double total(vec sums)
{
    double sum = 0;
    UNROLL
    for (int i = 0; i < LANES; i++) sum += (double)sums[i];
    return sum;
}

INLINE double gradient_of(real *out, const real *output, const real *gradient, int64_t count, int activation,
                          real slope)
{
    double sum = 0;
    int64_t i = 0;
    while (i < count) {
        vec sums = {0};
        const int64_t most = SUM_VECTORS * LANES, full = i + (count - i < most ? (count - i) / LANES * LANES : most);
        for (; i < full; i += LANES) {
            const vec g = activation_gradient(load(output + i), load(gradient + i), activation, slope);
            if (out) store(out + i, g);
            sums += g;
        }
        if (count - i < LANES && count > i) {
            const int rest = (int)(count - i);
            const vec g = activation_gradient(load_first(output + i, rest), load_first(gradient + i, rest), activation,
                                              slope);
            if (out) store_first(out + i, g, rest);
            sums += g;
            i = count;
        }
        sum += total(sums);
    }
    return sum;
}

static double gradient_row(void *out, const void *output, const void *gradient, int64_t count, int activation,
                           double slope)
{
    if (!out) return gradient_of(NULL, gradient, gradient, count, FC_IDENTITY, 0);
    switch (activation) {  /* a loop for each, without a choice inside */
    case FC_RELU: return gradient_of(out, output, gradient, count, FC_RELU, 0);
    case FC_LEAKY_RELU: return gradient_of(out, output, gradient, count, FC_LEAKY_RELU, (real)slope);
    case FC_RELU6: return gradient_of(out, output, gradient, count, FC_RELU6, 0);
    default: return gradient_of(out, gradient, gradient, count, FC_IDENTITY, 0);
    }
}

static void descend(void *value, void *velocity, const void *gradient, int64_t count, const fc_descent *how)
{
    real *x = value, *v = velocity;
    const real *g = gradient;
    const real rate = (real)how->rate, momentum = (real)how->momentum, decay = (real)how->decay;
    for (int64_t i = 0; i < count; i += LANES) {
        const int lanes = count - i < LANES ? (int)(count - i) : LANES;
        const mask m = first_lanes(lanes);
        const vec before = load_masked(x + i, m);
        vec step = load_masked(g + i, m);
        if (decay != 0) step += decay * before;
        if (v) {
            const vec speed = momentum * load_masked(v + i, m) + step;
            store_masked(v + i, speed, m);
            step = how->nesterov ? step + momentum * speed : speed;
        }
        store_masked(x + i, before - rate * step, m);
    }
}

#endif
