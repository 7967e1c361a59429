/* The other micro-kernel: a tile of C from dot products along memory, lanes being positions.
 *
 * Where a result is a sum over many positions of two planes, shifted against each other (a weight gradient), both
 * operands are read as they lie, without a panel. ROWS x COLUMNS accumulators, one vector each, live in registers
 * over all runs; at the end their lanes are added up.
 */
#include "../fc_api.h"
#include "simd.h"

/* Registers (csrc/isa): rows * columns accumulators + rows of A + 1 of B; and each row and column takes an address
 * register. */
enum { DOT_MOST_COLUMNS = 8 };

/* totals[i] = sum of the lanes of sums[i], for i < LANES: each round adds the halves of two vectors into one. */
INLINE void add_lanes(real *totals, const vec *sums)
{
    vec part[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) part[i] = sums[i];
    UNROLL
    for (int half = LANES / 2; half >= 1; half /= 2) {
        UNROLL
        for (int i = 0; i < half; i++)
            part[i] = SHUFFLE(part[i], part[i + half], ZIP_LOWER) + SHUFFLE(part[i], part[i + half], ZIP_UPPER);
    }
    store(totals, part[0]);
}

/* `sums` has room for whole groups of LANES vectors. */
static void store_dots(vec *sums, int rows, int columns, real *c, const int64_t *row_offset, int accumulate)
{
    real totals[DOT_ROWS * DOT_MOST_COLUMNS + LANES];
    const int count = rows * columns;
    for (int i = count; i % LANES; i++) sums[i] = (vec){0};
    for (int i = 0; i < count; i += LANES) add_lanes(totals + i, sums + i);
    for (int i = 0; i < rows; i++) {
        real *row = c + row_offset[i];
        for (int j = 0; j < columns; j++) {
            const real total = totals[i * columns + j];
            row[j] = accumulate ? row[j] + total : total;
        }
    }
}

INLINE void dot_tile(int rows, int columns, const real *const *a, const real *const *b, const fc_run_pair *runs,
                     int64_t run_count, real *c, const int64_t *row_offset, int accumulate)
{
    vec sum[DOT_ROWS][DOT_MOST_COLUMNS];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < columns; j++) sum[i][j] = (vec){0};
    }
    for (const fc_run_pair *run = runs; run < runs + run_count; run++) {
        const real *p[DOT_ROWS], *q[DOT_MOST_COLUMNS];
        UNROLL
        for (int i = 0; i < rows; i++) p[i] = a[i] + run->a_offset;
        UNROLL
        for (int j = 0; j < columns; j++) q[j] = b[j] + run->b_offset;
        for (int64_t x = 0; x < run->count; x += LANES) {
            vec row[DOT_ROWS];
            UNROLL
            for (int i = 0; i < rows; i++) row[i] = load(p[i] + x);
            UNROLL
            for (int j = 0; j < columns; j++) {
                vec column = load(q[j] + x);
                __asm__("" : FC_IN_REGISTER(column));  /* or it is loaded once per row */
                UNROLL
                for (int i = 0; i < rows; i++) sum[i][j] += row[i] * column;
            }
        }
    }
    vec sums[(DOT_ROWS * DOT_MOST_COLUMNS + LANES - 1) / LANES * LANES];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int j = 0; j < columns; j++) sums[i * columns + j] = sum[i][j];
    }
    store_dots(sums, rows, columns, c, row_offset, accumulate);
}

#define DOT_TILE(R, C)                                                                                     \
    case C:                                                                                                \
        if (C <= DOT_COLUMNS(R)) dot_tile(R, C, a, b, runs, run_count, c, row_offset, accumulate);         \
        break;

#define DOT_TILES(R)                                                                                       \
    case R:                                                                                                \
        switch (columns) {                                                                                 \
            DOT_TILE(R, 1) DOT_TILE(R, 2) DOT_TILE(R, 3) DOT_TILE(R, 4)                                    \
            DOT_TILE(R, 5) DOT_TILE(R, 6) DOT_TILE(R, 7) DOT_TILE(R, 8)                                    \
        }                                                                                                  \
        break;

static void dot(const void *const *a_, int rows, const void *const *b_, int columns, const fc_run_pair *runs,
                int64_t run_count, void *c_, const int64_t *row_offset, int accumulate)
{
    const real *const *a = (const real *const *)a_, *const *b = (const real *const *)b_;
    real *c = c_;
    switch (rows) { EACH_DOT_ROW_COUNT(DOT_TILES) }
}

/* Columns that dot takes at a time, by rows. */
static int dot_columns(int rows) { return DOT_COLUMNS(rows); }
