/* Depthwise convolutions: one kernel row after the other over gathered or untouched rows. */
#ifndef FC_API_DEPTHWISE_H
#define FC_API_DEPTHWISE_H

#include "finish.h"

#include <stdint.h>

enum { FC_KERNEL_ROWS = 4 };                         /* kernel rows that depthwise takes at a time */

/* How source rows are gathered, each into `step` runs: place i < count of run p is the pixel at first + p + i * step,
 * or zero outside [0, extent). A pixel is one element, or (channels > 0) a vector that has a lane for each channel,
 * then zeros. */
typedef struct fc_gather {
    int64_t first, step, extent, count;
    int64_t y_stride, x_stride, lane_stride;  /* of the source: lanes are channels */
    int64_t run, row;         /* between runs, between rows */
    int channels;
    int spread;               /* 2, 4 or 8: lanes are channels of stride 1 in groups of so many, of which there are ... */
    int64_t copy;             /* ... as many copies, so far apart: in copy j all lanes of a group have its channel j */
} fc_gather;

/* Kernel rows of a depthwise convolution whose taps lie alike in the source. */
typedef struct fc_taps {
    int64_t source;          /* where the first row of them lies, from where the windows start ... */
    int64_t row;             /* ... and which row that is */
    int64_t weight;          /* where their weights begin, in vectors */
    const int64_t *offset;   /* of each column's taps in the source */
    int64_t columns;
    int rows;                /* at most FC_KERNEL_ROWS */
} fc_taps;

/* A depthwise convolution: rows of outputs from rows of a source that was gathered with its padding, or (zeros not
 * NULL; adjacent pixels, windows 2 apart along both axes, one phase, no lines) that is read where it lies. A vector is
 * `lanes` pixels of one channel or (channels > 0) one pixel of up to `lanes` channels; either way neighbouring
 * vectors of a source row are adjacent. Steps count elements unless said otherwise. */
typedef struct fc_depthwise {
    const void *weights;      /* one vector per tap */
    const void *bias;         /* one vector */
    const fc_taps *taps[2];   /* the sum of an output, in this order ... */
    int tap_count[2];
    int phases;               /* ... 2: of even columns by taps[0], of odd columns by taps[1] (lanes are pixels) */
    int line;                 /* kernel rows are one vector of the source apart, whatever kernel_row_step says */
    int channels;
    int64_t kernel_row_step, row_step, vector_step;       /* source: between kernel rows, output rows, vectors */
    int64_t out_row_step, out_vector_step, lane_step;
    const void *zeros;        /* or the source without its padding: read instead of rows that do not exist */
    int64_t low, high;        /* its rows [low, high) exist, counted from the first window's first ... */
    int64_t x, width;         /* ... and columns [0, width), where the first window starts in column x */
    fc_finish finish;         /* its activation */
} fc_depthwise;

/* A plane of grad_output and the plane of the input under its windows, both as they lie: `rows` x `columns` outputs,
 * the first of which sees position (y, x) of the input with its first tap, inside or outside. */
typedef struct fc_planes_met {
    int64_t rows, columns, grad_y_stride, grad_x_stride;
    int64_t y, x, height, width, y_stride, x_stride;
    int64_t y_step, x_step, y_delta, x_delta;  /* between neighbouring windows, and neighbouring taps */
    int kernel_rows, kernel_columns;
    int channels;            /* 0: lanes are pixels. Else that many neighbouring channels, whose stride is 1 */
} fc_planes_met;

typedef struct fc_depthwise_kernels {
    /* A depthwise convolution from gathered rows: see fc_depthwise. `out` is the first output, `source` where the
     * windows start. Its tiles are up to max_rows x max_vectors vectors; it reads less than a vector past
     * the last window of a row, less than 2 * max_vectors of them past that of a line. */
    int max_rows, max_vectors;
    int in_place;  /* kernel columns of a source read where it lies, at most */
    void (*tile)(void *out, const void *source, int64_t rows, int64_t columns, const fc_depthwise *d);

    /* to[r * row + p * run + i ...] from `rows` source rows, the first of which has pixel 0 at `source`. May write up
     * to a vector more. */
    void (*gather)(void *to, const void *source, int64_t rows, const fc_gather *g);

    /* The weights of one fc_taps, a vector per tap: first the column's `rows`, then the columns. Tap (k, t) lies at
     * k * row_stride + t * column_stride. If channels > 0, a vector has a lane for each of them, then zeros: lane l of
     * group l / group, and in it channel l % group. */
    void (*weights)(void *to, const void *source, int rows, int64_t columns, int64_t row_stride,
                    int64_t column_stride, int64_t group_stride, int64_t channel_stride, int group, int channels);

    /* The gradient of a depthwise weight: for each tap a vector of sums, whose lanes are pixels or channels, has the
     * products of these planes added. Both point to (0, 0) of their plane. Lanes are pixels only of x strides 1, with an
     * x_step of 1, or of 2 if the x_delta is 1. What does not exist is not read, but lanes without a product may have
     * one of zero with another number. */
    void (*gradient)(void *sums, const void *input, const void *grad_output, const fc_planes_met *planes);
} fc_depthwise_kernels;

#endif
