/* Conditions as vectors, all ones or all zeros per lane: of instruction sets without mask registers. */
#ifndef FC_FLAGS_H
#define FC_FLAGS_H

#include "../tile/vec.h"

typedef ivec flags;

INLINE vec choose_by(flags f, vec yes, vec no) { return choose(f, yes, no); }
INLINE ivec choose_index_by(flags f, ivec yes, ivec no) { return (yes & f) | (no & ~f); }
INLINE vec add_where(flags f, vec a, vec b) { return a + (vec)((ivec)b & f); }

INLINE flags exceeds(vec value, vec best) { return ~(ivec)(value <= best) & (ivec)(best == best); }
INLINE flags greater(vec a, vec b) { return (ivec)(a > b); }
INLINE flags not_at_most(vec a, vec b) { return ~(ivec)(a <= b); }
INLINE flags places_below(ivec a, ivec b) { return (ivec)(a < b); }

INLINE flags bytes_equal(const uint8_t *p, int value)
{
    byte_vec b;
    memcpy(&b, p, sizeof b);
    return (ivec)(__builtin_convertvector(b, ivec) == value);
}

#endif
