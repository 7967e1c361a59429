/* Winograd's minimal filtering F(m, r) along one axis: m outputs of an r-tap filter from m + r - 1 multiplications
 * instead of r m. F(2, 3), F(4, 3) and F(3, 2).
 *
 *     outputs = A^T [ (G taps) . (B^T inputs) ]        nested for two axes
 *
 * The matrices follow from the points where polynomials are evaluated, 0, +-p (, +-q) and infinity; rows of +-p share
 * their even and odd halves. With points +-5/8, +-3/2 F(4, 3) has less than half the rounding error it has with the
 * customary +-1, +-2.
 *
 * Lavin & Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308; the construction from
 * points: Blahut, "Fast algorithms for signal processing", 2010, ch. 5.
 */
#ifndef FC_WINOGRAD_AXIS_H
#define FC_WINOGRAD_AXIS_H

#include "../fc_api.h"
#include "simd.h"

#define TILE_TAPS(m) ((m) == 1 ? 1 : (m) == 3 ? 2 : 3)
#define TILE_MORE(m) (TILE_TAPS(m) - 1)     /* inputs than outputs of a tile along one axis */
#define TILE_SPAN(m) ((m) + TILE_MORE(m))  /* inputs, and points */
#define MAX_SPAN FC_MAX_SPAN

enum { MAX_TILE = 4 };

#define P ((real)0.625)
#define Q ((real)1.5)

/* A: m gradients of outputs to as many values as there are points. */
INLINE void winograd_grad_output_1d(int m, const vec *y, int from, vec *v, int to)
{
    if (m == 1) {
        v[0] = y[0];
    } else if (m == 2) {
        v[0 * to] = y[0];
        v[1 * to] = y[0] + y[1 * from];
        v[2 * to] = y[0] - y[1 * from];
        v[3 * to] = y[1 * from];
    } else if (m == 3) {
        const vec even = y[0] + y[2 * from];
        v[0 * to] = y[0];
        v[1 * to] = even + y[1 * from];
        v[2 * to] = even - y[1 * from];
        v[3 * to] = y[2 * from];
    } else {
        const vec p_even = y[0] + (P * P) * y[2 * from], p_odd = P * y[1 * from] + (P * P * P) * y[3 * from];
        const vec q_even = y[0] + (Q * Q) * y[2 * from], q_odd = Q * y[1 * from] + (Q * Q * Q) * y[3 * from];
        v[0 * to] = y[0];
        v[1 * to] = p_even + p_odd;
        v[2 * to] = p_even - p_odd;
        v[3 * to] = q_even + q_odd;
        v[4 * to] = q_even - q_odd;
        v[5 * to] = y[3 * from];
    }
}

/* G^T: sums of products to the gradients of the taps. */
INLINE void winograd_grad_weight_1d(int m, const vec *u, int from, vec *g, int to)
{
    if (m == 1) {
        g[0] = u[0];
    } else if (m == 2) {
        const vec even = (real)0.5 * (u[1 * from] + u[2 * from]);
        g[0 * to] = even - u[0];
        g[1 * to] = (real)0.5 * (u[1 * from] - u[2 * from]);
        g[2 * to] = even + u[3 * from];
    } else if (m == 3) {
        g[0 * to] = (real)0.5 * (u[1 * from] + u[2 * from]) - u[0];
        g[1 * to] = (real)0.5 * (u[1 * from] - u[2 * from]) + u[3 * from];
    } else {
        const real p_scale = 1 / (2 * P * P * (P * P - Q * Q)), q_scale = 1 / (2 * Q * Q * (Q * Q - P * P));
        const vec p_even = p_scale * (u[1 * from] + u[2 * from]), q_even = q_scale * (u[3 * from] + u[4 * from]);
        g[0 * to] = (1 / (P * P * Q * Q)) * u[0] + (p_even + q_even);
        g[1 * to] = (p_scale * P) * (u[1 * from] - u[2 * from]) + (q_scale * Q) * (u[3 * from] - u[4 * from]);
        g[2 * to] = u[5 * from] + ((P * P) * p_even + (Q * Q) * q_even);
    }
}

/* B^T: inputs, `from` apart, to as many values, `to` apart. m == 1 stands for an axis without taps. */
INLINE void winograd_input_1d(int m, const vec *d, int from, vec *v, int to)
{
    if (m == 1) {
        v[0] = d[0];
    } else if (m <= 3) {
        v[0 * to] = d[2 * from] - d[0];
        v[1 * to] = d[2 * from] + d[1 * from];
        v[2 * to] = d[2 * from] - d[1 * from];
        v[3 * to] = d[3 * from] - d[1 * from];
    } else {
        const vec p_even = d[4 * from] - (Q * Q) * d[2 * from], p_odd = d[3 * from] - (Q * Q) * d[1 * from];
        const vec q_even = d[4 * from] - (P * P) * d[2 * from], q_odd = d[3 * from] - (P * P) * d[1 * from];
        v[0 * to] = d[4 * from] - (P * P + Q * Q) * d[2 * from] + (P * P * Q * Q) * d[0];
        v[1 * to] = p_even + P * p_odd;
        v[2 * to] = p_even - P * p_odd;
        v[3 * to] = q_even + Q * q_odd;
        v[4 * to] = q_even - Q * q_odd;
        v[5 * to] = d[5 * from] - (P * P + Q * Q) * d[3 * from] + (P * P * Q * Q) * d[1 * from];
    }
}

/* A^T: products to m outputs. */
INLINE void winograd_output_1d(int m, const vec *v, int from, vec *y, int to)
{
    if (m == 1) {
        y[0] = v[0];
    } else if (m == 2) {
        y[0 * to] = v[0] + (v[1 * from] + v[2 * from]);
        y[1 * to] = v[3 * from] + (v[1 * from] - v[2 * from]);
    } else if (m == 3) {
        const vec even = v[1 * from] + v[2 * from];
        y[0 * to] = v[0] + even;
        y[1 * to] = v[1 * from] - v[2 * from];
        y[2 * to] = v[3 * from] + even;
    } else {
        const vec p_sum = v[1 * from] + v[2 * from], p_difference = v[1 * from] - v[2 * from];
        const vec q_sum = v[3 * from] + v[4 * from], q_difference = v[3 * from] - v[4 * from];
        y[0 * to] = v[0] + (p_sum + q_sum);
        y[1 * to] = P * p_difference + Q * q_difference;
        y[2 * to] = (P * P) * p_sum + (Q * Q) * q_sum;
        y[3 * to] = v[5 * from] + ((P * P * P) * p_difference + (Q * Q * Q) * q_difference);
    }
}

/* G: taps to values. */
INLINE void winograd_weight_1d(int m, const vec *g, int from, vec *u, int to)
{
    if (m == 1) {
        u[0] = g[0];
    } else if (m == 2) {
        const vec even = (real)0.5 * (g[0] + g[2 * from]), odd = (real)0.5 * g[1 * from];
        u[0 * to] = -g[0];
        u[1 * to] = even + odd;
        u[2 * to] = even - odd;
        u[3 * to] = g[2 * from];
    } else if (m == 3) {
        u[0 * to] = -g[0];
        u[1 * to] = (real)0.5 * (g[0] + g[1 * from]);
        u[2 * to] = (real)0.5 * (g[0] - g[1 * from]);
        u[3 * to] = g[1 * from];
    } else {
        const real p_scale = 1 / (2 * P * P * (P * P - Q * Q)), q_scale = 1 / (2 * Q * Q * (Q * Q - P * P));
        const vec p_even = p_scale * (g[0] + (P * P) * g[2 * from]), p_odd = (p_scale * P) * g[1 * from];
        const vec q_even = q_scale * (g[0] + (Q * Q) * g[2 * from]), q_odd = (q_scale * Q) * g[1 * from];
        u[0 * to] = (1 / (P * P * Q * Q)) * g[0];
        u[1 * to] = p_even + p_odd;
        u[2 * to] = p_even - p_odd;
        u[3 * to] = q_even + q_odd;
        u[4 * to] = q_even - q_odd;
        u[5 * to] = g[2 * from];
    }
}

#undef P
#undef Q

#endif
