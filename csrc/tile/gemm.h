/* The micro-kernel: a tile of C from a panel of A and rows of B, and the way of a tile to memory.
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
#include "simd.h"

/* Registers: rows * vectors accumulators + `vectors` of B + 1 must fit the register file (32 x 512 bits, 16 x 256,
 * 16 x 128, NEON 32 x 128; without fused multiply-add a product takes one more). Few rows leave room for more
 * vectors, WIDE(rows) of them. */
#if defined(__AVX512F__)
enum { ROWS = 14, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 4 ? 6 : (rows) <= 6 ? 4 : (rows) <= 8 ? 3 : 2)
#elif defined(__AVX2__)
enum { ROWS = 6, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 2 ? 4 : (rows) <= 3 ? 3 : 2)
#elif defined(__aarch64__)
enum { ROWS = 12, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 4 ? 6 : (rows) <= 6 ? 4 : (rows) <= 8 ? 3 : 2)
#else
enum { ROWS = 6, VECTORS = 2 };
#define WIDE(rows) ((rows) <= 2 ? 4 : (rows) <= 3 ? 3 : 2)
#endif
enum { MOST_VECTORS = WIDE(1), MOST_ROWS = 2 * ROWS };  /* the latter of gemm_windows, with one vector */

#if defined(__clang__)
#define UNROLL_ROWS UNROLL
#else
#define UNROLL_ROWS _Pragma("GCC unroll 32")
#endif

/* Where A lies if it is no panel: column k at a + offset[k], its rows `step` apart, those of the second half (which
 * starts at row (rows + 1) / 2) likewise, but from `second` on. */
typedef struct windows {
    const int64_t *offset;
    int64_t step, second;
} windows;

/* Bias, activation and accumulation of one vector of sums; the rest of the tile's way to memory only moves. */
INLINE vec activate(vec x, const fc_finish *finish)
{
    const vec zero = {0};
    switch (finish->activation) {
    case FC_RELU:  /* comparisons are false for NaN, which therefore passes through */
        return choose(x < zero, zero, x);
    case FC_LEAKY_RELU:
        return choose(x < zero, x * (real)finish->slope, x);
    case FC_RELU6:
        x = choose(x < zero, zero, x);
        return choose(x > zero + (real)6, zero + (real)6, x);
    default:
        return x;
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

/* Row k of B starts at b + k * b_step, or at b + b_offset[k] if there is a table. Row i of A starts at a + i * a_step
 * and is contiguous; 0: A is a panel, unless there
 * are windows. */
INLINE void gemm_tile(int rows, int vectors, int64_t depth, const real *a, int64_t a_step, const windows *w,
                      const real *b, int64_t b_step, const int64_t *b_offset, real *c, const int64_t *row_offset,
                      int columns, const fc_finish *finish)
{
    enum { TRIPLES = (ROWS + 2) / 3 };
    const int64_t across = a_step * (int64_t)sizeof(real);
    const char *triple[TRIPLES];  /* of rows: no more than an address and its offset, once and twice, are needed */
    UNROLL
    for (int i = 0; i < TRIPLES; i++) triple[i] = (const char *)a + 3 * i * across;
    vec sum[MOST_ROWS][MOST_VECTORS];
    UNROLL_ROWS
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[i][v] = (vec){0};
    }
    if (!w) {  /* the sums' way to memory is long: it starts now */
        UNROLL_ROWS
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < vectors; v++) __builtin_prefetch(c + row_offset[i] + v * LANES, 1);
        }
    }
    for (int64_t k = 0; k < depth; k++) {
        const real *row = b_offset ? b + b_offset[k] : b;
        vec column[MOST_VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) column[v] = load(row + v * LANES);
        const real *from = w ? a + w->offset[k] : a;
        UNROLL_ROWS
        for (int i = 0; i < rows; i++) {
            const int in_half = i < (rows + 1) / 2 ? i : i - (rows + 1) / 2;
            if (w && i && in_half % 4 == 0) {
                from = in_half ? from + 4 * w->step : a + w->offset[k] + w->second;
                __asm__("" : "+r"(from));  /* else GCC keeps the distances of all rows, in more registers than it has */
            }
            const real factor = w        ? from[in_half % 4 * w->step]
                                : a_step ? *(const real *)(triple[i / 3] + i % 3 * across)
                                         : a[i];
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] += factor * column[v];
        }
        UNROLL
        for (int i = 0; i < TRIPLES; i++) triple[i] += sizeof(real);
        if (!w) a += rows;
        b += b_step;
    }
    const int tail = columns - (vectors - 1) * LANES;  /* lanes of the last vector, 1..LANES */
    if (!finish->accumulate && !(finish->final && (finish->row_bias || finish->column_bias || finish->activation))) {
        UNROLL_ROWS
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < vectors - 1; v++) store(c + row_offset[i] + v * LANES, sum[i][v]);
            store_first(c + row_offset[i] + (vectors - 1) * LANES, sum[i][vectors - 1], tail);
        }
        return;
    }
    vec column_bias[MOST_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        column_bias[v] = (vec){0};
        if (finish->final && finish->column_bias)
            column_bias[v] = load_first((const real *)finish->column_bias + v * LANES,
                                        v == vectors - 1 ? tail : LANES);
    }
    UNROLL_ROWS
    for (int i = 0; i < rows; i++) {
        real *row = c + row_offset[i];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            real *p = row + v * LANES;
            const int lanes = v == vectors - 1 ? tail : LANES;
            vec before = {0};
            if (finish->accumulate) before = lanes == LANES ? load(p) : load_first(p, lanes);
            const vec out = finish_vector(sum[i][v], before, finish, i, column_bias[v]);
            if (lanes == LANES) store(p, out);
            else store_first(p, out, lanes);
        }
    }
}

#if defined(__AVX512F__)
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) \
    CASE(11) CASE(12) CASE(13) CASE(14)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) CASE(21) CASE(22) \
    CASE(23) CASE(24) CASE(25) CASE(26) CASE(27) CASE(28)
#elif defined(__aarch64__)
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) \
    CASE(11) CASE(12)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(13) CASE(14) CASE(15) CASE(16) CASE(17) CASE(18) CASE(19) CASE(20) \
    CASE(21) CASE(22) CASE(23) CASE(24)
#else
#define EACH_ROW_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
#define EACH_FURTHER_ROW_COUNT(CASE) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)
#endif

#define GEMM_CASE(R)                                                                                       \
    case R:                                                                                                \
        if (columns > LANES) gemm_tile(R, 2, depth, a, 0, NULL, b, b_step, NULL, c, row_offset, columns, finish); \
        else gemm_tile(R, 1, depth, a, 0, NULL, b, b_step, NULL, c, row_offset, columns, finish);                \
        break;

static void gemm(int64_t depth, const void *a, const void *b, int64_t b_step, void *c,
                 const int64_t *row_offset, int rows, int columns, const fc_finish *finish)
{
    switch (rows) { EACH_ROW_COUNT(GEMM_CASE) }
}

/* A function per row count: for all of them in one GCC falls back to its simple register allocator, which spills. */
#define GEMM_VECTORS(R, V, A_STEP)                                                                         \
    case V:                                                                                                \
        if (V <= WIDE(R))                                                                                  \
            gemm_tile(R, V, depth, a, A_STEP, NULL, b, 0, b_offset, c, row_offset, columns, finish);       \
        break;

#define GEMM_EACH_WIDTH(R, A_STEP)                                                                         \
    {                                                                                                      \
        if (!b_offset) __builtin_unreachable();  /* there is always a table */                             \
        switch ((columns + LANES - 1) / LANES) {                                                           \
            GEMM_VECTORS(R, 1, A_STEP) GEMM_VECTORS(R, 2, A_STEP) GEMM_VECTORS(R, 3, A_STEP)               \
            GEMM_VECTORS(R, 4, A_STEP) GEMM_VECTORS(R, 5, A_STEP) GEMM_VECTORS(R, 6, A_STEP)               \
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
        const windows w = {a_offset, a_step, a_second};                                                    \
        if (columns <= LANES) gemm_tile(R, 1, depth, a, 0, &w, b, b_step, NULL, c, row_offset, columns, finish); \
        else if (R <= ROWS) gemm_tile(R, 2, depth, a, 0, &w, b, b_step, NULL, c, row_offset, columns, finish); \
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

/* One row's part of a run to an output whose elements are adjacent, two apart, or farther. */
INLINE void scatter_run(const real *from, real *to, const fc_run *run, int row, const fc_finish *finish)
{
    for (int64_t j = 0; j < run->count; j += LANES) {
        const int lanes = run->count - j < LANES ? (int)(run->count - j) : LANES;
        real *p = to + j * run->stride;
        vec before = {0}, column_bias = {0};
        if (finish->accumulate) {
            if (run->stride == 1) before = load_first(p, lanes);
            else
                for (int l = 0; l < lanes; l++) before[l] = p[l * run->stride];
        }
        if (finish->final && finish->column_bias)
            column_bias = load_first((const real *)finish->column_bias + run->column + j, lanes);
        const vec out = finish_vector(load_first(from + j, lanes), before, finish, row, column_bias);
        if (run->stride == 1) {
            store_first(p, out, lanes);
#if FC_MASKS
        } else if (run->stride == 2) {
            store_masked(p, SHUFFLE(out, out, ZIP_LOWER), even_lanes(lanes < LANES / 2 ? 2 * lanes : LANES));
            if (lanes > LANES / 2) store_masked(p + LANES, SHUFFLE(out, out, ZIP_UPPER), even_lanes(2 * lanes - LANES));
#endif
        } else {
            for (int l = 0; l < lanes; l++) p[l * run->stride] = out[l];
        }
    }
}

/* What finish_vector does for one vector, for rows `first` on of a tile, without what C holds. */
INLINE void finish_block(vec *block, const fc_finish *finish, int first, int rows, vec column_bias)
{
    if (!finish->final) return;
    if (finish->row_bias) {
        UNROLL
        for (int i = 0; i < LANES; i++)
            if (first + i < rows) block[i] += ((const real *)finish->row_bias)[first + i];
    }
    if (finish->column_bias) {
        UNROLL
        for (int i = 0; i < LANES; i++) block[i] += column_bias;
    }
    if (finish->activation) {
        UNROLL
        for (int i = 0; i < LANES; i++) block[i] = activate(block[i], finish);
    }
}

/* A run of a tile whose rows are adjacent in the output (channels-last, or a tile of pixels by channels): transposed a
 * vector of columns at a time. Loops are over whole blocks, so that these stay in registers. */
INLINE void scatter_transposed(const real *from, int64_t tile_step, real *to, int rows, const fc_run *run,
                               const fc_finish *finish)
{
    for (int64_t j = 0; j < run->count; j += LANES) {
        const int lanes = run->count - j < LANES ? (int)(run->count - j) : LANES;
        const mask columns = first_lanes(lanes);
        vec column_bias = {0};
        if (finish->final && finish->column_bias)
            column_bias = load_masked((const real *)finish->column_bias + run->column + j, columns);
        for (int first = 0; first < rows; first += LANES) {
            const mask in_block = first_lanes(rows - first < LANES ? rows - first : LANES);
            const real *block_from = from + first * tile_step + j;
            real *block_to = to + j * run->stride + first;
            vec block[LANES];
            UNROLL
            for (int i = 0; i < LANES; i++)
                block[i] = first + i < rows ? load_masked(block_from + i * tile_step, columns) : (vec){0};
            if (finish->accumulate) {
                transpose(block);
                UNROLL
                for (int l = 0; l < LANES; l++)
                    if (l < lanes) block[l] += load_masked(block_to + l * run->stride, in_block);
                transpose(block);
            }
            finish_block(block, finish, first, rows, column_bias);
            transpose(block);
            UNROLL
            for (int l = 0; l < LANES; l++)
                if (l < lanes) store_masked(block_to + l * run->stride, block[l], in_block);
        }
    }
}

static void scatter(const void *tile, int64_t tile_step, void *c, const int64_t *row_offset, int rows, const fc_run *runs,
                    int run_count, const fc_finish *finish)
{
    int adjacent = rows > 2;
    for (int i = 1; i < rows; i++) adjacent &= row_offset[i] == row_offset[0] + i;
    for (const fc_run *run = runs; run < runs + run_count; run++) {
        real *to = (real *)c + row_offset[0] + run->offset;
        if (adjacent && run->stride != 1) {
            scatter_transposed((const real *)tile + run->column, tile_step, to, rows, run, finish);
            continue;
        }
        for (int i = 0; i < rows; i++)
            scatter_run((const real *)tile + i * tile_step + run->column, to + (row_offset[i] - row_offset[0]), run, i,
                        finish);
    }
}
