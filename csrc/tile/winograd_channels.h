/* The transforms of a Winograd convolution's arrays with lanes that are channels: for arrays where those are adjacent,
 * so that nothing is gathered and nothing transposed, and for the operands of a weight gradient, whose products are
 * sums over tiles. The transform of these sums is in winograd.h.
 */
#include "winograd_axis.h"

/* A vector of channels of one tile of inputs or, if `outputs`, of as many values as it has outputs. Place x of its
 * row y is place first + x of the run's; `inside`: all of them exist. The points halfway are more than there are
 * registers, and so are the addresses: both are gone through in loops. */
INLINE void transform_vector(int my, int mx, int outputs, int inside, const fc_winograd_run *run, int64_t first,
                             int64_t c, mask valid, real *v, int64_t point_step)
{
    const int span_x = TILE_SPAN(mx), span_y = TILE_SPAN(my);
    const int read_x = outputs ? mx : span_x, read_y = outputs ? my : span_y;
    real half[MAX_SPAN * MAX_SPAN * LANES] __attribute__((aligned(FC_VECTOR_BYTES)));
    int64_t from = first * run->step + c;
    ROLLED
    for (int x = 0; x < read_x; x++) {
        vec d[MAX_SPAN], column[MAX_SPAN];
        UNROLL
        for (int y = 0; y < read_y; y++) {
            const real *row = run->row[y];
            const int exists = inside || (row && first + x >= run->low && first + x < run->high);
            d[y] = exists ? load_masked(row + from, valid) : (vec){0};
        }
        if (outputs) winograd_grad_output_1d(my, d, 1, column, 1);
        else winograd_input_1d(my, d, 1, column, 1);
        UNROLL
        for (int y = 0; y < span_y; y++) store(half + (y * MAX_SPAN + x) * LANES, column[y]);
        from += run->step;
    }
    ROLLED
    for (int y = 0; y < span_y; y++) {
        vec d[MAX_SPAN], row[MAX_SPAN];
        UNROLL
        for (int x = 0; x < read_x; x++) d[x] = load(half + (y * MAX_SPAN + x) * LANES);
        if (outputs) winograd_grad_output_1d(mx, d, 1, row, 1);
        else winograd_input_1d(mx, d, 1, row, 1);
        UNROLL
        for (int x = 0; x < span_x; x++) {
            store_masked(v, row[x], valid);
            v += point_step;
        }
    }
}

INLINE void transform_tile(int my, int mx, int outputs, int inside, const fc_winograd_run *run, int64_t first, real *v,
                           int64_t point_step, int64_t channels)
{
    int64_t c = 0;
    if (inside)
        for (; c + LANES <= channels; c += LANES)
            transform_vector(my, mx, outputs, 1, run, first, c, first_lanes(LANES), v + c, point_step);
    for (; c < channels; c += LANES)
        transform_vector(my, mx, outputs, inside, run, first, c, first_lanes(clamp_lane(channels - c)), v + c, point_step);
}

INLINE void transform_tiles(int my, int mx, int outputs, real *v, int64_t point_step, int64_t tile_step,
                            const fc_winograd_run *runs, int run_count, int64_t channels)
{
    const int read_x = outputs ? mx : TILE_SPAN(mx), read_y = outputs ? my : TILE_SPAN(my);
    for (const fc_winograd_run *run = runs; run < runs + run_count; run++) {
        int whole = 1;
        for (int y = 0; y < read_y; y++) whole &= run->row[y] != NULL;
        for (int64_t t = 0; t < run->tiles; t++) {
            const int64_t first = t * mx;
            real *to = v + (run->lane + t) * tile_step;
            if (whole && first >= run->low && first + read_x <= run->high)
                transform_tile(my, mx, outputs, 1, run, first, to, point_step, channels);
            else
                transform_tile(my, mx, outputs, 0, run, first, to, point_step, channels);
        }
    }
}

/* One tile; `doubt` becomes NaN in a lane where an output is infinite or NaN. */
INLINE vec output_tile(int my, int mx, const fc_winograd_run *run, int64_t first, const real *sums, int64_t point_step,
                       int64_t channels, const fc_finish *finish, vec doubt)
{
    const int span_x = TILE_SPAN(mx), span_y = TILE_SPAN(my), finishes = finish->column_bias || finish->activation;
    for (int64_t c = 0; c < channels; c += LANES) {
        const mask valid = first_lanes(clamp_lane(channels - c));
        vec half[MAX_SPAN * MAX_SPAN], bias = {0};
        if (finish->column_bias) bias = load_masked((const real *)finish->column_bias + c, valid);
        UNROLL
        for (int x = 0; x < span_x; x++) {
            vec column[MAX_SPAN];
            UNROLL
            for (int y = 0; y < span_y; y++)
                column[y] = load_masked(sums + (y * span_x + x) * point_step + c, valid);
            winograd_output_1d(my, column, 1, half + x, span_x);
        }
        UNROLL
        for (int y = 0; y < my; y++) {
            vec out[MAX_SPAN];
            winograd_output_1d(mx, half + y * span_x, 1, out, 1);
            UNROLL
            for (int x = 0; x < mx; x++) {
                doubt += out[x] * 0;
                if (finishes) out[x] = finish_vector(out[x], (vec){0}, finish, 0, bias);
                if (run->row[y] && first + x < run->high) {
                    real *to = (real *)run->row[y] + (first + x) * run->step + c;
                    __builtin_prefetch(to + mx * run->step, 1);
                    store_masked(to, out[x], valid);
                }
            }
        }
    }
    return doubt;
}

INLINE int64_t output_channels_body(int my, int mx, const fc_winograd_run *runs, int run_count, const real *sums,
                                    int64_t point_step, int64_t tile_step, int64_t channels, const fc_finish *finish)
{
    int64_t not_finite = 0;
    for (int r = 0; r < run_count; r++) {
        const fc_winograd_run *run = &runs[r];
        vec doubt = {0};
        double sum = 0;
        for (int64_t t = 0; t < run->tiles; t++)
            doubt = output_tile(my, mx, run, t * mx, sums + (run->lane + t) * tile_step, point_step, channels, finish,
                                doubt);
        UNROLL
        for (int part = 0; part < PARTS; part++) sum += sum_in_pairs(widen(doubt, part));
        not_finite |= (int64_t)(sum != 0) << r;
    }
    return not_finite;
}

#define WINOGRAD_CHANNELS(MY, MX)                                                                               \
    static void winograd_input_channels_##MY##MX(void *v, int64_t point_step, int64_t tile_step,               \
                                                 const fc_winograd_run *runs, int run_count, int64_t channels) \
    {                                                                                                           \
        transform_tiles(MY, MX, 0, v, point_step, tile_step, runs, run_count, channels);                        \
    }                                                                                                          \
    static void winograd_grad_output_channels_##MY##MX(void *v, int64_t point_step, int64_t tile_step,         \
                                                       const fc_winograd_run *runs, int run_count,             \
                                                       int64_t channels)                                       \
    {                                                                                                           \
        transform_tiles(MY, MX, 1, v, point_step, tile_step, runs, run_count, channels);                        \
    }                                                                                                          \
    static int64_t winograd_output_channels_##MY##MX(                                                          \
        const fc_winograd_run *runs, int run_count, const void *sums, int64_t point_step, int64_t tile_step,   \
        int64_t channels, const fc_finish *finish)                                                             \
    {                                                                                                          \
        return output_channels_body(MY, MX, runs, run_count, sums, point_step, tile_step, channels, finish);   \
    }
WINOGRAD_CHANNELS(1, 2)
WINOGRAD_CHANNELS(2, 2)
WINOGRAD_CHANNELS(1, 4)
WINOGRAD_CHANNELS(4, 4)
WINOGRAD_CHANNELS(1, 3)
WINOGRAD_CHANNELS(3, 3)
