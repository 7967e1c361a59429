/* Transforms against the plain sum over all numbers, there and back; folded rows and products against plain loops. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

static const double CLOSE = 1e-12;

/* Lanes of the float64 table, whichever is under check. */
static int lanes(void) { return table->lanes * FC_REAL_BYTES / 8; }

static void expect_close(double got, double expected, const char *what)
{
    if (!(fabs(got - expected) <= CLOSE)) fail("%s: %.17g instead of %.17g", what, got, expected);
}

/* A row of complex numbers: where its real and imaginary parts lie. */
static double *part_of(double *row, int64_t x, int imaginary)
{
    return row + x / lanes() * 2 * lanes() + imaginary * lanes() + x % lanes();
}

#if FC_REAL_BYTES == 8

enum { MOST = 720 };
static const double TURN = 6.283185307179586476925;

static double fraction(void) { return (double)(random_below(2001) - 1000) / 1000; }

static fc_fft_axis new_axis(int64_t length, double *roots)
{
    fc_fft_axis axis = {.length = length, .roots = roots};
    int64_t part = length;
    for (int radix = 5; radix >= 2; radix--)
        while (part % radix == 0) {
            axis.radix[axis.passes++] = radix;
            for (int64_t j = 0; j < part / radix; j++)
                for (int i = 1; i < radix; i++) {
                    *roots++ = cos(TURN * (double)(j * i) / (double)part);
                    *roots++ = -sin(TURN * (double)(j * i) / (double)part);
                    axis.root_count++;
                }
            part /= radix;
        }
    return axis;
}

/* The frequency at a place: the digits of the place, from the other end. */
static int64_t frequency_at(const fc_fft_axis *axis, int64_t place)
{
    int64_t part = axis->length, frequency = 0, weight = 1;
    for (int i = 0; i < axis->passes; i++) {
        part /= axis->radix[i];
        frequency += place / part * weight;
        place %= part;
        weight *= axis->radix[i];
    }
    return frequency;
}

/* sum over j of x[j] exp(-2 pi i j k / n) */
static void expect_frequency(const double *re, const double *im, int64_t n, int64_t k, double got_re, double got_im)
{
    double sum_re = 0, sum_im = 0;
    for (int64_t j = 0; j < n; j++) {
        const double c = cos(TURN * (double)(j * k % n) / (double)n), s = -sin(TURN * (double)(j * k % n) / (double)n);
        sum_re += re[j] * c - im[j] * s;
        sum_im += re[j] * s + im[j] * c;
    }
    expect_close(got_re, sum_re, "real part");
    expect_close(got_im, sum_im, "imaginary part");
}

static void check_columns(int64_t length, enum side side)
{
    double roots[4 * MOST], re[MOST], im[MOST];
    const fc_fft_axis axis = new_axis(length, roots);
    const int64_t groups = 1 + random_below(3), step = groups * 2 * lanes() + random_below(3);
    const guarded z = guarded_new((length - 1) * step + groups * 2 * lanes(), side);
    double *before = malloc((size_t)z.count * sizeof(double));
    const int64_t x = random_below(groups * lanes());
    describe("fft_columns, %lld rows", (long long)length);
    for (int64_t i = 0; i < z.count; i++) before[i] = z.data[i] = fraction();
    for (int64_t j = 0; j < length; j++) re[j] = *part_of(z.data + j * step, x, 0), im[j] = *part_of(z.data + j * step, x, 1);
    table->fft.columns(z.data, step, groups, &axis, 0);
    for (int64_t j = 0; j < length; j++)
        expect_frequency(re, im, length, frequency_at(&axis, j), *part_of(z.data + j * step, x, 0),
                         *part_of(z.data + j * step, x, 1));
    table->fft.columns(z.data, step, groups, &axis, 1);
    for (int64_t i = 0; i < z.count; i++) {
        const int inside = i % step < groups * 2 * lanes();
        expect_close(z.data[i] / (inside ? (double)length : 1), before[i], "there and back");
    }
    guarded_free(z);
    free(before);
}

static void check_rows(int64_t length, int with_factors, enum side side)
{
    double roots[4 * MOST], re[MOST], im[MOST];
    const fc_fft_axis axis = new_axis(length, roots);
    const int64_t rows = 1 + random_below(2 * lanes() + 1), step = 2 * length + random_below(3);
    const int64_t size = (rows + lanes() - 1) / lanes() * lanes() * 2 * length;
    const guarded z = guarded_new((rows - 1) * step + 2 * length, side), spectrum = guarded_new(size, side);
    double *before = malloc((size_t)z.count * sizeof(double)), *factors = malloc((size_t)size * sizeof(double));
    const int64_t row = random_below(rows);
    double *at = spectrum.data + row / lanes() * lanes() * 2 * length + row % lanes();
    describe("fft_rows, %lld of %lld", (long long)rows, (long long)length);
    for (int64_t i = 0; i < z.count; i++) before[i] = z.data[i] = fraction();
    for (int64_t i = 0; i < size; i++) factors[i] = i / lanes() % 2;  /* i for all: a number is turned by a quarter */
    for (int64_t x = 0; x < length; x++) {
        re[x] = *part_of(z.data + row * step, x, 0), im[x] = *part_of(z.data + row * step, x, 1);
        if (with_factors) {
            const double real = re[x];
            re[x] = -im[x], im[x] = real;
        }
    }
    table->fft.rows(spectrum.data, z.data, step, rows, &axis, with_factors ? factors : NULL, 0);
    for (int64_t x = 0; x < length; x++)
        expect_frequency(re, im, length, frequency_at(&axis, x), at[2 * x * lanes()], at[(2 * x + 1) * lanes()]);
    for (int64_t i = 0; i < z.count; i++)
        if (i % step < 2 * length) z.data[i] = 0;
    table->fft.rows(spectrum.data, z.data, step, rows, &axis, with_factors ? factors : NULL, 1);
    for (int64_t i = 0; i < z.count; i++)
        expect_close(z.data[i] / (i % step < 2 * length ? (double)length : 1), before[i], "there and back");
    guarded_free(z);
    guarded_free(spectrum);
    free(before);
    free(factors);
}

static void check_products(int rows, int columns, int accumulate, enum side side)
{
    const int64_t terms = 1 + random_below(5), size = (1 + random_below(4)) * 2 * lanes();
    guarded a[10], b[10], sums[4];
    double *to[4];
    const double *from_a[10], *from_b[10];
    describe("fft_products, %d x %d of %lld terms", rows, columns, (long long)terms);
    for (int i = 0; i < rows * terms; i++) fill_integers((a[i] = guarded_new(size, side)).data, size), from_a[i] = a[i].data;
    for (int i = 0; i < columns * terms; i++)
        fill_integers((b[i] = guarded_new(size, side)).data, size), from_b[i] = b[i].data;
    for (int i = 0; i < rows * columns; i++) {
        to[i] = (sums[i] = guarded_new(size, side)).data;
        fill_integers(to[i], size);
    }
    double *expected = malloc((size_t)(rows * columns * size) * sizeof(double));
    for (int i = 0; i < rows * columns; i++)
        for (int64_t at = 0; at < size; at++) {
            const int64_t re = at / lanes() % 2 ? at - lanes() : at, im = re + lanes();
            double sum = accumulate ? to[i][at] : 0;
            for (int64_t t = 0; t < terms; t++) {
                const double *w = from_a[i / columns * terms + t], *x = from_b[i % columns * terms + t];
                sum += at == re ? w[re] * x[re] + w[im] * x[im] : w[re] * x[im] - w[im] * x[re];
            }
            expected[i * size + at] = sum;
        }
    table->fft.products(to, from_a, from_b, terms, size, rows, columns, accumulate);
    for (int i = 0; i < rows * columns; i++) expect_same(to[i], expected + i * size, size);
    for (int i = 0; i < rows * terms; i++) guarded_free(a[i]);
    for (int i = 0; i < columns * terms; i++) guarded_free(b[i]);
    for (int i = 0; i < rows * columns; i++) guarded_free(sums[i]);
    free(expected);
}

void check_fft(void)
{
    static const int64_t lengths[] = {1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 20, 45, 48, 64, 80, 120, 240, 256, 320, 720};
    for (int i = 0; i < COUNT(lengths); i++) {
        check_columns(lengths[i], i % 2 ? AT_START : AT_END);
        if (lengths[i] % 8 == 0)
            for (int j = 0; j < 4; j++) check_rows(lengths[i], j % 2, j / 2 ? AT_START : AT_END);
    }
    for (int i = 0; i < 16; i++) check_products(1 + i % 2, 1 + i / 2 % 2, i / 4 % 2, i / 8 ? AT_START : AT_END);
}

#else

void check_fft(void) {}

#endif

/* Rows of one column each, as far apart as the stride says. */
void check_fft_rows_of_arrays(void)
{
    for (int i = 0; i < 200; i++) {
        const int64_t groups = 1 + random_below(3), columns = groups * lanes(), stride = 1 + random_below(3) * (i % 2);
        const enum side side = i % 4 < 2 ? AT_START : AT_END;
        const double cosine = 0.6, sine = 0.8, bias = i % 3, bound = i % 5 ? 0 : 1.5;
        guarded row[2];
        uint8_t seen[3 * 8];
        double *z = malloc((size_t)columns * 2 * sizeof(double)), squares = 0;
        fc_fft_rows rows = {.stride = stride};
        fc_fft_finish finish = {.bound = bound, .bias = bias, .activation = i % 7 ? FC_IDENTITY : FC_RELU};
        describe("fft_read and fft_write, %lld columns, stride %lld", (long long)columns, (long long)stride);
        for (int half = 0; half < 2; half++) {
            rows.begin[half] = random_below(columns);
            rows.end[half] = rows.begin[half] + random_below(columns - rows.begin[half] + 1);
            const int64_t count = rows.end[half] - rows.begin[half];
            row[half] = guarded_new(count ? (count - 1) * stride + 1 : 1, side);
            fill_integers(row[half].data, row[half].count);
            rows.row[half] = row[half].data - rows.begin[half] * stride;
        }
        const double got = table->fft.read(z, groups, &rows, cosine, sine);
        for (int64_t x = 0; x < columns; x++) {
            double value[2];
            for (int half = 0; half < 2; half++) {
                const int exists = x >= rows.begin[half] && x < rows.end[half];
                value[half] = exists ? (double)((real *)rows.row[half])[x * stride] : 0;
                squares += value[half] * value[half];
            }
            expect_close(*part_of(z, x, 0), value[0] * cosine - value[1] * sine, "folded, real");
            expect_close(*part_of(z, x, 1), value[0] * sine + value[1] * cosine, "folded, imaginary");
        }
        expect_close(got, squares, "squares");
        for (int64_t x = 0; x < columns; x++) seen[x] = x % 3 != 1;
        if (i % 2) finish.seen[1] = seen;
        real *expected[2];
        for (int half = 0; half < 2; half++) {
            expected[half] = malloc((size_t)row[half].count * sizeof(real));
            for (int64_t j = 0; j < row[half].count; j++) {
                const int64_t x = rows.begin[half] + j / stride;
                double value = (double)row[half].data[j];
                if (rows.begin[half] == rows.end[half] || j % stride) {
                    expected[half][j] = (real)value;
                    continue;
                }
                if (fabs(value) < bound || (finish.seen[half] && !seen[x])) value = 0;
                value += bias;
                expected[half][j] = (real)(finish.activation == FC_RELU && value < 0 ? 0 : value);
            }
        }
        if (!table->fft.write(&rows, z, groups, cosine, sine, &finish)) fail("not finite");
        for (int half = 0; half < 2; half++) {
            for (int64_t j = 0; j < row[half].count; j++)
                expect_close(row[half].data[j], expected[half][j], "written");
            free(expected[half]);
        }
        rows.begin[0] = 0, rows.end[0] = rows.begin[1] = rows.end[1] = 0;
        if (row[0].count > (columns - 1) * stride) {
            rows.row[0] = row[0].data, rows.end[0] = columns;
            *part_of(z, columns - 1, 0) = NAN;
            if (table->fft.write(&rows, z, groups, cosine, sine, &finish)) fail("NaN is finite");
        }
        guarded_free(row[0]);
        guarded_free(row[1]);
        free(z);
    }
}
