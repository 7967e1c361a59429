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
    table->pointwise.softmax(y.data, x.data, count, step, columns, logarithm);
    table->pointwise.softmax_gradient(back.data, y.data, g.data, count, step, columns, logarithm);
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

/* Doubles with a guard page beside them, which the caller frees. */
static double *guarded_integers(guarded *memory, int64_t count, enum side side)
{
    *memory = guarded_new(count * (8 / FC_REAL_BYTES), side);
    double *data = (double *)(void *)memory->data;
    for (int64_t i = 0; i < count; i++) data[i] = (double)(random_below(9) - 4);
    return data;
}

static double second(const real *b, const double *weight, int64_t i, const fc_norm *n)
{
    return (double)b[i] * (weight ? weight[i] : 1) * n->b_unit - n->b_shift;
}

static void check_row(int64_t count, int weighted, int biased, enum side side)
{
    const guarded a = guarded_new(count, side), b = guarded_new(count, side);
    const guarded out = guarded_new(count, side), expected = guarded_new(count, side);
    guarded w, c;
    const double *weight = guarded_integers(&w, count, side), *bias = guarded_integers(&c, count, side);
    /* With numbers of all kinds, and with those that change nothing. */
    const fc_norm numbers[2] = {
        {.unit = 2, .shift = 3, .scale = 0.5, .offset = -1, .b_unit = 4, .b_shift = 1, .b_scale = 0.25},
        {.unit = 2, .shift = 3, .scale = 1, .offset = 0, .b_unit = 1, .b_shift = 0, .b_scale = 0.25}};
    if (!weighted) weight = NULL;
    if (!biased) bias = NULL;
    fill_integers(a.data, count);
    fill_integers(b.data, count);
    for (int folded = 0; folded < 2; folded++) {
        const fc_norm n = numbers[folded];
        for (int same = 0; same < 2; same++) {
            const real *other = same ? a.data : b.data;
            double sums[2] = {1, 2}, sum = 1, product = 2;
            for (int64_t i = 0; i < count; i++) {
                sum += second(other, weight, i, &n);
                product += ((double)a.data[i] * 2 - 3) * second(other, weight, i, &n);
            }
            describe("norm_sums, %lld elements, weight %d, folded %d, same %d", (long long)count, weighted, folded, same);
            table->pointwise.norm_sums(sums, a.data, other, weight, count, &n);
            if (sums[0] != sum || sums[1] != product) fail("%g, %g, expected %g, %g", sums[0], sums[1], sum, product);
        }
        describe("norm_map, %lld elements, weight %d, bias %d, folded %d", (long long)count, weighted, biased, folded);
        for (int64_t i = 0; i < count; i++)
            expected.data[i] = (real)(((double)a.data[i] * 2 - 3) * n.scale * (weighted ? weight[i] : 1)
                                      + (biased ? bias[i] : n.offset));
        table->pointwise.norm_map(out.data, a.data, NULL, weight, bias, count, &n);
        expect_same(out.data, expected.data, count);
        for (int64_t i = 0; i < count; i++)
            expected.data[i] = (real)(((double)a.data[i] * 2 - 3) * n.scale + n.offset
                                      + (double)b.data[i] * (weighted ? weight[i] : 1) * 0.25);
        table->pointwise.norm_map(out.data, a.data, b.data, weight, NULL, count, &n);
        expect_same(out.data, expected.data, count);
    }
    double sums[2] = {0, 0}, square = 0;
    const fc_norm once = {.unit = 2, .shift = 3, .scale = 1, .offset = 0, .b_unit = 2, .b_shift = 3, .b_scale = 0};
    for (int64_t i = 0; i < count; i++) square += ((double)a.data[i] * 2 - 3) * ((double)a.data[i] * 2 - 3);
    describe("norm_sums, squares of %lld elements", (long long)count);
    table->pointwise.norm_sums(sums, a.data, a.data, NULL, count, &once);
    if (sums[1] != square) fail("%g, expected %g", sums[1], square);
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
    }
    for (int kind = 0; kind < 3; kind++) {  /* B with numbers of its own, b as it is, A itself */
        const real *other = kind == 2 ? a.data : b.data;
        const fc_norm_columns of_kind[3] = {n, {unit, shift, NULL, NULL, NULL, NULL, NULL},
                                            {unit, shift, NULL, NULL, unit, shift, NULL}};
        for (int64_t c = 0; c < width; c++) sums[c] = products[c] = 1;
        describe("norm_column_sums, width %lld, kind %d", (long long)width, kind);
        table->pointwise.norm_column_sums(sums, products, a.data, other, ROWS, step, step, width, &of_kind[kind]);
        for (int64_t c = 0; c < width; c++) {
            double sum = 1, product = 1;
            for (int row = 0; row < ROWS; row++) {
                const double x = (double)a.data[row * step + c] * unit[c] - shift[c];
                const double own = (double)b.data[row * step + c];
                const double y = kind == 2 ? x : kind == 1 ? own : own * unit[c] - scale[c];
                sum += y;
                product += x * y;
            }
            if (sums[c] != sum || products[c] != product)
                fail("column %lld: %g, %g, expected %g, %g", (long long)c, sums[c], products[c], sum, product);
        }
    }
    for (int kind = 0; kind < 4; kind++) {
        const int two = kind & 1, folded = kind >> 1;
        const fc_norm_columns of_kind[2] = {n, {unit, shift, NULL, NULL, NULL, NULL, shift}};
        describe("norm_column_map, width %lld, %d operands, folded %d", (long long)width, 1 + two, folded);
        for (int row = 0; row < ROWS; row++)
            for (int64_t c = 0; c < width; c++) {
                const int64_t i = row * step + c;
                const double x = (double)a.data[i] * unit[c] - shift[c];
                out.data[i] = UNTOUCHED;
                expected.data[i] = (real)((folded ? x : x * scale[c] + shift[c]) + (two ? (double)b.data[i] * shift[c] : 0));
            }
        table->pointwise.norm_column_map(out.data, a.data, two ? b.data : NULL, ROWS, step, step, step, width,
                                         &of_kind[folded]);
        expect_same(out.data, expected.data, size);
    }
    guarded w;
    const double *weight = guarded_integers(&w, width, side);
    for (int kind = 0; kind < 4; kind++) {
        const int weighted = kind & 1, scaled = kind >> 1;
        double each[2 * ROWS];
        for (int row = 0; row < ROWS; row++) {
            rows[row] = (fc_norm){.unit = row % 2 ? 2 : 1, .shift = row, .scale = scaled ? 0.5 * row : 1};
            each[2 * row] = each[2 * row + 1] = 1;
        }
        for (int64_t c = 0; c < width; c++) sums[c] = products[c] = 1;
        describe("norm_cross_sums, width %lld, weight %d, scaled %d", (long long)width, weighted, scaled);
        table->pointwise.norm_cross_sums(sums, products, each, a.data, b.data, weighted ? weight : NULL, ROWS, step,
                                         width, rows);
        for (int row = 0; row < ROWS; row++)
            for (int64_t c = 0; c < width; c++) {
                const double x = ((double)a.data[row * step + c] * rows[row].unit - row) * rows[row].scale;
                const double y = (double)b.data[row * step + c], heavy = weighted ? y * weight[c] : y;
                sums[c] -= y;
                products[c] -= x * y;
                each[2 * row] -= heavy;
                each[2 * row + 1] -= x * heavy;
            }
        for (int64_t c = 0; c < width; c++)
            if (sums[c] != 1 || products[c] != 1) fail("column %lld is off by %g, %g", (long long)c, sums[c] - 1, products[c] - 1);
        for (int i = 0; i < 2 * ROWS; i++)
            if (each[i] != 1) fail("row %d is off by %g", i / 2, each[i] - 1);
    }
    guarded_free(w);
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
