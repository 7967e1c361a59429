/* depthwise_row against plain loops: any number of rows and taps, offsets in any order. */
#include "check.h"

#include <stdlib.h>

enum { MOST_ROWS = 9, MOST_TAPS = 9 };

static real finished(real sum, const fc_finish *finish)
{
    if (finish->row_bias) sum += *(const real *)finish->row_bias;
    if (finish->activation == FC_RELU && sum < 0) sum = 0;
    return sum;
}

static void check_row(int row_count, int taps, int64_t count, enum side side)
{
    const int64_t readable = (count + table->lanes - 1) / table->lanes * table->lanes;
    int64_t tap_offset[MOST_TAPS], reach = 0;
    guarded rows[MOST_ROWS], weights[MOST_ROWS];
    const void *row[MOST_ROWS], *weight[MOST_ROWS];
    for (int t = 0; t < taps; t++) {
        tap_offset[t] = random_below(20);
        if (tap_offset[t] > reach) reach = tap_offset[t];
    }
    for (int r = 0; r < row_count; r++) {
        rows[r] = guarded_new(readable + reach, side);
        weights[r] = guarded_new(taps, side);
        fill_integers(rows[r].data, rows[r].count);
        fill_integers(weights[r].data, weights[r].count);
        row[r] = rows[r].data;
        weight[r] = weights[r].data;
    }
    const guarded out = guarded_new(count, side);
    real *expected = malloc((size_t)count * sizeof(real));
    const real bias = 2;
    const fc_finish finishes[] = {
        {.final = 1},
        {.final = 1, .row_bias = &bias, .activation = FC_RELU},
    };
    for (int f = 0; f < COUNT(finishes); f++) {
        for (int64_t i = 0; i < count; i++) {
            real sum = 0;
            for (int r = 0; r < row_count; r++)
                for (int t = 0; t < taps; t++) sum += weights[r].data[t] * rows[r].data[tap_offset[t] + i];
            expected[i] = finished(sum, &finishes[f]);
        }
        describe("depthwise_row, %d rows, %d taps, %lld pixels, finish %d", row_count, taps, (long long)count, f);
        table->depthwise_row(out.data, count, row, weight, row_count, tap_offset, taps, &finishes[f]);
        expect_same(out.data, expected, count);
    }
    free(expected);
    guarded_free(out);
    for (int r = 0; r < row_count; r++) {
        guarded_free(rows[r]);
        guarded_free(weights[r]);
    }
}

void check_depthwise_row(void)
{
    for (int side = AT_START; side <= AT_END; side++)
        for (int row_count = 0; row_count <= MOST_ROWS; row_count += 3)
            for (int taps = 1; taps <= MOST_TAPS; taps++)
                for (int64_t count = 1; count <= 5 * table->lanes + 1; count += 1 + random_below(table->lanes))
                    check_row(row_count, taps, count, side);
}
