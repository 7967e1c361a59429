/* The Winograd transforms: weights, inputs and products brought together give the plain correlation. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 16 };

typedef struct problem {
    const fc_winograd *transform;
    int tap_rows, columns;   /* of taps */
    int64_t span_y;          /* input rows of a tile */
    int64_t channels, width; /* depth, and output channels of the weight panel */
    int tiles, run_count, reversed;
    fc_winograd_run in[MOST_RUNS], out[MOST_RUNS];
    guarded source[MOST_RUNS], target[MOST_RUNS], taps;
    int64_t source_step, target_step;  /* of channels; 1 where they are adjacent */
} problem;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

/* Guarded memory for places [low, high) of `rows` rows of some channels; about one row in six is missing. */
static guarded new_rows(fc_winograd_run *run, int64_t rows, int64_t channels, int64_t channel_step, enum side side)
{
    const int64_t places = most(1, run->high - run->low);
    const int64_t row_step = channel_step == 1 ? places * run->step : channels * channel_step;
    const guarded memory
        = guarded_new((rows - 1) * row_step + (channels - 1) * channel_step + (places - 1) * run->step + 1, side);
    for (int64_t y = 0; y < rows; y++)
        run->row[y] = random_below(6) ? memory.data + y * row_step - run->low * run->step : NULL;
    return memory;
}

/* Tiles in runs, the last of which may be cut off. Either places are adjacent, or a few elements apart, or channels are
 * adjacent. */
static void new_runs(problem *p, int channels_adjacent, enum side side)
{
    int64_t lane = 0;
    const int64_t together = random_below(2) ? p->tiles : 1 + random_below(p->tiles);
    const int64_t step = random_below(3) ? 1 : 1 + random_below(3);
    p->source_step = p->target_step = channels_adjacent ? 1 : (p->tiles * p->transform->tile_x + p->columns - 1) * step;
    while (lane < p->tiles) {
        fc_winograd_run *in = &p->in[p->run_count], *out = &p->out[p->run_count];
        const int64_t tiles = least(together, p->tiles - lane), places = tiles * p->transform->tile_x;
        *in = *out = (fc_winograd_run){.lane = lane, .tiles = tiles, .step = step};
        if (channels_adjacent) {
            in->step *= p->channels;
            out->step *= p->width;
        }
        in->low = random_below(3) ? 0 : random_below(places);
        in->high = random_below(3) ? places + p->columns - 1 : in->low + random_below(places + p->columns - in->low);
        out->high = random_below(3) ? places : random_below(places + 1);
        p->source[p->run_count] = new_rows(in, p->span_y, p->channels, p->source_step, side);
        p->target[p->run_count] = new_rows(out, p->transform->tile_y, p->width, p->target_step, side);
        fill_integers(p->source[p->run_count].data, p->source[p->run_count].count);
        lane += tiles;
        p->run_count++;
    }
}

static problem problem_new(const fc_winograd *transform, int tiles, int reversed, int channels_adjacent, enum side side)
{
    const int64_t adjacent = 2 * table->lanes + 1;
    problem p = {.transform = transform, .tiles = tiles, .reversed = reversed};
    p.channels = 1 + random_below(channels_adjacent ? adjacent : 4);
    p.width = 1 + random_below(channels_adjacent ? adjacent : table->gemm.max_rows);
    p.columns = transform->taps;
    p.tap_rows = transform->tile_y == 1 ? 1 : p.columns;
    p.span_y = transform->tile_y + p.tap_rows - 1;
    p.taps = guarded_new(p.channels * p.tap_rows * p.columns * p.width, side);
    fill_integers(p.taps.data, p.taps.count);
    new_runs(&p, channels_adjacent, side);
    return p;
}

static void problem_free(problem p)
{
    for (int r = 0; r < p.run_count; r++) {
        guarded_free(p.source[r]);
        guarded_free(p.target[r]);
    }
    guarded_free(p.taps);
}

static real input_at(const problem *p, int r, int64_t c, int64_t y, int64_t x)
{
    const fc_winograd_run *run = &p->in[r];
    if (!run->row[y] || x < run->low || x >= run->high) return 0;
    return ((const real *)run->row[y])[c * p->source_step + x * run->step];
}

/* Output y, x of a run and output channel, straight from its definition. */
static real plain_output(const problem *p, int r, int64_t i, int64_t y, int64_t x)
{
    real sum = 0;
    for (int64_t c = 0; c < p->channels; c++)
        for (int ky = 0; ky < p->tap_rows; ky++)
            for (int kx = 0; kx < p->columns; kx++) {
                const int count = p->tap_rows * p->columns, forward = ky * p->columns + kx;
                const int tap = p->reversed ? count - 1 - forward : forward;
                sum += input_at(p, r, c, y + ky, x + kx) * p->taps.data[(c * count + tap) * p->width + i];
            }
    return sum;
}

/* sums[point][i][tile] = sum over k of u[point][k][i] * v[point][k][tile]; NaN where there is no tile. */
static void multiply_points(const problem *p, const real *u, const real *v, int64_t lanes, real *sums)
{
    for (int point = 0; point < p->transform->points; point++)
        for (int64_t i = 0; i < p->width; i++)
            for (int64_t t = 0; t < lanes; t++) {
                double sum = t < p->tiles ? 0 : NAN;
                for (int64_t k = 0; k < p->channels; k++)
                    sum += (double)u[(point * p->channels + k) * p->width + i]
                         * (double)v[(point * p->channels + k) * lanes + t];
                sums[(point * p->width + i) * lanes + t] = (real)sum;
            }
}

/* Exact for tiles of 2 and 3, whose transforms only add and halve; within rounding for tiles of 4. All else untouched. */
static void expect_outputs(const problem *p, const real *bias)
{
    const double rounding = p->transform->tile_x < 4 ? 0 : FC_REAL_BYTES == 4 ? 1e-3 : 1e-11;
    for (int r = 0; r < p->run_count; r++) {
        const fc_winograd_run *run = &p->out[r];
        for (int64_t y = 0; y < p->transform->tile_y; y++)
            for (int64_t i = 0; run->row[y] && i < p->width; i++)
                for (int64_t x = 0; x < run->high; x++) {
                    real *got = (real *)run->row[y] + i * p->target_step + x * run->step;
                    const real sum = plain_output(p, r, i, y, x) + bias[i], expected = sum > 0 ? sum : 0;
                    if (!(fabs((double)(*got - expected)) <= rounding))
                        fail("run %d, output %lld, row %lld, column %lld is %g, expected %g", r, (long long)i,
                             (long long)y, (long long)x, (double)*got, (double)expected);
                    *got = UNTOUCHED;
                }
        for (int64_t i = 0; i < p->target[r].count; i++)
            if (p->target[r].data[i] != UNTOUCHED) fail("output writes beside its tiles");
    }
}

static void check_transform(const fc_winograd *transform, int tiles, int reversed, enum side side)
{
    const problem p = problem_new(transform, tiles, reversed, 0, side);
    const int64_t lanes = table->lanes, channels = p.channels, width = p.width;
    const guarded u = guarded_new(transform->points * channels * width, side);
    const guarded v = guarded_new(transform->points * channels * lanes, side);
    const guarded sums = guarded_new(transform->points * width * lanes, side);
    const guarded bias = guarded_new(width, side);
    const fc_finish finish = {.final = 1, .row_bias = bias.data, .activation = FC_RELU};
    describe("winograd %d x %d, %lld channels, %lld outputs, %d tiles in %d runs %lld apart%s", transform->tile_y,
             transform->tile_x, (long long)channels, (long long)width, tiles, p.run_count, (long long)p.in[0].step,
             reversed ? ", reversed" : "");
    fill_integers(bias.data, bias.count);
    transform->weight(u.data, channels * width, p.taps.data, width, channels, reversed);
    transform->input(v.data, channels * lanes, lanes, p.in, p.run_count, p.source_step, channels);
    for (int64_t i = 0; i < v.count; i++)
        if (i % lanes >= tiles && v.data[i] != UNTOUCHED) fail("input writes beside its tiles");
    multiply_points(&p, u.data, v.data, lanes, sums.data);
    if (transform->output(p.out, p.run_count, p.target_step, sums.data, width * lanes, lanes, (int)width, &finish))
        fail("output says that a finite output is not");
    expect_outputs(&p, bias.data);

    const int64_t point = random_below(transform->points), i = random_below(width), t = random_below(tiles);
    sums.data[(point * width + i) * lanes + t] = random_below(2) ? (real)INFINITY : (real)NAN;
    if (transform->output(p.out, p.run_count, p.target_step, sums.data, width * lanes, lanes, (int)width, &finish)
        != (int64_t)1 << t)
        fail("output misses a value that is not finite, or sees one where there is none");
    guarded_free(bias);
    guarded_free(sums);
    guarded_free(v);
    guarded_free(u);
    problem_free(p);
}

/* As check_transform, with lanes that are channels. Few of them count: sums of many would round. */
static void check_channels(const fc_winograd *transform, int tiles, enum side side)
{
    const problem p = problem_new(transform, tiles, 0, 1, side);
    const int64_t channels = p.channels, width = p.width, tap_count = p.tap_rows * p.columns;
    const guarded u = guarded_new(transform->points * channels * width, side);
    const guarded v = guarded_new(transform->points * tiles * channels, side);
    const guarded sums = guarded_new(transform->points * tiles * width, side);
    const guarded bias = guarded_new(width, side);
    const fc_finish finish = {.final = 1, .column_bias = bias.data, .activation = FC_RELU};
    describe("winograd %d x %d, %lld adjacent channels, %lld outputs, %d tiles in %d runs", transform->tile_y,
             transform->tile_x, (long long)channels, (long long)width, tiles, p.run_count);
    fill_integers(bias.data, bias.count);
    for (int64_t k = 0; k < channels; k++)
        if ((k + tiles) % (channels / 4 + 1))
            memset(p.taps.data + k * tap_count * width, 0, tap_count * width * sizeof(real));
    transform->weight(u.data, channels * width, p.taps.data, width, channels, 0);
    transform->input_channels(v.data, tiles * channels, channels, p.in, p.run_count, channels);
    for (int point = 0; point < transform->points; point++)
        for (int64_t t = 0; t < tiles; t++)
            for (int64_t i = 0; i < width; i++) {
                double sum = 0;
                for (int64_t k = 0; k < channels; k++)
                    sum += (double)u.data[(point * channels + k) * width + i]
                         * (double)v.data[(point * tiles + t) * channels + k];
                sums.data[(point * tiles + t) * width + i] = (real)sum;
            }
    if (transform->output_channels(p.out, p.run_count, sums.data, tiles * width, width, width, &finish))
        fail("output_channels says that a finite output is not");
    expect_outputs(&p, bias.data);

    const int r = (int)random_below(p.run_count);
    const int64_t point = random_below(transform->points), t = p.out[r].lane + random_below(p.out[r].tiles);
    sums.data[(point * tiles + t) * width + random_below(width)] = random_below(2) ? (real)INFINITY : (real)NAN;
    if (transform->output_channels(p.out, p.run_count, sums.data, tiles * width, width, width, &finish)
        != (int64_t)1 << r)
        fail("output_channels misses a value that is not finite, or sees one where there is none");
    guarded_free(bias);
    guarded_free(sums);
    guarded_free(v);
    guarded_free(u);
    problem_free(p);
}

static real output_at(const problem *p, int r, int64_t i, int64_t y, int64_t x)
{
    const fc_winograd_run *run = &p->out[r];
    if (!run->row[y] || x < 0 || x >= run->high) return 0;
    return ((const real *)run->row[y])[i * p->target_step + x * run->step];
}

/* Gradient of one tap of channel c and output i: over all outputs, gradient times the input that the tap meets. */
static real plain_grad_weight(const problem *p, int64_t c, int64_t i, int64_t ky, int64_t kx)
{
    real sum = 0;
    for (int r = 0; r < p->run_count; r++)
        for (int64_t y = 0; y < p->transform->tile_y; y++)
            for (int64_t x = 0; x < p->out[r].high; x++)
                sum += output_at(p, r, i, y, x) * input_at(p, r, c, y + ky, x + kx);
    return sum;
}

/* Fail if anything but the channels of the tiles was written. */
static void expect_untouched(const guarded *memory, int64_t tile_step, int64_t channels, const char *name)
{
    for (int64_t i = 0; i < memory->count; i++)
        if (i % tile_step >= channels && memory->data[i] != UNTOUCHED) fail("%s writes beside its channels", name);
}

static void check_gradient(const fc_winograd *transform, int tiles, enum side side)
{
    const problem p = problem_new(transform, tiles, 0, 1, side);
    const int64_t channels = p.channels, width = p.width, c = random_below(channels);
    const int64_t v_step = channels + random_below(3), d_step = width + random_below(3);  /* between tiles */
    const guarded v = guarded_new((transform->points * tiles - 1) * v_step + channels, side);
    const guarded d = guarded_new((transform->points * tiles - 1) * d_step + width, side);
    const guarded sums = guarded_new(transform->points * width, side);
    const guarded taps = guarded_new(p.tap_rows * p.columns * width, side);
    const double rounding = transform->tile_x < 4 ? 0 : FC_REAL_BYTES == 4 ? 1e-2 : 1e-10;
    describe("winograd gradient %d x %d, %lld inputs, %lld outputs, %d tiles in %d runs", transform->tile_y,
             transform->tile_x, (long long)channels, (long long)width, tiles, p.run_count);
    for (int r = 0; r < p.run_count; r++) fill_integers(p.target[r].data, p.target[r].count);
    transform->input_channels(v.data, tiles * v_step, v_step, p.in, p.run_count, channels);
    expect_untouched(&v, v_step, channels, "input_channels");
    transform->grad_output_channels(d.data, tiles * d_step, d_step, p.out, p.run_count, width);
    expect_untouched(&d, d_step, width, "grad_output_channels");
    for (int point = 0; point < transform->points; point++)
        for (int64_t i = 0; i < width; i++) {
            double sum = 0;
            for (int t = 0; t < tiles; t++)
                sum += (double)v.data[(point * tiles + t) * v_step + c]
                     * (double)d.data[(point * tiles + t) * d_step + i];
            sums.data[point * width + i] = (real)sum;
        }
    if (!transform->grad_weight(taps.data, width, sums.data, width, width))
        fail("grad_weight says that a finite gradient is not");
    for (int64_t i = 0; i < width; i++)
        for (int64_t tap = 0; tap < p.tap_rows * p.columns; tap++) {
            const real got = taps.data[tap * width + i];
            const real expected = plain_grad_weight(&p, c, i, tap / p.columns, tap % p.columns);
            if (!(fabs((double)(got - expected)) <= rounding))
                fail("tap %lld of output %lld is %g, expected %g", (long long)tap, (long long)i, (double)got,
                     (double)expected);
        }
    sums.data[random_below(sums.count)] = random_below(2) ? (real)INFINITY : (real)NAN;
    if (transform->grad_weight(taps.data, width, sums.data, width, width))
        fail("grad_weight misses a value that is not finite");
    guarded_free(taps);
    guarded_free(sums);
    guarded_free(d);
    guarded_free(v);
    problem_free(p);
}

void check_winograd(void)
{
    for (int which = 0; which < FC_WINOGRADS; which++)
        for (int round = 0; round < 240; round++) {
            check_transform(&table->winograd[which], 1 + round % table->lanes, round / 2 % 2,
                            round % 2 ? AT_START : AT_END);
            check_channels(&table->winograd[which], 1 + round % MOST_RUNS, round % 2 ? AT_START : AT_END);
            check_gradient(&table->winograd[which], 1 + round % table->lanes, round % 2 ? AT_START : AT_END);
        }
}
