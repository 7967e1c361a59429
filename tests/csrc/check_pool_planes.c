/* Averages of whole planes and their gradient against plain loops, contiguous and side by side. */
#include "check.h"

#include <stdlib.h>

static void check_planes(int64_t planes, int64_t pixels, int side_by_side, enum side side)
{
    const int64_t between = random_below(3), step = (side_by_side ? planes : pixels) + between;
    const fc_planes p = {.planes = planes, .pixels = pixels, .plane_step = side_by_side ? 1 : step,
                         .pixel_step = side_by_side ? step : 1, .divisor = 4};
    const guarded all = guarded_new((side_by_side ? pixels - 1 : planes - 1) * step + step - between, side);
    const guarded averages = guarded_new(planes, side), expected = guarded_new(planes, side);
    real *spread = malloc((size_t)all.count * sizeof(real));
    describe("average_planes, %lld of %lld, side by side %d", (long long)planes, (long long)pixels, side_by_side);
    fill_integers(all.data, all.count);
    for (int64_t i = 0; i < planes; i++) {
        double sum = 0;
        for (int64_t x = 0; x < pixels; x++) sum += (double)all.data[i * p.plane_step + x * p.pixel_step];
        expected.data[i] = (real)(sum / p.divisor);
    }
    table->pool.average_planes(averages.data, all.data, &p);
    expect_same(averages.data, expected.data, planes);

    if (!side_by_side) {
        describe("spread_planes, %lld of %lld", (long long)planes, (long long)pixels);
        for (int64_t i = 0; i < all.count; i++) all.data[i] = spread[i] = UNTOUCHED;
        for (int64_t i = 0; i < all.count; i++)
            if (i % step < pixels) spread[i] = averages.data[i / step] / 4;
        table->pool.spread_planes(all.data, averages.data, &p);
        expect_same(all.data, spread, all.count);
    }
    guarded_free(all);
    guarded_free(averages);
    guarded_free(expected);
    free(spread);
}

/* Sums that round are the same to the bit in both memory orders. */
static void check_orders(int64_t planes, int64_t pixels)
{
    const guarded rows = guarded_new(planes * pixels, AT_END), columns = guarded_new(planes * pixels, AT_END);
    const guarded of_rows = guarded_new(planes, AT_END), of_columns = guarded_new(planes, AT_END);
    const fc_planes apart = {.planes = planes, .pixels = pixels, .plane_step = pixels, .pixel_step = 1, .divisor = 7};
    const fc_planes together = {.planes = planes, .pixels = pixels, .plane_step = 1, .pixel_step = planes, .divisor = 7};
    fill_fractions(rows.data, rows.count);
    for (int64_t i = 0; i < planes; i++)
        for (int64_t x = 0; x < pixels; x++) columns.data[x * planes + i] = rows.data[i * pixels + x];
    describe("average_planes, %lld of %lld in both orders", (long long)planes, (long long)pixels);
    table->pool.average_planes(of_rows.data, rows.data, &apart);
    table->pool.average_planes(of_columns.data, columns.data, &together);
    expect_same(of_columns.data, of_rows.data, planes);
    guarded_free(rows);
    guarded_free(columns);
    guarded_free(of_rows);
    guarded_free(of_columns);
}

void check_planes_averaged(void)
{
    for (int i = 0; i < 200; i++) {
        const int64_t planes = 1 + random_below(i % 4 ? 40 : 300), pixels = 2 + random_below(i % 3 ? 60 : 200);
        check_planes(planes, pixels, i % 2, i % 8 < 4 ? AT_START : AT_END);
        if (planes > 1) check_orders(planes, pixels);
    }
}
