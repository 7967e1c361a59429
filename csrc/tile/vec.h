/* Vectors of one width, and how loops over their lanes are compiled: what the headers of csrc/isa build on.
 *
 * Compile with -DFC_REAL_BYTES=4 or 8; FC_VECTOR_BYTES is the instruction set's.
 */
#ifndef FC_VEC_H
#define FC_VEC_H

#include <stdint.h>
#include <string.h>

#if FC_REAL_BYTES == 4
typedef float real;
typedef int32_t lane_index;
#else
typedef double real;
typedef int64_t lane_index;
#endif

enum { LANES = FC_VECTOR_BYTES / (int)sizeof(real) };

typedef real vec __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef real unaligned_vec __attribute__((vector_size(FC_VECTOR_BYTES), aligned(sizeof(real)), may_alias));
typedef lane_index ivec __attribute__((vector_size(FC_VECTOR_BYTES)));
typedef uint8_t byte_vec __attribute__((vector_size(FC_VECTOR_BYTES / FC_REAL_BYTES)));  /* one byte per lane */

/* A vector in double precision, in as many parts as that takes. */
enum { PARTS = (int)(sizeof(double) / sizeof(real)) };
typedef double double_vec __attribute__((vector_size(FC_VECTOR_BYTES)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed"  /* a loop that Clang leaves as it is costs speed, no more */
#define UNROLL _Pragma("clang loop unroll(full)")
#define ROLLED _Pragma("clang loop unroll(disable)")  /* lane by lane, without a copy of the code for each */
#else
#define UNROLL _Pragma("GCC unroll 16")
#define ROLLED _Pragma("GCC unroll 1")
#endif

INLINE vec load(const real *p) { return *(const unaligned_vec *)p; }
INLINE void store(real *p, vec v) { *(unaligned_vec *)p = v; }

/* Lane-wise condition ? yes : no; a condition lane is all ones or all zeros. */
INLINE vec choose(ivec condition, vec yes, vec no)
{
    return (vec)(((ivec)yes & condition) | ((ivec)no & ~condition));
}

#endif
