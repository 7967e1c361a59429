/* Softmax and the sums and maps of normalisations against plain loops. */
#include "check.h"

#include <float.h>
#include <math.h>

#define EPSILON (FC_REAL_BYTES == 4 ? FLT_EPSILON : DBL_EPSILON)

static void expect_near(const real *got, const double *expected, int64_t count, double most)
{
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - expected[i]) <= most * EPSILON))
            fail("element %lld is %.9g, expected %.9g", (long long)i, (double)got[i], expected[i]);
}

/* ---- softmax --------------------------------------------------------------------------------------- */

enum { MOST_COUNT = 70 };

static void check_slices(int64_t count, int columns, int64_t step, int logarithm, enum side side)
{
    const int slices = columns ? columns : 1;
    const int64_t size = (count - 1) * step + slices;
    const guarded x = guarded_new(size, side), g = guarded_new(size, side), y = guarded_new(size, side);
    const guarded back = guarded_new(size, side);
    static double value[MOST_COUNT * (FC_SOFTMAX_COLUMNS + 3)], slope[MOST_COUNT * (FC_SOFTMAX_COLUMNS + 3)];
    fill_fractions(x.data, size);
    fill_fractions(g.data, size);
    describe("softmax of %lld, %d columns, logarithm %d", (long long)count, columns, logarithm);
    table->softmax(y.data, x.data, count, step, columns, logarithm);
    table->softmax_gradient(back.data, y.data, g.data, count, step, columns, logarithm);
    for (int64_t i = 0; i < size; i++) value[i] = slope[i] = (double)UNTOUCHED;
    for (int s = 0; s < slices; s++) {
        double sum = 0, weighted = 0, all = 0;
        for (int64_t i = 0; i < count; i++) sum += exp((double)x.data[i * step + s]);
        for (int64_t i = 0; i < count; i++) {
            const double share = exp((double)x.data[i * step + s]) / sum;
            value[i * step + s] = logarithm ? (double)x.data[i * step + s] - log(sum) : share;
            weighted += share * (double)g.data[i * step + s];
            all += (double)g.data[i * step + s];
        }
        for (int64_t i = 0; i < count; i++) {
            const double share = exp((double)x.data[i * step + s]) / sum, behind = (double)g.data[i * step + s];
            slope[i * step + s] = logarithm ? behind - share * all : share * (behind - weighted);
        }
    }
    expect_near(y.data, value, size, 16);
    expect_near(back.data, slope, size, 64);
    guarded_free(x);
    guarded_free(g);
    guarded_free(y);
    guarded_free(back);
}

void check_softmax(void)
{
    for (int side = AT_START; side <= AT_END; side++)
        for (int logarithm = 0; logarithm < 2; logarithm++)
            for (int64_t count = 1; count <= MOST_COUNT; count += 1 + random_below(table->lanes + 3)) {
                const int columns = 1 + (int)random_below(FC_SOFTMAX_COLUMNS);
                check_slices(count, 0, 1, logarithm, side);
                check_slices(count, columns, columns + random_below(3), logarithm, side);
            }
}

/* ---- norms ----------------------------------------------------------------------------------------- */

static double second(const real *b, const real *weight, int64_t i, const fc_norm *n)
{
    return (double)b[i] * (weight ? (double)weight[i] : 1) * n->b_unit - n->b_shift;
}

static void check_row(int64_t count, int weighted, int biased, enum side side)
{
    const guarded a = guarded_new(count, side), b = guarded_new(count, side), w = guarded_new(count, side);
    const guarded c = guarded_new(count, side), out = guarded_new(count, side), expected = guarded_new(count, side);
    const fc_norm n = {.unit = 2, .shift = 3, .scale = 0.5, .offset = -1, .b_unit = 4, .b_shift = 1, .b_scale = 0.25};
    const real *weight = weighted ? w.data : NULL, *bias = biased ? c.data : NULL;
    fill_integers(a.data, count);
    fill_integers(b.data, count);
    fill_integers(w.data, count);
    fill_integers(c.data, count);
    double sums[2] = {1, 2}, sum = 1, product = 2;
    for (int64_t i = 0; i < count; i++) {
        sum += second(b.data, weight, i, &n);
        product += ((double)a.data[i] * 2 - 3) * second(b.data, weight, i, &n);
    }
    describe("norm_sums, %lld elements, weight %d", (long long)count, weighted);
    table->norm_sums(sums, a.data, b.data, weight, count, &n);
    if (sums[0] != sum || sums[1] != product) fail("%g, %g, expected %g, %g", sums[0], sums[1], sum, product);
    describe("norm_map, %lld elements, weight %d, bias %d", (long long)count, weighted, biased);
    for (int64_t i = 0; i < count; i++)
        expected.data[i] = (real)(((double)a.data[i] * 2 - 3) * 0.5 * (weighted ? (double)w.data[i] : 1)
                                  + (biased ? (double)c.data[i] : -1));
    table->norm_map(out.data, a.data, NULL, weight, bias, count, &n);
    expect_same(out.data, expected.data, count);
    for (int64_t i = 0; i < count; i++)
        expected.data[i] = (real)(((double)a.data[i] * 2 - 3) * 0.5
                                  + (double)b.data[i] * (weighted ? (double)w.data[i] : 1) * 0.25 - 1);
    table->norm_map(out.data, a.data, b.data, weight, NULL, count, &n);
    expect_same(out.data, expected.data, count);
    guarded_free(a);
    guarded_free(b);
    guarded_free(w);
    guarded_free(c);
    guarded_free(out);
    guarded_free(expected);
}

enum { MOST_WIDTH = 50, ROWS = 5 };

static void check_columns(int64_t width, enum side side)
{
    const int64_t step = width + 2, size = (ROWS - 1) * step + width;
    const guarded a = guarded_new(size, side), b = guarded_new(size, side), out = guarded_new(size, side);
    const guarded expected = guarded_new(size, side);
    double unit[MOST_WIDTH], shift[MOST_WIDTH], scale[MOST_WIDTH], sums[MOST_WIDTH], products[MOST_WIDTH];
    const fc_norm_columns n = {unit, shift, scale, shift, unit, scale, shift};
    fc_norm rows[ROWS];
    fill_integers(a.data, size);
    fill_integers(b.data, size);
    for (int64_t c = 0; c < width; c++) {
        unit[c] = c % 2 ? 2 : 1;
        shift[c] = (double)(c % 5 - 2);
        scale[c] = (double)(c % 3) - 0.5;
        sums[c] = products[c] = 1;
    }
    describe("norm_column_sums, width %lld", (long long)width);
    table->norm_column_sums(sums, products, a.data, b.data, ROWS, step, step, width, &n);
    for (int64_t c = 0; c < width; c++) {
        double sum = 1, product = 1;
        for (int row = 0; row < ROWS; row++) {
            const double x = (double)a.data[row * step + c] * unit[c] - shift[c];
            const double y = (double)b.data[row * step + c] * unit[c] - scale[c];
            sum += y;
            product += x * y;
        }
        if (sums[c] != sum || products[c] != product)
            fail("column %lld: %g, %g, expected %g, %g", (long long)c, sums[c], products[c], sum, product);
    }
    for (int two = 0; two < 2; two++) {
        describe("norm_column_map, width %lld, %d operands", (long long)width, 1 + two);
        for (int row = 0; row < ROWS; row++)
            for (int64_t c = 0; c < width; c++) {
                const int64_t i = row * step + c;
                out.data[i] = UNTOUCHED;
                expected.data[i] = (real)(((double)a.data[i] * unit[c] - shift[c]) * scale[c]
                                          + (two ? (double)b.data[i] * shift[c] : 0) + shift[c]);
            }
        table->norm_column_map(out.data, a.data, two ? b.data : NULL, ROWS, step, step, step, width, &n);
        expect_same(out.data, expected.data, size);
    }
    for (int row = 0; row < ROWS; row++)
        rows[row] = (fc_norm){.unit = row % 2 ? 2 : 1, .shift = row, .scale = 0.5 * row};
    for (int64_t c = 0; c < width; c++) sums[c] = products[c] = 0;
    describe("norm_weight_sums, width %lld", (long long)width);
    table->norm_weight_sums(sums, products, a.data, b.data, ROWS, step, width, rows);
    for (int64_t c = 0; c < width; c++) {
        double sum = 0, product = 0;
        for (int row = 0; row < ROWS; row++) {
            const double y = (double)b.data[row * step + c];
            sum += y;
            product += ((double)a.data[row * step + c] * rows[row].unit - row) * rows[row].scale * y;
        }
        if (sums[c] != sum || products[c] != product)
            fail("column %lld: %g, %g, expected %g, %g", (long long)c, sums[c], products[c], sum, product);
    }
    guarded_free(a);
    guarded_free(b);
    guarded_free(out);
    guarded_free(expected);
}

void check_norm(void)
{
    for (int side = AT_START; side <= AT_END; side++) {
        for (int64_t count = 0; count <= 5 * table->lanes; count += 1 + random_below(table->lanes))
            for (int weighted = 0; weighted < 2; weighted++)
                for (int biased = 0; biased < 2; biased++) check_row(count, weighted, biased, side);
        for (int64_t width = 1; width <= MOST_WIDTH; width += 1 + random_below(table->lanes)) check_columns(width, side);
    }
}
