/* Winograd's minimal filtering F(m, 3): m outputs of a 3-tap filter from m + 2 multiplications instead of 3m.
 *
 *     outputs = A^T [ (G taps) . (B^T inputs) ]        along one axis; nested for two axes
 *
 * Lanes are neighbouring tiles of a row. The matrices follow from the points where polynomials are evaluated,
 * 0, +-p (, +-q) and infinity; rows of +-p share their even and odd halves. With points +-3/4, +-3/2 F(4, 3) has
 * half the rounding error it has with the customary +-1, +-2.
 *
 * Lavin & Gray, "Fast algorithms for convolutional neural networks", arXiv:1509.09308; the construction from
 * points: Blahut, "Fast algorithms for signal processing", 2010, ch. 5.
 */
#include "../fc_api.h"
#include "simd.h"

#define P ((real)0.75)
#define Q ((real)1.5)

/* B^T: m + 2 inputs, `from` apart, to m + 2 values, `to` apart. m == 1 stands for an axis without taps. */
INLINE void winograd_input_1d(int m, const vec *d, int from, vec *v, int to)
{
    if (m == 1) {
        v[0] = d[0];
    } else if (m == 2) {
        v[0 * to] = d[2 * from] - d[0];
        v[1 * to] = d[2 * from] + d[1 * from];
        v[2 * to] = d[2 * from] - d[1 * from];
        v[3 * to] = d[3 * from] - d[1 * from];
    } else {
        const vec p_even = d[4 * from] - (Q * Q) * d[2 * from], p_odd = d[3 * from] - (Q * Q) * d[1 * from];
        const vec q_even = d[4 * from] - (P * P) * d[2 * from], q_odd = d[3 * from] - (P * P) * d[1 * from];
        v[0 * to] = d[4 * from] - (P * P + Q * Q) * d[2 * from] + (P * P * Q * Q) * d[0];
        v[1 * to] = p_even + P * p_odd;
        v[2 * to] = p_even - P * p_odd;
        v[3 * to] = q_even + Q * q_odd;
        v[4 * to] = q_even - Q * q_odd;
        v[5 * to] = d[5 * from] - (P * P + Q * Q) * d[3 * from] + (P * P * Q * Q) * d[1 * from];
    }
}

/* A^T: m + 2 products to m outputs. */
INLINE void winograd_output_1d(int m, const vec *v, int from, vec *y, int to)
{
    if (m == 1) {
        y[0] = v[0];
    } else if (m == 2) {
        y[0 * to] = v[0] + (v[1 * from] + v[2 * from]);
        y[1 * to] = v[3 * from] + (v[1 * from] - v[2 * from]);
    } else {
        const vec p_sum = v[1 * from] + v[2 * from], p_difference = v[1 * from] - v[2 * from];
        const vec q_sum = v[3 * from] + v[4 * from], q_difference = v[3 * from] - v[4 * from];
        y[0 * to] = v[0] + (p_sum + q_sum);
        y[1 * to] = P * p_difference + Q * q_difference;
        y[2 * to] = (P * P) * p_sum + (Q * Q) * q_sum;
        y[3 * to] = v[5 * from] + ((P * P * P) * p_difference + (Q * Q * Q) * q_difference);
    }
}

/* G: 3 taps to m + 2 values. */
INLINE void winograd_weight_1d(int m, const vec *g, int from, vec *u, int to)
{
    if (m == 1) {
        u[0] = g[0];
    } else if (m == 2) {
        const vec even = (real)0.5 * (g[0] + g[2 * from]), odd = (real)0.5 * g[1 * from];
        u[0 * to] = -g[0];
        u[1 * to] = even + odd;
        u[2 * to] = even - odd;
        u[3 * to] = g[2 * from];
    } else {
        const real p_scale = 1 / (2 * P * P * (P * P - Q * Q)), q_scale = 1 / (2 * Q * Q * (Q * Q - P * P));
        const vec p_even = p_scale * (g[0] + (P * P) * g[2 * from]), p_odd = (p_scale * P) * g[1 * from];
        const vec q_even = q_scale * (g[0] + (Q * Q) * g[2 * from]), q_odd = (q_scale * Q) * g[1 * from];
        u[0 * to] = (1 / (P * P * Q * Q)) * g[0];
        u[1 * to] = p_even + p_odd;
        u[2 * to] = p_even - p_odd;
        u[3 * to] = q_even + q_odd;
        u[4 * to] = q_even - q_odd;
        u[5 * to] = g[2 * from];
    }
}

#define SPAN(m) ((m) == 1 ? 1 : (m) + 2)  /* inputs, and points, of a tile along one axis */
enum { MAX_SPAN = 6 };

/* Inputs j = 0 .. m+1 of LANES neighbouring tiles, which start m apart: d[j][t] = x[t * m + j]. */
INLINE void load_tiles(int m, const real *x, vec *d)
{
    if (m == 2) {
        UNROLL
        for (int j = 0; j < 4; j += 2) {
            const vec a = load(x + j), b = load(x + j + LANES);
            d[j] = SHUFFLE(a, b, UNZIP_EVEN);
            d[j + 1] = SHUFFLE(a, b, UNZIP_ODD);
        }
    } else {
        UNROLL
        for (int j = 0; j < 6; j += 4) {
            const vec a = load(x + j), b = load(x + j + LANES);
            const vec c = load(x + j + 2 * LANES), e = load(x + j + 3 * LANES);
            const vec ab_even = SHUFFLE(a, b, UNZIP_EVEN), ab_odd = SHUFFLE(a, b, UNZIP_ODD);
            const vec ce_even = SHUFFLE(c, e, UNZIP_EVEN), ce_odd = SHUFFLE(c, e, UNZIP_ODD);
            d[j] = SHUFFLE(ab_even, ce_even, UNZIP_EVEN);
            d[j + 1] = SHUFFLE(ab_odd, ce_odd, UNZIP_EVEN);
            if (j == 0) {
                d[2] = SHUFFLE(ab_even, ce_even, UNZIP_ODD);
                d[3] = SHUFFLE(ab_odd, ce_odd, UNZIP_ODD);
            }
        }
    }
}

/* The inverse for outputs: x[t * m + j] = y[j][t]. */
INLINE void store_tiles(int m, real *x, const vec *y)
{
    if (m == 2) {
        store(x, SHUFFLE(y[0], y[1], ZIP_LOWER));
        store(x + LANES, SHUFFLE(y[0], y[1], ZIP_UPPER));
    } else {
        const vec even_lower = SHUFFLE(y[0], y[2], ZIP_LOWER), even_upper = SHUFFLE(y[0], y[2], ZIP_UPPER);
        const vec odd_lower = SHUFFLE(y[1], y[3], ZIP_LOWER), odd_upper = SHUFFLE(y[1], y[3], ZIP_UPPER);
        store(x, SHUFFLE(even_lower, odd_lower, ZIP_LOWER));
        store(x + LANES, SHUFFLE(even_lower, odd_lower, ZIP_UPPER));
        store(x + 2 * LANES, SHUFFLE(even_upper, odd_upper, ZIP_LOWER));
        store(x + 3 * LANES, SHUFFLE(even_upper, odd_upper, ZIP_UPPER));
    }
}

INLINE void winograd_input_body(int my, int mx, real *v, int64_t point_step, int64_t k_step, const real *rows,
                                int64_t row_step, int64_t channel_step, int64_t channels, int tiles)
{
    const int span_y = SPAN(my), span_x = SPAN(mx);
    const mask valid = first_lanes(tiles);
    for (int64_t c = 0; c < channels; c++) {
        vec half[MAX_SPAN * MAX_SPAN];
        UNROLL
        for (int y = 0; y < span_y; y++) {
            vec d[MAX_SPAN];
            load_tiles(mx, rows + y * row_step, d);
            winograd_input_1d(mx, d, 1, half + y * span_x, 1);
        }
        UNROLL
        for (int x = 0; x < span_x; x++) {
            vec column[MAX_SPAN];
            winograd_input_1d(my, half + x, span_x, column, 1);
            UNROLL
            for (int y = 0; y < span_y; y++) store_masked(v + (y * span_x + x) * point_step, column[y], valid);
        }
        rows += channel_step;
        v += k_step;
    }
}

INLINE int winograd_output_body(int my, int mx, real *tile, int64_t y_step, int64_t tile_step, const real *sums,
                                int64_t point_step, int64_t sums_step, int rows, int tiles)
{
    const int span_y = SPAN(my), span_x = SPAN(mx);
    const mask valid = first_lanes(tiles);
    vec doubt = {0};  /* becomes NaN in a lane where an output is infinite or NaN */
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
            vec out[MAX_SPAN];
            winograd_output_1d(mx, half + y * span_x, 1, out, 1);
            UNROLL
            for (int x = 0; x < mx; x++) doubt += out[x] - out[x];
            store_tiles(mx, tile + y * y_step, out);
        }
        sums += sums_step;
        tile += tile_step;
    }
    int finite = 1;
    for (int l = 0; l < LANES; l++) finite &= doubt[l] == 0;
    return finite;
}

INLINE void winograd_weight_body(int my, int mx, real *u, int64_t point_step, const real *taps, int64_t width,
                                 int64_t depth, int reversed)
{
    const int span_y = SPAN(my), span_x = SPAN(mx);
    const int tap_rows = my == 1 ? 1 : 3;
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < width; i += LANES) {
            const mask valid = first_lanes(width - i < LANES ? (int)(width - i) : LANES);
            vec g[9], half[3 * MAX_SPAN];
            UNROLL
            for (int t = 0; t < tap_rows * 3; t++)
                g[t] = load_masked(taps + (reversed ? tap_rows * 3 - 1 - t : t) * width + i, valid);
            UNROLL
            for (int y = 0; y < tap_rows; y++) winograd_weight_1d(mx, g + 3 * y, 1, half + y * span_x, 1);
            UNROLL
            for (int x = 0; x < span_x; x++) {
                vec column[MAX_SPAN];
                winograd_weight_1d(my, half + x, span_x, column, 1);
                UNROLL
                for (int y = 0; y < span_y; y++)
                    store_masked(u + (y * span_x + x) * point_step + i, column[y], valid);
            }
        }
        taps += tap_rows * 3 * width;
        u += width;
    }
}

#define WINOGRAD(MY, MX)                                                                                       \
    static void winograd_input_##MY##MX(void *v, int64_t point_step, int64_t k_step, const void *rows,         \
                                        int64_t row_step, int64_t channel_step, int64_t channels, int tiles)   \
    {                                                                                                          \
        winograd_input_body(MY, MX, v, point_step, k_step, rows, row_step, channel_step, channels, tiles);     \
    }                                                                                                          \
    static int winograd_output_##MY##MX(void *tile, int64_t y_step, int64_t tile_step, const void *sums,       \
                                        int64_t point_step, int64_t sums_step, int rows, int tiles)            \
    {                                                                                                          \
        return winograd_output_body(MY, MX, tile, y_step, tile_step, sums, point_step, sums_step, rows,        \
                                    tiles);                                                                    \
    }                                                                                                          \
    static void winograd_weight_##MY##MX(void *u, int64_t point_step, const void *taps, int64_t width,         \
                                         int64_t depth, int reversed)                                          \
    {                                                                                                          \
        winograd_weight_body(MY, MX, u, point_step, taps, width, depth, reversed);                             \
    }
WINOGRAD(1, 2)
WINOGRAD(2, 2)
WINOGRAD(1, 4)
WINOGRAD(4, 4)
#define WINOGRAD_ENTRY(MY, MX)                                                                                 \
    {MY, MX, SPAN(MY) * SPAN(MX), winograd_input_##MY##MX, winograd_output_##MY##MX, winograd_weight_##MY##MX}

#undef P
#undef Q
