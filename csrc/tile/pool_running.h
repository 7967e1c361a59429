/* Pooling at a cost that does not depend on how wide the windows are.
 *
 * Windows move on: both of their ends only ever grow. Every `block` elements there is a pivot. What lies between the
 * first element of a window and the next pivot is taken up from the pivot backwards and kept for each element, what
 * lies behind the pivot forwards, and the two are joined: each element is met twice and each output once. Nothing is
 * ever taken out again, so that no sum cancels and no NaN outlives the windows that hold it. As pivots are places of
 * the axis, the same elements are added up in the same order wherever a part begins.
 *
 * M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal kernels", Pattern
 * Recognition Letters 13 (1992); J. Gil & M. Werman, "Computing 2-D min, median, and max filters", IEEE TPAMI 15 (1993).
 */
#include "../fc_api.h"
#include "simd.h"

enum { RUNNING_VECTORS = 4 };  /* side by side: their maxima need not wait for each other */
#define EACH_VECTOR \
    UNROLL          \
    for (int v = 0; v < vectors; v++)

/* ---- where windows begin and end ------------------------------------------------------------------------ */

INLINE int64_t floor_quotient(int64_t a, int64_t b) { return a / b - (a % b < 0); }

INLINE int64_t limited(const fc_ends *e, int64_t x) { return x < e->first ? e->first : x > e->last ? e->last : x; }

INLINE int64_t end_at(const fc_ends *e, int64_t offset, int64_t j)
{
    const int64_t x = j * e->step + offset;
    return e->per == 1 ? x : floor_quotient(x, e->per);
}

/* An end of the windows, from one output to the next without a division. */
typedef struct moving_end {
    int64_t at, rest;
} moving_end;

INLINE moving_end move_to(const fc_ends *e, int64_t offset, int64_t j)
{
    const int64_t at = end_at(e, offset, j);
    return (moving_end){at, j * e->step + offset - at * e->per};
}

INLINE void move_on(moving_end *m, int64_t whole, int64_t rest, int64_t per)
{
    m->at += whole;
    m->rest += rest;
    if (m->rest >= per) {
        m->rest -= per;
        m->at++;
    }
}

/* ---- divisors ------------------------------------------------------------------------------------------- */

/* The factor last used: it is the same for all windows that do not leave the input. */
typedef struct count_factor {
    int64_t count;
    double factor;
} count_factor;

INLINE double factor_of(count_factor *last, int64_t count)
{
    if (count != last->count) *last = (count_factor){count, as_factor((double)(count < 1 ? 1 : count))};
    return last->factor;
}

/* Behind the shifts of all lanes. */
enum { LEAST_SHIFT = LANES, GREATEST_SHIFT };

/* Divide by what number `j` counts; lanes may be shifted against each other. */
INLINE void divide_by_count(const fc_running *r, pool_state *s, int vectors, int64_t j, count_factor *last)
{
    const fc_ends *e = &r->counts;
    const int64_t begin = end_at(e, e->low, j), end = end_at(e, e->high, j);
    double_vec f[PARTS];
    if (r->divisor == 0 && r->shift && (begin + r->shift[LEAST_SHIFT] < e->first || end + r->shift[GREATEST_SHIFT] > e->last)) {
        double lanes[LANES];
        for (int i = 0; i < LANES; i++) {
            const int64_t count = limited(e, end + r->shift[i]) - limited(e, begin + r->shift[i]);
            lanes[i] = as_factor((double)(count < 1 ? 1 : count));
        }
        memcpy(f, lanes, sizeof lanes);
    } else {
        const int64_t count = r->shift ? end - begin : limited(e, end) - limited(e, begin);
        const double factor = r->divisor != 0 ? as_factor(r->divisor) : factor_of(last, count);
        UNROLL
        for (int n = 0; n < PARTS; n++) f[n] = (double_vec){0} + factor;
    }
    EACH_VECTOR {
        UNROLL
        for (int n = 0; n < PARTS; n++) s[v].total[n] = divided(s[v].total[n], f[n]);
    }
}

/* ---- elements and outputs ------------------------------------------------------------------------------- */

/* What is the same for all rows of a vector of lanes. */
typedef struct running_lanes {
    int64_t lane;
    int count;
    ivec place, least;   /* of element 0, and of the first element that is no fill */
} running_lanes;

INLINE vec load_lanes(const real *p, int64_t step, int count)
{
    if (step == 1) return count == LANES ? load(p) : load_first(p, count);
    real lanes[LANES] = {0};
    for (int i = 0; i < count; i++) lanes[i] = p[i * step];
    return load(lanes);
}

/* Totals of the first lanes of rows of doubles. */
INLINE void load_totals(pool_state *s, const double *p)
{
    UNROLL
    for (int n = 0; n < PARTS; n++) memcpy(&s->total[n], p + n * LANES / PARTS, sizeof s->total[n]);
}

INLINE void store_totals(double *p, const pool_state *s, int count)
{
    double lanes[LANES];
    double *to = count == LANES ? p : lanes;
    UNROLL
    for (int n = 0; n < PARTS; n++) memcpy(to + n * LANES / PARTS, &s->total[n], sizeof s->total[n]);
    for (int i = 0; i < count && count != LANES; i++) p[i] = lanes[i];
}

INLINE pool_state element(int operation, const fc_running *r, int64_t k, const running_lanes *l)
{
    pool_state s = {.best = {0}};
    const int64_t at = k * r->source_step + l->lane;
    if (operation == TOTAL && r->source_totals) {
        load_totals(&s, (const double *)r->source + at);
        return s;
    }
    const int64_t step = r->source_lane_step;
    const vec v = load_lanes((const real *)r->source + (step == 1 ? at : k * r->source_step + l->lane * step), step, l->count);
    ivec place = {0};
    if (operation == MAXIMUM_AND_PLACE) {
        if (r->places) memcpy(&place, (const lane_index *)r->places + at, sizeof place);
        place += l->place + splat_place(k * r->place_step);
    }
    pool_begin(operation, &s, v, place);
    return s;
}

INLINE pool_state nothing(int operation)
{
    pool_state s = {.best = {0}};
    pool_begin(operation, &s, splat(operation == TOTAL ? (real)0 : -(real)__builtin_inf()), (ivec){0});
    return s;
}

/* The state of neighbouring elements, `left` those in front. */
INLINE pool_state joined(int operation, pool_state left, const pool_state *right)
{
    if (operation == TOTAL) {
        UNROLL
        for (int n = 0; n < PARTS; n++) left.total[n] += right->total[n];
    } else pool_take(operation, &left, right->best, right->place);
    return left;
}

INLINE void emit(int operation, const fc_running *r, int64_t row, const running_lanes *l, pool_state s)
{
    const int64_t step = r->target_lane_step, at = row * r->target_step + l->lane * step;
    if (operation == TOTAL && r->target_totals) {
        store_totals((double *)r->target + at, &s, l->count);
        return;
    }
    if (operation == TOTAL) s.best = narrow(s.total);
    real *target = (real *)r->target + at;
    if (step != 1)
        for (int i = 0; i < l->count; i++) target[i * step] = s.best[i];
    else if (l->count == LANES) store(target, s.best);
    else store_first(target, s.best, l->count);
    if (operation != MAXIMUM_AND_PLACE) return;
    const ivec place = choose_index_by(places_below(s.place, l->least), l->least, s.place);
    if (!r->indices) {
        lane_index *places = (lane_index *)r->target_places + at;
        if (l->count == LANES) memcpy(places, &place, sizeof place);
        else
            for (int i = 0; i < l->count; i++) places[i] = place[i];
        return;
    }
    int64_t *indices = r->indices + row * r->index_step + l->lane * r->index_lane_step;
    if (r->index_lane_step == 1 && l->count == LANES) {
        lane_index lanes[LANES];
        memcpy(lanes, &place, sizeof place);
        for (int i = 0; i < LANES; i++) indices[i] = lanes[i];
    } else
        for (int i = 0; i < l->count; i++) indices[i * r->index_lane_step] = place[i];
}

/* ---- a group of lanes ----------------------------------------------------------------------------------- */

/* States kept for the elements in front of a pivot: of whole vectors, or of a few lanes without gaps. */
INLINE void hold(int operation, real *held, const pool_state *s, int count)
{
    if (operation == TOTAL) {
        store_totals((double *)held, s, count);
        return;
    }
    if (count == LANES) store(held, s->best);
    else store_first(held, s->best, count);
    if (operation != MAXIMUM_AND_PLACE) return;
    vec place;
    memcpy(&place, &s->place, sizeof place);
    if (count == LANES) store(held + LANES, place);
    else store_first(held + count, place, count);
}

INLINE pool_state held_state(int operation, const real *held, int count)
{
    pool_state s = {.best = {0}};
    if (operation == TOTAL) {
        double lanes[LANES] = {0};
        for (int i = 0; i < count && count != LANES; i++) lanes[i] = ((const double *)held)[i];
        load_totals(&s, count == LANES ? (const double *)held : lanes);
        return s;
    }
    s.best = count == LANES ? load(held) : load_first(held, count);
    if (operation != MAXIMUM_AND_PLACE) return s;
    const vec place = count == LANES ? load(held + LANES) : load_first(held + count, count);
    memcpy(&s.place, &place, sizeof place);
    return s;
}

/* `vectors` vectors of lanes from `lane` on, the last of them of `count`. */
INLINE void running_group(int operation, int vectors, const fc_running *running, int64_t lane, int count)
{
    const fc_running copy = *running, *r = &copy;  /* which no store changes */
    const fc_ends *w = &r->windows;
    const int size = count * (operation == TOTAL ? PARTS : operation == MAXIMUM ? 1 : 2);  /* of a state, in reals */
    const int64_t block = r->block, whole = w->step / w->per, rest = w->step % w->per;
    real *held = r->scratch;
    running_lanes l[RUNNING_VECTORS];
    pool_state forwards[RUNNING_VECTORS];
    count_factor last = {0};
    EACH_VECTOR {
        ivec place = splat_place(r->first_place);
        if (r->place_lane_step)
            for (int i = 0; i < LANES; i++) place[i] += (lane_index)((lane + v * LANES + i) * r->place_lane_step);
        l[v] = (running_lanes){lane + v * LANES, count, place, {0}};
        if (r->lane_places) {
            memcpy(&l[v].place, r->lane_places, sizeof l[v].place);
            memcpy(&l[v].least, (const lane_index *)r->lane_places + LANES, sizeof l[v].least);
        }
    }
    moving_end begin = move_to(w, w->low, r->output), end = move_to(w, w->high, r->output);
    int64_t pivot = begin.at, base = 0, top = 0, start = 0, done = 0;
    for (int64_t j = 0; j < r->outputs; j++) {
        const int64_t a = limited(w, begin.at), b = limited(w, end.at);
        pool_state out[RUNNING_VECTORS];
        if (a < b && begin.at >= pivot) {
            pivot = (floor_quotient(begin.at, block) + 1) * block;
            base = a;
            top = pivot < w->last ? pivot : w->last;
            done = start = top > a ? top : a;
            pool_state backwards[RUNNING_VECTORS];
            EACH_VECTOR backwards[v] = forwards[v] = nothing(operation);
            for (int64_t k = top - 1; k >= a; k--) {
                pool_state x[RUNNING_VECTORS];
                EACH_VECTOR x[v] = element(operation, r, k, &l[v]);
                if (operation == TOTAL && r->counted == FC_COUNT_ELEMENTS) divide_by_count(r, x, vectors, k, &last);
                EACH_VECTOR {
                    backwards[v] = joined(operation, x[v], &backwards[v]);
                    hold(operation, held + ((k - base) * vectors + v) * size, &backwards[v], count);
                }
            }
        }
        for (; a < b && done < b; done++) {
            pool_state x[RUNNING_VECTORS];
            EACH_VECTOR x[v] = element(operation, r, done, &l[v]);
            if (operation == TOTAL && r->counted == FC_COUNT_ELEMENTS) divide_by_count(r, x, vectors, done, &last);
            if (operation != TOTAL && done == start) {  /* of elements of -inf, too, the first stays */
                EACH_VECTOR forwards[v] = x[v];
            } else {
                EACH_VECTOR forwards[v] = joined(operation, forwards[v], &x[v]);
            }
        }
        EACH_VECTOR {
            out[v] = a < b ? forwards[v] : nothing(operation);
            if (a < b && a < top) {
                out[v] = held_state(operation, held + ((a - base) * vectors + v) * size, count);
                out[v] = joined(operation, out[v], &forwards[v]);
            }
        }
        if (operation == TOTAL && r->counted == FC_COUNT_OUTPUTS)
            divide_by_count(r, out, vectors, r->output + j, &last);
        EACH_VECTOR emit(operation, r, j, &l[v], out[v]);
        move_on(&begin, whole, rest, w->per);
        move_on(&end, whole, rest, w->per);
    }
}

INLINE void running_part(int operation, const fc_running *r)
{
    const int wide = RUNNING_VECTORS * LANES;
    int64_t lane = 0;
    if (r->source_lane_step == 1 && r->target_lane_step == 1)
        for (; lane + wide <= r->lanes; lane += wide) running_group(operation, RUNNING_VECTORS, r, lane, LANES);
    for (; lane < r->lanes; lane += LANES) running_group(operation, 1, r, lane, clamp_lane(r->lanes - lane));
}

static void running_max(const fc_running *r)
{
    if (r->indices || r->target_places) running_part(MAXIMUM_AND_PLACE, r);
    else running_part(MAXIMUM, r);
}

static void running_sum(const fc_running *r) { running_part(TOTAL, r); }

/* ---- rows, turned so that each has a lane --------------------------------------------------------------- */

/* Elements [begin, end) of the rows, to lanes[(k - begin) * LANES + row]. */
INLINE void rows_to_lanes(real *lanes, const fc_running *r, const fc_running_row *rows, int count, int64_t begin, int64_t end,
                          real fill)
{
    const int64_t step = r->source_step;
    int64_t low = begin, high = end;  /* all rows have what lies between */
    for (int i = 0; i < count; i++) {
        if (rows[i].low > low) low = rows[i].low;
        if (rows[i].high < high) high = rows[i].high;
    }
    int64_t k = begin;
    while (k < end) {
        if (step == 1 && k >= low && k + LANES <= high) {
            vec v[MOST_INTERLEAVED];
            for (int i = 0; i < LANES; i++) v[i] = load((const real *)rows[i < count ? i : 0].source + k);
            transpose(v);
            UNROLL
            for (int i = 0; i < LANES; i++) store(lanes + (k - begin + i) * LANES, v[i]);
            k += LANES;
            continue;
        }
        for (int i = 0; i < LANES; i++) {
            const fc_running_row *row = &rows[i < count ? i : 0];
            lanes[(k - begin) * LANES + i] = k < row->low || k >= row->high ? fill : ((const real *)row->source)[k * step];
        }
        k++;
    }
}

/* Lanes of reals, or of places, back to rows. */
INLINE void reals_to_row(const vec *turned, const fc_running_row *row, int64_t j, int count, int64_t step, int i)
{
    real *to = (real *)row->target + j * step;
    if (step == 1) {
        if (count == LANES) store(to, turned[i]);
        else store_first(to, turned[i], count);
        return;
    }
    for (int n = 0; n < count; n++) to[n * step] = turned[i][n];
}

INLINE void places_to_row(const vec *turned, const fc_running *r, const fc_running_row *row, int64_t j, int count, int i)
{
    lane_index lanes[LANES];
    memcpy(lanes, &turned[i], sizeof lanes);
    if (r->indices) {
        int64_t *to = (int64_t *)row->target_places + j * r->index_step;
        if (r->index_step == 1 && count == LANES)
            for (int n = 0; n < LANES; n++) to[n] = lanes[n];
        else
            for (int n = 0; n < count; n++) to[n * r->index_step] = lanes[n];
    } else if (count == LANES) memcpy((lane_index *)row->target_places + j, lanes, sizeof lanes);
    else memcpy((lane_index *)row->target_places + j, lanes, (size_t)count * sizeof(lane_index));
}

INLINE void lanes_to_rows(int operation, const fc_running *r, const fc_running_row *rows, int count, const void *outputs,
                          const lane_index *places)
{
    if (operation == TOTAL && r->target_totals && PARTS > 1) {
        for (int i = 0; i < count; i++)
            for (int64_t j = 0; j < rows[i].outputs; j++)
                ((double *)rows[i].target)[j] = ((const double *)outputs)[j * LANES + i];
        return;
    }
    for (int64_t j = 0; j < r->outputs; j += LANES) {
        vec v[MOST_INTERLEAVED], p[MOST_INTERLEAVED];  /* what lies behind the last output is read, but not used */
        for (int i = 0; i < LANES; i++) v[i] = load((const real *)outputs + (j + i) * LANES);
        transpose(v);
        if (operation == MAXIMUM_AND_PLACE) {
            for (int i = 0; i < LANES; i++) memcpy(&p[i], places + (j + i) * LANES, sizeof p[i]);
            transpose(p);
        }
        for (int i = 0; i < count; i++) {
            const int left = clamp_lane(rows[i].outputs - j);
            reals_to_row(v, &rows[i], j, left, r->target_step, i);
            if (operation == MAXIMUM_AND_PLACE) places_to_row(p, r, &rows[i], j, left, i);
        }
    }
}

INLINE void running_turned(int operation, const fc_running *r, const fc_running_row *rows, int count)
{
    const fc_ends *w = &r->windows;
    const int64_t last = r->output + r->outputs - 1, outputs = (r->outputs + LANES - 1) / LANES * LANES;
    const int64_t begin = limited(w, end_at(w, w->low, r->output)), end = limited(w, end_at(w, w->high, last));
    const int64_t elements = end > begin ? end - begin : 0;
    lane_index lane_places[2 * LANES];
    int64_t shift[LANES + 2];
    fc_running turned = *r;
    real *lanes = r->scratch, *values = lanes + elements * LANES;
    const int value_reals = operation == TOTAL && r->target_totals ? PARTS : 1;
    lane_index *places = (lane_index *)(values + outputs * LANES * value_reals);
    rows_to_lanes(lanes, r, rows, count, begin, end, operation == TOTAL ? (real)0 : -(real)__builtin_inf());
    for (int i = 0; i < LANES; i++) {
        const fc_running_row *row = &rows[i < count ? i : count - 1];
        lane_places[i] = (lane_index)row->place;
        lane_places[LANES + i] = (lane_index)(row->place + row->low * r->place_step);
        shift[i] = row->shift;
        if (i == 0 || row->shift < shift[LEAST_SHIFT]) shift[LEAST_SHIFT] = row->shift;
        if (i == 0 || row->shift > shift[GREATEST_SHIFT]) shift[GREATEST_SHIFT] = row->shift;
    }
    turned.source = lanes - begin * LANES;
    turned.source_step = turned.target_step = turned.lanes = LANES;
    turned.source_lane_step = turned.target_lane_step = 1;
    turned.source_totals = 0;
    turned.places = turned.indices = NULL;
    turned.lane_places = lane_places;
    turned.shift = shift;
    turned.target = values;
    turned.target_places = operation == MAXIMUM_AND_PLACE ? places : NULL;
    turned.scratch = places + (operation == MAXIMUM_AND_PLACE ? outputs * LANES : 0);
    running_group(operation, 1, &turned, 0, LANES);
    lanes_to_rows(operation, r, rows, count, values, places);
}

static void running_max_rows(const fc_running *r, const fc_running_row *rows, int count)
{
    if (r->indices || r->target_places) running_turned(MAXIMUM_AND_PLACE, r, rows, count);
    else running_turned(MAXIMUM, r, rows, count);
}

static void running_sum_rows(const fc_running *r, const fc_running_row *rows, int count)
{
    running_turned(TOTAL, r, rows, count);
}
