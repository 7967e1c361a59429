/* Depthwise convolution: one source channel for every output, so nothing to sum over but taps, and no panels.
 *
 * A tile is some rows of some vectors of outputs, whose sums stay in registers for all taps. The taps of up to
 * FC_KERNEL_ROWS kernel rows go together: for each kernel column their weights lie in registers, and every source
 * vector is loaded once for all the outputs of the tile that it feeds. A vector is LANES pixels of a channel or
 * one pixel of LANES channels: the sums do not know, since weights are whole vectors either way.
 */
#include "../fc_api.h"
#include "simd.h"

/* Registers (csrc/isa): the sums, the weights of FC_KERNEL_ROWS taps, one vector of the source, a product where there is
 * no fused multiply-add. */
typedef vec tile_sums[TILE_ROWS][TILE_VECTORS];

/* Which of the LANES pixels from this position on exist. */
INLINE mask existing_lanes(int64_t position, int64_t extent)
{
    const int64_t low = position < 0 ? -position : 0, left = extent - position;
    const int64_t high = left < low ? low : left;
    return lane_range(low < LANES ? (int)low : LANES, high < LANES ? (int)high : LANES);
}

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

/* A source is read where it lies for kernels of so many columns: that takes masks, and registers. */
enum { MOST_COLUMNS = IN_PLACE ? 16 : 0 };

#if IN_PLACE
/* The source under a tile, where it lies. */
typedef struct windows {
    const real *source, *zeros;  /* of the first window; and where rows that do not exist are read */
    int64_t row;                 /* of the first window, as d->low counts them */
    mask lanes[MOST_COLUMNS][2 * TILE_VECTORS];  /* that exist, of each column of taps */
} windows;

/* As add_shared_rows, of a source without its padding, in which windows lie two rows and columns apart. */
INLINE void add_rows_in_place(int rows, int vectors, int kernel_rows, vec (*sum)[TILE_VECTORS],
                              const vec *weight, const real *source, const real *zeros, int64_t row, const mask *lanes,
                              const fc_depthwise *d)
{
    UNROLL
    for (int y = 0; y < 2 * (rows - 1) + kernel_rows; y++) {
        const real *from = (uint64_t)(row + y - d->low) < (uint64_t)(d->high - d->low) ? source : zeros;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const vec lower = load_masked(from + 2 * v * LANES, lanes[2 * v]);
            const vec upper = load_masked(from + (2 * v + 1) * LANES, lanes[2 * v + 1]);
            vec x = SHUFFLE(lower, upper, UNZIP_EVEN);
            __asm__("" : FC_IN_REGISTER(x));  /* loaded once, not by each product */
            UNROLL
            for (int r = 0; r < rows; r++)
                if (2 * r <= y && y < 2 * r + kernel_rows) sum[r][v] += weight[y - 2 * r] * x;
        }
        source += d->kernel_row_step;
    }
}

INLINE void add_taps_in_place(int rows, int vectors, int kernel_rows, vec (*sum)[TILE_VECTORS],
                              const windows *w, const fc_taps *taps, const fc_depthwise *d)
{
    const real *weights = (const real *)d->weights + taps->weight * LANES;
    const mask *lanes = w->lanes[0];
    for (int64_t t = 0; t < taps->columns; t++) {
        vec weight[FC_KERNEL_ROWS];
        UNROLL
        for (int k = 0; k < kernel_rows; k++) weight[k] = load(weights + k * LANES);
        add_rows_in_place(rows, vectors, kernel_rows, sum, weight, w->source + taps->source + taps->offset[t],
                          w->zeros + taps->offset[t], w->row + taps->row, lanes, d);
        weights += kernel_rows * LANES;
        lanes += 2 * TILE_VECTORS;
    }
}
#endif

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

INLINE void start_sums(int rows, int vectors, vec (*sum)[TILE_VECTORS], const fc_depthwise *d)
{
    const vec bias = load(d->bias);
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[r][v] = bias;
    }
}

INLINE void sum_taps(int rows, int vectors, int shared, vec (*sum)[TILE_VECTORS], const real *source,
                     const fc_taps *taps, int count, const fc_depthwise *d)
{
    start_sums(rows, vectors, sum, d);
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

#if IN_PLACE
typedef void in_place_function(real *out, const windows *w, int64_t columns, const fc_depthwise *d);

/* Of the source, the lines that the next tile reads first. */
INLINE void prefetch_source(int rows, int vectors, const real *source, const fc_depthwise *d)
{
    source += (2 * rows + 2) * d->kernel_row_step;
    UNROLL
    for (int r = 0; r < 2 * rows; r++) {
        UNROLL
        for (int v = 0; v < 2 * vectors; v++) __builtin_prefetch(source + v * LANES);
        source += d->kernel_row_step;
    }
}

INLINE void in_place_tile(int rows, int vectors, real *out, const windows *w, int64_t columns,
                          const fc_depthwise *d)
{
    tile_sums sum;
    prefetch_outputs(rows, vectors, out, d);
    prefetch_source(rows, vectors, w->source, d);
    start_sums(rows, vectors, sum, d);
    for (const fc_taps *taps = d->taps[0], *end = taps + d->tap_count[0]; taps < end; taps++) {
        switch (taps->rows) {
        case 1: add_taps_in_place(rows, vectors, 1, sum, w, taps, d); break;
        case 2: add_taps_in_place(rows, vectors, 2, sum, w, taps, d); break;
        case 3: add_taps_in_place(rows, vectors, 3, sum, w, taps, d); break;
        default: add_taps_in_place(rows, vectors, 4, sum, w, taps, d);
        }
    }
    store_tile(rows, vectors, sum, out, d, columns);
}

#define IN_PLACE_FUNCTION(R, V)                                                                                 \
    static __attribute__((noinline)) void depthwise_in_place_##R##x##V(                                         \
        real *out, const windows *w, int64_t columns, const fc_depthwise *d)                                    \
    {                                                                                                           \
        in_place_tile(R, V, out, w, columns, d);                                                                \
    }
#else
#define IN_PLACE_FUNCTION(R, V)
#endif

#define TILE_FUNCTION(R, V, P)                                                                                  \
    static __attribute__((noinline)) void depthwise_##R##x##V##_##P(real *out, const real *source,              \
                                                                    int64_t columns, const fc_depthwise *d)     \
    {                                                                                                           \
        depthwise_tile(R, V, P, out, source, columns, d);                                                       \
    }
EACH_TILE_HEIGHT(TILE_FUNCTIONS)

static const struct tiles {
    int rows;
    tile_function *plain[TILE_VECTORS], *zipped[TILE_VECTORS / 2];  /* by number of vectors (pairs) less one */
#if IN_PLACE
    in_place_function *in_place[TILE_VECTORS];
#endif
} tiles[] = {EACH_TILE_HEIGHT(TILE_ENTRY)};
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

/* How many vectors the next tile of a row has. The last one overlaps what is done, so that it is whole: masked stores
 * are slow on some machines without mask registers. */
static int64_t next_vectors(int64_t columns, int64_t *done)
{
    const int64_t left = (columns - *done + LANES - 1) / LANES, vectors = left < TILE_VECTORS ? left : TILE_VECTORS;
    if (!MASKS_ARE_VECTORS || *done + vectors * LANES <= columns) return vectors;
    if (vectors * LANES > columns) return vectors > 1 ? vectors - 1 : 1;
    *done = columns - vectors * LANES;
    return vectors;
}

#if IN_PLACE
/* Strips of a few vectors, down all rows: which of their lanes exist is found once. */
static void depthwise_in_place(real *out, const real *source, int64_t rows, int64_t columns, const fc_depthwise *d)
{
    const int64_t taps = d->tap_count[0] ? d->taps[0]->columns : 0;
    const int64_t *offset = taps ? d->taps[0]->offset : NULL;
    windows w;
    const struct tiles *tile;
    int64_t vectors;
    for (int64_t done = 0; done < columns; done += vectors * LANES) {
        vectors = next_vectors(columns, &done);
        const int64_t column = 2 * done;
        for (int64_t t = 0; t < taps; t++)
            for (int64_t i = 0; i < 2 * vectors; i++)
                w.lanes[t][i] = existing_lanes(d->x + column + offset[t] + i * LANES, d->width);
        w.zeros = (const real *)d->zeros + column;
        for (int64_t y = 0; y < rows; y += tile->rows) {
            tile = tiles_for(rows - y, rows);
            if (y > rows - tile->rows) y = rows - tile->rows;  /* overlaps the tile before */
            w.source = source + y * d->row_step + column;
            w.row = 2 * y;
            tile->in_place[vectors - 1](out + y * d->out_row_step + done * d->lane_step, &w, columns - done, d);
        }
    }
}
#endif

/* Some rows of adjacent pixels. Where a row is shorter than a vector, what is stored too much is overwritten by the rows
 * below, if as many as `left` outputs adjoin. */
static void pixel_tiles(const struct tiles *tile, real *out, const real *source, int64_t columns, int64_t left,
                        const fc_depthwise *d)
{
    int64_t done = 0;
    if (columns < LANES) {
        tile->plain[0](out, source, left >= LANES - columns ? LANES : columns, d);
        return;
    }
    if (columns > LANES && columns < 2 * LANES) {
        fc_depthwise closer = *d;
        closer.vector_step = closer.out_vector_step = columns - LANES;
        tile->plain[1](out, source, 2 * LANES, &closer);
        return;
    }
    for (int64_t vectors; done < columns; done += vectors * LANES) {
        vectors = next_vectors(columns, &done);
        tile->plain[vectors - 1](out + done, source + done, columns - done, d);
    }
}

static void depthwise(void *out_, const void *source_, int64_t rows, int64_t columns, const fc_depthwise *d)
{
    real *out = out_;
    const real *source = source_;
#if IN_PLACE
    if (d->zeros) {
        depthwise_in_place(out, source, rows, columns, d);
        return;
    }
#endif
    if (d->line) {
        for (int64_t y = 0; y < rows; y++)
            depthwise_line(out + y * d->out_row_step, source + y * d->row_step, columns, d);
        return;
    }
    const int64_t unit = (d->channels ? 1 : LANES) * d->phases, most = TILE_VECTORS / d->phases;
    const int pixels = MASKS_ARE_VECTORS && !d->channels && d->phases == 1 && d->lane_step == 1;
    const struct tiles *tile;
    for (int64_t y = 0; y < rows; y += tile->rows) {
        tile = tiles_for(rows - y, rows);
        if (y > rows - tile->rows) y = rows - tile->rows;  /* overlaps the tile before */
        real *to = out + y * d->out_row_step;
        const real *from = source + y * d->row_step;
        if (pixels) {
            const int64_t left = d->out_row_step == columns ? (rows - y - tile->rows) * columns : 0;
            pixel_tiles(tile, to, from, columns, left, d);
            continue;
        }
        tile_function *const *functions = d->phases == 2 ? tile->zipped : tile->plain;
        int64_t vectors;
        for (int64_t v = 0, count = (columns + unit - 1) / unit; v < count; v += vectors) {
            vectors = count - v < most ? count - v : most;
            functions[vectors - 1](to + v * d->phases * d->out_vector_step, from + v * d->vector_step, columns - v * unit,
                                   d);
        }
    }
}
