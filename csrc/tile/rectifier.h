/* The activations that convolutions apply on the way to memory; the activations' own pass takes the same. */
#ifndef FC_RECTIFIER_H
#define FC_RECTIFIER_H

#include "simd.h"

/* Comparisons are false for NaN, which therefore passes through. */
INLINE vec relu(vec x) { return choose(x < (vec){0}, (vec){0}, x); }

INLINE vec leaky_relu(vec x, vec slope) { return choose(x < (vec){0}, x * slope, x); }

INLINE vec relu6(vec x)
{
    const vec six = (vec){0} + (real)6;
    x = relu(x);
    return choose(x > six, six, x);
}

#endif
