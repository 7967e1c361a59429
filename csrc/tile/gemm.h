/* The micro-kernel: a tile of C from a panel of A and rows of B.
 *
 * rows x vectors accumulators live in registers for the whole depth; each step of k loads `vectors` vectors of
 * B and multiplies them by `rows` scalars of A, broadcast from memory. The rows of B follow one another in a panel
 * (gemm) or lie wherever a table says (gemm_at), which reads convolution windows without copying them; A may be read
 * where its rows lie as well (gemm_rows), if each is contiguous, or where a table says (gemm_windows, whose lanes are
 * output channels).
 * Partial tiles are computed by the same body with fewer rows or vectors, so that every output sees the same
 * sequence of operations wherever it falls in a tile (the same bits at any split of the work).
 */
#include "../fc_api.h"
#include "rectifier.h"
#include "simd.h"

/* Registers: rows * vectors accumulators + `vectors` of B + 1 must fit the register file (without fused multiply-add a
 * product takes one more). Few rows leave room for more vectors, WIDE(rows) of them. The numbers are those of csrc/isa. */
enum { MOST_VECTORS = WIDE(1), MOST_ROWS = 2 * ROWS };  /* the latter of gemm_windows, with one vector */

#if defined(__clang__)
#define UNROLL_ROWS UNROLL
#else
#define UNROLL_ROWS _Pragma("GCC unroll 32")
#endif

/* Where row i of A is at k. A panel: at[k * rows + i]. With a step each row is contiguous: at[i * step + k]. With
 * offsets a column lies anywhere: at[offset[k] + i * step], the second half of the rows, from (rows + 1) / 2 on,
 * likewise, but from `second` on. */
typedef struct left {
    const real *at;
    int64_t step;
    const int64_t *offset;
    int64_t second;
} left;

/* Row k of B: at[k * step], or at[offset[k]]. If there is a panel the rows go there, too, while the lines of the
 * columns behind them are fetched for the next tile. */
typedef struct right {
    const real *at;
    int64_t step;
    const int64_t *offset;
    real *panel;
} right;

/* Bias, activation and accumulation of one vector of sums; the rest of the tile's way to memory only moves. */
INLINE vec activate(vec x, const fc_finish *finish)
{
    switch (finish->activation) {
    case FC_RELU: return relu(x);
    case FC_LEAKY_RELU: return leaky_relu(x, splat((real)finish->slope));
    case FC_RELU6: return relu6(x);
    default: return x;
    }
}

INLINE vec finish_vector(vec sum, vec before, const fc_finish *finish, int row, vec column_bias)
{
    if (finish->accumulate) sum += before;
    if (finish->final) {
        if (finish->row_bias) sum += ((const real *)finish->row_bias)[row];
        if (finish->column_bias) sum += column_bias;
        sum = activate(sum, finish);
    }
    return sum;
}

INLINE void gemm_tile(int rows, int vectors, int64_t depth, left a, right b, real *c, const int64_t *row_offset,
                      int columns, const fc_finish *finish)
{
    enum { TRIPLES = (ROWS + 2) / 3 };
    const int64_t across = a.step * (int64_t)sizeof(real);
    const char *triple[TRIPLES];  /* of rows: no more than an address and its offset, once and twice, are needed */
    UNROLL
    for (int i = 0; i < TRIPLES; i++) triple[i] = (const char *)a.at + 3 * i * across;
    vec sum[MOST_ROWS][MOST_VECTORS];
    UNROLL_ROWS
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[i][v] = (vec){0};
    }
    if (!a.offset) {  /* the sums' way to memory is long: it starts now */
        UNROLL_ROWS
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < vectors; v++) __builtin_prefetch(c + row_offset[i] + v * LANES, 1);
        }
    }
    const real *next = a.at + rows * a.step;  /* rows of the next tile, if they follow: their lines come too late each */
    for (int64_t k = 0; k < depth; k++) {
        if (a.step && !a.offset) {
            __builtin_prefetch(next);
            next += rows;
        }
        const real *row = b.offset ? b.at + b.offset[k] : b.at;
        vec column[MOST_VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) column[v] = load(row + v * LANES);
        if (b.panel) {
            UNROLL
            for (int v = 0; v < vectors; v++) {
                store(b.panel + v * LANES, column[v]);
                __builtin_prefetch(row + (vectors + v + 1) * LANES - 1);
            }
            b.panel += vectors * LANES;
        }
        const real *from = a.offset ? a.at + a.offset[k] : a.at;
        UNROLL_ROWS
        for (int i = 0; i < rows; i++) {
            const int in_half = i < (rows + 1) / 2 ? i : i - (rows + 1) / 2;
            if (a.offset && i && in_half % 4 == 0) {
                from = in_half ? from + 4 * a.step : a.at + a.offset[k] + a.second;
                __asm__("" : "+r"(from));  /* else GCC keeps the distances of all rows, in more registers than it has */
            }
            const real factor = a.offset ? from[in_half % 4 * a.step]
                                : a.step ? *(const real *)(triple[i / 3] + i % 3 * across)
                                         : a.at[i];
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] += factor * column[v];
        }
        UNROLL
        for (int i = 0; i < TRIPLES; i++) triple[i] += sizeof(real);
        if (!a.offset) a.at += rows;
        b.at += b.step;
    }
    /* As `finish_vector`, but asked once for all sums, not for each: that compiles in two thirds of the time. */
    const int tail = columns - (vectors - 1) * LANES;  /* lanes of the last vector, 1..LANES */
#define EACH_SUM(STATEMENT)                                                                                \
    UNROLL_ROWS                                                                                            \
    for (int i = 0; i < rows; i++) {                                                                       \
        UNROLL                                                                                             \
        for (int v = 0; v < vectors; v++) STATEMENT;                                                       \
    }
    if (finish->accumulate)
        EACH_SUM(sum[i][v] += v < vectors - 1 ? load(c + row_offset[i] + v * LANES)
                                              : load_first(c + row_offset[i] + v * LANES, tail))
    if (finish->final) {
        if (finish->row_bias) EACH_SUM(sum[i][v] += ((const real *)finish->row_bias)[i])
        if (finish->column_bias) {
            const real *bias = finish->column_bias;
            vec column_bias[MOST_VECTORS];
            UNROLL
            for (int v = 0; v < vectors; v++)
                column_bias[v] = load_first(bias + v * LANES, v < vectors - 1 ? LANES : tail);
            EACH_SUM(sum[i][v] += column_bias[v])
        }
        switch (finish->activation) {
        case FC_RELU: EACH_SUM(sum[i][v] = relu(sum[i][v])) break;
        case FC_LEAKY_RELU: EACH_SUM(sum[i][v] = leaky_relu(sum[i][v], splat((real)finish->slope))) break;
        case FC_RELU6: EACH_SUM(sum[i][v] = relu6(sum[i][v])) break;
        default: break;
        }
    }
    UNROLL_ROWS
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors - 1; v++) store(c + row_offset[i] + v * LANES, sum[i][v]);
        store_first(c + row_offset[i] + (vectors - 1) * LANES, sum[i][vectors - 1], tail);
    }
#undef EACH_SUM
}

#define GEMM_CASE(R)                                                                                       \
    case R: {                                                                                              \
        const right panel = {.at = b, .step = b_step};                                                     \
        if (columns > LANES) gemm_tile(R, 2, depth, (left){.at = a}, panel, c, row_offset, columns, finish); \
        else gemm_tile(R, 1, depth, (left){.at = a}, panel, c, row_offset, columns, finish);               \
        break;                                                                                             \
    }

static void gemm(int64_t depth, const void *a, const void *b, int64_t b_step, void *c,
                 const int64_t *row_offset, int rows, int columns, const fc_finish *finish)
{
    switch (rows) { EACH_ROW_COUNT(GEMM_CASE) }
}

#define GEMM_PACK_CASE(R)                                                                                  \
    case R:                                                                                                \
        gemm_tile(R, VECTORS, depth, (left){.at = a}, from, c, row_offset, VECTORS * LANES, finish);       \
        break;

static void gemm_pack(int64_t depth, const void *a, const void *b, int64_t b_step, void *panel, void *c,
                      const int64_t *row_offset, int rows, const fc_finish *finish)
{
    if (!panel) __builtin_unreachable();
    const right from = {.at = b, .step = b_step, .panel = panel};
    switch (rows) { EACH_ROW_COUNT(GEMM_PACK_CASE) }
}

/* A function per row count: for all of them in one GCC falls back to its simple register allocator, which spills. */
#define GEMM_VECTORS(R, V)                                                                                 \
    case V:                                                                                                \
        if (V <= WIDE(R)) gemm_tile(R, V, depth, rows, from, c, row_offset, columns, finish);              \
        break;

#define GEMM_EACH_WIDTH(R, A_STEP)                                                                         \
    {                                                                                                      \
        if (!b_offset) __builtin_unreachable();  /* there is always a table */                             \
        const left rows = {.at = a, .step = A_STEP};                                                       \
        const right from = {.at = b, .offset = b_offset};                                                  \
        switch ((columns + LANES - 1) / LANES) {                                                           \
            GEMM_VECTORS(R, 1) GEMM_VECTORS(R, 2) GEMM_VECTORS(R, 3)                                       \
            GEMM_VECTORS(R, 4) GEMM_VECTORS(R, 5) GEMM_VECTORS(R, 6)                                       \
        }                                                                                                  \
    }

#define GEMM_AT_ROWS(R)                                                                                    \
    static __attribute__((noinline)) void gemm_at_##R(                                                     \
        int64_t depth, const void *a, const void *b, const int64_t *b_offset, void *c,                     \
        const int64_t *row_offset, int columns, const fc_finish *finish)                                   \
    GEMM_EACH_WIDTH(R, 0)
EACH_ROW_COUNT(GEMM_AT_ROWS)

#define GEMM_AT_CASE(R)                                                                                    \
    case R: gemm_at_##R(depth, a, b, b_offset, c, row_offset, columns, finish); break;

static void gemm_at(int64_t depth, const void *a, const void *b, const int64_t *b_offset, void *c,
                    const int64_t *row_offset, int rows, int columns, const fc_finish *finish)
{
    switch (rows) { EACH_ROW_COUNT(GEMM_AT_CASE) }
}

#define GEMM_ROWS_ROWS(R)                                                                                  \
    static __attribute__((noinline)) void gemm_rows_##R(                                                   \
        int64_t depth, const void *a, int64_t a_step, const void *b, const int64_t *b_offset, void *c,     \
        const int64_t *row_offset, int columns, const fc_finish *finish)                                   \
    {                                                                                                      \
        if (!a_step) __builtin_unreachable();                                                              \
        GEMM_EACH_WIDTH(R, a_step)                                                                         \
    }
EACH_ROW_COUNT(GEMM_ROWS_ROWS)

#define GEMM_ROWS_CASE(R)                                                                                  \
    case R: gemm_rows_##R(depth, a, a_step, b, b_offset, c, row_offset, columns, finish); break;

static void gemm_rows(int64_t depth, const void *a, int64_t a_step, const void *b, const int64_t *b_offset, void *c,
                      const int64_t *row_offset, int rows, int columns, const fc_finish *finish)
{
    switch (rows) { EACH_ROW_COUNT(GEMM_ROWS_CASE) }
}

/* Columns that gemm_at and gemm_rows compute at a time, by rows. */
static int wide_columns(int rows) { return WIDE(rows) * LANES; }

#define GEMM_WINDOWS_ROWS(R)                                                                               \
    static __attribute__((noinline)) void gemm_windows_##R(                                                \
        int64_t depth, const void *a, const int64_t *a_offset, int64_t a_step, int64_t a_second,           \
        const void *b, int64_t b_step, void *c, const int64_t *row_offset, int columns, const fc_finish *finish) \
    {                                                                                                      \
        if (!a_offset) __builtin_unreachable();                                                            \
        const left windows = {.at = a, .step = a_step, .offset = a_offset, .second = a_second};            \
        const right panel = {.at = b, .step = b_step};                                                     \
        if (columns <= LANES) gemm_tile(R, 1, depth, windows, panel, c, row_offset, columns, finish);      \
        else if (R <= ROWS) gemm_tile(R, 2, depth, windows, panel, c, row_offset, columns, finish);        \
    }
EACH_ROW_COUNT(GEMM_WINDOWS_ROWS)
EACH_FURTHER_ROW_COUNT(GEMM_WINDOWS_ROWS)

#define GEMM_WINDOWS_CASE(R)                                                                               \
    case R: gemm_windows_##R(depth, a, a_offset, a_step, a_second, b, b_step, c, row_offset, columns, finish); break;

static void gemm_windows(int64_t depth, const void *a, const int64_t *a_offset, int64_t a_step, int64_t a_second,
                         const void *b, int64_t b_step, void *c, const int64_t *row_offset, int rows, int columns,
                         const fc_finish *finish)
{
    switch (rows) { EACH_ROW_COUNT(GEMM_WINDOWS_CASE) EACH_FURTHER_ROW_COUNT(GEMM_WINDOWS_CASE) }
}
