/* max_pool, avg_pool and pool_gradient against plain loops: any windows, both memory orders, parts of planes. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TAPS_OF_AXIS = 4, MARGIN = 512 };

typedef struct pool_case {
    fc_pool pool;
    int64_t planes, step;        /* planes apart if channels is 1; elements of the source between neighbouring pixels */
    int64_t elements, outputs;   /* of one plane */
    int64_t pitch;               /* of a row of positions */
    int with_nan;
} pool_case;

static pool_case random_case(void)
{
    static const int64_t channels[] = {1, 1, 1, 3, 0};
    pool_case c = {.elements = 1, .outputs = 1, .with_nan = random_below(2) == 0};
    c.pool.channels = channels[random_below(COUNT(channels))];
    if (c.pool.channels == 0) c.pool.channels = table->lanes * (1 + random_below(2)) + random_below(2);
    c.planes = c.pool.channels == 1 ? 1 + random_below(3) : 1;
    c.step = c.pool.channels == 1 ? 1 + (random_below(4) == 0) : c.pool.channels;
    c.pool.divisor = random_below(3) == 0 ? 3 : 0;
    const int padding_counts = random_below(2) == 0;
    for (int i = 0; i < 3; i++) {
        fc_pool_axis *a = &c.pool.axis[i];
        a->taps = 1 + random_below(i == 0 ? 2 : MOST_TAPS_OF_AXIS);
        a->stride = 1 + random_below(3);
        a->dilation = 1 + (random_below(4) == 0);
        const int64_t span = (a->taps - 1) * a->dilation + 1;
        a->before = random_below(span / 2 + 1);
        a->extent = span + random_below(i == 0 ? 2 : i == 1 ? 6 : 1 + 3 * table->lanes);
        a->outputs = (a->extent + 2 * a->before - span) / a->stride + 1;
        a->count_low = padding_counts ? -a->before : 0;
        a->count_high = a->extent + (padding_counts ? a->before : 0);
        c.elements *= a->extent;
        c.outputs *= a->outputs;
    }
    c.pitch = (c.pool.axis[2].outputs * c.pool.channels + FC_POSITIONS - 1) / FC_POSITIONS * FC_POSITIONS;
    const fc_pool_axis *a = c.pool.axis;
    describe("pool of %lldx%lldx%lld by %lldx%lldx%lld, strides %lld %lld %lld, dilations %lld %lld %lld, padding %lld %lld "
             "%lld, %lld channels, step %lld", (long long)a[0].extent, (long long)a[1].extent, (long long)a[2].extent,
             (long long)a[0].taps, (long long)a[1].taps, (long long)a[2].taps, (long long)a[0].stride,
             (long long)a[1].stride, (long long)a[2].stride, (long long)a[0].dilation, (long long)a[1].dilation,
             (long long)a[2].dilation, (long long)a[0].before, (long long)a[1].before, (long long)a[2].before,
             (long long)c.pool.channels, (long long)c.step);
    return c;
}

/* Where an element of a plane, or of all channels, lies: c channels in the number of its pixel. */
static int64_t pixel_of(const fc_pool_axis *a, int outputs, int64_t z, int64_t y, int64_t x)
{
    return outputs ? (z * a[1].outputs + y) * a[2].outputs + x : (z * a[1].extent + y) * a[2].extent + x;
}

/* Position of a tap along an axis, or -1 if it lies outside. */
static int64_t tap_at(const fc_pool_axis *a, int64_t output, int64_t tap)
{
    const int64_t x = output * a->stride - a->before + tap * a->dilation;
    return x < a->extent ? x : -1;
}

static double counted_elements(const pool_case *c, const int64_t *output)
{
    double count = 1;
    if (c->pool.divisor != 0) return c->pool.divisor;
    for (int i = 0; i < 3; i++) {
        const fc_pool_axis *a = &c->pool.axis[i];
        int64_t n = 0;
        for (int64_t t = 0; t < a->taps; t++) {
            const int64_t x = output[i] * a->stride - a->before + t;
            n += x >= a->count_low && x < a->count_high;
        }
        count *= (double)n;
    }
    return count;
}

/* What one window gives: its maximum and where it is, its average; or its share of a gradient to whom it is due. */
typedef struct window_result {
    real best, average;
    int64_t tap, index;
} window_result;

static window_result loop_over(const pool_case *c, const real *plane, int64_t step, const int64_t *o)
{
    const fc_pool_axis *a = c->pool.axis;
    window_result w = {.tap = -1};
    double sum = 0;
    int64_t number = 0;
    for (int64_t i = 0; i < a[0].taps; i++)
        for (int64_t j = 0; j < a[1].taps; j++)
            for (int64_t k = 0; k < a[2].taps; k++, number++) {
                const int64_t z = tap_at(&a[0], o[0], i), y = tap_at(&a[1], o[1], j), x = tap_at(&a[2], o[2], k);
                if (z < 0 || y < 0 || x < 0) continue;
                const int64_t index = pixel_of(a, 0, z, y, x);
                const real value = plane[index * step];
                sum += value;
                if (w.tap >= 0 && (isnan(w.best) || !(isnan(value) || value > w.best))) continue;
                w.best = value;
                w.tap = number;
                w.index = index;
            }
    w.average = (real)(sum / counted_elements(c, o));
    return w;
}

/* A part of the target: whole rows, or from a column on where vectors meet. */
static fc_pool_part random_part(const pool_case *c, int of_gradient)
{
    const fc_pool_axis *a = c->pool.axis;
    const int64_t depth = of_gradient ? a[0].extent : a[0].outputs, height = of_gradient ? a[1].extent : a[1].outputs;
    const int64_t width = of_gradient ? a[2].extent : a[2].outputs;
    fc_pool_part part = {.planes = c->planes, .depth = random_below(depth), .row = random_below(height)};
    part.rows = 1 + random_below(height - part.row);
    part.column = width > FC_POSITIONS && random_below(2) ? FC_POSITIONS : 0;
    part.columns = random_below(2) ? width - part.column : 1 + random_below(width - part.column);
    return part;
}

static void check_forward(const pool_case *c, enum side side)
{
    const fc_pool_axis *a = c->pool.axis;
    const int64_t channels = c->pool.channels, lanes = c->planes * channels;
    const int64_t row = a[2].extent * c->step, read = (c->elements - 1) * c->step + channels;
    const guarded input = guarded_new((c->planes - 1) * c->elements * c->step + read, side);
    const guarded maxima = guarded_new(c->outputs * lanes, side), averages = guarded_new(c->outputs * lanes, side);
    real *expected = malloc((size_t)(2 * c->outputs * lanes) * sizeof(real)), *expected_average = expected + c->outputs * lanes;
    int64_t *indices = malloc((size_t)(c->outputs * lanes) * sizeof(int64_t));
    const int64_t position_plane = c->pitch * a[0].outputs * a[1].outputs;
    uint8_t *positions = malloc((size_t)(c->planes * position_plane + 2 * MARGIN));
    void *scratch = malloc(1 << 22);
    fill_integers(input.data, input.count);
    if (c->with_nan) for (int64_t i = random_below(5); i < input.count; i += 1 + random_below(20)) input.data[i] = (real)NAN;
    for (int64_t i = 0; i < c->outputs * lanes; i++) expected[i] = expected_average[i] = UNTOUCHED;

    fc_pool_part part = random_part(c, 0);
    const int64_t first = pixel_of(a, 1, part.depth, part.row, part.column) * channels;
    part.source = input.data;
    part.source_plane = c->elements * c->step;
    part.source_stride[0] = a[1].extent * row;
    part.source_stride[1] = row;
    part.source_stride[2] = c->step;
    part.source_stride[3] = 1;
    part.target = maxima.data + first;
    part.target_plane = part.index_plane = c->outputs;
    part.target_step = part.index_step = a[2].outputs * channels;
    part.scratch = scratch;
    part.indices = indices + first;
    table->pool.max(&c->pool, &part);
    part.indices = NULL;
    part.position_plane = position_plane;
    part.position_step = c->pitch;
    part.positions = positions + MARGIN + (part.depth * a[1].outputs + part.row) * c->pitch + part.column * channels;
    table->pool.max(&c->pool, &part);
    part.positions = NULL;
    part.target = averages.data + first;
    const fc_pool_axis *w = a;
    const int averaged = w[0].dilation == 1 && w[1].dilation == 1 && w[2].dilation == 1;
    if (averaged) table->pool.average(&c->pool, &part);

    for (int64_t p = 0; p < lanes; p++)
        for (int64_t y = part.row; y < part.row + part.rows; y++)
            for (int64_t x = part.column; x < part.column + part.columns; x++) {
                const int64_t o[] = {part.depth, y, x}, pixel = pixel_of(a, 1, part.depth, y, x);
                const real *plane = input.data + (channels == 1 ? p * part.source_plane : p);
                const window_result r = loop_over(c, plane, c->step, o);
                const int64_t at = channels == 1 ? p * c->outputs + pixel : pixel * channels + p;
                const int64_t position = channels == 1 ? p * position_plane + (part.depth * a[1].outputs + y) * c->pitch + x
                                                       : (part.depth * a[1].outputs + y) * c->pitch + x * channels + p;
                expected[at] = r.best;
                if (averaged) expected_average[at] = r.average;
                if (indices[at] != r.index) fail("index %lld, expected %lld", (long long)indices[at], (long long)r.index);
                if (positions[MARGIN + position] != r.tap)
                    fail("position %d, expected %lld", positions[MARGIN + position], (long long)r.tap);
            }
    expect_same(maxima.data, expected, maxima.count);
    part.target = maxima.data + first;
    table->pool.max(&c->pool, &part);  /* neither positions nor indices */
    expect_same(maxima.data, expected, maxima.count);
    expect_same(averages.data, expected_average, averages.count);
    guarded_free(input);
    guarded_free(maxima);
    guarded_free(averages);
    free(expected);
    free(indices);
    free(positions);
    free(scratch);
}

static void check_backward(const pool_case *c, int of_average, enum side side)
{
    const fc_pool_axis *a = c->pool.axis;
    const int64_t channels = c->pool.channels, lanes = c->planes * channels, taps = a[0].taps * a[1].taps * a[2].taps;
    const int64_t step = c->step, row = a[2].outputs * step, position_plane = c->pitch * a[0].outputs * a[1].outputs;
    const guarded source = guarded_new((c->planes - 1) * c->outputs * step + (c->outputs - 1) * step + channels, side);
    const guarded target = guarded_new(c->elements * lanes, side);
    real *expected = malloc((size_t)(c->elements * lanes) * sizeof(real));
    uint8_t *positions = malloc((size_t)(c->planes * position_plane + 2 * MARGIN));
    void *scratch = malloc(1 << 22);
    fill_integers(source.data, source.count);
    for (int64_t i = 0; i < c->planes * position_plane + 2 * MARGIN; i++) positions[i] = (uint8_t)random_below(taps);

    fc_pool_part part = random_part(c, 1);
    part.source = source.data;
    part.source_plane = c->outputs * step;
    part.source_stride[0] = a[1].outputs * row;
    part.source_stride[1] = row;
    part.source_stride[2] = step;
    part.source_stride[3] = 1;
    part.target = target.data + pixel_of(a, 0, part.depth, part.row, part.column) * channels;
    part.target_plane = c->elements;
    part.target_step = a[2].extent * channels;
    part.position_plane = position_plane;
    part.position_step = c->pitch;
    part.positions = of_average ? NULL : positions + MARGIN;
    part.scratch = scratch;
    table->pool.gradient(&c->pool, &part);

    for (int64_t i = 0; i < c->elements * lanes; i++) expected[i] = UNTOUCHED;
    for (int64_t p = 0; p < lanes; p++)
        for (int64_t y = part.row; y < part.row + part.rows; y++)
            for (int64_t x = part.column; x < part.column + part.columns; x++) {
                real sum = 0;
                for (int64_t n = 0; n < c->outputs; n++) {
                    const int64_t o[] = {n / (a[1].outputs * a[2].outputs), n / a[2].outputs % a[1].outputs, n % a[2].outputs};
                    const real g = source.data[channels == 1 ? p * part.source_plane + n * step : n * step + p];
                    const int64_t at = channels == 1 ? p * position_plane + n / a[2].outputs * c->pitch + o[2]
                                                     : n / a[2].outputs * c->pitch + o[2] * channels + p;
                    for (int64_t t = 0; t < taps; t++) {
                        const int64_t i = t / (a[1].taps * a[2].taps), j = t / a[2].taps % a[1].taps, k = t % a[2].taps;
                        if (tap_at(&a[0], o[0], i) != part.depth || tap_at(&a[1], o[1], j) != y || tap_at(&a[2], o[2], k) != x)
                            continue;
                        if (of_average) sum += (real)(g / counted_elements(c, o));
                        else if (positions[MARGIN + at] == t) sum += g;
                    }
                }
                const int64_t pixel = pixel_of(a, 0, part.depth, y, x);
                expected[channels == 1 ? p * c->elements + pixel : pixel * channels + p] = sum;
            }
    expect_same(target.data, expected, target.count);
    guarded_free(source);
    guarded_free(target);
    free(expected);
    free(positions);
    free(scratch);
}

void check_pool(void)
{
    for (int i = 0; i < 2000; i++) {
        const pool_case c = random_case();
        check_forward(&c, i % 2 ? AT_START : AT_END);
    }
}

void check_pool_gradient(void)
{
    for (int i = 0; i < 300; i++) {
        const pool_case c = random_case();
        check_backward(&c, 0, i % 2 ? AT_START : AT_END);
        if (c.pool.axis[0].dilation * c.pool.axis[1].dilation * c.pool.axis[2].dilation == 1)
            check_backward(&c, 1, i % 2 ? AT_START : AT_END);
    }
}
