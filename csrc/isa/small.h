/* Shapes of depthwise tiles where vectors are few or masks are vectors: all instruction sets but AVX-512. */
#ifndef FC_SMALL_H
#define FC_SMALL_H

#define TILE_FUNCTIONS(R) TILE_FUNCTION(R, 1, 1) TILE_FUNCTION(R, 2, 1) TILE_FUNCTION(R, 2, 2)
#define TILE_ENTRY(R) {R, {depthwise_##R##x1_1, depthwise_##R##x2_1}, {depthwise_##R##x2_2}},
#define IN_PLACE 0

enum { GRADIENT_ROWS = 2, TAP_ROWS = 3, TAP_COLUMNS = 3, MASKS_ARE_VECTORS = 1 };
#define EACH_TAP_ROW_COUNT(EACH, S) EACH(1, S) EACH(2, S) EACH(3, S)
#define GRADIENT_FUNCTIONS(R, S) GRADIENT_FUNCTION(R, 1, S) GRADIENT_FUNCTION(R, 2, S) GRADIENT_FUNCTION(R, 3, S)
#define GRADIENT_ENTRY(R, S) \
    {depthwise_gradient_##R##x1_##S, depthwise_gradient_##R##x2_##S, depthwise_gradient_##R##x3_##S},

#endif
