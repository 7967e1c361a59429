/* Vectors of 16 bytes without masks: parts of one go lane by lane. */
#ifndef FC_PLAIN_H
#define FC_PLAIN_H

#define FC_VECTOR_BYTES 16
#define FC_MASKS 0

#include "../tile/vec.h"
#include "flags.h"
#include "small.h"

typedef struct mask {
    int low, high;
} mask;
INLINE mask lane_range(int low, int high) { return (mask){low, high > low ? high : low}; }
INLINE mask first_lanes(int n) { return lane_range(0, n); }
INLINE vec load_masked(const real *p, mask m)
{
    if (m.low == 0 && m.high == LANES) return load(p);
    vec v = {0};
    for (int i = m.low; i < m.high; i++) {
        v[i] = p[i];
        __asm__ volatile("");  /* as in store_masked */
    }
    return v;
}
INLINE void store_masked(real *p, vec v, mask m)
{
    if (m.low == 0 && m.high == LANES) {
        store(p, v);
        return;
    }
    for (int i = m.low; i < m.high; i++) {
        p[i] = v[i];
        __asm__ volatile("");  /* no call of memcpy: vectors that live across a call live in memory */
    }
}
INLINE vec load_or(const real *p, mask m, vec fill)
{
    if (m.low == 0 && m.high == LANES) return load(p);
    for (int i = m.low; i < m.high; i++) fill[i] = p[i];
    return fill;
}

INLINE vec at_most(vec bound, vec x) { return choose((ivec)(bound < x), bound, x); }
INLINE vec at_least(vec bound, vec x) { return choose((ivec)(bound > x), bound, x); }

#if FC_REAL_BYTES == 4
typedef real half_vec __attribute__((vector_size(FC_VECTOR_BYTES / 2)));

INLINE double_vec load_part(const real *p)
{
    half_vec half;
    memcpy(&half, p, sizeof half);
    return __builtin_convertvector(half, double_vec);
}
INLINE double_vec widen(vec v, int index)
{
    half_vec half;
    memcpy(&half, (const char *)&v + index * sizeof half, sizeof half);
    return __builtin_convertvector(half, double_vec);
}
INLINE vec narrow(const double_vec *parts)
{
    vec v;
    UNROLL
    for (int i = 0; i < PARTS; i++) {
        const half_vec half = __builtin_convertvector(parts[i], half_vec);
        memcpy((char *)&v + i * sizeof half, &half, sizeof half);
    }
    return v;
}
#endif

INLINE double sum_in_pairs(double_vec v) { return v[0] + v[1]; }

#endif
