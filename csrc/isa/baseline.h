/* Any machine, on x86-64 SSE2: 16 vectors of 16 bytes, no fused multiply-add. */
#ifndef FC_ISA_H
#define FC_ISA_H

#if defined(__x86_64__)
#define FC_IN_REGISTER "+v"
#else
#define FC_IN_REGISTER "+m"  /* anywhere: of a machine unknown, vectors may have no registers */
#endif

#include "plain.h"

enum { ROWS = 6, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 2 ? 4 : (rows) <= 3 ? 3 : 2)
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)

enum { DOT_ROWS = 2 };
#define DOT_COLUMNS(R) ((R) == 2 ? 5 : 6)
#define EACH_DOT_ROW_COUNT(CASE) CASE(1) CASE(2)

enum { TILE_ROWS = 2, TILE_VECTORS = 2 };
#define EACH_TILE_HEIGHT(EACH) EACH(1) EACH(2)

#endif
