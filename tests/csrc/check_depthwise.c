/* depthwise, its gathering, its weights and their gradient against plain loops. Sums are exact: see fill_integers. */
#include "check.h"

#include <stdlib.h>

enum { MOST_TAPS = 9 };

static real finished(real sum, int activation)
{
    if (activation == FC_RELU && sum < 0) return 0;
    if (activation == FC_RELU6) return sum < 0 ? 0 : sum > 6 ? 6 : sum;
    return sum;
}

/* A convolution of one phase or two, of rows that lie kernel_row_step x `stride` apart. */
static void check_rows(int64_t rows, int64_t columns, int stride, int phases, int line, int channels, int lane_step)
{
    const int lanes = table->lanes, kernel_rows = 1 + (int)random_below(FC_KERNEL_ROWS);
    const int taps = 1 + (int)random_below(MOST_TAPS), unit = channels ? 1 : lanes;
    const int64_t vectors = (columns + unit * phases - 1) / (unit * phases);
    const int64_t row = (vectors + (line ? 2 * table->depthwise.max_vectors : 1) + 2) * lanes;
    const int64_t kernel_step = line ? lanes : row, row_step = line ? row : stride * row;
    const int64_t source_rows = line ? rows : (rows - 1) * stride + kernel_rows;
    const guarded source = guarded_new((source_rows + (line ? kernel_rows : 0)) * row, AT_END);
    const guarded weights = guarded_new(phases * kernel_rows * taps * lanes, AT_END), bias = guarded_new(lanes, AT_END);
    const int64_t vector_step = channels ? (channels + 1) * lane_step : lanes * lane_step;
    const int64_t out_row = columns * (channels ? vector_step : lane_step) + 3;
    const guarded out = guarded_new(rows * out_row, AT_END);
    real *expected = malloc((size_t)(rows * out_row) * sizeof(real));
    int64_t offset[MOST_TAPS];
    for (int t = 0; t < taps; t++) offset[t] = channels ? random_below(2) * lanes : random_below(lanes + 1);
    fill_integers(source.data, source.count);
    fill_integers(weights.data, weights.count);
    fill_integers(bias.data, bias.count);
    if (!channels) {  /* pixels share their weights */
        for (int64_t i = 0; i < weights.count; i++) weights.data[i] = weights.data[i / lanes * lanes];
        for (int i = 0; i < lanes; i++) bias.data[i] = bias.data[0];
    }
    const fc_taps groups[2] = {{0, 0, 0, offset, taps, kernel_rows}, {0, 0, kernel_rows * taps, offset, taps, kernel_rows}};
    fc_depthwise d = {.weights = weights.data, .bias = bias.data, .phases = phases, .line = line,
                      .channels = channels, .kernel_row_step = kernel_step, .row_step = row_step,
                      .vector_step = lanes, .out_row_step = out_row, .out_vector_step = vector_step,
                      .lane_step = lane_step, .taps = {groups, groups + 1}, .tap_count = {1, 1}};
    const int activations[] = {FC_IDENTITY, FC_RELU, FC_RELU6};
    d.finish.activation = activations[random_below(3)];
    for (int64_t i = 0; i < rows * out_row; i++) out.data[i] = expected[i] = UNTOUCHED;
    for (int64_t y = 0; y < rows; y++) {
        for (int64_t x = 0; x < columns; x++) {
            for (int l = 0; l < (channels ? channels : 1); l++) {
                const int lane = channels ? l : (int)(x / phases % lanes);
                const real *w = weights.data + x % phases * kernel_rows * taps * lanes + lane;
                const real *from = source.data + y * row_step + (channels ? x * lanes + l : x / phases);
                real sum = bias.data[channels ? lane : (int)(x / phases % lanes)];
                for (int t = 0; t < taps; t++)
                    for (int k = 0; k < kernel_rows; k++)
                        sum += w[(t * kernel_rows + k) * lanes] * from[k * kernel_step + offset[t]];
                expected[y * out_row + (channels ? x * vector_step + l * lane_step : x * lane_step)] =
                    finished(sum, d.finish.activation);
            }
        }
    }
    describe("depthwise, %lld x %lld, stride %d, %d phases, line %d, %d channels, lane step %d, %d x %d taps",
             (long long)rows, (long long)columns, stride, phases, line, channels, lane_step, kernel_rows, taps);
    table->depthwise.tile(out.data, source.data, rows, columns, &d);
    expect_same(out.data, expected, rows * out_row);
    free(expected);
    guarded_free(source);
    guarded_free(weights);
    guarded_free(bias);
    guarded_free(out);
}

/* One channel where it lies, its windows reaching over its edges or lying wholly outside. */
static void check_in_place(int64_t rows, int64_t columns)
{
    enum { step = 2 };
    const int lanes = table->lanes, kernel_rows = 1 + (int)random_below(FC_KERNEL_ROWS);
    const int taps = 1 + (int)random_below(table->depthwise.in_place);
    const int64_t height = 1 + random_below(20), width = 1 + random_below(5 * lanes), row = width + random_below(3);
    const int64_t y = random_below(height + 12) - 10, x = random_below(width + 12) - 10;
    const int64_t met = (rows - 1) * step + kernel_rows, out_row = columns + random_below(3);
    int64_t offset[16], reach = 0;
    for (int t = 0; t < taps; t++) reach = offset[t] = reach + random_below(4);
    const guarded source = guarded_new((height - 1) * row + width, AT_END);
    const guarded zeros = guarded_new((columns + lanes - 1) / lanes * lanes * step + reach, AT_END);
    const guarded weights = guarded_new(kernel_rows * taps * lanes, AT_END), bias = guarded_new(lanes, AT_END);
    const guarded out = guarded_new((rows - 1) * out_row + columns, AT_END);
    real *expected = malloc((size_t)out.count * sizeof(real));
    fill_integers(source.data, source.count);
    fill_integers(weights.data, weights.count);
    fill_integers(bias.data, 1);
    for (int64_t i = 0; i < zeros.count; i++) zeros.data[i] = 0;
    for (int i = 1; i < lanes; i++) bias.data[i] = bias.data[0];
    for (int64_t i = 0; i < weights.count; i++) weights.data[i] = weights.data[i / lanes * lanes];
    const fc_taps group = {0, 0, 0, offset, taps, kernel_rows};
    const int64_t low = y < 0 ? -y : 0, high = height - y < met ? height - y : met;
    const fc_depthwise d = {.weights = weights.data, .bias = bias.data, .phases = 1, .taps = {&group},
                            .tap_count = {1}, .kernel_row_step = row, .row_step = step * row, .out_row_step = out_row,
                            .out_vector_step = lanes, .lane_step = 1, .zeros = zeros.data + (x < 0 ? x : 0),
                            .low = low < met ? low : met, .high = high > low ? high : low < met ? low : met, .x = x,
                            .width = width};
    for (int64_t i = 0; i < out.count; i++) out.data[i] = expected[i] = UNTOUCHED;
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            real sum = bias.data[0];
            for (int t = 0; t < taps; t++) {
                for (int k = 0; k < kernel_rows; k++) {
                    const int64_t sy = y + r * step + k, sx = x + c * step + offset[t];
                    if (sy >= 0 && sy < height && sx >= 0 && sx < width)
                        sum += weights.data[(t * kernel_rows + k) * lanes] * source.data[sy * row + sx];
                }
            }
            expected[r * out_row + c] = sum;
        }
    }
    describe("depthwise in place, %lld x %lld, %lld x %lld from %lld, %lld, %d x %d taps", (long long)rows,
             (long long)columns, (long long)height, (long long)width, (long long)y, (long long)x, kernel_rows,
             taps);
    table->depthwise.tile(out.data, source.data + y * row + x, rows, columns, &d);
    expect_same(out.data, expected, out.count);
    free(expected);
    guarded_free(source);
    guarded_free(zeros);
    guarded_free(weights);
    guarded_free(bias);
    guarded_free(out);
}

static void check_gather(int64_t step, int channels, int64_t x_stride, int64_t first, int64_t extent, int64_t count)
{
    int group = 1;  /* of lanes */
    while (channels && 2 * group <= table->lanes && group < 8 && random_below(2)) group *= 2;
    channels = channels > group ? channels - channels % group : group > 1 ? group : channels;
    const int64_t lanes = table->lanes, unit = channels ? lanes : 1, rows = 3;
    const int64_t lane_stride = group > 1 ? 1 : 1 + random_below(2), run = (count * unit + lanes - 1) / lanes * lanes;
    const int64_t row = run * step, copy = 3 * row + random_below(9);
    const int64_t pixel = x_stride * (channels ? 2 * channels : 1), y_stride = extent * pixel;
    const guarded source = guarded_new(rows * y_stride, AT_END);
    const guarded to = guarded_new((group - 1) * copy + rows * row + lanes, AT_END);
    fill_integers(source.data, source.count);
    const fc_gather g = {.first = first, .step = step, .extent = extent, .count = count, .y_stride = y_stride,
                         .x_stride = pixel, .lane_stride = lane_stride, .run = run, .row = row,
                         .channels = channels, .spread = group, .copy = copy};
    describe("depthwise_gather, step %lld, %d channels, stride %lld, from %lld, %lld of %lld pixels", (long long)step,
             channels, (long long)x_stride, (long long)first, (long long)count, (long long)extent);
    table->depthwise.gather(to.data, source.data, rows, &g);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t p = 0; p < step; p++) {
            for (int64_t i = 0; i < count * unit * group; i++) {
                const int64_t j = i / (count * unit), place = i % (count * unit), lane = place % unit;
                const int64_t x = first + p + place / unit * step;
                const int exists = x >= 0 && x < extent && (!channels || lane < channels);
                const real *from = source.data + r * y_stride + x * pixel;
                const real expected = exists ? from[(lane - lane % group + (group > 1 ? j : 0)) * lane_stride] : 0;
                expect_same(to.data + j * copy + r * row + p * run + place, &expected, 1);
            }
        }
    }
    guarded_free(source);
    guarded_free(to);
}

static void check_weights(int rows, int64_t columns, int channels)
{
    const int lanes = table->lanes;
    const guarded source = guarded_new(3 * rows * columns * (channels + 1), AT_END);
    const guarded to = guarded_new(rows * columns * lanes, AT_END);
    fill_integers(source.data, source.count);
    describe("depthwise_weights, %d x %lld, %d channels", rows, (long long)columns, channels);
    int group = 1;
    while (channels && channels % (2 * group) == 0 && random_below(2)) group *= 2;
    const int64_t channel_stride = random_below(2), group_stride = 3 * rows * columns;
    table->depthwise.weights(to.data, source.data, rows, columns, 3 * columns, 3, group_stride, channel_stride, group,
                             channels);
    for (int64_t i = 0; i < rows * columns * lanes; i++) {
        const int64_t lane = i % lanes, k = i / lanes % rows, t = i / lanes / rows;
        const real *tap = source.data + 3 * (k * columns + t);
        const int64_t of_lane = lane / group * group_stride + lane % group * channel_stride;
        const real expected = channels == 0 ? *tap : lane < channels ? tap[of_lane] : 0;
        expect_same(to.data + i, &expected, 1);
    }
    guarded_free(source);
    guarded_free(to);
}

/* Two planes, anywhere against each other. */
static void check_planes(const fc_planes_met *p)
{
    const int lanes = table->lanes, taps = p->kernel_rows * p->kernel_columns, unit = p->channels ? p->channels : 1;
    const guarded input = guarded_new((p->height - 1) * p->y_stride + (p->width - 1) * p->x_stride + unit, AT_END);
    const guarded grad = guarded_new((p->rows - 1) * p->grad_y_stride + (p->columns - 1) * p->grad_x_stride + unit,
                                     random_below(2) ? AT_END : AT_START);
    const guarded sums = guarded_new(taps * lanes, AT_END);
    real *expected = malloc((size_t)sums.count * sizeof(real));
    fill_integers(input.data, input.count);
    fill_integers(grad.data, grad.count);
    fill_integers(sums.data, sums.count);
    for (int64_t i = 0; i < sums.count; i++) expected[i] = sums.data[i];
    for (int tap = 0; tap < taps; tap++) {
        for (int64_t r = 0; r < p->rows; r++) {
            for (int64_t c = 0; c < p->columns; c++) {
                const int64_t y = p->y + r * p->y_step + tap / p->kernel_columns * p->y_delta;
                const int64_t x = p->x + c * p->x_step + tap % p->kernel_columns * p->x_delta;
                if (y < 0 || y >= p->height || x < 0 || x >= p->width) continue;
                for (int l = 0; l < unit; l++)
                    expected[tap * lanes + (p->channels ? l : c % lanes)] +=
                        input.data[y * p->y_stride + x * p->x_stride + l] *
                        grad.data[r * p->grad_y_stride + c * p->grad_x_stride + l];
            }
        }
    }
    describe("depthwise_gradient, %lld x %lld from %lld, %lld, step %lld, %lld, delta %lld, %lld, %d x %d taps, %d "
             "channels", (long long)p->rows, (long long)p->columns, (long long)p->y, (long long)p->x,
             (long long)p->y_step, (long long)p->x_step, (long long)p->y_delta, (long long)p->x_delta, p->kernel_rows,
             p->kernel_columns, p->channels);
    table->depthwise.gradient(sums.data, input.data, grad.data, p);
    expect_same(sums.data, expected, sums.count);
    free(expected);
    guarded_free(input);
    guarded_free(grad);
    guarded_free(sums);
}

void check_depthwise_gradient(void)
{
    for (int round = 0; round < 4000; round++) {
        const int channels = random_below(2) ? 1 + (int)random_below(table->lanes) : 0;
        const int64_t pixel = channels ? channels + random_below(3) : 1, room = channels ? 12 : 3 * table->lanes;
        fc_planes_met p = {.rows = 1 + random_below(12), .columns = 1 + random_below(room), .channels = channels,
                           .y = random_below(12) - 9, .x = random_below(room) - room / 2,
                           .height = 1 + random_below(24), .width = 1 + random_below(2 * room),
                           .y_step = 1 + random_below(3), .y_delta = 1 + random_below(3), .x_delta = 1 + random_below(3),
                           .kernel_rows = 1 + (int)random_below(6), .kernel_columns = 1 + (int)random_below(9)};
        p.x_step = 1 + random_below(channels ? 3 : p.x_delta == 1 ? 2 : 1);
        p.grad_x_stride = p.x_stride = pixel;
        p.grad_y_stride = p.columns * pixel + random_below(3);
        p.y_stride = p.width * pixel + random_below(3);
        check_planes(&p);
    }
}

void check_depthwise(void)
{
    const int lanes = table->lanes;
    for (int64_t rows = 1; rows <= 2 * table->depthwise.max_rows + 1; rows++) {
        for (int round = 0; round < 12; round++) {
            const int64_t columns = 1 + random_below((table->depthwise.max_vectors + 2) * lanes);
            const int channels = 1 + (int)random_below(lanes), lane_step = 1 + (int)random_below(2);
            check_rows(rows, columns, 1 + (int)random_below(3), 1, 0, 0, lane_step);
            check_rows(rows, columns, 1, 2, 0, 0, 1);
            check_rows(rows, columns % 13 + 1, 1 + (int)random_below(3), 1, 0, channels, lane_step);
            check_rows(rows % 3 + 1, 8 * columns, 1, 1, 1, 0, lane_step);
            check_rows(rows % 3 + 1, columns, 1, 1, 1, channels, lane_step);
            if (table->depthwise.in_place) check_in_place(rows, columns);
        }
    }
}

void check_depthwise_gather(void)
{
    for (int round = 0; round < 2000; round++) {
        const int channels = random_below(2) ? 1 + (int)random_below(table->lanes) : 0;
        check_gather(1 + random_below(3), channels, 1 + random_below(2), random_below(60) - 30, 1 + random_below(70),
                     1 + random_below(80));
    }
}

void check_depthwise_weights(void)
{
    for (int rows = 1; rows <= FC_KERNEL_ROWS; rows++)
        for (int64_t columns = 1; columns <= 5; columns++)
            for (int channels = 0; channels <= table->lanes; channels++) check_weights(rows, columns, channels);
}
