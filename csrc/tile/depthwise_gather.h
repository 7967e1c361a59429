/* What a depthwise convolution reads that is not where it lies: source rows gathered with their padding, and weights. */
#include "../fc_api.h"
#include "simd.h"

/* Places [low, high) of a run hold pixels, the others zeros. */
INLINE void existing(const fc_gather *g, int64_t first, int64_t *low, int64_t *high)
{
    *low = first < 0 ? (-first + g->step - 1) / g->step : 0;
    if (*low > g->count) *low = g->count;
    *high = first < g->extent ? (g->extent - first + g->step - 1) / g->step : 0;
    if (*high > g->count) *high = g->count;
    if (*high < *low) *high = *low;
}

/* Some vectors of each row: which lanes exist is found once for all rows. */
INLINE void gather_columns(int vectors, real *to, const real *source, int64_t position, int64_t rows, const fc_gather *g)
{
    const real *from = source + position;
    if (position >= 0 && position + vectors * LANES <= g->extent) {
        for (int64_t r = 0; r < rows; r++, to += g->row, from += g->y_stride) {
            UNROLL
            for (int v = 0; v < vectors; v++) store(to + v * LANES, load(from + v * LANES));
        }
        return;
    }
    mask lanes[4];
    UNROLL
    for (int v = 0; v < vectors; v++) lanes[v] = existing_lanes(position + v * LANES, g->extent);
    for (int64_t r = 0; r < rows; r++, to += g->row, from += g->y_stride) {
        UNROLL
        for (int v = 0; v < vectors; v++) store(to + v * LANES, load_masked(from + v * LANES, lanes[v]));
    }
}

static void gather_adjacent(real *to, const real *source, int64_t rows, const fc_gather *g)
{
    int64_t i = 0;
    for (; i + 4 * LANES <= g->count; i += 4 * LANES) gather_columns(4, to + i, source, g->first + i, rows, g);
    for (; i + LANES < g->count; i += 2 * LANES) gather_columns(2, to + i, source, g->first + i, rows, g);
    if (i < g->count) gather_columns(1, to + i, source, g->first + i, rows, g);
}

/* Adjacent elements into two runs. */
INLINE void unzip(real *even, real *odd, vec a, vec b)
{
    store(even, SHUFFLE(a, b, UNZIP_EVEN));
    store(odd, SHUFFLE(a, b, UNZIP_ODD));
}

INLINE void unzip_vector(real *to, const real *source, int64_t position, int64_t rows, const fc_gather *g)
{
    const mask lower = existing_lanes(position, g->extent), upper = existing_lanes(position + LANES, g->extent);
    const real *from = source + position;
    for (int64_t r = 0; r < rows; r++, to += g->row, from += g->y_stride)
        unzip(to, to + g->run, load_masked(from, lower), load_masked(from + LANES, upper));
}

static void gather_alternating(real *to, const real *source, int64_t rows, const fc_gather *g)
{
    const int64_t vectors = (g->count + LANES - 1) / LANES, pair = 2 * LANES;
    int64_t low = g->first < 0 ? (-g->first + pair - 1) / pair : 0;  /* vectors [low, high) exist as a whole */
    int64_t high = g->first < g->extent ? (g->extent - g->first) / pair : 0;
    if (low > vectors) low = vectors;
    if (high > vectors) high = vectors;
    if (high < low) high = low;
    for (int64_t v = 0; v < low; v++) unzip_vector(to + v * LANES, source, g->first + v * pair, rows, g);
    for (int64_t v = high; v < vectors; v++) unzip_vector(to + v * LANES, source, g->first + v * pair, rows, g);
    const real *from = source + g->first;
    for (int64_t r = 0; r < rows; r++, to += g->row, from += g->y_stride)
        for (int64_t v = low; v < high; v++)
            unzip(to + v * LANES, to + g->run + v * LANES, load(from + v * pair), load(from + v * pair + LANES));
}

/* Lanes in pairs of `width` neighbours: the lower ones of each pair twice, or the upper ones. */
#define HALF_LANE(l, width, upper) (((l) & ~(2 * (width) - 1)) | ((l) & ((width) - 1)) | (upper) * (width)) % LANES
#define HALF(w) (upper ? SHUFFLE(x, x, EACH_LANE(HALF_LANE, w, 1)) : SHUFFLE(x, x, EACH_LANE(HALF_LANE, w, 0)))

INLINE vec half_lanes(vec x, int width, int upper)
{
    switch (width) {
    case 1: return HALF(1);
    case 2: return HALF(2);
    case 4: return HALF(4);
    default: return HALF(8);
    }
}

/* Copies of a vector of channels in groups: copy j has in all lanes of a group what x has in its lane j. */
INLINE void spread_vector(int group, real *to, int64_t copy, vec x)
{
    vec copies[LANES];
    copies[0] = x;
    UNROLL
    for (int count = 1; count < group; count *= 2) {
        UNROLL
        for (int i = count - 1; i >= 0; i--) {
            copies[2 * i + 1] = half_lanes(copies[i], group / count / 2, 1);
            copies[2 * i] = half_lanes(copies[i], group / count / 2, 0);
        }
    }
    UNROLL
    for (int j = 0; j < group; j++) store(to + j * copy, copies[j]);
}

INLINE void gather_groups(int group, real *to, const real *source, int64_t first, const fc_gather *g)
{
    int64_t low, high;
    existing(g, first, &low, &high);
    const real *from = source + (first + low * g->step) * g->x_stride;
    const int64_t step = g->step * g->x_stride, copy = g->copy;
    const mask lanes = first_lanes(g->channels);
    for (int j = 0; j < group; j++)
        for (int64_t i = 0; i < low; i++) store(to + j * copy + i * LANES, (vec){0});
    for (int64_t i = low; i < high; i++, from += step)
        spread_vector(group, to + i * LANES, copy, load_masked(from, lanes));
    for (int j = 0; j < group; j++)
        for (int64_t i = high; i < g->count; i++) store(to + j * copy + i * LANES, (vec){0});
}

static void gather_channels(real *to, const real *source, int64_t first, const fc_gather *g)
{
    int64_t low, high;
    switch (g->spread) {
    case 2: gather_groups(2, to, source, first, g); return;
#if FC_VECTOR_BYTES / FC_REAL_BYTES >= 4
    case 4: gather_groups(4, to, source, first, g); return;
#endif
#if FC_VECTOR_BYTES / FC_REAL_BYTES >= 8
    case 8: gather_groups(8, to, source, first, g); return;
#endif
    default: break;
    }
    existing(g, first, &low, &high);
    const real *from = source + (first + low * g->step) * g->x_stride;
    const int64_t step = g->step * g->x_stride;
    for (int64_t i = 0; i < low; i++) store(to + i * LANES, (vec){0});
    if (g->lane_stride == 1 && g->channels == LANES) {
        for (int64_t i = low; i < high; i++, from += step) store(to + i * LANES, load(from));
    } else if (g->lane_stride == 1) {
        const mask lanes = first_lanes(g->channels);
        for (int64_t i = low; i < high; i++, from += step) store(to + i * LANES, load_masked(from, lanes));
    } else {
        for (int64_t i = low; i < high; i++, from += step)
            for (int l = 0; l < LANES; l++) to[i * LANES + l] = l < g->channels ? from[l * g->lane_stride] : 0;
    }
    for (int64_t i = high; i < g->count; i++) store(to + i * LANES, (vec){0});
}

static void gather_strided(real *to, const real *source, int64_t first, const fc_gather *g)
{
    int64_t low, high;
    existing(g, first, &low, &high);
    for (int64_t i = 0; i < low; i++) to[i] = 0;
    for (int64_t i = low; i < high; i++) to[i] = source[(first + i * g->step) * g->x_stride];
    for (int64_t i = high; i < g->count; i++) to[i] = 0;
}

static void depthwise_gather(void *to_, const void *source_, int64_t rows, const fc_gather *g)
{
    const real *source = source_;
    if (g->x_stride == 1 && g->step == 1 && !g->channels) {
        gather_adjacent(to_, source, rows, g);
    } else if (g->x_stride == 1 && g->step == 2 && !g->channels) {
        gather_alternating(to_, source, rows, g);
    } else {
        real *to = to_;
        for (int64_t r = 0; r < rows; r++, to += g->row, source += g->y_stride) {
            for (int64_t p = 0; p < g->step; p++) {
                if (g->channels) gather_channels(to + p * g->run, source, g->first + p, g);
                else gather_strided(to + p * g->run, source, g->first + p, g);
            }
        }
    }
}

static void depthwise_weights(void *to_, const void *source_, int rows, int64_t columns, int64_t row_stride,
                              int64_t column_stride, int64_t group_stride, int64_t channel_stride, int group,
                              int channels)
{
    const real *source = source_;
    for (int k = 0; k < rows; k++, source += row_stride) {
        real *to = (real *)to_ + k * LANES;
        const real *from = source;
        for (int64_t t = 0; t < columns; t++, to += rows * LANES, from += column_stride) {
            if (channels == 0) {
                const real weight = *from;
                UNROLL
                for (int l = 0; l < LANES; l++) to[l] = weight;
            } else {
                const real *next = from;
                for (int l = 0; l < channels; l += group, next += group_stride)
                    for (int i = 0; i < group; i++) to[l + i] = next[i * channel_stride];
                for (int l = channels; l < LANES; l++) to[l] = 0;
            }
        }
    }
}
