/* The micro-kernel: a tile of C from a panel of A and a panel of B, and the way of a tile to memory.
 *
 * ROWS x VECTORS accumulators live in registers for the whole depth; each step of k loads VECTORS vectors of
 * B and multiplies them by ROWS scalars of A, broadcast from memory. Partial tiles are computed by the same
 * body with fewer rows or vectors, so that every output sees the same sequence of operations wherever it
 * falls in a tile (the same bits at any split of the work).
 */
#include "../fc_api.h"
#include "simd.h"

/* Registers: ROWS*VECTORS accumulators + VECTORS of B + 1 must fit the register file (32 x 512 bits, 16 x 256,
 * 16 x 128, NEON 32 x 128). */
#if defined(__AVX512F__)
enum { ROWS = 14, VECTORS = 2 };
#elif defined(__AVX2__)
enum { ROWS = 6, VECTORS = 2 };
#elif defined(__aarch64__)
enum { ROWS = 12, VECTORS = 2 };
#else
enum { ROWS = 6, VECTORS = 2 };
#endif

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

INLINE void gemm_tile(int rows, int vectors, int64_t depth, const real *a, const real *b, int64_t b_step,
                      real *c, const int64_t *row_offset, int columns, const fc_finish *finish)
{
    vec sum[ROWS][VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[i][v] = (vec){0};
    }
    for (int64_t k = 0; k < depth; k++) {
        vec column[VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) column[v] = load(b + v * LANES);
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] += a[i] * column[v];
        }
        a += rows;
        b += b_step;
    }
    const int tail = columns - (vectors - 1) * LANES;  /* lanes of the last vector, 1..LANES */
    vec column_bias[VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        column_bias[v] = (vec){0};
        if (finish->final && finish->column_bias)
            column_bias[v] = load_first((const real *)finish->column_bias + v * LANES,
                                        v == vectors - 1 ? tail : LANES);
    }
    UNROLL
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

#define GEMM_ROWS(R)                                                                                       \
    case R:                                                                                                \
        if (columns > LANES) gemm_tile(R, 2, depth, a, b, b_step, c, row_offset, columns, finish);         \
        else gemm_tile(R, 1, depth, a, b, b_step, c, row_offset, columns, finish);                         \
        break;

static void gemm(int64_t depth, const void *a, const void *b, int64_t b_step, void *c,
                 const int64_t *row_offset, int rows, int columns, const fc_finish *finish)
{
    switch (rows) {
        GEMM_ROWS(1) GEMM_ROWS(2) GEMM_ROWS(3) GEMM_ROWS(4) GEMM_ROWS(5) GEMM_ROWS(6)
#if defined(__AVX512F__) || defined(__aarch64__)
        GEMM_ROWS(7) GEMM_ROWS(8) GEMM_ROWS(9) GEMM_ROWS(10) GEMM_ROWS(11) GEMM_ROWS(12)
#endif
#if defined(__AVX512F__)
        GEMM_ROWS(13) GEMM_ROWS(14)
#endif
    }
}

static void scatter(const void *tile, int64_t tile_step, void *c, const int64_t *row_offset, int rows, const fc_run *runs,
                    int run_count, const fc_finish *finish)
{
    for (int i = 0; i < rows; i++) {
        const real *from = (const real *)tile + i * tile_step;
        for (const fc_run *run = runs; run < runs + run_count; run++) {
            real *to = (real *)c + row_offset[i] + run->offset;
            for (int64_t j = 0; j < run->count; j += LANES) {
                const int lanes = run->count - j < LANES ? (int)(run->count - j) : LANES;
                vec before = {0}, column_bias = {0};
                if (run->stride == 1) {
                    if (finish->accumulate) before = load_first(to + j, lanes);
                } else if (finish->accumulate) {
                    for (int l = 0; l < lanes; l++) before[l] = to[(j + l) * run->stride];
                }
                if (finish->final && finish->column_bias)
                    column_bias = load_first((const real *)finish->column_bias + run->column + j, lanes);
                const vec out = finish_vector(load_first(from + run->column + j, lanes), before, finish, i,
                                              column_bias);
                if (run->stride == 1) {
                    store_first(to + j, out, lanes);
                } else {
                    for (int l = 0; l < lanes; l++) to[(j + l) * run->stride] = out[l];
                }
            }
        }
    }
}
