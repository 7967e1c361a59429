/* The transforms around the products of a Winograd convolution (winograd_axis.h has the arithmetic) with lanes that
 * are neighbouring tiles of a row. Where channels are adjacent in memory: winograd_channels.h.
 */
#include "winograd_axis.h"

/* Three vectors to the 3 elements of each tile: element 3 * l + j of them for lane l, first of two of them, then with
 * what the last one has. And back: lane i of vector q is element (q * LANES + i) % 3 of its tile. */
#define THIRD_OF_TWO(l, j) (3 * (l) + (j) < 2 * LANES ? 3 * (l) + (j) : 0)
#define THIRD_OF_LAST(l, j) (3 * (l) + (j) < 2 * LANES ? (l) : 3 * (l) + (j) - LANES)
#define FIRST_TWO(i, q) (((q) * LANES + (i)) % 3 % 2 * LANES + ((q) * LANES + (i)) / 3)
#define LAST(i, q) (((q) * LANES + (i)) % 3 == 2 ? LANES + ((q) * LANES + (i)) / 3 : (i))

/* Elements j = 0 .. m-1 of LANES neighbouring tiles, m apart: d[j][t] = x[t * m + j]. Only the first `wanted`
 * of them. */
INLINE void split_tiles(int m, int wanted, const vec *x, vec *d)
{
    if (m == 2) {
        d[0] = SHUFFLE(x[0], x[1], UNZIP_EVEN);
        d[1] = SHUFFLE(x[0], x[1], UNZIP_ODD);
    } else if (m == 3) {
        d[0] = SHUFFLE(SHUFFLE(x[0], x[1], EACH_LANE(THIRD_OF_TWO, 0)), x[2], EACH_LANE(THIRD_OF_LAST, 0));
        if (wanted > 1) {
            d[1] = SHUFFLE(SHUFFLE(x[0], x[1], EACH_LANE(THIRD_OF_TWO, 1)), x[2], EACH_LANE(THIRD_OF_LAST, 1));
            d[2] = SHUFFLE(SHUFFLE(x[0], x[1], EACH_LANE(THIRD_OF_TWO, 2)), x[2], EACH_LANE(THIRD_OF_LAST, 2));
        }
    } else {
        const vec lower_even = SHUFFLE(x[0], x[1], UNZIP_EVEN), lower_odd = SHUFFLE(x[0], x[1], UNZIP_ODD);
        const vec upper_even = SHUFFLE(x[2], x[3], UNZIP_EVEN), upper_odd = SHUFFLE(x[2], x[3], UNZIP_ODD);
        d[0] = SHUFFLE(lower_even, upper_even, UNZIP_EVEN);
        d[1] = SHUFFLE(lower_odd, upper_odd, UNZIP_EVEN);
        if (wanted > 2) {
            d[2] = SHUFFLE(lower_even, upper_even, UNZIP_ODD);
            d[3] = SHUFFLE(lower_odd, upper_odd, UNZIP_ODD);
        }
    }
}

/* The inverse: x[q][i] = y[j][t] where q * LANES + i = t * m + j. */
INLINE void interleave_tiles(int m, const vec *y, vec *x)
{
    if (m == 2) {
        x[0] = SHUFFLE(y[0], y[1], ZIP_LOWER);
        x[1] = SHUFFLE(y[0], y[1], ZIP_UPPER);
    } else if (m == 3) {
        x[0] = SHUFFLE(SHUFFLE(y[0], y[1], EACH_LANE(FIRST_TWO, 0)), y[2], EACH_LANE(LAST, 0));
        x[1] = SHUFFLE(SHUFFLE(y[0], y[1], EACH_LANE(FIRST_TWO, 1)), y[2], EACH_LANE(LAST, 1));
        x[2] = SHUFFLE(SHUFFLE(y[0], y[1], EACH_LANE(FIRST_TWO, 2)), y[2], EACH_LANE(LAST, 2));
    } else {
        const vec even_lower = SHUFFLE(y[0], y[2], ZIP_LOWER), even_upper = SHUFFLE(y[0], y[2], ZIP_UPPER);
        const vec odd_lower = SHUFFLE(y[1], y[3], ZIP_LOWER), odd_upper = SHUFFLE(y[1], y[3], ZIP_UPPER);
        x[0] = SHUFFLE(even_lower, odd_lower, ZIP_LOWER);
        x[1] = SHUFFLE(even_lower, odd_lower, ZIP_UPPER);
        x[2] = SHUFFLE(even_upper, odd_upper, ZIP_LOWER);
        x[3] = SHUFFLE(even_upper, odd_upper, ZIP_UPPER);
    }
}

enum { ROW_LENGTH = (MAX_TILE + 1) * LANES };  /* a row of a vector of tiles, and what a copy adds */
enum { CHANNELS_AHEAD = 4 };  /* whose inputs are fetched into the cache */
enum { ROWS_AHEAD = 16 };     /* of outputs that are: each lies in a plane of its own, or a line of its own */

/* Rows whose places are not adjacent in memory: each tile's first m inputs at `first`, the others at `rest`, and the
 * copies that take them there. */
typedef struct gathered_row {
    real first[ROW_LENGTH], rest[ROW_LENGTH];
} gathered_row;

typedef struct gather_copy {
    const real *from;
    real *to;
    int64_t step, count;
} gather_copy;

enum { MAX_COPIES = MAX_SPAN * 2 * LANES };

/* Copies of places [low, high) of `count` from place 0 on. */
INLINE gather_copy *add_copy(gather_copy *next, real *to, const real *from, int64_t step, int64_t low, int64_t high,
                             int64_t count)
{
    if (high > count) high = count;
    if (low < 0) low = 0;
    if (low < high) *next++ = (gather_copy){from + low * step, to + low, step, high - low};
    return next;
}

INLINE int plan_copies(int m, int span_y, const fc_winograd_run *runs, int run_count, gathered_row *rows,
                       gather_copy *copies)
{
    gather_copy *next = copies;
    for (int y = 0; y < span_y; y++) {
        for (const fc_winograd_run *run = runs; run < runs + run_count; run++) {
            const int64_t count = run->tiles * m;
            const real *from = run->row[y];
            if (!from) continue;
            next = add_copy(next, rows[y].first + run->lane * m, from, run->step, run->low, run->high, count);
            next = add_copy(next, rows[y].rest + run->lane * m, from + m * run->step, run->step, run->low - m,
                            run->high - m, count - m + TILE_MORE(m));
        }
    }
    return (int)(next - copies);
}

INLINE void gather(const gather_copy *copies, int count, int64_t offset, int64_t ahead)
{
    for (const gather_copy *copy = copies; copy < copies + count; copy++) {
        const real *from = copy->from + offset;
        __builtin_prefetch(from + ahead);
        for (int64_t i = 0; i < copy->count; i++) copy->to[i] = from[i * copy->step];
    }
}

/* Vector q of a row of tiles is put together from parts of the runs: lanes `first` of it lie in the run's row,
 * counted from `offset` on; of the tiles' other inputs, m places later, lanes `rest`. */
enum { MAX_PARTS = LANES > 2 ? LANES / 2 : 2 };
typedef struct row_part {
    const fc_winograd_run *run;  /* NULL: no lanes of it */
    int64_t offset;
    mask first, rest;
} row_part;

typedef struct row_parts {
    int count;  /* of each vector */
    row_part part[MAX_TILE][MAX_PARTS];
} row_parts;

/* The parts of adjacent places. */
INLINE void plan_parts(int m, const fc_winograd_run *runs, int run_count, row_parts *parts)
{
    int found[MAX_TILE];
    parts->count = 1;
    for (int q = 0; q < m; q++) {
        int count = 0;
        for (const fc_winograd_run *run = runs; run < runs + run_count; run++) {
            const int64_t begin = run->lane * m - q * LANES, end = begin + run->tiles * m;
            if (clamp_lane(begin) == clamp_lane(end)) continue;
            const int64_t low = begin + (run->low > 0 ? run->low : 0), high = begin + run->high;
            const int64_t rest_low = low - m > begin ? low - m : begin, rest_high = high - m;
            parts->part[q][count++] = (row_part){
                run, -begin,
                lane_range(clamp_lane(low), clamp_lane(high < end ? high : end)),
                lane_range(clamp_lane(rest_low), clamp_lane(rest_high < end ? rest_high : end)),
            };
        }
        found[q] = count;
        if (count > parts->count) parts->count = count;
    }
    for (int q = 0; q < m; q++)
        while (found[q] < parts->count)
            parts->part[q][found[q]++] = (row_part){NULL, 0, first_lanes(0), first_lanes(0)};
}

/* How the rows of tiles are read: vector q of row y from from[y][q][part], which moves on by `advance` per channel. */
typedef struct row_reader {
    row_parts parts;
    const real *from[MAX_SPAN][MAX_TILE][MAX_PARTS];
    int64_t advance[MAX_SPAN][MAX_TILE][MAX_PARTS];
    int64_t rest;  /* from a tile's first inputs to the others */
    int copy_count;
    gather_copy copies[MAX_COPIES];
    gathered_row rows[MAX_SPAN];
} row_reader;

INLINE void plan_reading(int m, int span_y, const fc_winograd_run *runs, int run_count,
                         int64_t channel_step, row_reader *reader)
{
    static const real zeros[ROW_LENGTH];
    const int adjacent = runs[0].step == 1;
    reader->copy_count = 0;
    reader->rest = adjacent ? m : ROW_LENGTH;
    if (adjacent) {
        plan_parts(m, runs, run_count, &reader->parts);
    } else {
        memset(reader->rows, 0, sizeof reader->rows);
        reader->copy_count = plan_copies(m, span_y, runs, run_count, reader->rows, reader->copies);
        reader->parts.count = 1;
        for (int q = 0; q < m; q++)
            reader->parts.part[q][0] = (row_part){NULL, 0, first_lanes(LANES), first_lanes(LANES)};
    }
    for (int y = 0; y < span_y; y++) {
        for (int q = 0; q < m; q++) {
            for (int i = 0; i < reader->parts.count; i++) {
                const row_part *part = &reader->parts.part[q][i];
                const real *row = part->run ? part->run->row[y] : NULL;
                reader->from[y][q][i] = !adjacent ? reader->rows[y].first + q * LANES
                                        : row     ? row + part->offset
                                                  : zeros;
                reader->advance[y][q][i] = row ? channel_step : 0;
            }
        }
    }
}

/* The transform of the runs' inputs. */
INLINE void winograd_input_channels(int my, int mx, int parts, row_reader *reader, mask valid, real *v,
                                    int64_t point_step, int64_t k_step, int64_t channel_step, int64_t channels)
{
    const int span_x = TILE_SPAN(mx), span_y = TILE_SPAN(my);
    mask first_mask[MAX_TILE], rest_mask[MAX_TILE];  /* of the first parts */
    for (int q = 0; q < mx; q++) {
        first_mask[q] = reader->parts.part[q][0].first;
        rest_mask[q] = reader->parts.part[q][0].rest;
    }
    for (int64_t c = 0; c < channels; c++) {
        vec half[MAX_SPAN * MAX_SPAN];
        gather(reader->copies, reader->copy_count, c * channel_step, CHANNELS_AHEAD * channel_step);
        UNROLL
        for (int y = 0; y < span_y; y++) {
            vec d[MAX_SPAN], x[MAX_TILE], rest[MAX_TILE];
            UNROLL
            for (int q = 0; q < mx; q++) {
                const row_part *part = reader->parts.part[q];
                const real **from = reader->from[y][q];
                x[q] = load_masked(from[0], first_mask[q]);
                rest[q] = load_masked(from[0] + reader->rest, rest_mask[q]);
                __builtin_prefetch(from[0] + CHANNELS_AHEAD * reader->advance[y][q][0]);
                from[0] += reader->advance[y][q][0];
                for (int i = 1; i < parts; i++) {
                    x[q] = load_or(from[i], part[i].first, x[q]);
                    rest[q] = load_or(from[i] + reader->rest, part[i].rest, rest[q]);
                    __builtin_prefetch(from[i] + CHANNELS_AHEAD * reader->advance[y][q][i]);
                    from[i] += reader->advance[y][q][i];
                }
            }
            split_tiles(mx, mx, x, d);
            split_tiles(mx, TILE_MORE(mx), rest, d + mx);
            winograd_input_1d(mx, d, 1, half + y * span_x, 1);
        }
        UNROLL
        for (int x = 0; x < span_x; x++) {
            vec column[MAX_SPAN];
            winograd_input_1d(my, half + x, span_x, column, 1);
            UNROLL
            for (int y = 0; y < span_y; y++) store_masked(v + (y * span_x + x) * point_step, column[y], valid);
        }
        v += k_step;
    }
}

INLINE void winograd_input_body(int my, int mx, real *v, int64_t point_step, int64_t k_step,
                                const fc_winograd_run *runs, int run_count, int64_t channel_step, int64_t channels)
{
    row_reader reader;
    const mask valid = first_lanes((int)(runs[run_count - 1].lane + runs[run_count - 1].tiles));
    plan_reading(mx, TILE_SPAN(my), runs, run_count, channel_step, &reader);
    if (reader.parts.count == 1)
        winograd_input_channels(my, mx, 1, &reader, valid, v, point_step, k_step, channel_step, channels);
    else
        winograd_input_channels(my, mx, reader.parts.count, &reader, valid, v, point_step, k_step, channel_step,
                                channels);
}

/* Row y of one channel of outputs, side by side in x, to runs whose places are not adjacent. */
INLINE void scatter_row(int m, const fc_winograd_run *runs, int run_count, int y, int64_t offset, const vec *x)
{
    real row[ROW_LENGTH];
    UNROLL
    for (int q = 0; q < m; q++) store(row + q * LANES, x[q]);
    for (const fc_winograd_run *run = runs; run < runs + run_count; run++) {
        const real *from = row + run->lane * m;
        real *to = (real *)run->row[y] + offset;
        if (!run->row[y]) continue;
        for (int64_t i = 0; i < run->high; i++) to[i * run->step] = from[i];
    }
}

/* ... and to those where they are. */
INLINE void store_row(int m, const row_parts *parts, int y, int64_t offset, int64_t ahead, const vec *x)
{
    UNROLL
    for (int q = 0; q < m; q++) {
        for (int i = 0; i < parts->count; i++) {
            const row_part *part = &parts->part[q][i];
            if (part->run && part->run->row[y]) {
                real *to = (real *)part->run->row[y] + (part->offset + offset);
                __builtin_prefetch(to + ahead, 1);
                store_masked(to, x[q], part->first);
            }
        }
    }
}

INLINE int64_t winograd_output_body(int my, int mx, const fc_winograd_run *runs, int run_count, int64_t channel_step,
                                    const real *sums, int64_t point_step, int64_t sums_step, int rows,
                                    const fc_finish *finish)
{
    const int span_y = TILE_SPAN(my), span_x = TILE_SPAN(mx);
    const int adjacent = runs[0].step == 1, finishes = finish->row_bias || finish->activation;
    const int64_t tiles = runs[run_count - 1].lane + runs[run_count - 1].tiles;
    const mask valid = first_lanes((int)tiles);
    const vec none = {0};
    row_parts parts = {0};
    vec doubt = {0};  /* becomes NaN in a lane where an output is infinite or NaN */
    if (adjacent) plan_parts(mx, runs, run_count, &parts);
    for (int i = 0; i < rows; i++) {
        vec half[MAX_SPAN * MAX_SPAN];
        UNROLL
        for (int x = 0; x < span_x; x++) {
            vec column[MAX_SPAN];
            UNROLL
            for (int y = 0; y < span_y; y++)
                column[y] = load_masked(sums + (y * span_x + x) * point_step, valid);
            winograd_output_1d(my, column, 1, half + x, span_x);
        }
        UNROLL
        for (int y = 0; y < my; y++) {
            vec out[MAX_SPAN], line[MAX_TILE];
            winograd_output_1d(mx, half + y * span_x, 1, out, 1);
            UNROLL
            for (int x = 0; x < mx; x++) doubt += out[x] * 0;
            if (finishes) {
                UNROLL
                for (int x = 0; x < mx; x++) out[x] = finish_vector(out[x], none, finish, i, none);
            }
            interleave_tiles(mx, out, line);
            if (adjacent) store_row(mx, &parts, y, i * channel_step, ROWS_AHEAD / my * channel_step, line);
            else scatter_row(mx, runs, run_count, y, i * channel_step, line);
        }
        sums += sums_step;
    }
    int64_t not_finite = 0;
    for (int l = 0; l < tiles; l++) not_finite |= (int64_t)(doubt[l] != 0) << l;
    return not_finite;
}

INLINE void winograd_weight_body(int my, int mx, real *u, int64_t point_step, const real *taps, int64_t width,
                                 int64_t depth, int reversed)
{
    const int span_y = TILE_SPAN(my), span_x = TILE_SPAN(mx);
    const int tap_rows = TILE_TAPS(my), columns = TILE_TAPS(mx), tap_count = tap_rows * columns;
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < width; i += LANES) {
            const mask valid = first_lanes(width - i < LANES ? (int)(width - i) : LANES);
            vec g[9], half[3 * MAX_SPAN];
            UNROLL
            for (int t = 0; t < tap_count; t++)
                g[t] = load_masked(taps + (reversed ? tap_count - 1 - t : t) * width + i, valid);
            UNROLL
            for (int y = 0; y < tap_rows; y++) winograd_weight_1d(mx, g + columns * y, 1, half + y * span_x, 1);
            UNROLL
            for (int x = 0; x < span_x; x++) {
                vec column[MAX_SPAN];
                winograd_weight_1d(my, half + x, span_x, column, 1);
                UNROLL
                for (int y = 0; y < span_y; y++)
                    store_masked(u + (y * span_x + x) * point_step + i, column[y], valid);
            }
        }
        taps += tap_count * width;
        u += width;
    }
}

INLINE int winograd_grad_weight_body(int my, int mx, real *taps, int64_t tap_step, const real *sums, int64_t point_step,
                                     int64_t width)
{
    const int span_y = TILE_SPAN(my), span_x = TILE_SPAN(mx), rows = TILE_TAPS(my), columns = TILE_TAPS(mx);
    vec doubt = {0};
    for (int64_t i = 0; i < width; i += LANES) {
        const mask valid = first_lanes(clamp_lane(width - i));
        vec half[3 * MAX_SPAN];
        UNROLL
        for (int x = 0; x < span_x; x++) {
            vec column[MAX_SPAN];
            UNROLL
            for (int y = 0; y < span_y; y++) column[y] = load_masked(sums + (y * span_x + x) * point_step + i, valid);
            winograd_grad_weight_1d(my, column, 1, half + x, span_x);
        }
        UNROLL
        for (int y = 0; y < rows; y++) {
            vec g[3];
            winograd_grad_weight_1d(mx, half + y * span_x, 1, g, 1);
            UNROLL
            for (int x = 0; x < columns; x++) {
                doubt += g[x] * 0;
                store_masked(taps + (y * columns + x) * tap_step + i, g[x], valid);
            }
        }
    }
    int finite = 1;
    for (int l = 0; l < LANES; l++) finite &= doubt[l] == 0;
    return finite;
}

#define WINOGRAD(MY, MX)                                                                                       \
    static void winograd_input_##MY##MX(void *v, int64_t point_step, int64_t k_step,                           \
                                        const fc_winograd_run *runs, int run_count, int64_t channel_step,      \
                                        int64_t channels)                                                      \
    {                                                                                                          \
        winograd_input_body(MY, MX, v, point_step, k_step, runs, run_count, channel_step, channels);           \
    }                                                                                                          \
    static int64_t winograd_output_##MY##MX(const fc_winograd_run *runs, int run_count, int64_t channel_step,  \
                                            const void *sums, int64_t point_step, int64_t sums_step, int rows, \
                                            const fc_finish *finish)                                           \
    {                                                                                                          \
        return winograd_output_body(MY, MX, runs, run_count, channel_step, sums, point_step, sums_step, rows,  \
                                    finish);                                                                   \
    }                                                                                                          \
    static void winograd_weight_##MY##MX(void *u, int64_t point_step, const void *taps, int64_t width,         \
                                         int64_t depth, int reversed)                                          \
    {                                                                                                          \
        winograd_weight_body(MY, MX, u, point_step, taps, width, depth, reversed);                             \
    }                                                                                                          \
    static int winograd_grad_weight_##MY##MX(void *taps, int64_t tap_step, const void *sums,                   \
                                             int64_t point_step, int64_t width)                                \
    {                                                                                                          \
        return winograd_grad_weight_body(MY, MX, taps, tap_step, sums, point_step, width);                     \
    }
WINOGRAD(1, 2)
WINOGRAD(2, 2)
WINOGRAD(1, 4)
WINOGRAD(4, 4)
WINOGRAD(1, 3)
WINOGRAD(3, 3)
