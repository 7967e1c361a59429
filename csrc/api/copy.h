/* From the user's memory to panels and back. */
#ifndef FC_API_COPY_H
#define FC_API_COPY_H

#include "finish.h"

#include <stdint.h>

/* How the windows of a (sub-)convolution lie in its source; triples are D, H, W. Pixels are numbered n, then
 * D, H, W; taps D, H, W. Tap t of pixel p lies at source position p * step + first + t * delta, per axis. */
typedef struct fc_window {
    int64_t count[3];   /* pixels */
    int64_t step[3];
    int64_t extent[3];  /* source size; positions outside it read as zero */
    int64_t taps[3];
    int64_t first[3];
    int64_t delta[3];
    int64_t stride[5];  /* of the source in memory: N, C, D, H, W */
} fc_window;

enum { FC_COL2IM_TAPS = 64 };

typedef struct fc_copy_kernels {
    /* panel[k * step + i] = source[i * i_stride + k * k_stride]  for i < width, k < depth. */
    void (*pack)(void *panel, int64_t step, int64_t width, int64_t depth, const void *source, int64_t i_stride,
                 int64_t k_stride);

    /* panel[k * step + i] = 0  for i < width, k < depth. */
    void (*clear)(void *panel, int64_t step, int64_t width, int64_t depth);

    /* Windows of `count` pixels from number `pixel` on, one column each, `width` of them to a panel; depth is channel,
     * then tap, and panels lie one after the other: panel[(c * taps + t) * width + i] = source[channel c, where tap
     * first_tap + t of pixel + i lies]. Columns of the last panel that are left over become zero. `source` is the
     * address of (n=0, first channel, 0, 0, 0). */
    void (*pack_windows)(void *panels, int64_t width, const fc_window *window, const void *source, int64_t pixel,
                         int64_t count, int64_t channels, int64_t first_tap, int64_t taps);

    /* The sum of all windows' columns where these came from: target[d * stride[0] + h * stride[1] + w] is that of
     * columns[tap * tap_step + position] over the taps of one channel, at the position (of window->extent, dense) that
     * each has for it. `window` says where; its steps are 1, and a kernel row has at most FC_COL2IM_TAPS taps. With
     * bias (row 0) and activation if finish->final. */
    void (*col2im)(void *target, const int64_t *stride, const void *columns, int64_t tap_step,
                   const fc_window *window, const fc_finish *finish);
} fc_copy_kernels;

#endif
