/* Products of panels: the micro-kernels of the convolutions.
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
#ifndef FC_API_GEMM_H
#define FC_API_GEMM_H

#include "finish.h"

#include <stdint.h>

enum { FC_MAX_ROWS = 16, FC_MAX_COLUMNS = 96 };      /* upper bounds over all tables, for stack arrays */
enum { FC_MAX_WINDOWS = 28 };                        /* rows of tile_of_windows */

/* `count` neighbouring columns of a tile that lie `stride` apart in the output, the first at `offset`. */
typedef struct fc_run {
    int64_t column, count, offset, stride;
} fc_run;

typedef struct fc_gemm_kernels {
    int max_rows;            /* rows of C that one call may compute */
    int max_columns;         /* columns of C that one call may compute; panels of B are this wide */

    /* The micro-kernel. a: panel of width `rows` (step == rows). b: panel of width max_columns and step
     * b_step. Row i of C starts at c + row_offset[i]; its columns are adjacent. */
    void (*tile)(int64_t depth, const void *a, const void *b, int64_t b_step, void *c, const int64_t *row_offset,
                 int rows, int columns, const fc_finish *finish);

    /* The same for all max_columns columns, whose rows of B go into a panel on the way. */
    void (*tile_packing)(int64_t depth, const void *a, const void *b, int64_t b_step, void *panel, void *c,
                         const int64_t *row_offset, int rows, const fc_finish *finish);

    /* `tile` with row k of B at b + b_offset[k], and up to wide_columns(rows) columns. Reads whole vectors of B,
     * also where fewer columns are wanted. */
    void (*tile_at)(int64_t depth, const void *a, const void *b, const int64_t *b_offset, void *c,
                    const int64_t *row_offset, int rows, int columns, const fc_finish *finish);
    int (*wide_columns)(int rows);

    /* `tile_at` with A as it lies: element (k, i) at a[i * a_step + k], a_step != 0. */
    void (*tile_of_rows)(int64_t depth, const void *a, int64_t a_step, const void *b, const int64_t *b_offset,
                         void *c, const int64_t *row_offset, int rows, int columns, const fc_finish *finish);

    /* `tile` with column k of A at a + a_offset[k]: its rows are a_step apart, those of the second half, which starts
     * at row (rows + 1) / 2, likewise, but from a_second on. Up to 2 * lanes columns and max_rows rows, or up to lanes
     * and twice the rows. Reads whole vectors of B. */
    void (*tile_of_windows)(int64_t depth, const void *a, const int64_t *a_offset, int64_t a_step, int64_t a_second,
                            const void *b, int64_t b_step, void *c, const int64_t *row_offset, int rows, int columns,
                            const fc_finish *finish);

    /* Carry a finished tile (row i at tile + i * tile_step) to an output whose columns lie in runs. */
    void (*scatter)(const void *tile, int64_t tile_step, void *c, const int64_t *row_offset, int rows,
                    const fc_run *runs, int run_count, const fc_finish *finish);
} fc_gemm_kernels;

#endif
