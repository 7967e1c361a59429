/* The whole contract of floor 1: how ONE tile is computed on ONE thread on THIS instruction set.
 *
 * Units: sizes, strides and offsets count elements, never bytes, unless a name ends in _bytes.
 * Types: `real` data is passed as void *; the table it is passed to says whether that is float or double.
 *
 * Panels. A panel is a slab of a matrix that is `width` wide and `depth` long, stored so that the
 * micro-kernel reads it front to back:
 *
 *          column i of the panel
 *          0    1    2   ...  width-1
 *     k=0  p0   p1   p2  ...              element (k, i) is at panel[k * step + i]
 *     k=1  .                              step == width when the panel stands alone,
 *     ...                                 larger when panels of several taps are interleaved
 *
 * The micro-kernel multiplies a row panel A (its columns become the rows of C) with a column panel B:
 *
 *     C[i, j] (+)= sum over k of A[k, i] * B[k, j]        i < rows <= max_rows,  j < columns <= max_columns
 */
#ifndef FC_API_H
#define FC_API_H

#include <stddef.h>
#include <stdint.h>

/* ---- tiles (csrc/tile, compiled once per instruction set and dtype) ---------------------------- */

enum { FC_MAX_ROWS = 16, FC_MAX_COLUMNS = 96 };      /* upper bounds over all tables, for stack arrays */
enum { FC_MAX_WINDOWS = 28 };                        /* rows of gemm_windows */
enum { FC_MAX_DOT_ROWS = 4, FC_MAX_DOT_COLUMNS = 8 };
enum { FC_KERNEL_ROWS = 4 };                         /* kernel rows that depthwise takes at a time */

/* The first four are applied by convolutions too, to what they write. Parameters of the others, and of FC_LEAKY_RELU in
 * a pass of its own (fc_pointwise): a, b, c in this order. */
enum fc_activation {
    FC_IDENTITY = 0,
    FC_RELU = 1,
    FC_LEAKY_RELU = 2,  /* slope of negative values */
    FC_RELU6 = 3,
    FC_PRELU,           /* none, but a slope per element */
    FC_PRELU_SLOPE,     /* only as a gradient: that of the slope of each element */
    FC_HARDTANH,        /* lower and upper bound */
    FC_THRESHOLD,       /* threshold, value below */
    FC_HARDSIGMOID,
    FC_HARDSWISH,
    FC_SOFTSHRINK,      /* lambda */
    FC_HARDSHRINK,      /* lambda */
    FC_SIGMOID,
    FC_TANH,
    FC_LOGSIGMOID,
    FC_SOFTSIGN,
    FC_TANHSHRINK,
    FC_SOFTPLUS,        /* beta, threshold */
    FC_ELU,             /* factor of positive values, and of exp(x / c) - 1 (its gradient: of exp(x / c)), width c */
    FC_SILU,
    FC_MISH,
    FC_GELU,
    FC_GELU_TANH
};

/* An activation with its parameters. */
typedef struct fc_pointwise {
    int activation;  /* enum fc_activation */
    double a, b, c;
} fc_pointwise;

/* What happens to a tile of sums on its way to memory. */
typedef struct fc_finish {
    int accumulate;          /* add to what C holds (a later chunk of the depth) */
    int final;               /* last chunk: add the bias and apply the activation */
    const void *row_bias;    /* rows reals, or NULL */
    const void *column_bias; /* columns reals, or NULL */
    int activation;          /* enum fc_activation */
    double slope;            /* FC_LEAKY_RELU: factor of negative values */
} fc_finish;

/* `count` neighbouring columns of a tile that lie `stride` apart in the output, the first at `offset`. */
typedef struct fc_run {
    int64_t column, count, offset, stride;
} fc_run;

/* `count` positions of two operands: of A from a_offset, of B from b_offset on. */
typedef struct fc_run_pair {
    int64_t a_offset, b_offset, count;
} fc_run_pair;

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

/* A step of gradient descent: velocity = momentum * velocity + g, value -= rate * velocity, where g is the gradient
 * + decay * value; with Nesterov's look ahead value -= rate * (g + momentum * velocity). */
typedef struct fc_descent {
    double rate, momentum, decay;
    int nesterov;
} fc_descent;

/* Slices that softmax takes side by side, if they lie across memory. */
enum { FC_SOFTMAX_COLUMNS = 64 };

/* How much of class j the target of a cross-entropy wants: weight[j] * (share * target[j] + spread), at least 0. Targets
 * lie as the logits do and may be NULL (all 0), and so may weights (all 1). */
typedef struct fc_wanted {
    const void *weight, *target;
    double share, spread;
} fc_wanted;

/* Sums over slices side by side or one behind the other; see entropy_sums. */
typedef struct fc_entropy {
    double top[FC_SOFTMAX_COLUMNS];      /* the largest logit */
    double sum[FC_SOFTMAX_COLUMNS];      /* of exp(logit - top) */
    double log_sum[FC_SOFTMAX_COLUMNS];  /* its logarithm */
    double cost[FC_SOFTMAX_COLUMNS];     /* of what is wanted times top - logit, 0 where nothing is */
    double wanted[FC_SOFTMAX_COLUMNS];   /* of what is wanted, if there are targets */
} fc_entropy;

/* What an element x costs beside its target t, with d = x - t. */
typedef enum fc_loss_formula {
    FC_LOSS_SQUARE,    /* d^2 */
    FC_LOSS_ABSOLUTE,  /* |d|; its slope is 0 at 0 */
    FC_LOSS_HUBER,     /* d^2 / 2 where |d| <= a, else a (|d| - a / 2) */
    FC_LOSS_LOGISTIC   /* -a t log(sigmoid(x)) - (1 - t) log(sigmoid(-x)); what is wanted 0 costs 0 */
} fc_loss_formula;

typedef struct fc_loss {
    int formula;
    double a;
    double times;        /* the losses that are stored */
    double slope_times;  /* the slopes that are */
} fc_loss;

/* Numbers of a normalisation, for all elements of a group; see norm_sums and norm_map. A unit is a power of two that
 * brings elements to ordinary size: their squares neither overflow nor vanish. */
typedef struct fc_norm {
    double unit, shift, scale, offset;
    double b_unit, b_shift, b_scale;
} fc_norm;

/* The same, where every column is a group of its own. */
typedef struct fc_norm_columns {
    const double *unit, *shift, *scale, *offset;
    const double *b_unit, *b_shift, *b_scale;
} fc_norm_columns;

/* Neighbouring tiles of one row of tiles, which take lanes [lane, lane + tiles) of a vector. Place x of row y, counted
 * from the first tile's first, lies at row[y] + x * step; only places [low, high) exist, and rows that are not NULL. */
enum { FC_MAX_SPAN = 6 };
typedef struct fc_winograd_run {
    int64_t lane, tiles, low, high, step;
    void *row[FC_MAX_SPAN];
} fc_winograd_run;

/* The transforms around the products of a Winograd convolution with `taps` (x `taps`) taps: see winograd.h. A point
 * is one of the (tile + taps - 1)^2 places at which products are formed (one row of them if tile_y is 1).
 * Runs follow each other from lane 0 on. */
typedef struct fc_winograd {
    int tile_y, tile_x;  /* outputs of a tile */
    int taps;            /* along an axis with tiles */
    int points;

    /* v[point * point_step + c * k_step + lane] from the inputs of the runs' tiles, channel_step apart; a place that
     * does not exist is zero. */
    void (*input)(void *v, int64_t point_step, int64_t k_step, const fc_winograd_run *runs, int run_count,
                  int64_t channel_step, int64_t channels);

    /* The outputs of the runs' tiles, channel_step apart for each of `rows` rows of sums, from
     * sums[point * point_step + i * sums_step + lane]; with bias and activation (finish->final). Returns a bit for
     * each lane with an output that is infinite or NaN before that. */
    int64_t (*output)(const fc_winograd_run *runs, int run_count, int64_t channel_step, const void *sums,
                      int64_t point_step, int64_t sums_step, int rows, const fc_finish *finish);

    /* `input` where channels are adjacent: v[point * point_step + lane * tile_step + c]. Any number of tiles. */
    void (*input_channels)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs, int run_count,
                           int64_t channels);

    /* `output` where channels are adjacent, from sums[point * point_step + lane * tile_step + c]; the bias is that of
     * the columns. Returns a bit for each run with an output that is infinite or NaN before bias and activation. */
    int64_t (*output_channels)(const fc_winograd_run *runs, int run_count, const void *sums, int64_t point_step,
                               int64_t tile_step, int64_t channels, const fc_finish *finish);

    /* u[point * point_step + k * width + i] from a weight panel taps[(k * taps^2 + tap) * width + i] (one row of
     * taps if tile_y is 1), last tap first if `reversed`. */
    void (*weight)(void *u, int64_t point_step, const void *taps, int64_t width, int64_t depth, int reversed);

    /* For the weight gradient, whose products are of transformed inputs and outputs: `input_channels` for the runs'
     * outputs ... */
    void (*grad_output_channels)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs,
                                 int run_count, int64_t channels);

    /* ... and the gradients of the taps, taps[tap * tap_step + i] from sums[point * point_step + i] for i < width.
     * Returns 0 if any is infinite or NaN. */
    int (*grad_weight)(void *taps, int64_t tap_step, const void *sums, int64_t point_step, int64_t width);
} fc_winograd;

enum { FC_WINOGRADS = 6, FC_COL2IM_TAPS = 64 };

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
    void *scratch;             /* 64-byte aligned; see pool.h and pool_gradient.h for how much */
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

/* Outputs [output, output + outputs) along an axis, for `lanes` lanes side by side: see pool_running.h. Element k lies
 * at k * source_step in the source. Totals are rows of doubles in scratch memory, places the lane's index type there;
 * such rows have room for whole vectors. */
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

/* Two rows of an array that are one row of complex numbers in a transform: elements `stride` apart, position 0 at `row`
 * (which may lie outside the array). Only positions begin .. end - 1 exist. */
typedef struct fc_fft_rows {
    void *row[2];
    int64_t stride;
    int64_t begin[2], end[2];
} fc_fft_rows;

/* What becomes of a row's values on their way to the array. */
typedef struct fc_fft_finish {
    const uint8_t *seen[2];  /* 0 at positions that are exactly zero; NULL: there are none */
    double bound;            /* smaller values are rounding, and zero */
    double bias;             /* added then */
    int activation;
    double slope;
} fc_fft_finish;

/* How an axis is transformed: in passes of radix 2 to 5, from whole to single numbers. */
typedef struct fc_fft_axis {
    int64_t length;
    int passes;
    int radix[24];
    int64_t root_count;      /* of all passes: for each, part / radix times radix - 1 powers of its root of unity */
    const double *roots;     /* complex */
} fc_fft_axis;

typedef struct fc_kernels {
    const char *isa;         /* "baseline", "avx2", "avx512", "neon" */
    int max_rows;            /* rows of C that one call may compute */
    int max_columns;         /* columns of C that one call may compute; panels of B are this wide */

    /* The micro-kernel. a: panel of width `rows` (step == rows). b: panel of width max_columns and step
     * b_step. Row i of C starts at c + row_offset[i]; its columns are adjacent. */
    void (*gemm)(int64_t depth, const void *a, const void *b, int64_t b_step, void *c,
                 const int64_t *row_offset, int rows, int columns, const fc_finish *finish);

    /* The same for all max_columns columns, whose rows of B go into a panel on the way. */
    void (*gemm_pack)(int64_t depth, const void *a, const void *b, int64_t b_step, void *panel, void *c,
                      const int64_t *row_offset, int rows, const fc_finish *finish);

    /* gemm with row k of B at b + b_offset[k], and up to wide_columns(rows) columns. Reads whole vectors of B,
     * also where fewer columns are wanted. */
    void (*gemm_at)(int64_t depth, const void *a, const void *b, const int64_t *b_offset, void *c,
                    const int64_t *row_offset, int rows, int columns, const fc_finish *finish);
    int (*wide_columns)(int rows);

    /* gemm_at with A as it lies: element (k, i) at a[i * a_step + k], a_step != 0. */
    void (*gemm_rows)(int64_t depth, const void *a, int64_t a_step, const void *b, const int64_t *b_offset, void *c,
                      const int64_t *row_offset, int rows, int columns, const fc_finish *finish);

    /* gemm with column k of A at a + a_offset[k]: its rows are a_step apart, those of the second half, which starts
     * at row (rows + 1) / 2, likewise, but from a_second on. Up to 2 * lanes columns and max_rows rows, or up to lanes
     * and twice the rows. Reads whole vectors of B. */
    void (*gemm_windows)(int64_t depth, const void *a, const int64_t *a_offset, int64_t a_step, int64_t a_second,
                         const void *b, int64_t b_step, void *c, const int64_t *row_offset, int rows, int columns,
                         const fc_finish *finish);

    /* Carry a finished tile (row i at tile + i * tile_step) to an output whose columns lie in runs. */
    void (*scatter)(const void *tile, int64_t tile_step, void *c, const int64_t *row_offset, int rows,
                    const fc_run *runs, int run_count, const fc_finish *finish);

    /* panel[k * step + i] = source[i * i_stride + k * k_stride]  for i < width, k < depth. */
    void (*pack)(void *panel, int64_t step, int64_t width, int64_t depth,
                 const void *source, int64_t i_stride, int64_t k_stride);

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
    void (*col2im)(void *target, const int64_t *stride, const void *columns, int64_t tap_step, const fc_window *window,
                   const fc_finish *finish);

    /* A depthwise convolution from gathered rows: see fc_depthwise. `out` is the first output, `source` where the
     * windows start. Its tiles are up to depthwise_rows x depthwise_vectors vectors; it reads less than a vector past
     * the last window of a row, less than 2 * depthwise_vectors of them past that of a line. */
    int depthwise_rows, depthwise_vectors;
    int depthwise_in_place;  /* kernel columns of a source read where it lies, at most */
    void (*depthwise)(void *out, const void *source, int64_t rows, int64_t columns, const fc_depthwise *d);

    /* to[r * row + p * run + i ...] from `rows` source rows, the first of which has pixel 0 at `source`. May write up
     * to a vector more. */
    void (*depthwise_gather)(void *to, const void *source, int64_t rows, const fc_gather *g);

    /* The weights of one fc_taps, a vector per tap: first the column's `rows`, then the columns. Tap (k, t) lies at
     * k * row_stride + t * column_stride. If channels > 0, a vector has a lane for each of them, then zeros: lane l of
     * group l / group, and in it channel l % group. */
    void (*depthwise_weights)(void *to, const void *source, int rows, int64_t columns, int64_t row_stride,
                              int64_t column_stride, int64_t group_stride, int64_t channel_stride, int group,
                              int channels);

    /* The gradient of a depthwise weight: for each tap a vector of sums, whose lanes are pixels or channels, has the
     * products of these planes added. Both point to (0, 0) of their plane. Lanes are pixels only of x strides 1, with an
     * x_step of 1, or of 2 if the x_delta is 1. What does not exist is not read, but lanes without a product may have
     * one of zero with another number. */
    void (*depthwise_gradient)(void *sums, const void *input, const void *grad_output, const fc_planes_met *planes);

    /* out[i] = gradient[i] times the slope of `activation` (enum fc_activation; `slope` as in fc_finish) where its
     * output is output[i]; returns the sum of out, added in double. Without `out` and `output`: only the sum. */
    double (*gradient_row)(void *out, const void *output, const void *gradient, int64_t count, int activation,
                           double slope);

    /* out[i] = the activation of input[i], or gradient[i] times its slope there; `slopes`, one per element, are those of
     * FC_PRELU. `out` may be any of the others. An element's bits depend on nothing but its own operands. */
    void (*activate)(void *out, const void *input, const void *slopes, int64_t count, const fc_pointwise *how);
    void (*activate_gradient)(void *out, const void *input, const void *gradient, const void *slopes, int64_t count,
                              const fc_pointwise *how);

    /* Softmax of slices of `count` elements, or its logarithm: of `columns` <= FC_SOFTMAX_COLUMNS slices that are
     * neighbours in memory, their elements `step` apart; or, if `columns` is 0, of one whose elements are neighbours.
     * `out` may be the input. And the gradient, from the output and the gradient behind. */
    void (*softmax)(void *out, const void *input, int64_t count, int64_t step, int columns, int logarithm);
    void (*softmax_gradient)(void *out, const void *output, const void *gradient, int64_t count, int64_t step,
                             int columns, int logarithm);

    /* Cross-entropy of `slices` <= FC_SOFTMAX_COLUMNS slices of `count` logits: neighbours in memory whose elements are
     * `step` apart, or, if `step` is 0, one behind the other. With `wanted` NULL nothing is wanted.
     *     entropy_sums    their sums; `exps`, which may be NULL or the logits, is given exp(logit - top)
     *     entropy_slopes  makes exps slopes: factor * exp - less * wanted; all 0 in a slice whose `less` is 0 */
    void (*entropy_sums)(fc_entropy *sums, void *exps, const void *logits, const fc_wanted *wanted, int64_t count,
                         int64_t step, int slices);
    void (*entropy_slopes)(void *exps, const fc_wanted *wanted, const double *factor, const double *less, int64_t count,
                           int64_t step, int slices);

    /* The losses of `count` elements, and their slopes, where these are not NULL; returns the sum of the losses before
     * they are multiplied. */
    double (*loss_row)(void *losses, void *slopes, const void *prediction, const void *target, int64_t count,
                       const fc_loss *how);

    /* With A = a[i] * unit - shift, all in double precision:
     *     norm_sums   sums[0] += sum of B, sums[1] += sum of A * B, where B = b[i] * weight[i] * b_unit - b_shift
     *     norm_map    out[i] = A * scale * weight[i] + bias[i] (or + offset, without bias), rounded once; or with b
     *                 out[i] = A * scale + offset + b[i] * weight[i] * b_scale
     * `weight` and `bias`, in double precision as well, may be NULL. Numbers that change nothing cost nothing: scale 1
     * with offset 0, b_unit 1 with b_shift 0. The column forms add or map `rows` rows of `width` elements, without
     * weights; there such pairs are NULL instead. */
    void (*norm_sums)(double *sums, const void *a, const void *b, const double *weight, int64_t count, const fc_norm *n);
    void (*norm_map)(void *out, const void *a, const void *b, const double *weight, const double *bias, int64_t count,
                     const fc_norm *n);
    void (*norm_column_sums)(double *sums, double *products, const void *a, const void *b, int64_t rows,
                             int64_t a_step, int64_t b_step, int64_t width, const fc_norm_columns *n);
    void (*norm_column_map)(void *out, const void *a, const void *b, int64_t rows, int64_t out_step, int64_t a_step,
                            int64_t b_step, int64_t width, const fc_norm_columns *n);
    /* Per column, sums += b and products += A * scale * b, with the numbers of row i in n[i]; and per row, the same of
     * b * weight (NULL: of b), each[2 * i] and each[2 * i + 1]. */
    void (*norm_cross_sums)(double *sums, double *products, double *each, const void *a, const void *b,
                            const double *weight, int64_t rows, int64_t step, int64_t width, const fc_norm *n);

    /* Move `count` values by their gradients. Without `velocity` there is no momentum. */
    void (*descend)(void *value, void *velocity, const void *gradient, int64_t count, const fc_descent *how);
    /* Row i of C starts at c + row_offset[i]; C[i, j] (+)= sum over all runs and x < count of
     * a[i][a_offset + x] * b[j][b_offset + x]. Reads up to the next multiple of `lanes`, where one of the two must
     * hold zeros and the other finite values. rows <= dot_rows, columns <= dot_columns(rows). */
    void (*dot)(const void *const *a, int rows, const void *const *b, int columns, const fc_run_pair *runs,
                int64_t run_count, void *c, const int64_t *row_offset, int accumulate);
    int dot_rows;
    int (*dot_columns)(int rows);

    int lanes;               /* elements of a vector */
    fc_winograd winograd[FC_WINOGRADS];  /* tiles of 1 x 2, 2 x 2, 1 x 4, 4 x 4, 1 x 3, 3 x 3 */

    /* Maxima or averages of windows, and the gradients of both: see pool.h and pool_gradient.h. An average is summed in
     * double precision. The gradients of an element are added in the order of the outputs they come from. */
    void (*max_pool)(const fc_pool *pool, const fc_pool_part *part);
    void (*avg_pool)(const fc_pool *pool, const fc_pool_part *part);
    void (*pool_gradient)(const fc_pool *pool, const fc_pool_part *part);

    /* out[i] = the sum of plane i, formed in double, over the divisor; its bits depend on no step. And the gradient,
     * source[i] over the divisor for every pixel of plane i (pixel_step 1). */
    void (*average_planes)(void *out, const void *source, const fc_planes *p);
    void (*spread_planes)(void *target, const void *source, const fc_planes *p);

    /* Independent fused multiply-adds over `rounds` rounds; returns the FLOPs done (measures the peak). */
    double (*fma_peak)(int64_t rounds);

    /* Maxima and sums of windows along one axis, at a cost that does not depend on how wide they are. */
    void (*running_max)(const fc_running *r);
    void (*running_sum)(const fc_running *r);
    void (*running_max_rows)(const fc_running *r, const fc_running_row *rows, int count);
    void (*running_sum_rows)(const fc_running *r, const fc_running_row *rows, int count);

    /* Convolution by FFT, always in double: see fft.h. Rows of complex numbers are groups of as many real and as many
     * imaginary parts as the float64 table has lanes.
     *
     * fft_read folds two rows of the array into `groups` groups, times cosine + i sine; returns the sum of the squares.
     * fft_write is the way back, divided by the unit cosine + i sine where that has been scaled (by 1 / points, say).
     * False if a value is not finite. */
    double (*fft_read)(double *to, int64_t groups, const fc_fft_rows *rows, double cosine, double sine);
    int (*fft_write)(const fc_fft_rows *rows, const double *from, int64_t groups, double cosine, double sine,
                     const fc_fft_finish *finish);

    /* In the float64 table alone. Transforms of `groups` neighbouring groups of columns, rows `row_step` doubles apart,
     * in place; and of rows (whole groups long), between z and `spectrum`: groups of rows, transposed, `axis.length` each.
     * Between transposition and transform a spectrum is multiplied by `factors` of its shape, if any. */
    void (*fft_columns)(double *z, int64_t row_step, int64_t groups, const fc_fft_axis *axis, int back);
    void (*fft_rows)(double *spectrum, double *z, int64_t row_step, int64_t rows, const fc_fft_axis *axis,
                     const double *factors, int back);
    /* sums[r * columns + c] (+)= the sum over `terms` of conj(a[r * terms + t]) * b[c * terms + t], `size` doubles each;
     * at most 2 rows and columns. */
    void (*fft_products)(double *const *sums, const double *const *a, const double *const *b, int64_t terms,
                         int64_t size, int rows, int columns, int accumulate);
} fc_kernels;

typedef enum fc_dtype { FC_FLOAT32 = 0, FC_FLOAT64 = 1, FC_DTYPES = 2 } fc_dtype;

/* ---- choice of instruction set (fc_dispatch.c, fc_cpu.c) --------------------------------------- */

/* The instruction sets compiled in, best first; NULL past the end. */
const char *fc_isa_name(int index);
int fc_isa_runs_here(const char *name);
/* The table of an instruction set that is compiled in and runs here, else NULL. */
const fc_kernels *fc_isa_table(const char *name, fc_dtype dtype);
/* CPUs this process may use: affinity, limited by the cgroup's quota. At least 1. */
int fc_cpu_count(void);

/* ---- worker pool (fc_workers.c) ---------------------------------------------------------------- */

/* One task of a call. `index` tells which; any thread may run it. */
typedef void (*fc_task)(void *context, int64_t index);

/* Run tasks [begin, end) on up to `threads` threads, the calling one among them; returns when all are
 * done. A call made while the pool is busy with another caller's runs on the calling thread alone. */
void fc_workers_run(fc_task task, void *context, int64_t begin, int64_t end, int threads);

/* Whether the workers look out for a call, so that one costs about a microsecond: for a while after the last. */
int fc_workers_awake(void);

/* Scratch memory is kept from call to call, one block per thread and purpose, because fresh pages cost more than
 * the work of a small call. Blocks are 64-byte aligned, their contents undefined; they end with their thread. */

/* For the task that the thread runs: at least `bytes`, valid until the thread asks again. NULL if short. */
void *fc_task_scratch(size_t bytes);

/* For a call as a whole. It owns the block until it gives it back, so that a call made meanwhile on the same
 * thread (a signal handler's) gets another. `held` is set to its size. NULL if memory is short. */
void *fc_take_scratch(size_t bytes, size_t *held);
void fc_give_scratch(void *memory, size_t held);

#endif
