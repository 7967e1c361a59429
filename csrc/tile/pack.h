/* The packer: any strided block of the user's memory becomes part of a panel (see fc_api.h).
 *
 * One routine serves weights, im2col windows and gradients alike. Two memory orders are fast: neighbouring
 * panel columns adjacent in memory (copied) and neighbouring depths adjacent (transposed in registers).
 */
#include "simd.h"

INLINE void pack_adjacent_columns(real *panel, int64_t step, int64_t width, int64_t depth, const real *source,
                                  int64_t k_stride)
{
    const int64_t whole = width / LANES * LANES;
    const int tail = (int)(width - whole);
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < whole; i += LANES) store(panel + i, load(source + i));
        if (tail) store_first(panel + whole, load_first(source + whole, tail), tail);
        panel += step;
        source += k_stride;
    }
}

/* `width` <= LANES columns, each contiguous along the depth. */
INLINE void pack_adjacent_depths(real *panel, int64_t step, int width, int64_t depth, const real *source,
                                 int64_t i_stride)
{
    for (int64_t k = 0; k < depth; k += LANES) {
        const int depths = depth - k < LANES ? (int)(depth - k) : LANES;
        vec block[LANES];
        for (int i = 0; i < LANES; i++)
            block[i] = i < width ? load_first(source + i * i_stride + k, depths) : (vec){0};
        transpose(block);
        for (int l = 0; l < depths; l++) store_first(panel + (k + l) * step, block[l], width);
    }
}

static void pack(void *panel_, int64_t step, int64_t width, int64_t depth, const void *source_,
                 int64_t i_stride, int64_t k_stride)
{
    real *panel = panel_;
    const real *source = source_;
    if (i_stride == 1) {
        pack_adjacent_columns(panel, step, width, depth, source, k_stride);
    } else if (k_stride == 1 && depth > 2) {
        for (int64_t i = 0; i < width; i += LANES)
            pack_adjacent_depths(panel + i, step, width - i < LANES ? (int)(width - i) : LANES, depth,
                                 source + i * i_stride, i_stride);
    } else {
        for (int64_t k = 0; k < depth; k++)
            for (int64_t i = 0; i < width; i++) panel[k * step + i] = source[i * i_stride + k * k_stride];
    }
}

static void clear(void *panel_, int64_t step, int64_t width, int64_t depth)
{
    real *panel = panel_;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < width; i++) panel[k * step + i] = 0;
}
