/* Depthwise convolution: one source channel for every output, so nothing to sum over but taps, and no panels.
 *
 * A tile is some rows of some vectors of outputs, whose sums stay in registers for all taps. The taps of up to
 * FC_KERNEL_ROWS kernel rows go together: for each kernel column their weights lie in registers, and every source
 * vector is loaded once for all the outputs of the tile that it feeds. A vector is LANES pixels of a channel or
 * one pixel of LANES channels: the sums do not know, since weights are whole vectors either way.
 */
#include "../fc_api.h"
#include "simd.h"

/* Registers: the sums, the weights of FC_KERNEL_ROWS taps, one vector of the source, a product where there is no
 * fused multiply-add. */
#if defined(__AVX512F__)
enum { TILE_ROWS = 6, TILE_VECTORS = 4 };
#elif defined(__AVX2__) || defined(__aarch64__)
enum { TILE_ROWS = 4, TILE_VECTORS = 2 };
#else
enum { TILE_ROWS = 2, TILE_VECTORS = 2 };
#endif

typedef vec tile_sums[TILE_ROWS][TILE_VECTORS];

/* Output rows lie one kernel row apart in the source: row y of it meets tap y - r of output row r. */
INLINE void add_shared_rows(int rows, int vectors, int kernel_rows, vec (*sum)[TILE_VECTORS], const vec *weight,
                            const real *source, const fc_depthwise *d)
{
    UNROLL
    for (int y = 0; y < rows + kernel_rows - 1; y++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            vec x = load(source + v * d->vector_step);
            __asm__("" : FC_IN_REGISTER(x));  /* loaded once, not by each product */
            UNROLL
            for (int r = 0; r < rows; r++)
                if (r <= y && y < r + kernel_rows) sum[r][v] += weight[y - r] * x;
        }
        source += d->kernel_row_step;
    }
}

INLINE void add_separate_rows(int rows, int vectors, int kernel_rows, vec (*sum)[TILE_VECTORS], const vec *weight,
                              const real *source, const fc_depthwise *d)
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        const real *row = source;
        UNROLL
        for (int k = 0; k < kernel_rows; k++) {
            UNROLL
            for (int v = 0; v < vectors; v++) sum[r][v] += weight[k] * load(row + v * d->vector_step);
            row += d->kernel_row_step;
        }
        source += d->row_step;
    }
}

INLINE void add_taps(int rows, int vectors, int kernel_rows, int shared, vec (*sum)[TILE_VECTORS], const real *source,
                     const fc_taps *taps, const fc_depthwise *d)
{
    const real *weights = (const real *)d->weights + taps->weight * LANES;
    const int64_t *offset = taps->offset;
    source += taps->source;
    __asm__("" : "+r"(source));  /* one register, not two that are added for each tap */
    for (int64_t t = taps->columns; t > 0; t--) {
        vec weight[FC_KERNEL_ROWS];
        UNROLL
        for (int k = 0; k < kernel_rows; k++) weight[k] = load(weights + k * LANES);
        if (shared) add_shared_rows(rows, vectors, kernel_rows, sum, weight, source + *offset, d);
        else add_separate_rows(rows, vectors, kernel_rows, sum, weight, source + *offset, d);
        weights += kernel_rows * LANES;
        offset++;
    }
}

INLINE void sum_taps(int rows, int vectors, int shared, vec (*sum)[TILE_VECTORS], const real *source,
                     const fc_taps *taps, int count, const fc_depthwise *d)
{
    const vec bias = load(d->bias);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = bias;
    }
    for (const fc_taps *end = taps + count; taps < end; taps++) {
        switch (taps->rows) {
        case 1: add_taps(rows, vectors, 1, shared, sum, source, taps, d); break;
        case 2: add_taps(rows, vectors, 2, shared, sum, source, taps, d); break;
        case 3: add_taps(rows, vectors, 3, shared, sum, source, taps, d); break;
        default: add_taps(rows, vectors, 4, shared, sum, source, taps, d);
        }
    }
}

/* Outputs of the vector with this number, of a row that has `columns` more of them. */
INLINE int lanes_of(const fc_depthwise *d, int64_t columns, int64_t vector)
{
    if (d->channels) return vector < columns ? d->channels : 0;
    const int64_t left = columns - vector * LANES;
    return left < 0 ? 0 : left < LANES ? (int)left : LANES;
}

/* The slow way to memory: wherever the outputs lie, however many there are. */
static __attribute__((noinline)) void scatter_tile(const real *tile, int rows, int vectors, real *out,
                                                   const fc_depthwise *d, int64_t columns)
{
    for (int r = 0; r < rows; r++) {
        for (int v = 0; v < vectors; v++) {
            const real *from = tile + (r * vectors + v) * LANES;
            real *to = out + r * d->out_row_step + v * d->out_vector_step;
            const int lanes = lanes_of(d, columns, d->line ? v * rows + r : v);
            if (d->lane_step == 1) {
                store_first(to, load(from), lanes);
            } else {
                for (int l = 0; l < lanes; l++) to[l * d->lane_step] = from[l];
            }
        }
    }
}

INLINE void activate_tile(int rows, int vectors, vec (*sum)[TILE_VECTORS], fc_finish finish, int activation)
{
    finish.activation = activation;  /* known here, so chosen once for all vectors */
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = activate(sum[r][v], &finish);
    }
}

INLINE void store_tile(int rows, int vectors, vec (*sum)[TILE_VECTORS], real *out, const fc_depthwise *d,
                       int64_t columns)
{
    switch (d->finish.activation) {
    case FC_RELU: activate_tile(rows, vectors, sum, d->finish, FC_RELU); break;
    case FC_LEAKY_RELU: activate_tile(rows, vectors, sum, d->finish, FC_LEAKY_RELU); break;
    case FC_RELU6: activate_tile(rows, vectors, sum, d->finish, FC_RELU6); break;
    default: break;
    }
    const int full = lanes_of(d, columns, (d->line ? rows : 1) * vectors - 1) == LANES;
    if (d->lane_step != 1 || (d->line && !full)) {
        real tile[TILE_ROWS * TILE_VECTORS * LANES];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++) store(tile + (r * vectors + v) * LANES, sum[r][v]);
        }
        scatter_tile(tile, rows, vectors, out, d, columns);
        return;
    }
    const int64_t row_step = d->out_row_step, vector_step = d->out_vector_step;  /* stores might change *d */
    mask lanes[TILE_VECTORS];
    if (!full) {
        UNROLL
        for (int v = 0; v < vectors; v++) lanes[v] = first_lanes(lanes_of(d, columns, v));
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if (full) store(out + v * vector_step, sum[r][v]);
            else store_masked(out + v * vector_step, sum[r][v], lanes[v]);
        }
        out += row_step;
    }
}

/* The lines that the next tile stores to. Stores that miss would hold up those of the gathered rows behind them, and so
 * the loads of these rows. */
INLINE void prefetch_outputs(int rows, int vectors, const real *out, const fc_depthwise *d)
{
    out += (d->line ? vectors : 1) * rows * d->out_row_step;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) __builtin_prefetch(out + v * d->out_vector_step, 1);
        out += d->out_row_step;
    }
}

/* A tile of rows x vectors, of whose columns so many exist. Two phases: every other column has taps of its own. */
INLINE void depthwise_tile(int rows, int vectors, int phases, real *out, const real *source, int64_t columns,
                           const fc_depthwise *d)
{
    tile_sums sum;
    prefetch_outputs(rows, vectors, out, d);
    if (phases == 2) {
        tile_sums even, odd;
        sum_taps(rows, vectors / 2, rows > 1, even, source, d->taps[0], d->tap_count[0], d);
        sum_taps(rows, vectors / 2, rows > 1, odd, source, d->taps[1], d->tap_count[1], d);
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors / 2; v++) {
                sum[r][2 * v] = SHUFFLE(even[r][v], odd[r][v], ZIP_LOWER);
                sum[r][2 * v + 1] = SHUFFLE(even[r][v], odd[r][v], ZIP_UPPER);
            }
        }
    } else if (rows > 1 && d->row_step == d->kernel_row_step) {
        sum_taps(rows, vectors, 1, sum, source, d->taps[0], d->tap_count[0], d);
    } else {
        sum_taps(rows, vectors, 0, sum, source, d->taps[0], d->tap_count[0], d);
    }
    store_tile(rows, vectors, sum, out, d, columns);
}

/* One function per shape of tile, and tables of them. */
typedef void tile_function(real *out, const real *source, int64_t columns, const fc_depthwise *d);

#define TILE_FUNCTION(R, V, P)                                                                                  \
    static __attribute__((noinline)) void depthwise_##R##x##V##_##P(real *out, const real *source,              \
                                                                    int64_t columns, const fc_depthwise *d)     \
    {                                                                                                           \
        depthwise_tile(R, V, P, out, source, columns, d);                                                       \
    }
#if defined(__AVX512F__)
#define TILE_FUNCTIONS(R)                                                                                       \
    TILE_FUNCTION(R, 1, 1) TILE_FUNCTION(R, 2, 1) TILE_FUNCTION(R, 3, 1) TILE_FUNCTION(R, 4, 1)                 \
    TILE_FUNCTION(R, 2, 2) TILE_FUNCTION(R, 4, 2)
#define TILE_ENTRY(R) \
    {R, {depthwise_##R##x1_1, depthwise_##R##x2_1, depthwise_##R##x3_1, depthwise_##R##x4_1}, \
        {depthwise_##R##x2_2, depthwise_##R##x4_2}}
#else
#define TILE_FUNCTIONS(R) TILE_FUNCTION(R, 1, 1) TILE_FUNCTION(R, 2, 1) TILE_FUNCTION(R, 2, 2)
#define TILE_ENTRY(R) {R, {depthwise_##R##x1_1, depthwise_##R##x2_1}, {depthwise_##R##x2_2}}
#endif
TILE_FUNCTIONS(1)
TILE_FUNCTIONS(2)
#if defined(__AVX512F__) || defined(__AVX2__) || defined(__aarch64__)
TILE_FUNCTIONS(4)
#endif
#if defined(__AVX512F__)
TILE_FUNCTIONS(6)
#endif

static const struct tiles {
    int rows;
    tile_function *plain[TILE_VECTORS], *zipped[TILE_VECTORS / 2];  /* by number of vectors (pairs) less one */
} tiles[] = {
    TILE_ENTRY(1), TILE_ENTRY(2),
#if defined(__AVX512F__) || defined(__AVX2__) || defined(__aarch64__)
    TILE_ENTRY(4),
#endif
#if defined(__AVX512F__)
    TILE_ENTRY(6),
#endif
};
enum { TILE_HEIGHTS = sizeof(tiles) / sizeof(tiles[0]) };

/* The tile for the next of `left` rows, of `rows` in all: the highest, unless lower ones come out even. */
static const struct tiles *tiles_for(int64_t left, int64_t rows)
{
    int i = TILE_HEIGHTS - 1;
    while (tiles[i].rows > rows) i--;
    if (TILE_ROWS == 6 && tiles[i].rows == 6 && (left < 6 || left == 7 || left == 8)) i--;
    while (tiles[i].rows >= 2 * left) i--;
    return &tiles[i];
}

/* A line of outputs as a tile whose rows are neighbouring vectors: taps that lie whole vectors apart share loads. */
static void depthwise_line(real *out, const real *source, int64_t columns, const fc_depthwise *given)
{
    fc_depthwise d = *given;
    const int64_t unit = d.channels ? 1 : LANES;
    d.kernel_row_step = d.row_step = given->vector_step;
    d.out_row_step = given->out_vector_step;
    for (int64_t done = 0, total = columns; done < total;) {
        const int64_t left = (total - done + unit - 1) / unit;
        const int vectors = left < TILE_VECTORS ? (int)left : TILE_VECTORS;
        int i = 0;
        while (i < TILE_HEIGHTS - 1 && tiles[i].rows * vectors < left) i++;
        const int rows = tiles[i].rows;
        const int64_t count = rows * vectors * unit;
        if (done + count > total && count <= total) done = total - count;  /* overlaps the tile before */
        d.vector_step = rows * given->vector_step;
        d.out_vector_step = rows * given->out_vector_step;
        tiles[i].plain[vectors - 1](out + done * (given->out_vector_step / unit),
                                    source + done * (given->vector_step / unit), total - done, &d);
        done += count;
    }
}

static void depthwise(void *out_, const void *source_, int64_t rows, int64_t columns, const fc_depthwise *d)
{
    real *out = out_;
    const real *source = source_;
    if (d->line) {
        for (int64_t y = 0; y < rows; y++)
            depthwise_line(out + y * d->out_row_step, source + y * d->row_step, columns, d);
        return;
    }
    const int64_t unit = (d->channels ? 1 : LANES) * d->phases, most = TILE_VECTORS / d->phases;
    const struct tiles *tile;
    for (int64_t y = 0; y < rows; y += tile->rows) {
        tile = tiles_for(rows - y, rows);
        if (y > rows - tile->rows) y = rows - tile->rows;  /* overlaps the tile before */
        tile_function *const *functions = d->phases == 2 ? tile->zipped : tile->plain;
        int64_t vectors;
        for (int64_t v = 0, count = (columns + unit - 1) / unit; v < count; v += vectors) {
            vectors = count - v < most ? count - v : most;
            functions[vectors - 1](out + y * d->out_row_step + v * d->phases * d->out_vector_step,
                                   source + y * d->row_step + v * d->vector_step, columns - v * unit, d);
        }
    }
}

/* ---- gathering: source rows with their padding ------------------------------------------------------------ */

/* Places [low, high) of a run hold pixels, the others zeros. */
INLINE void existing(const fc_gather *g, int64_t first, int64_t *low, int64_t *high)
{
    *low = first < 0 ? (-first + g->step - 1) / g->step : 0;
    if (*low > g->count) *low = g->count;
    *high = first < g->extent ? (g->extent - first + g->step - 1) / g->step : 0;
    if (*high > g->count) *high = g->count;
    if (*high < *low) *high = *low;
}

/* Which of the LANES pixels from this position on exist. */
INLINE mask existing_lanes(int64_t position, int64_t extent)
{
    const int64_t low = position < 0 ? -position : 0, left = extent - position;
    const int64_t high = left < low ? low : left;
    return lane_range(low < LANES ? (int)low : LANES, high < LANES ? (int)high : LANES);
}

/* Some vectors of each row: which lanes exist is found once for all rows. */
INLINE void gather_columns(int vectors, real *to, const real *source, int64_t position, int64_t rows, const fc_gather *g)
{
    mask lanes[4];
    UNROLL
    for (int v = 0; v < vectors; v++) lanes[v] = existing_lanes(position + v * LANES, g->extent);
    const real *from = source + position;
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

static void gather_channels(real *to, const real *source, int64_t first, const fc_gather *g)
{
    int64_t low, high;
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
                              int64_t column_stride, int64_t channel_stride, int channels)
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
                for (int l = 0; l < LANES; l++) to[l] = l < channels ? from[l * channel_stride] : 0;
            }
        }
    }
}
