/* The transforms of a weight gradient's operands, with lanes that are channels: their products are sums over tiles, so
 * that the channels of a tile have to be adjacent. The transform of the sums is in winograd.h.
 */
#include "../fc_api.h"
#include "simd.h"

#if defined(__clang__)
#define ROLLED _Pragma("clang loop unroll(disable)")
#else
#define ROLLED _Pragma("GCC unroll 1")
#endif

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
        transform_vector(my, mx, outputs, inside, run, first, c, first_lanes(limit(channels - c)), v + c, point_step);
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

#define WINOGRAD_GRADIENT(MY, MX)                                                                               \
    static void winograd_input_channels_##MY##MX(void *v, int64_t point_step, int64_t tile_step,               \
                                                 const fc_winograd_run *runs, int run_count, int64_t channels) \
    {                                                                                                           \
        transform_tiles(MY, MX, 0, v, point_step, tile_step, runs, run_count, channels);                        \
    }                                                                                                           \
    static void winograd_grad_output_channels_##MY##MX(void *v, int64_t point_step, int64_t tile_step,         \
                                                       const fc_winograd_run *runs, int run_count,             \
                                                       int64_t channels)                                       \
    {                                                                                                           \
        transform_tiles(MY, MX, 1, v, point_step, tile_step, runs, run_count, channels);                        \
    }
WINOGRAD_GRADIENT(1, 2)
WINOGRAD_GRADIENT(2, 2)
WINOGRAD_GRADIENT(1, 4)
WINOGRAD_GRADIENT(4, 4)
