/* The gradient of a depthwise weight: sums over the outputs of a plane, both operands read as they lie.
 *
 * A strip is a vector of outputs of each row: LANES neighbouring pixels, or one pixel of LANES channels. It is walked
 * down the rows, the sums of a block of taps living in registers, one vector each: every row of the input is loaded
 * once for the taps of all kernel rows that see it. Which lanes exist is the same all the way down, so padding is a
 * mask, and nothing is copied. Rows that do not exist are left out.
 */
#include "../fc_api.h"
#include "simd.h"

/* Registers (csrc/isa): the sums, the rows of grad_output, one vector of the input or two and a mask. */
typedef vec tap_sums[TAP_ROWS][TAP_COLUMNS];

/* Where a strip lies, and which of its lanes exist. */
typedef struct strip {
    const real *input, *grad;
    int64_t y;                      /* of the input's row */
    int64_t tap, kernel_row;        /* between neighbouring taps, of the input */
    int64_t row, grad_row;          /* between rows of outputs, of both */
    int64_t ahead, grad_ahead;      /* the same place of the next band */
    const mask *lanes;              /* of grad_output, then of taps (step 2: every other, and the vector after it) */
} strip;

/* The vectors of an input row that neighbouring taps see. */
INLINE void load_taps(int columns, int step, int masked, vec *x, const real *row, int64_t delta,
                      const mask *lanes)
{
    UNROLL
    for (int c = 0; c < columns; c += step) {
        if (step == 2) {
            const vec a = masked ? load_masked(row + c, lanes[c]) : load(row + c);
            const vec b = masked ? load_masked(row + c + LANES, lanes[c + 1]) : load(row + c + LANES);
            x[c] = SHUFFLE(a, b, UNZIP_EVEN);
            if (c + 1 < columns) x[c + 1] = SHUFFLE(a, b, UNZIP_ODD);
        } else {
            x[c] = masked ? load_masked(row + c * delta, lanes[c]) : load(row + c * delta);
        }
    }
}

/* Some rows of grad_output, whose windows are one kernel row apart if there are several. The input's rows exist, or
 * are `checked`. */
INLINE void add_gradient_rows(int rows, int tap_rows, int columns, int step, int masked, int checked, tap_sums sum,
                              const strip *s, const fc_planes_met *p)
{
    const real *input = s->input, *grad = s->grad;
    const mask *lanes = s->lanes;
    vec g[GRADIENT_ROWS];
    if (MASKS_ARE_VECTORS) __asm__ volatile("" : "+r"(lanes));  /* loaded where they are used */
    UNROLL
    for (int r = 0; r < rows; r++) {
        g[r] = masked ? load_masked(grad, *lanes) : load(grad);
        __builtin_prefetch(grad + s->grad_ahead);
        grad += s->grad_row;
    }
    UNROLL
    for (int k = 0; k < rows + tap_rows - 1; k++) {
        if (!checked || (uint64_t)(s->y + k * p->y_delta) < (uint64_t)p->height) {
            vec x[TAP_COLUMNS];
            load_taps(columns, step, masked, x, input, s->tap, lanes + 1);
            UNROLL
            for (int c = 0; c < columns; c++) {
                __asm__("" : FC_IN_REGISTER(x[c]));  /* loaded once, not by each product */
                UNROLL
                for (int t = 0; t < tap_rows; t++)
                    if (t <= k && k < t + rows) sum[t][c] += g[k - t] * x[c];
            }
        }
        if (k < rows + checked) {
            UNROLL
            for (int i = 0; i < step; i++) __builtin_prefetch(input + s->ahead + i * LANES);
        }
        input += s->kernel_row;
    }
}

INLINE void add_strip(int tap_rows, int columns, int step, int masked, tap_sums sum, strip s, const fc_planes_met *p)
{
    const int64_t reach = (GRADIENT_ROWS + tap_rows - 2) * p->y_delta;
    for (int64_t left = p->rows; left > 0;) {
        int rows = 1;
        if (left >= GRADIENT_ROWS && p->y_step == p->y_delta && s.y >= 0 && s.y + reach < p->height) {
            rows = GRADIENT_ROWS;
            add_gradient_rows(GRADIENT_ROWS, tap_rows, columns, step, masked, 0, sum, &s, p);
        } else {
            add_gradient_rows(1, tap_rows, columns, step, masked, 1, sum, &s, p);
        }
        left -= rows;
        s.y += rows * p->y_step;
        s.input += rows * s.row;
        s.grad += rows * s.grad_row;
    }
}

/* A block of taps, the first of which sees position (y, x) of the input from the first output. */
INLINE void gradient_block(int tap_rows, int columns, int step, real *sums, const real *input, const real *grad,
                           int64_t y, int64_t x, const fc_planes_met *p)
{
    const int64_t unit = p->channels ? 1 : LANES;
    tap_sums sum;
    UNROLL
    for (int t = 0; t < tap_rows; t++) {
        UNROLL
        for (int c = 0; c < columns; c++) sum[t][c] = (vec){0};
    }
    mask lanes[TAP_COLUMNS + 2];
    strip s = {.lanes = lanes, .y = y, .tap = p->x_delta * p->x_stride, .kernel_row = p->y_delta * p->y_stride,
               .row = p->y_step * p->y_stride, .grad_row = p->grad_y_stride,
               .ahead = p->rows * p->y_step * p->y_stride, .grad_ahead = p->rows * p->grad_y_stride};
    for (int64_t done = 0; done < p->columns; done += unit) {
        const int64_t position = x + done * p->x_step, left = p->columns - done;
        const int exist = p->channels ? p->channels : left < LANES ? (int)left : LANES;
        const int64_t last = position + (columns - 1) * p->x_delta + (p->channels ? 1 : step * LANES);
        s.input = input + y * p->y_stride + position * p->x_stride;
        s.grad = grad + done * p->grad_x_stride;
        if (MASKS_ARE_VECTORS && exist == LANES && position >= 0 && last <= p->width) {
            add_strip(tap_rows, columns, step, 0, sum, s, p);
            continue;
        }
        lanes[0] = first_lanes(exist);
        UNROLL
        for (int c = 0; c < (columns + step - 1) / step * step; c++) {
            const int64_t tap = step == 2 ? position + (c & ~1) + (c & 1) * LANES : position + c * p->x_delta;
            lanes[c + 1] = !p->channels ? existing_lanes(tap, p->width)
                               : first_lanes((uint64_t)tap < (uint64_t)p->width ? exist : 0);
        }
        add_strip(tap_rows, columns, step, 1, sum, s, p);
    }
    UNROLL
    for (int t = 0; t < tap_rows; t++) {
        UNROLL
        for (int c = 0; c < columns; c++) {
            real *to = sums + (t * p->kernel_columns + c) * LANES;
            store(to, load(to) + sum[t][c]);
        }
    }
}

/* One function per block of taps, and tables of them. */
typedef void gradient_function(real *sums, const real *input, const real *grad, int64_t y, int64_t x,
                               const fc_planes_met *p);

#define GRADIENT_FUNCTION(R, C, S)                                                                                 \
    static __attribute__((noinline)) void depthwise_gradient_##R##x##C##_##S(                                      \
        real *sums, const real *input, const real *grad, int64_t y, int64_t x, const fc_planes_met *p)             \
    {                                                                                                              \
        gradient_block(R, C, S, sums, input, grad, y, x, p);                                                       \
    }
EACH_TAP_ROW_COUNT(GRADIENT_FUNCTIONS, 1)
EACH_TAP_ROW_COUNT(GRADIENT_FUNCTIONS, 2)

static gradient_function *const gradient_functions[2][TAP_ROWS][TAP_COLUMNS] = {
    {EACH_TAP_ROW_COUNT(GRADIENT_ENTRY, 1)}, {EACH_TAP_ROW_COUNT(GRADIENT_ENTRY, 2)}};

static void depthwise_gradient(void *sums_, const void *input, const void *grad, const fc_planes_met *p)
{
    const int row_blocks = (p->kernel_rows + TAP_ROWS - 1) / TAP_ROWS;
    const int column_blocks = (p->kernel_columns + TAP_COLUMNS - 1) / TAP_COLUMNS;
    const int zipped = p->x_step == 2 && !p->channels;
    for (int i = 0; i < row_blocks; i++) {
        const int row = i * p->kernel_rows / row_blocks, rows = (i + 1) * p->kernel_rows / row_blocks - row;
        for (int j = 0; j < column_blocks; j++) {
            const int column = j * p->kernel_columns / column_blocks;
            const int columns = (j + 1) * p->kernel_columns / column_blocks - column;
            gradient_functions[zipped][rows - 1][columns - 1](
                (real *)sums_ + (row * p->kernel_columns + column) * LANES, input, grad, p->y + row * p->y_delta,
                p->x + column * p->x_delta, p);
        }
    }
}
