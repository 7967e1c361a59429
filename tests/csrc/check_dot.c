/* dot against plain loops: every tile, runs of any length that overlap in the operands. */
#include "check.h"

#include <stdlib.h>

enum { RUNS = 3, ROOM = 200 };

/* `count` rows of B (or A) with room for what the tile may read; a row of A holds zeros behind each of its runs. */
static guarded new_rows(int count, enum side side, int64_t zeros_from)
{
    const guarded rows = guarded_new((int64_t)count * ROOM * RUNS, side);
    fill_integers(rows.data, rows.count);
    for (int64_t run = 0; zeros_from >= 0 && run < (int64_t)count * RUNS; run++)
        for (int64_t x = zeros_from; x < ROOM; x++) rows.data[run * ROOM + x] = 0;
    return rows;
}

static void check_tile(int rows, int columns, int64_t count, int run_count, enum side side)
{
    const guarded a = new_rows(rows, side, count), b = new_rows(columns, side, -1);
    const guarded c = guarded_new(rows * (columns + 3), side);
    const void *a_rows[FC_MAX_DOT_ROWS], *b_rows[FC_MAX_DOT_COLUMNS];
    int64_t row_offset[FC_MAX_DOT_ROWS];
    fc_run_pair runs[RUNS];
    for (int i = 0; i < rows; i++) {
        a_rows[i] = a.data + i * ROOM * RUNS;
        row_offset[i] = (rows - 1 - i) * (columns + 3) + (side == AT_END ? 3 : 0);
    }
    for (int j = 0; j < columns; j++) b_rows[j] = b.data + j * ROOM * RUNS;
    for (int r = 0; r < RUNS; r++) {
        const int64_t shift = ROOM - (count + table->lanes - 1) / table->lanes * table->lanes;
        runs[r] = (fc_run_pair){.a_offset = r * ROOM, .b_offset = r * ROOM + random_below(shift + 1), .count = count};
    }
    real *expected = malloc((size_t)c.count * sizeof(real));
    for (int64_t i = 0; i < c.count; i++) expected[i] = UNTOUCHED;
    for (int accumulate = 0; accumulate <= 1; accumulate++) {
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                real *sum = &expected[row_offset[i] + j];
                if (!accumulate) *sum = 0;
                for (int r = 0; r < run_count; r++)
                    for (int64_t x = 0; x < count; x++)
                        *sum += a.data[(i * RUNS + r) * ROOM + x] * b.data[j * ROOM * RUNS + runs[r].b_offset + x];
            }
        describe("dot, %d x %d, %d runs of %lld, accumulate %d", rows, columns, run_count, (long long)count,
                 accumulate);
        table->dot.tile(a_rows, rows, b_rows, columns, runs, run_count, c.data, row_offset, accumulate);
        expect_same(c.data, expected, c.count);
    }
    free(expected);
    guarded_free(a);
    guarded_free(b);
    guarded_free(c);
}

void check_dot(void)
{
    describe("dot");
    if (table->dot.max_rows < 1 || table->dot.max_rows > FC_MAX_DOT_ROWS) fail("dot_rows %d", table->dot.max_rows);
    for (int rows = 1; rows <= table->dot.max_rows; rows++) {
        const int most = table->dot.max_columns(rows);
        if (most < 1 || most > FC_MAX_DOT_COLUMNS) fail("dot_columns(%d) %d", rows, most);
        for (int columns = 1; columns <= most; columns++)
            for (int run_count = 0; run_count <= RUNS; run_count++)
                for (int64_t count = 1; count <= 3 * table->lanes + 1; count += 1 + random_below(table->lanes))
                    check_tile(rows, columns, count, run_count, columns % 2 ? AT_START : AT_END);
    }
}
