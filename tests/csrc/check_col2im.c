/* Columns added up where they came from, against plain loops over every element, tap and position. */
#include "check.h"

#include <stdlib.h>

static void check_window(const fc_window *w, int with_bias, enum side side)
{
    const int64_t positions = w->extent[0] * w->extent[1] * w->extent[2];
    const int64_t taps = w->taps[0] * w->taps[1] * w->taps[2], tap_step = positions + random_below(4);
    const int64_t stride[2] = {w->count[1] * (w->count[2] + 2) + 1, w->count[2] + 2};
    const guarded columns = guarded_new((taps - 1) * tap_step + positions, side);
    const int64_t last_row = (w->count[0] - 1) * stride[0] + (w->count[1] - 1) * stride[1];
    const guarded target = guarded_new(last_row + w->count[2], side);
    real *expected = malloc((size_t)target.count * sizeof(real));
    const real bias = 3;
    const fc_finish finish = {.final = 1, .row_bias = with_bias ? &bias : NULL, .activation = with_bias ? FC_RELU : 0};
    describe("col2im, %lld x %lld x %lld from %lld taps", (long long)w->count[0], (long long)w->count[1],
             (long long)w->count[2], (long long)taps);
    fill_integers(columns.data, columns.count);
    for (int64_t i = 0; i < target.count; i++) expected[i] = UNTOUCHED;
    for (int64_t o = 0; o < w->count[0] * w->count[1] * w->count[2]; o++) {
        const int64_t place[3] = {o / w->count[2] / w->count[1], o / w->count[2] % w->count[1], o % w->count[2]};
        real sum = 0;
        for (int64_t t = 0; t < taps; t++) {
            const int64_t tap[3] = {t / w->taps[2] / w->taps[1], t / w->taps[2] % w->taps[1], t % w->taps[2]};
            int64_t position = 0;
            int exists = 1;
            for (int axis = 0; axis < 3; axis++) {
                const int64_t at = place[axis] + w->first[axis] + tap[axis] * w->delta[axis];
                exists &= at >= 0 && at < w->extent[axis];
                position = position * w->extent[axis] + at;
            }
            if (exists) sum += columns.data[t * tap_step + position];
        }
        if (with_bias) sum = sum + bias < 0 ? 0 : sum + bias;
        expected[place[0] * stride[0] + place[1] * stride[1] + place[2]] = sum;
    }
    table->copy.col2im(target.data, stride, columns.data, tap_step, w, &finish);
    expect_same(target.data, expected, target.count);
    guarded_free(columns);
    guarded_free(target);
    free(expected);
}

void check_col2im(void)
{
    for (int i = 0; i < 300; i++) {
        fc_window w;
        for (int axis = 0; axis < 3; axis++) {
            const int64_t dilation = 1 + random_below(3);
            w.extent[axis] = 1 + random_below(axis < 2 ? 5 : i % 5 ? 12 : 60);
            w.taps[axis] = i % 50 == 0 && axis == 2 ? FC_COL2IM_TAPS : 1 + random_below(axis ? 6 : 2);
            w.count[axis] = 1 + random_below(w.extent[axis] + dilation * (w.taps[axis] - 1) + 2);
            w.first[axis] = random_below(dilation * (w.taps[axis] - 1) + 2);
            w.delta[axis] = -dilation;
            w.step[axis] = 1;
        }
        check_window(&w, i % 2, i % 4 < 2 ? AT_START : AT_END);
    }
}
