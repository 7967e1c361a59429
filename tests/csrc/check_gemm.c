/* The micro-kernel and the way of a tile to memory: gemm and scatter against plain loops. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- finish: accumulation, bias, activation ------------------------------------------------------ */

enum { BIAS_NONE, BIAS_ROW, BIAS_COLUMN, BIAS_BOTH, BIASES };
enum { ACTIVATIONS = FC_RELU6 + 1, FINISHES = 2 * (1 + BIASES * ACTIVATIONS) };

/* Finish number `which` of FINISHES: accumulate or not; not final, or final with each bias and activation. */
static fc_finish finish_number(int which, const real *row_bias, const real *column_bias)
{
    fc_finish finish = {.accumulate = which % 2, .slope = 0.25};
    finish.row_bias = row_bias;
    finish.column_bias = column_bias;
    which /= 2;
    finish.final = which > 0;
    if (!finish.final) return finish;  /* biases are given and must be ignored */
    const int bias = (which - 1) % BIASES;
    finish.activation = (which - 1) / BIASES;
    if (!(bias & BIAS_ROW)) finish.row_bias = NULL;
    if (!(bias & BIAS_COLUMN)) finish.column_bias = NULL;
    return finish;
}

static real finished(real sum, real before, const fc_finish *finish, int row, int64_t column)
{
    if (finish->accumulate) sum += before;
    if (!finish->final) return sum;
    if (finish->row_bias) sum += ((const real *)finish->row_bias)[row];
    if (finish->column_bias) sum += ((const real *)finish->column_bias)[column];
    switch (finish->activation) {
    case FC_RELU: return sum < 0 ? 0 : sum;
    case FC_LEAKY_RELU: return sum < 0 ? sum * (real)finish->slope : sum;
    case FC_RELU6: return sum < 0 ? 0 : sum > 6 ? 6 : sum;
    default: return sum;
    }
}

/* ---- gemm ---------------------------------------------------------------------------------------- */

typedef struct problem {
    int64_t depth, b_step;
    int rows, columns;
    guarded a, b, row_bias, column_bias;
} problem;

static problem problem_new(int64_t depth, int rows, int columns, enum side side,
                           void (*fill)(real *data, int64_t count))
{
    problem p = {.depth = depth, .rows = rows, .columns = columns};
    p.b_step = table->gemm.max_columns + (depth % 2 ? 3 : 0);  /* panels of several taps are interleaved */
    p.a = guarded_new(depth * rows, side);
    p.b = guarded_new(depth ? (depth - 1) * p.b_step + table->gemm.max_columns : 0, side);
    p.row_bias = guarded_new(rows, side);
    p.column_bias = guarded_new(columns, side);
    fill(p.a.data, p.a.count);
    fill(p.b.data, p.b.count);
    fill(p.row_bias.data, rows);
    fill(p.column_bias.data, columns);
    return p;
}

static void problem_free(problem p)
{
    guarded_free(p.a);
    guarded_free(p.b);
    guarded_free(p.row_bias);
    guarded_free(p.column_bias);
}

static real exact_sum(const problem *p, int row, int column)
{
    real sum = 0;
    for (int64_t k = 0; k < p->depth; k++)
        sum += p->a.data[k * p->rows + row] * p->b.data[k * p->b_step + column];
    return sum;
}

/* One tile with every finish. Rows of C lie apart and in reverse order; what is between them must stay. */
static void check_gemm_tile(int64_t depth, int rows, int columns, enum side side)
{
    const problem p = problem_new(depth, rows, columns, side, fill_integers);
    const int64_t gap = 3, step = columns + gap, size = rows * step - gap;
    const guarded c = guarded_new(size, side);
    real *sums = malloc((size_t)(rows * columns) * sizeof(real));
    real *expected = malloc((size_t)size * sizeof(real));
    int64_t row_offset[FC_MAX_ROWS];
    for (int i = 0; i < rows; i++) {
        row_offset[i] = (rows - 1 - i) * step;
        for (int j = 0; j < columns; j++) sums[i * columns + j] = exact_sum(&p, i, j);
    }
    for (int which = 0; which < FINISHES; which++) {
        const fc_finish finish = finish_number(which, p.row_bias.data, p.column_bias.data);
        for (int64_t i = 0; i < size; i++)
            expected[i] = c.data[i] = i % step < columns ? (real)(i % 5 - 2) : UNTOUCHED;
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                real *to = &expected[row_offset[i] + j];
                *to = finished(sums[i * columns + j], *to, &finish, i, j);
            }
        describe("gemm, depth %lld, %d rows, %d columns, finish %d", (long long)depth, rows, columns, which);
        table->gemm.tile(depth, p.a.data, p.b.data, p.b_step, c.data, row_offset, rows, columns, &finish);
        expect_same(c.data, expected, size);
    }
    free(sums);
    free(expected);
    guarded_free(c);
    problem_free(p);
}

void check_gemm(void)
{
    static const int64_t depths[] = {0, 1, 2, 17};
    for (int d = 0; d < COUNT(depths); d++)
        for (int rows = 1; rows <= table->gemm.max_rows; rows++)
            for (int columns = 1; columns <= table->gemm.max_columns; columns++)
                check_gemm_tile(depths[d], rows, columns, (rows + columns) % 2 ? AT_START : AT_END);
}

/* Every output must see the same operations wherever it falls in a tile: a partial tile has the bits of the
 * whole one, also where rounding makes the order of operations visible. */
void check_gemm_bits(void)
{
    const int all_rows = table->gemm.max_rows, all_columns = table->gemm.max_columns;
    const int64_t depth = 50;
    const problem whole = problem_new(depth, all_rows, all_columns, AT_END, fill_fractions);
    const guarded c = guarded_new(all_rows * all_columns, AT_END), part = guarded_new(all_columns, AT_END);
    const guarded a = guarded_new(depth * all_rows, AT_END);
    int64_t row_offset[FC_MAX_ROWS], at_zero[FC_MAX_ROWS] = {0};
    const fc_finish finish = {.final = 1};
    for (int i = 0; i < all_rows; i++) row_offset[i] = i * all_columns;
    table->gemm.tile(depth, whole.a.data, whole.b.data, whole.b_step, c.data, row_offset, all_rows, all_columns,
                     &finish);
    for (int rows = 1; rows <= all_rows; rows++)
        for (int columns = 1; columns <= all_columns; columns++)
            for (int last = rows - 1; last < all_rows; last += all_rows > rows ? all_rows - rows : 1) {
                /* rows last-rows+1 .. last of the whole; all land on one row, the last one stays */
                for (int64_t k = 0; k < depth; k++)
                    for (int i = 0; i < rows; i++)
                        a.data[k * rows + i] = whole.a.data[k * all_rows + last - rows + 1 + i];
                describe("gemm, %d rows up to row %d, %d columns of a tile", rows, last, columns);
                table->gemm.tile(depth, a.data, whole.b.data, whole.b_step, part.data, at_zero, rows, columns,
                                 &finish);
                if (memcmp(part.data, c.data + last * all_columns, (size_t)columns * sizeof(real)) != 0)
                    fail("other bits than in the whole tile");
            }
    guarded_free(a);
    guarded_free(part);
    guarded_free(c);
    problem_free(whole);
}

/* gemm_at finds row k of B where its table says: each of its columns is the column that gemm computes from the same
 * rows laid one after the other, to the bit and with every finish. */
static void check_gemm_at_tile(int64_t depth, int rows, int columns, enum side side)
{
    const int64_t whole = (columns + table->lanes - 1) / table->lanes * table->lanes, width = table->gemm.max_columns;
    const guarded a = guarded_new(depth * rows, side), b = guarded_new(whole + 40, side);
    const guarded panel = guarded_new(depth * width, side), c = guarded_new(rows * columns, side);
    const guarded row_bias = guarded_new(rows, side), expected = guarded_new(rows * width, side);
    int64_t *b_offset = malloc((size_t)depth * sizeof(int64_t) + 1), row_offset[FC_MAX_ROWS];
    fill_fractions(a.data, a.count);
    fill_fractions(b.data, b.count);
    fill_fractions(row_bias.data, rows);
    for (int64_t k = 0; k < depth; k++) b_offset[k] = random_below(41);
    for (int which = 0; which < FINISHES; which++) {
        fc_finish finish = finish_number(which, row_bias.data, NULL);
        for (int64_t i = 0; i < c.count; i++) c.data[i] = (real)(i % 5 - 2);
        for (int i = 0; i < rows; i++) row_offset[i] = i * columns;
        table->gemm.tile_at(depth, a.data, b.data, b_offset, c.data, row_offset, rows, columns, &finish);
        for (int first = 0; first < columns; first += (int)width) {
            const int count = columns - first < width ? columns - first : (int)width;
            for (int64_t k = 0; k < depth; k++)
                for (int64_t j = 0; j < width; j++)
                    panel.data[k * width + j] = first + j < whole ? b.data[b_offset[k] + first + j] : 0;
            for (int i = 0; i < rows; i++) {
                row_offset[i] = i * width;
                for (int j = 0; j < count; j++)
                    expected.data[i * width + j] = (real)((i * columns + first + j) % 5 - 2);
            }
            table->gemm.tile(depth, a.data, panel.data, width, expected.data, row_offset, rows, count, &finish);
            describe("gemm_at, depth %lld, %d rows, %d columns, finish %d", (long long)depth, rows, columns, which);
            for (int i = 0; i < rows; i++)
                if (memcmp(c.data + i * columns + first, expected.data + i * width,
                           (size_t)count * sizeof(real)) != 0)
                    fail("other bits than gemm in row %d, columns from %d on", i, first);
        }
    }
    free(b_offset);
    guarded_free(expected);
    guarded_free(row_bias);
    guarded_free(c);
    guarded_free(panel);
    guarded_free(b);
    guarded_free(a);
}

void check_gemm_at(void)
{
    static const int64_t depths[] = {0, 1, 17};
    for (int d = 0; d < COUNT(depths); d++)
        for (int rows = 1; rows <= table->gemm.max_rows; rows++)
            for (int columns = 1; columns <= table->gemm.wide_columns(rows); columns++)
                check_gemm_at_tile(depths[d], rows, columns, (rows + columns) % 2 ? AT_START : AT_END);
}

/* gemm_rows reads A where its rows lie: the bits of gemm_at on a panel of them. */
static void check_gemm_rows_tile(int64_t depth, int rows, int columns, int64_t apart, enum side side)
{
    const int64_t whole = (columns + table->lanes - 1) / table->lanes * table->lanes;
    const int64_t step = apart < 0 ? -depth + apart : depth + apart, low = step < 0 ? (1 - rows) * step : 0;
    const guarded a = guarded_new((rows - 1) * (step < 0 ? -step : step) + depth, side);
    const guarded b = guarded_new(whole + 40, side), panel = guarded_new(depth * rows, side);
    const guarded c = guarded_new(rows * columns, side), expected = guarded_new(rows * columns, side);
    int64_t *b_offset = malloc((size_t)depth * sizeof(int64_t) + 1), row_offset[FC_MAX_ROWS];
    fill_fractions(a.data, a.count);
    fill_fractions(b.data, b.count);
    for (int64_t k = 0; k < depth; k++) b_offset[k] = random_below(41);
    for (int i = 0; i < rows; i++) {
        row_offset[i] = i * columns;
        for (int64_t k = 0; k < depth; k++) panel.data[k * rows + i] = a.data[low + i * step + k];
    }
    for (int accumulate = 0; accumulate < 2; accumulate++) {
        const fc_finish finish = {.accumulate = accumulate};
        for (int64_t i = 0; i < c.count; i++) c.data[i] = expected.data[i] = (real)(i % 5 - 2);
        table->gemm.tile_of_rows(depth, a.data + low, step, b.data, b_offset, c.data, row_offset, rows, columns,
                                 &finish);
        table->gemm.tile_at(depth, panel.data, b.data, b_offset, expected.data, row_offset, rows, columns, &finish);
        describe("gemm_rows, depth %lld, %d rows %lld apart, %d columns", (long long)depth, rows, (long long)step,
                 columns);
        if (memcmp(c.data, expected.data, (size_t)c.count * sizeof(real)) != 0) fail("other bits than gemm_at");
    }
    free(b_offset);
    guarded_free(expected);
    guarded_free(c);
    guarded_free(panel);
    guarded_free(b);
    guarded_free(a);
}

void check_gemm_rows(void)
{
    static const int64_t depths[] = {1, 2, 17}, apart[] = {0, 3, -5};
    for (int d = 0; d < COUNT(depths); d++)
        for (int rows = 1; rows <= table->gemm.max_rows; rows++)
            for (int columns = 1; columns <= table->gemm.wide_columns(rows); columns++)
                check_gemm_rows_tile(depths[d], rows, columns, apart[(rows + columns) % 3],
                                     (rows + columns) % 2 ? AT_START : AT_END);
}

/* gemm_windows finds column k of A where its table says, in two halves: each of its rows is the row that gemm computes
 * from the same values as a panel, to the bit and with every finish. */
static void check_gemm_windows_tile(int64_t depth, int rows, int columns, int64_t step, enum side side)
{
    const int64_t width = table->gemm.max_columns, whole = (columns + table->lanes - 1) / table->lanes * table->lanes;
    const int64_t half = (rows + 1) / 2, second = rows % 3 ? half * step : -9;
    const guarded a = guarded_new(50 + rows * step, side), b = guarded_new(depth * whole, side);
    const guarded c = guarded_new(rows * columns, side), expected = guarded_new(columns, side);
    const guarded row = guarded_new(depth, side), panel = guarded_new(depth * width, side);
    const guarded row_bias = guarded_new(rows, side), column_bias = guarded_new(columns, side);
    int64_t *a_offset = malloc((size_t)depth * sizeof(int64_t) + 1), row_offset[FC_MAX_WINDOWS];
    fill_fractions(a.data, a.count);
    fill_fractions(b.data, b.count);
    fill_fractions(row_bias.data, rows);
    fill_fractions(column_bias.data, columns);
    for (int64_t k = 0; k < depth; k++) {
        a_offset[k] = 9 + random_below(41);
        for (int64_t j = 0; j < width; j++) panel.data[k * width + j] = j < whole ? b.data[k * whole + j] : 0;
    }
    for (int which = 0; which < FINISHES; which++) {
        const fc_finish finish = finish_number(which, row_bias.data, column_bias.data);
        for (int64_t i = 0; i < c.count; i++) c.data[i] = (real)(i % 5 - 2);
        for (int i = 0; i < rows; i++) row_offset[i] = i * columns;
        table->gemm.tile_of_windows(depth, a.data, a_offset, step, second, b.data, whole, c.data, row_offset, rows,
                                    columns, &finish);
        describe("gemm_windows, depth %lld, %d rows %lld apart, %d columns, finish %d", (long long)depth, rows,
                 (long long)step, columns, which);
        for (int i = 0; i < rows; i++) {
            fc_finish of_row = finish;
            if (finish.row_bias) of_row.row_bias = row_bias.data + i;
            for (int64_t k = 0; k < depth; k++)
                row.data[k] = a.data[a_offset[k] + (i < half ? i * step : second + (i - half) * step)];
            for (int j = 0; j < columns; j++) expected.data[j] = (real)((i * columns + j) % 5 - 2);
            table->gemm.tile(depth, row.data, panel.data, width, expected.data, (const int64_t[]){0}, 1, columns,
                             &of_row);
            if (memcmp(c.data + i * columns, expected.data, (size_t)columns * sizeof(real)) != 0)
                fail("other bits than gemm in row %d", i);
        }
    }
    free(a_offset);
    guarded_free(column_bias);
    guarded_free(row_bias);
    guarded_free(panel);
    guarded_free(row);
    guarded_free(expected);
    guarded_free(c);
    guarded_free(b);
    guarded_free(a);
}

void check_gemm_windows(void)
{
    static const int64_t depths[] = {0, 1, 17};
    for (int d = 0; d < COUNT(depths); d++)
        for (int rows = 1; rows <= 2 * table->gemm.max_rows; rows++)
            for (int columns = 1; columns <= (rows > table->gemm.max_rows ? 1 : 2) * table->lanes; columns++)
                check_gemm_windows_tile(depths[d], rows, columns, 1 + (rows + columns) % 5,
                                        columns % 2 ? AT_START : AT_END);
}

/* gemm_pack gives the bits of gemm, leaves the rows of B in the panel, and reads no column behind its own. */
static void check_gemm_pack_tile(int64_t depth, int rows, enum side side)
{
    const problem p = problem_new(depth, rows, table->gemm.max_columns, side, fill_fractions);
    const int64_t width = table->gemm.max_columns, size = rows * width;
    const guarded c = guarded_new(size, side), expected = guarded_new(size, side);
    const guarded panel = guarded_new(depth * width, side), rows_of_b = guarded_new(depth * width, side);
    int64_t row_offset[FC_MAX_ROWS];
    for (int i = 0; i < rows; i++) row_offset[i] = i * width;
    for (int64_t i = 0; i < depth * width; i++) rows_of_b.data[i] = p.b.data[i / width * p.b_step + i % width];
    for (int which = 0; which < FINISHES; which++) {
        const fc_finish finish = finish_number(which, p.row_bias.data, p.column_bias.data);
        for (int64_t i = 0; i < size; i++) c.data[i] = expected.data[i] = (real)(i % 5 - 2);
        for (int64_t i = 0; i < depth * width; i++) panel.data[i] = UNTOUCHED;
        table->gemm.tile(depth, p.a.data, p.b.data, p.b_step, expected.data, row_offset, rows, (int)width, &finish);
        table->gemm.tile_packing(depth, p.a.data, p.b.data, p.b_step, panel.data, c.data, row_offset, rows, &finish);
        describe("gemm_pack, depth %lld, %d rows, finish %d", (long long)depth, rows, which);
        if (memcmp(c.data, expected.data, (size_t)size * sizeof(real)) != 0) fail("other bits than gemm");
        expect_same(panel.data, rows_of_b.data, depth * width);
    }
    guarded_free(rows_of_b);
    guarded_free(panel);
    guarded_free(expected);
    guarded_free(c);
    problem_free(p);
}

void check_gemm_pack(void)
{
    static const int64_t depths[] = {0, 1, 2, 17};
    for (int d = 0; d < COUNT(depths); d++)
        for (int rows = 1; rows <= table->gemm.max_rows; rows++)
            check_gemm_pack_tile(depths[d], rows, rows % 2 ? AT_START : AT_END);
}

/* A NaN in row i of A or column j of B reaches row i and column j alone, and passes every activation. */
void check_gemm_non_finite(void)
{
    const int rows = table->gemm.max_rows, columns = table->gemm.max_columns;
    const guarded c = guarded_new(rows * columns, AT_END);
    int64_t row_offset[FC_MAX_ROWS];
    for (int i = 0; i < rows; i++) row_offset[i] = i * columns;
    for (int activation = 0; activation < ACTIVATIONS; activation++) {
        const problem p = problem_new(3, rows, columns, AT_END, fill_integers);
        const fc_finish finish = {.final = 1, .activation = activation, .slope = 0.25};
        const int row = rows / 2, column = columns - 1;
        p.a.data[rows + row] = NAN;
        p.b.data[2 * p.b_step + column] = NAN;
        describe("gemm with two NaNs, activation %d", activation);
        table->gemm.tile(3, p.a.data, p.b.data, p.b_step, c.data, row_offset, rows, columns, &finish);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                if (!!isnan(c.data[i * columns + j]) != (i == row || j == column))
                    fail("row %d, column %d is %g", i, j, (double)c.data[i * columns + j]);
        problem_free(p);
    }
    guarded_free(c);
}

/* ---- scatter ------------------------------------------------------------------------------------- */

/* Cut `columns` into random runs, one after the other in C, their elements of `width` reals `stride` apart; returns
 * the extent used. */
static int64_t random_runs(fc_run *runs, int *run_count, int columns, int64_t stride, int64_t width)
{
    const int64_t apart = stride < 0 ? -stride : stride;
    int64_t column = 0, extent = 0;
    *run_count = 0;
    while (column < columns) {
        const int64_t count = 1 + random_below(columns - column), span = (count - 1) * apart + width;
        extent += random_below(3);  /* a gap that must stay untouched */
        runs[(*run_count)++] = (fc_run){column, count, extent + (stride < 0 ? span - width : 0), stride};
        extent += span;
        column += count;
    }
    return extent;
}

/* Rows lie apart and in reverse order, or are adjacent (which takes runs of at least that stride). */
static void check_scatter_tile(int rows, int columns, int64_t stride, int adjacent, enum side side)
{
    const problem p = problem_new(0, rows, columns, side, fill_integers);
    const int64_t width = table->gemm.max_columns;
    const guarded tile = guarded_new((rows - 1) * width + columns, side);
    fc_run runs[FC_MAX_COLUMNS];
    int run_count;
    const int64_t extent = random_runs(runs, &run_count, columns, stride, adjacent ? rows : 1);
    const int64_t size = adjacent ? extent : rows * extent;
    const guarded c = guarded_new(size, side);
    real *expected = malloc((size_t)size * sizeof(real));
    int64_t row_offset[FC_MAX_ROWS];
    fill_integers(tile.data, tile.count);
    for (int i = 0; i < rows; i++) row_offset[i] = adjacent ? i : (rows - 1 - i) * extent;
    for (int which = 0; which < FINISHES; which++) {
        const fc_finish finish = finish_number(which, p.row_bias.data, p.column_bias.data);
        for (int64_t i = 0; i < size; i++) expected[i] = c.data[i] = (real)(i % 7 - 3);
        for (int i = 0; i < rows; i++)
            for (const fc_run *run = runs; run < runs + run_count; run++)
                for (int64_t j = 0; j < run->count; j++) {
                    real *to = &expected[row_offset[i] + run->offset + j * run->stride];
                    *to = finished(tile.data[i * width + run->column + j], *to, &finish, i, run->column + j);
                }
        describe("scatter, %d rows, %d columns in %d runs of stride %lld, finish %d", rows, columns,
                 run_count, (long long)stride, which);
        table->gemm.scatter(tile.data, table->gemm.max_columns, c.data, row_offset, rows, runs, run_count, &finish);
        expect_same(c.data, expected, size);
    }
    free(expected);
    guarded_free(c);
    guarded_free(tile);
    problem_free(p);
}

void check_scatter(void)
{
    static const int64_t strides[] = {1, 2, 7, -1, -3};
    for (int s = 0; s < COUNT(strides); s++)
        for (int rows = 1; rows <= table->gemm.max_rows; rows++)
            for (int columns = 1; columns <= table->gemm.max_columns; columns++) {
                const enum side side = (rows + columns) % 2 ? AT_START : AT_END;
                check_scatter_tile(rows, columns, strides[s], 0, side);
                check_scatter_tile(rows, columns, rows + s, 1, side);
            }
}
