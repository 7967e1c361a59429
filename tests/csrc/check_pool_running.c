/* running_max, running_sum and both of rows against plain loops: windows of any kind, forwards and as a gradient. */
#include "check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_OUTPUTS = 60, MOST_ELEMENTS = 160 };

static int64_t floor_of(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t end_of(const fc_ends *e, int64_t offset, int64_t j)
{
    const int64_t x = floor_of(j * e->step + offset, e->per);
    return x < e->first ? e->first : x > e->last ? e->last : x;
}

/* Windows of `taps` moved by `stride`, or what lies over an element of them. */
static fc_running random_run(int64_t elements)
{
    const int64_t taps = 1 + random_below(elements), stride = 1 + random_below(4), before = random_below(taps / 2 + 1);
    fc_running r = {.source_lane_step = 1, .target_lane_step = 1, .index_lane_step = 1, .place_step = 3, .first_place = 5};
    r.windows = (fc_ends){stride, 1, -before, taps - before, 0, elements};
    r.outputs = 1 + (elements - 1 + before) / stride;
    if (random_below(3) == 0) {
        r.windows = (fc_ends){1, stride, before + stride - taps, before + stride, 0, elements};
        r.outputs = 1 + random_below(elements * stride);
    }
    if (r.outputs > MOST_OUTPUTS) r.outputs = MOST_OUTPUTS;
    r.output = random_below(r.outputs);
    r.outputs -= r.output;
    r.block = (r.windows.high - r.windows.low) / r.windows.per;
    if (r.block < 1) r.block = 1;
    r.counts = r.windows;
    r.counted = random_below(2) ? FC_COUNT_OUTPUTS : FC_COUNT_NONE;
    describe("running: %lld elements, step %lld / %lld, from %lld to %lld, %lld outputs from %lld", (long long)elements,
             (long long)r.windows.step, (long long)r.windows.per, (long long)r.windows.low, (long long)r.windows.high,
             (long long)r.outputs, (long long)r.output);
    return r;
}

/* Output j of a lane, whose elements are `step` apart. */
static real expected(const fc_running *r, int of_sum, const real *lane, int64_t step, int64_t j, int64_t *place)
{
    const int64_t a = end_of(&r->windows, r->windows.low, j), b = end_of(&r->windows, r->windows.high, j);
    double sum = 0;
    real best = a < b ? lane[a * step] : (real)-INFINITY;
    *place = r->first_place + a * r->place_step;
    for (int64_t k = a; k < b; k++) {
        const real x = lane[k * step];
        sum += (double)x;
        if (best == best && !(x <= best)) {
            best = x;
            *place = r->first_place + k * r->place_step;
        }
    }
    if (!of_sum) return best;
    return (real)(r->counted == FC_COUNT_OUTPUTS && b > a ? sum / (double)(b - a) : sum);
}

static void compare(const fc_running *r, int of_sum, const real *source, int64_t lanes, int64_t lane_step, int64_t step,
                    const real *target, const int64_t *indices, int64_t target_lane_step, int64_t target_step)
{
    for (int64_t j = 0; j < r->outputs; j++)
        for (int64_t i = 0; i < lanes; i++) {
            int64_t place;
            const real want = expected(r, of_sum, source + i * lane_step, step, r->output + j, &place);
            const int64_t at = i * target_lane_step + j * target_step;
            const int empty = end_of(&r->windows, r->windows.low, r->output + j)
                              >= end_of(&r->windows, r->windows.high, r->output + j);
            if (empty && !of_sum) continue;  /* maxima always have elements */
            if (of_sum ? fabs((double)(target[at] - want)) > 1e-5 : target[at] != want && want == want)
                fail("output %lld of lane %lld: %g, not %g", (long long)j, (long long)i, (double)target[at], (double)want);
            if (!of_sum && indices[at] != place)
                fail("place %lld of lane %lld: %lld, not %lld", (long long)j, (long long)i, (long long)indices[at],
                     (long long)place);
        }
}

static void check_run(int of_sum, int of_rows, enum side side)
{
    const int64_t elements = 1 + random_below(MOST_ELEMENTS), vector = table->lanes;
    const int64_t lanes = 1 + random_below(of_rows ? vector : 6 * vector);
    fc_running r = random_run(elements);
    const guarded source = guarded_new(elements * lanes, side), target = guarded_new(r.outputs * lanes, side);
    int64_t *indices = calloc((size_t)target.count, sizeof *indices);
    const size_t states = (size_t)(4 * vector * (elements + MOST_OUTPUTS + 2 * vector) * 4);
    r.scratch = aligned_alloc(64, (states * sizeof(double) + 63) / 64 * 64);
    fill_integers(source.data, source.count);
    for (int i = 0; i < 3 && !of_sum; i++) source.data[random_below(source.count)] = i == 2 ? NAN : (real)-INFINITY;
    fc_running_row rows[16];
    if (of_rows) {
        r.source_step = r.target_step = r.index_step = 1;
        r.indices = indices;
        for (int64_t i = 0; i < lanes; i++)
            rows[i] = (fc_running_row){source.data + i * elements, target.data + i * r.outputs, indices + i * r.outputs, 0,
                                       elements, r.outputs, r.first_place, 0};
        if (of_sum) table->pool.running_sum_rows(&r, rows, (int)lanes);
        else table->pool.running_max_rows(&r, rows, (int)lanes);
        compare(&r, of_sum, source.data, lanes, elements, 1, target.data, indices, r.outputs, 1);
    } else {
        r.lanes = r.source_step = r.target_step = r.index_step = lanes;
        r.source = source.data;
        r.target = target.data;
        r.indices = indices;
        if (of_sum) table->pool.running_sum(&r);
        else table->pool.running_max(&r);
        compare(&r, of_sum, source.data, lanes, 1, lanes, target.data, indices, 1, lanes);
    }
    free(r.scratch);
    free(indices);
    guarded_free(source);
    guarded_free(target);
}

void check_pool_running(void)
{
    for (int i = 0; i < 800; i++) check_run(i % 2, i / 2 % 2, i % 8 < 4 ? AT_START : AT_END);
}
