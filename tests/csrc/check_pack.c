/* The packers: pack, clear and pack_windows against plain loops. */
#include "check.h"

#include <stdlib.h>

/* ---- pack and clear ------------------------------------------------------------------------------ */

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void check_pack_block(int64_t width, int64_t depth, int64_t i_stride, int64_t k_stride, enum side side)
{
    const int64_t gap = depth % 3, step = width + gap;
    const int64_t i_span = width ? (width - 1) * i_stride : 0, k_span = (depth - 1) * k_stride;
    const int64_t lowest = least(0, i_span) + least(0, k_span);
    const guarded source = guarded_new(width ? llabs(i_span) + llabs(k_span) + 1 : 0, side);
    const guarded panel = guarded_new((depth - 1) * step + width, side);
    real *expected = malloc((size_t)panel.count * sizeof(real));
    for (int64_t i = 0; i < source.count; i++) source.data[i] = (real)i;
    for (int64_t i = 0; i < panel.count; i++) expected[i] = UNTOUCHED;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < width; i++)
            expected[k * step + i] = source.data[i * i_stride + k * k_stride - lowest];
    describe("pack, width %lld, depth %lld, strides %lld and %lld", (long long)width, (long long)depth,
             (long long)i_stride, (long long)k_stride);
    table->copy.pack(panel.data, step, width, depth, source.data - lowest, i_stride, k_stride);
    expect_same(panel.data, expected, panel.count);
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < width; i++) expected[k * step + i] = 0;
    describe("clear, width %lld, depth %lld, step %lld", (long long)width, (long long)depth, (long long)step);
    table->copy.clear(panel.data, step, width, depth);
    expect_same(panel.data, expected, panel.count);
    free(expected);
    guarded_free(source);
    guarded_free(panel);
}

void check_pack(void)
{
    static const int64_t depths[] = {1, 2, 3, 5, 8, 16, 17, 35};
    for (int d = 0; d < COUNT(depths); d++)
        for (int64_t width = 0; width <= 2 * table->gemm.max_columns + 1; width++) {
            const int64_t depth = depths[d];
            const int64_t strides[][2] = {
                {1, width}, {1, width + 5}, {1, 1}, {1, 0}, {1, -width},            /* columns adjacent */
                {depth, 1}, {depth + 5, 1}, {0, 1}, {-depth, 1}, {-1, 1},           /* depths adjacent */
                {2, 2 * width}, {4, 4 * width + 1}, {4, 0}, {3 * depth, 3}, {-1, width}, {depth, -1}, {0, 0},   /* neither */
            };
            for (int s = 0; s < COUNT(strides); s++)
                for (enum side side = AT_START; side <= AT_END; side++)
                    check_pack_block(width, depth, strides[s][0], strides[s][1], side);
        }
}

/* ---- pack_windows -------------------------------------------------------------------------------- */

static const int64_t PADDING = INT64_MIN;

/* Element at position p (N, C, D, H, W) of the source lies at data[offset]; the order of the axes in memory,
 * their direction and gaps between elements are drawn at random. Returns the elements spanned. */
static int64_t random_layout(const int64_t *size, int64_t *stride, int64_t *offset)
{
    int order[5] = {0, 1, 2, 3, 4};
    int64_t span = 1;
    *offset = 0;
    if (random_below(3))  /* one time in three width is innermost, as in most arrays */
        for (int i = 4; i > 0; i--) {
            const int j = (int)random_below(i + 1), other = order[i];
            order[i] = order[j];
            order[j] = other;
        }
    for (int i = 4; i >= 0; i--) {
        const int axis = order[i];
        const int64_t step = random_below(8) == 0 ? 0 : span + (random_below(4) == 0);
        stride[axis] = random_below(5) == 0 ? -step : step;
        if (stride[axis] < 0) *offset += (size[axis] - 1) * step;
        span += (size[axis] - 1) * step;
    }
    return span;
}

/* Where a tap of a pixel lies in the source, or PADDING: straight from the contract. */
static int64_t window_offset(const fc_window *w, int64_t pixel, int64_t tap)
{
    int64_t offset = 0;
    for (int axis = 2; axis >= 0; axis--) {
        const int64_t position = pixel % w->count[axis] * w->step[axis] + w->first[axis]
                               + tap % w->taps[axis] * w->delta[axis];
        pixel /= w->count[axis];
        tap /= w->taps[axis];
        if (position < 0 || position >= w->extent[axis]) return PADDING;
        offset += position * w->stride[2 + axis];
    }
    return offset + pixel * w->stride[0];
}

static void check_random_windows(enum side side)
{
    int64_t size[5] = {1 + random_below(3), 1 + random_below(20)}, all_taps = 1, first;
    fc_window w;
    for (int axis = 0; axis < 3; axis++) {
        w.extent[axis] = size[2 + axis] = 1 + random_below(axis == 2 ? 40 : 4);
        w.count[axis] = 1 + random_below(axis == 2 ? 40 : 4);
        w.step[axis] = 1 + random_below(3) * random_below(2);
        all_taps *= w.taps[axis] = 1 + random_below(4);
        w.first[axis] = axis == 2 ? random_below(30) - 15 : random_below(7) - 3;
        w.delta[axis] = random_below(5) - 2;
    }
    const guarded source = guarded_new(random_layout(size, w.stride, &first), side);
    const int64_t pixels = size[0] * w.count[0] * w.count[1] * w.count[2];
    const int64_t width = 1 + random_below(table->gemm.max_columns), channels = size[1];
    const int64_t pixel = random_below(pixels), most = random_below(2) ? width : 5 * width;
    const int64_t count = 1 + random_below(least(most, pixels - pixel)), panels = (count + width - 1) / width;
    const int64_t first_tap = random_below(all_taps), taps = 1 + random_below(all_taps - first_tap);
    const guarded panel = guarded_new(panels * channels * taps * width, side);
    real *expected = malloc((size_t)panel.count * sizeof(real));
    for (int64_t i = 0; i < source.count; i++) source.data[i] = (real)(1 + i);
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < taps; t++)
            for (int64_t i = 0; i < panels * width; i++) {
                const int64_t at = window_offset(&w, pixel + i, first_tap + t);
                expected[((i / width * channels + c) * taps + t) * width + i % width] =
                    i >= count || at == PADDING ? 0 : source.data[first + c * w.stride[1] + at];
            }
    describe("pack_windows, width %lld, %lld pixels from %lld, %lld channels, taps %lld to %lld",
             (long long)width, (long long)count, (long long)pixel, (long long)channels,
             (long long)first_tap, (long long)(first_tap + taps - 1));
    table->copy.pack_windows(panel.data, width, &w, source.data + first, pixel, count, channels, first_tap, taps);
    expect_same(panel.data, expected, panel.count);
    free(expected);
    guarded_free(source);
    guarded_free(panel);
}

void check_pack_windows(void)
{
    for (int i = 0; i < 4000; i++) check_random_windows(i % 2 ? AT_START : AT_END);
}
