/* Maxima and averages of windows and of whole planes, and their gradients. */
#ifndef FC_API_POOL_H
#define FC_API_POOL_H

#include <stdint.h>

/* The windows of a pooling along one axis: tap t of output o lies at o * stride - before + t * dilation of an input
 * that has the positions [0, extent). */
typedef struct fc_pool_axis {
    int64_t extent, outputs, taps, stride, before, dilation;
    int64_t count_low, count_high;  /* an average counts the elements of a window in [count_low, count_high) */
} fc_pool_axis;

typedef struct fc_pool {
    fc_pool_axis axis[3];  /* D, H, W */
    int64_t channels;      /* planes interleaved in memory, pooled side by side; 1: a plane alone */
    double divisor;        /* of averages; 0: the elements counted */
} fc_pool;

/* The same part of several planes: `rows` x `columns` outputs from (depth, row, column) on. In a gradient what is
 * split is grad_input: (depth, row, column) is an element, `source` grad_output and `target` grad_input. Pointers to
 * what lies at the first plane's (0, 0, 0) in the source, and at the part's first element in the others. A row of the
 * target is contiguous; a `_step` leads from one to the next, a `_plane` from plane to plane.
 * Positions are a byte per output: the number of the tap that held the maximum, D, H, W. Rows of them are written up
 * to the next multiple of FC_POSITIONS; a gradient reads up to FC_POSITIONS bytes behind them, and as many and
 * taps * dilation / stride of the W axis more in front. */
typedef struct fc_pool_part {
    int64_t planes, depth, row, rows, column, columns;
    const void *source;
    int64_t source_plane;
    int64_t source_stride[4];  /* D, H, W, channel; 1 for the channels of an input */
    void *target;
    int64_t target_plane, target_step;
    uint8_t *positions;        /* of maxima; NULL: not wanted. Gradient: of (0, 0, 0); NULL: that of an average */
    int64_t position_plane, position_step;
    int64_t *indices;          /* flat place of each maximum in its plane; NULL: not wanted */
    int64_t index_plane, index_step;
    void *scratch;             /* 64-byte aligned; how much: tile/pool.h, tile/pool_gradient.h */
} fc_pool_part;

enum { FC_POSITIONS = 16, FC_POOL_TAPS = 256 };  /* a gradient's windows have no more taps, nor has a byte */

/* Windows along one axis whose ends only grow: output j has the elements from (j * step + low) / per up to
 * (j * step + high) / per, both rounded down, that lie in [first, last). */
typedef struct fc_ends {
    int64_t step, per, low, high;
    int64_t first, last;
} fc_ends;

/* Whether sums are divided by what their window counts, or (gradients) every element by what is counted at it. */
typedef enum fc_counted { FC_COUNT_NONE = 0, FC_COUNT_OUTPUTS = 1, FC_COUNT_ELEMENTS = 2 } fc_counted;

/* Outputs [output, output + outputs) along an axis, for `lanes` lanes side by side: see tile/pool_running.h. Element k
 * lies at k * source_step in the source. Totals are rows of doubles in scratch memory, places the lane's index type
 * there; such rows have room for whole vectors. */
typedef struct fc_running {
    fc_ends windows;
    int64_t block;             /* elements from pivot to pivot: no window that is not cut short has fewer, but at least 1 */
    int64_t output, outputs;
    fc_counted counted;
    fc_ends counts;            /* in their own `first` and `last` */
    double divisor;            /* in place of what is counted; 0: none */
    int64_t lanes;
    const void *source;
    int64_t source_step, source_lane_step;
    int source_totals;
    const void *places;        /* of maxima so far, at source_step; NULL: the element itself */
    int64_t first_place, place_step, place_lane_step;  /* added to the place of element k of a lane: first_place
                                                        * + k * place_step + lane * place_lane_step */
    void *target;              /* of the first output */
    int64_t target_step, target_lane_step;
    int target_totals;
    void *target_places;       /* at target_step; NULL: not wanted */
    int64_t *indices;          /* places, too; NULL: not wanted */
    int64_t index_step, index_lane_step;
    const void *lane_places;   /* of running_*_rows, as is `shift` */
    const int64_t *shift;
    void *scratch;             /* 64-byte aligned; `block` states (at most one per element) of 4 vectors of lanes. A state is a real, for maxima with
                                * places two, for sums a double */
} fc_running;

/* A row whose windows lie as those of the others: they run side by side, at most `lanes` of them. In fc_running,
 * source_step leads from element to element, target_step and index_step from output to output. Elements outside
 * [low, high) are none. `shift`: what to add to a place of the windows for the place that is counted. Scratch
 * has room for the elements under all outputs, for the outputs, and for what running_* want, a vector each. */
typedef struct fc_running_row {
    const void *source;        /* element 0 */
    void *target;
    void *target_places;       /* or indices, where fc_running has any */
    int64_t low, high, outputs, place, shift;
} fc_running_row;

/* Planes that are averaged whole: neighbouring pixels are adjacent (pixel_step 1), or neighbouring planes are. */
typedef struct fc_planes {
    int64_t planes, pixels;
    int64_t plane_step, pixel_step;
    double divisor;
} fc_planes;

typedef struct fc_pool_kernels {
    /* Maxima or averages of windows, and the gradients of both: see tile/pool.h and tile/pool_gradient.h. An average is
     * summed in double precision. The gradients of an element are added in the order of the outputs they come from. */
    void (*max)(const fc_pool *pool, const fc_pool_part *part);
    void (*average)(const fc_pool *pool, const fc_pool_part *part);
    void (*gradient)(const fc_pool *pool, const fc_pool_part *part);

    /* out[i] = the sum of plane i, formed in double, over the divisor; its bits depend on no step. And the gradient,
     * source[i] over the divisor for every pixel of plane i (pixel_step 1). */
    void (*average_planes)(void *out, const void *source, const fc_planes *p);
    void (*spread_planes)(void *target, const void *source, const fc_planes *p);

    /* Maxima and sums of windows along one axis, at a cost that does not depend on how wide they are. */
    void (*running_max)(const fc_running *r);
    void (*running_sum)(const fc_running *r);
    void (*running_max_rows)(const fc_running *r, const fc_running_row *rows, int count);
    void (*running_sum_rows)(const fc_running *r, const fc_running_row *rows, int count);
} fc_pool_kernels;

#endif
