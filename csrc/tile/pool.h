/* Pooling one axis at a time: the taps of every row of the input first, then the rows of every window.
 *
 * The first step leaves, for each row a part needs, one value per output of that row: the largest element of its taps
 * and where it was found, or their sum. They lie in scratch memory that stays in cache, side by side as in the output
 * row (lanes: pixels, or pixels times channels), so the second step is the same for both memory orders. Taking taps
 * first and rows second meets elements in scan order: the first of equal maxima is found whatever the window's shape.
 */
#include "../fc_api.h"
#include "simd.h"

enum pool_operation { MAXIMUM, MAXIMUM_AND_PLACE, TOTAL };

/* What is known of a window so far, lane by lane. */
typedef struct pool_state {
    vec best;
    ivec place;
    double_vec total[PARTS];
} pool_state;

/* Rows of such states in scratch memory. */
typedef struct pool_rows {
    real *best;
    lane_index *place;
    double *total;
    double *factor;      /* of averages, per lane; or ... */
    int64_t *start;      /* ... where the lane's window begins along the row */
    int64_t pitch;       /* lanes from one row to the next */
    int64_t low, high;   /* rows of the input it holds, of each plane */
} pool_rows;

/* Taps of an output that lie inside the input. */
typedef struct tap_range {
    int64_t first, count;
} tap_range;

INLINE tap_range covered_taps(const fc_pool_axis *axis, int64_t output)
{
    const int64_t start = output * axis->stride - axis->before, step = axis->dilation;
    const int64_t first = start < 0 ? (-start + step - 1) / step : 0;
    const int64_t over = start + (axis->taps - 1) * step - axis->extent + 1;  /* by how much it hangs over the end */
    const int64_t end = axis->taps - (over > 0 ? (over + step - 1) / step : 0);
    return (tap_range){first, end - first};
}

INLINE void pool_begin(int operation, pool_state *s, vec v, ivec place)
{
    s->best = v;
    s->place = place;
    UNROLL
    for (int i = 0; i < PARTS; i++)
        if (operation == TOTAL) s->total[i] = widen(v, i);
}

INLINE void pool_take(int operation, pool_state *s, vec v, ivec place)
{
    if (operation == TOTAL) {
        UNROLL
        for (int i = 0; i < PARTS; i++) s->total[i] += widen(v, i);
        return;
    }
    const flags f = exceeds(v, s->best);
    s->best = choose_by(f, v, s->best);
    if (operation == MAXIMUM_AND_PLACE) s->place = choose_index_by(f, place, s->place);
}

INLINE void pool_keep(int operation, const pool_rows *rows, int64_t at, const pool_state *s)
{
    if (operation == TOTAL) {
        UNROLL
        for (int i = 0; i < PARTS; i++)
            memcpy(rows->total + at + i * LANES / PARTS, &s->total[i], sizeof s->total[i]);
        return;
    }
    store(rows->best + at, s->best);
    if (operation == MAXIMUM_AND_PLACE) memcpy(rows->place + at, &s->place, sizeof s->place);
}

INLINE ivec splat_place(int64_t place) { return (ivec){0} + (lane_index)place; }

/* ---- taps: lanes are neighbouring outputs of a row ---------------------------------------------------- */

/* How lanes lie along a row: side by side, every other element, or otherwise. */
enum { ANY = 0, ADJACENT = 1, EVERY_OTHER = 2 };

/* Rows of the input as the first step reads them. */
typedef struct input_rows {
    const real *source;         /* position 0 of the first row */
    int64_t row_step, step;     /* elements of memory between rows, and between positions of a row */
    int64_t rows, place_step;
} input_rows;

/* Elements from `p` on; those outside the row read as `fill`. */
INLINE vec elements_at(int inside, const real *p, mask exist, vec fill) { return inside ? load(p) : load_or(p, exist, fill); }

/* Which elements exist that a vector of outputs reads: of each tap or, where windows lie 2 apart, of each pair of vectors
 * that hold a tap and the next. */
INLINE void find_existing(int64_t taps, int lie, const fc_pool_axis *axis, int64_t x, mask *exist)
{
    for (int64_t t = 0; t < taps; t += lie == EVERY_OTHER ? 2 : 1) {
        const int64_t at = x + t * axis->dilation;
        exist[t] = lane_range(clamp_lane(-at), clamp_lane(axis->extent - at));
        if (lie == EVERY_OTHER) exist[t + 1] = lane_range(clamp_lane(-at - LANES), clamp_lane(axis->extent - at - LANES));
    }
}

INLINE vec spread_elements(const fc_pool_axis *axis, const real *row, int64_t x, int64_t step, vec fill)
{
    real lanes[LANES];
    store(lanes, fill);
    ROLLED
    for (int i = 0; i < LANES; i++, x += axis->stride)
        if (x >= 0 && x < axis->extent) lanes[i] = row[x * step];
    return load(lanes);
}

/* The windows of LANES outputs over one row, the first of which begins at x; `first` is the place of the first tap that
 * lies inside. */
INLINE pool_state take_window(int operation, int64_t taps, int lie, int inside, const fc_pool_axis *axis,
                              const input_rows *in, const real *row, int64_t x, const mask *exist, ivec first)
{
    const vec fill = splat(operation == TOTAL ? (real)0 : -(real)__builtin_inf());
    pool_state s;
    if (lie == EVERY_OTHER) {
        vec low = elements_at(inside, row + x, exist[0], fill), high = elements_at(inside, row + x + LANES, exist[1], fill);
        pool_begin(operation, &s, SHUFFLE(low, high, UNZIP_EVEN), first);
        for (int64_t t = 1; t < taps; t++) {
            const ivec place = splat_place(t * in->place_step);
            if (t % 2) {
                pool_take(operation, &s, SHUFFLE(low, high, UNZIP_ODD), place);
                continue;
            }
            low = elements_at(inside, row + x + t, exist[t], fill);
            high = elements_at(inside, row + x + t + LANES, exist[t + 1], fill);
            pool_take(operation, &s, SHUFFLE(low, high, UNZIP_EVEN), place);
        }
        return s;
    }
    pool_begin(operation, &s, lie == ADJACENT ? elements_at(inside, row + x, exist[0], fill)
                                              : spread_elements(axis, row, x, in->step, fill), first);
    for (int64_t t = 1; t < taps; t++) {
        const int64_t at = x + t * axis->dilation;
        pool_take(operation, &s, lie == ADJACENT ? elements_at(inside, row + at, exist[t], fill)
                                                 : spread_elements(axis, row, at, in->step, fill),
                  splat_place(t * in->place_step));
    }
    return s;
}

/* Nothing beats the fill in a window of -inf: its first element inside the input stays the maximum. */
INLINE ivec first_places(const fc_pool_axis *axis, int64_t x, int64_t place_step)
{
    lane_index lanes[LANES] = {0};
    for (int i = 0; i < LANES && x < 0; i++, x += axis->stride)
        lanes[i] = (lane_index)((-x + axis->dilation - 1) / axis->dilation * place_step);
    ivec places;
    memcpy(&places, lanes, sizeof places);
    return places;
}

/* Vectors of outputs [begin, end) of all rows; outside there is one. */
INLINE void pixel_rows(int operation, int64_t taps, int lie, int inside, const fc_pool_axis *width, int64_t column,
                       int64_t begin, int64_t end, const input_rows *rows, const pool_rows *scratch, int64_t at)
{
    const fc_pool_axis axis = *width;
    const input_rows in = *rows;  /* copies, which no store changes */
    const pool_rows to = *scratch;
    const int64_t x_first = (column + begin) * axis.stride - axis.before;
    const ivec none = {0}, first = inside ? none : first_places(&axis, x_first, in.place_step);
    mask exist[FC_POOL_TAPS + 1];
    if (!inside) find_existing(taps, lie, &axis, x_first, exist);
    for (int64_t r = 0; r < in.rows; r++) {
        const real *row = in.source + r * in.row_step;
        int64_t x = x_first;
        for (int64_t i = begin; i < end; i += LANES, x += LANES * axis.stride) {
            const pool_state s = take_window(operation, taps, lie, inside, &axis, &in, row, x, exist, first);
            pool_keep(operation, &to, at + r * to.pitch + i, &s);
        }
    }
}

/* Vectors inside the input first, row by row; then those at its edges, each down all rows, where masks stay the same.
 * The last one overlaps the one before if that brings it inside. */
INLINE void pixel_part(int operation, int64_t taps, int lie, const fc_pool_axis *axis, int64_t column, int64_t columns,
                       const input_rows *in, const pool_rows *to, int64_t at)
{
    const int64_t reach = lie == ADJACENT ? (taps - 1) * axis->dilation + LANES : (taps + 1) / 2 * 2 - 2 + 2 * LANES;
    const int64_t start = column * axis->stride - axis->before, whole = columns - LANES;
    const int64_t x = start + whole * axis->stride;
    int64_t low = 0, high = 0, end = columns;  /* vectors [low, high) are inside */
    if (lie != ANY && whole > 0 && x >= 0 && x + reach <= axis->extent) {
        end = whole / LANES * LANES + LANES;
        if (end < columns) pixel_rows(operation, taps, lie, 1, axis, column, whole, whole + 1, in, to, at);
    }
    for (int64_t i = 0; i < end && lie != ANY; i += LANES) {
        if (start + i * axis->stride < 0) low = i + LANES;
        else if (start + i * axis->stride + reach <= axis->extent) high = i + LANES;
    }
    if (low < high) pixel_rows(operation, taps, lie, 1, axis, column, low, high, in, to, at);
    else high = low;
    for (int64_t i = 0; i < end; i += LANES)
        if (i < low || i >= high) pixel_rows(operation, taps, lie, 0, axis, column, i, i + 1, in, to, at);
}

INLINE void pool_pixels(int operation, const fc_pool_axis *axis, int64_t column, int64_t columns, const input_rows *in,
                        const pool_rows *to, int64_t at)
{
    const int64_t taps = axis->taps;
#define PIXEL_PART(TAPS, LIE) pixel_part(operation, TAPS, LIE, axis, column, columns, in, to, at)
    if (in->step == 1 && axis->stride == 1) {  /* the common windows unrolled */
        if (taps == 3) PIXEL_PART(3, ADJACENT);
        else PIXEL_PART(taps, ADJACENT);
    } else if (in->step == 1 && axis->stride == 2 && axis->dilation == 1) {
        if (taps == 2) PIXEL_PART(2, EVERY_OTHER);
        else if (taps == 3) PIXEL_PART(3, EVERY_OTHER);
        else PIXEL_PART(taps, EVERY_OTHER);
    } else PIXEL_PART(taps, ANY);
#undef PIXEL_PART
}

/* ---- taps: lanes are channels -------------------------------------------------------------------------- */

INLINE void pool_channels(int operation, const fc_pool *pool, int64_t column, int64_t columns, const input_rows *rows,
                          const pool_rows *scratch, int64_t at)
{
    const fc_pool_axis axis = pool->axis[2];
    const input_rows b = *rows;
    const pool_rows to = *scratch;
    const int64_t channels = pool->channels, tap_step = axis.dilation * b.step;
    const mask last = first_lanes((int)((channels - 1) % LANES) + 1);
    for (int64_t r = 0; r < b.rows; r++) {
        const real *row = b.source + r * b.row_step;
        int64_t lane = at + r * to.pitch;
        for (int64_t o = column; o < column + columns; o++, lane += channels) {
            const tap_range taps = covered_taps(&axis, o);
            const real *x = row + (o * axis.stride - axis.before) * b.step + taps.first * tap_step;
            for (int64_t c = 0; c < channels; c += LANES) {  /* what the last vector writes too much, the next pixel mends */
                const int whole = c + LANES <= channels;
                pool_state s;
                pool_begin(operation, &s, whole ? load(x + c) : load_masked(x + c, last),
                           splat_place(taps.first * b.place_step));
                for (int64_t t = 1; t < taps.count; t++) {
                    const real *element = x + t * tap_step + c;
                    pool_take(operation, &s, whole ? load(element) : load_masked(element, last),
                              splat_place((taps.first + t) * b.place_step));
                }
                pool_keep(operation, &to, lane + c, &s);
            }
        }
    }
}

/* ---- rows ---------------------------------------------------------------------------------------------- */

/* Divisors are kept as factors where their rounding is lost in that of the result. */
INLINE double as_factor(double divisor) { return PARTS == 1 ? divisor : 1 / divisor; }
INLINE double_vec divided(double_vec total, double_vec factor) { return PARTS == 1 ? total / factor : total * factor; }

/* What an axis contributes to the number of elements of a window. */
INLINE double counted(const fc_pool *pool, int axis, int64_t output)
{
    const fc_pool_axis *a = &pool->axis[axis];
    const int64_t start = output * a->stride - a->before, end = start + a->taps;
    if (pool->divisor != 0) return axis == 0 ? pool->divisor : 1;
    return (double)((end < a->count_high ? end : a->count_high) - (start > a->count_low ? start : a->count_low));
}

/* What is the same for all rows: factors of averages, or where in a row windows begin. */
INLINE void describe_lanes(int operation, const fc_pool *pool, const fc_pool_part *part, const pool_rows *rows)
{
    int64_t lane = 0;
    if (operation == MAXIMUM || part->positions) return;
    for (int64_t o = part->column; o < part->column + part->columns; o++)
        for (int64_t c = 0; c < pool->channels; c++, lane++) {
            if (operation == TOTAL) rows->factor[lane] = counted(pool, 2, o);
            else rows->start[lane] = o * pool->axis[2].stride - pool->axis[2].before;
        }
    if (operation != TOTAL) return;
    for (; lane < rows->pitch; lane++) rows->factor[lane] = 1;  /* what nobody reads must not be slow to compute */
    for (lane = 0; lane < rows->pitch; lane++) rows->factor[lane] = as_factor(rows->factor[lane]);
}

typedef struct row_window {
    tap_range planes, rows;
    int64_t first;          /* lane 0 of the first row of the first plane, in scratch */
    int64_t row_step, plane_step;
    int64_t place, row_place, plane_place;
} row_window;

/* One row's state becomes, or joins, that of its window. */
INLINE void meet_row(int operation, int begin, pool_state *s, const pool_rows *from, int64_t at, int64_t row_place)
{
    if (operation == TOTAL) {
        UNROLL
        for (int n = 0; n < PARTS; n++) {
            double_vec sum;
            memcpy(&sum, from->total + at + n * LANES / PARTS, sizeof sum);
            s->total[n] = begin ? sum : s->total[n] + sum;
        }
        return;
    }
    ivec place = {0};
    if (operation == MAXIMUM_AND_PLACE) {
        memcpy(&place, from->place + at, sizeof place);
        place += splat_place(row_place);
    }
    if (begin) pool_begin(operation, s, load(from->best + at), place);
    else pool_take(operation, s, load(from->best + at), place);
}

/* All rows of a window meet, for the lanes from i on. */
INLINE pool_state meet_rows(int operation, const pool_rows *from, const row_window *w, int64_t i)
{
    pool_state s;
    int64_t at = w->first + i, place = w->place;
    meet_row(operation, 1, &s, from, at, place);
    for (int64_t y = 1; y < w->rows.count; y++)
        meet_row(operation, 0, &s, from, at + y * w->row_step, place + y * w->row_place);
    for (int64_t z = 1; z < w->planes.count; z++) {
        at += w->plane_step;
        place += w->plane_place;
        for (int64_t y = 0; y < w->rows.count; y++)
            meet_row(operation, 0, &s, from, at + y * w->row_step, place + y * w->row_place);
    }
    return s;
}

INLINE void store_indices(int64_t *indices, ivec place, int64_t first, const int64_t *start, int count)
{
    lane_index lanes[LANES];
    memcpy(lanes, &place, sizeof place);
    if (count == LANES)
        for (int i = 0; i < LANES; i++) indices[i] = first + start[i] + lanes[i];
    else
        for (int i = 0; i < count; i++) indices[i] = first + start[i] + lanes[i];
}

/* The first step, of all planes under the windows of one plane of outputs. */
INLINE void take_taps(int operation, const fc_pool *pool, const fc_pool_part *part, const pool_rows *rows,
                      tap_range planes, const real *source)
{
    const fc_pool_axis *depth = &pool->axis[0], *width = &pool->axis[2];
    const int64_t z = part->depth * depth->stride - depth->before + planes.first * depth->dilation;
    input_rows b = {.row_step = part->source_stride[1], .step = part->source_stride[2], .rows = rows->high - rows->low,
                     .place_step = part->indices ? width->dilation : 1};
    b.source = source + z * part->source_stride[0] + rows->low * part->source_stride[1];
    for (int64_t i = 0; i < planes.count; i++) {
        const int64_t at = i * b.rows * rows->pitch;
        if (pool->channels == 1) pool_pixels(operation, width, part->column, part->columns, &b, rows, at);
        else pool_channels(operation, pool, part->column, part->columns, &b, rows, at);
        b.source += depth->dilation * part->source_stride[0];
    }
}

/* The second step, for one row of outputs: the number `row` of the part's, of the plane number `plane`. */
INLINE void finish_row(int operation, const fc_pool *pool, const fc_pool_part *part, const pool_rows *rows,
                       const row_window *w, int64_t plane, int64_t row)
{
    const fc_pool_axis *depth = &pool->axis[0], *height = &pool->axis[1], *width = &pool->axis[2];
    const int64_t lanes = part->columns * pool->channels;
    /* masked stores are slow on some machines: what is stored too much is overwritten by the rows below, if they adjoin */
    const int64_t room = part->target_step == lanes ? (part->rows - row) * lanes : 0;
    const int64_t z = part->depth * depth->stride - depth->before, y = (part->row + row) * height->stride - height->before;
    const int64_t first_index = (z * height->extent + y) * width->extent;
    const double factor = operation == TOTAL
                          ? as_factor(counted(pool, 0, part->depth) * counted(pool, 1, part->row + row)) : 1;
    real *out = (real *)part->target + plane * part->target_plane + row * part->target_step;
    uint8_t *positions = part->positions ? part->positions + plane * part->position_plane + row * part->position_step : NULL;
    int64_t *indices = part->indices ? part->indices + plane * part->index_plane + row * part->index_step : NULL;
    for (int64_t i = 0; i < lanes; i += LANES) {
        const int count = clamp_lane(lanes - i);
        pool_state s = meet_rows(operation, rows, w, i);
        if (operation == TOTAL) {
            UNROLL
            for (int n = 0; n < PARTS; n++) {
                double_vec f;
                memcpy(&f, rows->factor + i + n * LANES / PARTS, sizeof f);
                s.total[n] = divided(s.total[n], f * factor);
            }
            s.best = narrow(s.total);
        }
        if (count == LANES || i + LANES <= room) store(out + i, s.best);
        else store_first(out + i, s.best, count);
        if (operation != MAXIMUM_AND_PLACE) continue;
        if (indices) store_indices(indices + i, s.place, first_index, rows->start + i, count);
        else store_bytes(positions + i, s.place);
    }
}

INLINE void pool_part(int operation, const fc_pool *pool, const fc_pool_part *part)
{
    const fc_pool_axis *depth = &pool->axis[0], *height = &pool->axis[1], *width = &pool->axis[2];
    const int64_t lanes = part->columns * pool->channels;
    const int64_t top = part->row * height->stride - height->before;
    const int64_t bottom = top + (part->rows - 1) * height->stride + (height->taps - 1) * height->dilation + 1;
    const tap_range planes = covered_taps(depth, part->depth);
    pool_rows rows = {.pitch = (lanes + LANES - 1) / LANES * LANES + LANES, .low = top > 0 ? top : 0,
                      .high = bottom < height->extent ? bottom : height->extent};
    row_window w = {.planes = planes, .row_step = height->dilation * rows.pitch,
                    .plane_step = (rows.high - rows.low) * rows.pitch};
    rows.factor = part->scratch;
    rows.start = part->scratch;
    rows.total = rows.factor + rows.pitch;
    rows.best = (real *)rows.total;
    rows.place = (lane_index *)(rows.best + planes.count * w.plane_step);
    w.row_place = part->indices ? height->dilation * width->extent : width->taps;
    w.plane_place = part->indices ? depth->dilation * height->extent * width->extent : height->taps * width->taps;
    describe_lanes(operation, pool, part, &rows);
    for (int64_t p = 0; p < part->planes; p++) {
        take_taps(operation, pool, part, &rows, planes, (const real *)part->source + p * part->source_plane);
        for (int64_t o = 0; o < part->rows; o++) {
            w.rows = covered_taps(height, part->row + o);
            w.first = (top + o * height->stride + w.rows.first * height->dilation - rows.low) * rows.pitch;
            w.place = planes.first * w.plane_place + w.rows.first * w.row_place;
            finish_row(operation, pool, part, &rows, &w, p, o);
        }
    }
}

static void max_pool(const fc_pool *pool, const fc_pool_part *part)
{
    if (part->positions || part->indices) pool_part(MAXIMUM_AND_PLACE, pool, part);
    else pool_part(MAXIMUM, pool, part);
}

static void avg_pool(const fc_pool *pool, const fc_pool_part *part) { pool_part(TOTAL, pool, part); }
