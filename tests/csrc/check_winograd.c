/* The Winograd transforms: weights, inputs and products brought together give the plain correlation. */
#include "check.h"

#include <math.h>
#include <stdlib.h>

typedef struct problem {
    const fc_winograd *transform;
    int tap_rows;            /* 1 or 3 */
    int64_t span_y, span_x;  /* inputs of one tile */
    int64_t channels, width; /* depth, and output channels of the weight panel */
    int tiles, reversed;
    guarded rows, taps;
    int64_t row_step, channel_step;
} problem;

static problem problem_new(const fc_winograd *transform, int tiles, int reversed, enum side side)
{
    problem p = {.transform = transform, .tiles = tiles, .reversed = reversed};
    p.channels = 1 + random_below(4);
    p.width = 1 + random_below(table->max_rows);
    p.tap_rows = transform->tile_y == 1 ? 1 : 3;
    p.span_y = transform->tile_y + p.tap_rows - 1;
    p.span_x = transform->tile_x + 2;
    p.channel_step = 4 * table->lanes + 8;  /* all of which may be read */
    p.row_step = p.channels * p.channel_step;
    p.rows = guarded_new(p.span_y * p.row_step, side);
    p.taps = guarded_new(p.channels * p.tap_rows * 3 * p.width, side);
    fill_integers(p.rows.data, p.rows.count);
    fill_integers(p.taps.data, p.taps.count);
    return p;
}

static void problem_free(problem p)
{
    guarded_free(p.rows);
    guarded_free(p.taps);
}

/* Output y, x of one output channel, straight from its definition. */
static real plain_output(const problem *p, int64_t i, int64_t y, int64_t x)
{
    real sum = 0;
    for (int64_t c = 0; c < p->channels; c++)
        for (int ky = 0; ky < p->tap_rows; ky++)
            for (int kx = 0; kx < 3; kx++) {
                const int last = p->tap_rows * 3 - 1, tap = p->reversed ? last - ky * 3 - kx : ky * 3 + kx;
                sum += p->rows.data[(y + ky) * p->row_step + c * p->channel_step + x + kx]
                     * p->taps.data[(c * p->tap_rows * 3 + tap) * p->width + i];
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

/* Exact for tiles of 2, whose transforms only add and halve; within rounding for tiles of 4. */
static void expect_outputs(const problem *p, const real *tile, int64_t y_step, int64_t tile_step)
{
    const real rounding = p->transform->tile_x == 2 ? 0 : FC_REAL_BYTES == 4 ? (real)1e-3 : (real)1e-11;
    for (int64_t y = 0; y < p->transform->tile_y; y++)
        for (int64_t i = 0; i < p->width; i++)
            for (int64_t x = 0; x < p->tiles * p->transform->tile_x; x++) {
                const real got = tile[y * y_step + i * tile_step + x], expected = plain_output(p, i, y, x);
                if (!(fabs((double)(got - expected)) <= (double)rounding))
                    fail("output %lld, row %lld, column %lld is %g, expected %g", (long long)i, (long long)y,
                         (long long)x, (double)got, (double)expected);
            }
}

static void check_transform(const fc_winograd *transform, int tiles, int reversed, enum side side)
{
    const problem p = problem_new(transform, tiles, reversed, side);
    const int64_t lanes = table->lanes, channels = p.channels, width = p.width;
    const guarded u = guarded_new(transform->points * channels * width, side);
    const guarded v = guarded_new(transform->points * channels * lanes, side);
    const guarded sums = guarded_new(transform->points * width * lanes, side);
    const int64_t tile_step = transform->tile_x * lanes + 1, y_step = width * tile_step;
    const guarded tile = guarded_new(transform->tile_y * y_step - 1, side);
    describe("winograd %d x %d, %lld channels, %lld outputs, %d tiles%s", transform->tile_y,
             transform->tile_x, (long long)channels, (long long)width, tiles, reversed ? ", reversed" : "");
    transform->weight(u.data, channels * width, p.taps.data, width, channels, reversed);
    transform->input(v.data, channels * lanes, lanes, p.rows.data, p.row_step, p.channel_step, channels,
                     tiles);
    for (int64_t i = 0; i < v.count; i++)
        if (i % lanes >= tiles && v.data[i] != UNTOUCHED) fail("input writes beside its tiles");
    multiply_points(&p, u.data, v.data, lanes, sums.data);
    if (!transform->output(tile.data, y_step, tile_step, sums.data, width * lanes, lanes, (int)width, tiles))
        fail("output says that a finite output is not");
    expect_outputs(&p, tile.data, y_step, tile_step);
    for (int64_t i = tile_step - 1; i < tile.count; i += tile_step)
        if (tile.data[i] != UNTOUCHED) fail("output writes beside its tiles");

    const int64_t point = random_below(transform->points), i = random_below(width), t = random_below(tiles);
    sums.data[(point * width + i) * lanes + t] = random_below(2) ? (real)INFINITY : (real)NAN;
    if (transform->output(tile.data, y_step, tile_step, sums.data, width * lanes, lanes, (int)width, tiles))
        fail("output misses a value that is not finite");
    guarded_free(tile);
    guarded_free(sums);
    guarded_free(v);
    guarded_free(u);
    problem_free(p);
}

void check_winograd(void)
{
    for (int which = 0; which < FC_WINOGRADS; which++)
        for (int round = 0; round < 200; round++)
            check_transform(&table->winograd[which], 1 + round % table->lanes, round / 2 % 2,
                            round % 2 ? AT_START : AT_END);
}
