/* NEON of aarch64: 32 vectors of 16 bytes. */
#ifndef FC_ISA_H
#define FC_ISA_H

#define FC_IN_REGISTER "+w"

#include "plain.h"

enum { ROWS = 12, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 4 ? 6 : (rows) <= 6 ? 4 : (rows) <= 8 ? 3 : 2)
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) \
    CASE(11) CASE(12)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(13) CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) \
    CASE(21) CASE(22) CASE(23) CASE(24)

enum { DOT_ROWS = 4 };
#define DOT_COLUMNS(R) ((R) == 4 ? 5 : 6)
#define EACH_DOT_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4)

enum { TILE_ROWS = 4, TILE_VECTORS = 2 };
#define EACH_TILE_HEIGHT(EACH) EACH(1) EACH(2) EACH(4)

#endif
