/* Depthwise convolution of one output row: as many source rows as the kernel has, each a run of padded memory.
 *
 * No reduction over channels, so no panels: lanes are neighbouring pixels, and up to four vectors of them share
 * each broadcast weight.
 */
#include "../fc_api.h"
#include "simd.h"

INLINE void depthwise_block(int vectors, int taps, real *out, int lanes_of_last, const real *const *rows,
                            const real *const *weights, int row_count, const int64_t *tap_offset,
                            const fc_finish *finish)
{
    vec sum[4];
    UNROLL
    for (int v = 0; v < vectors; v++) sum[v] = (vec){0};
    for (int r = 0; r < row_count; r++) {
        const real *row = rows[r], *weight = weights[r];
        for (int t = 0; t < taps; t++) {
            const real *x = row + tap_offset[t];
            UNROLL
            for (int v = 0; v < vectors; v++) sum[v] += weight[t] * load(x + v * LANES);
        }
    }
    const vec none = {0};
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const vec y = finish_vector(sum[v], none, finish, 0, none);
        store_first(out + v * LANES, y, v == vectors - 1 ? lanes_of_last : LANES);
    }
}

INLINE void depthwise_row_taps(int taps, real *out, int64_t count, const real *const *rows,
                               const real *const *weights, int row_count, const int64_t *tap_offset,
                               const fc_finish *finish)
{
    const real *at[FC_MAX_TAP_ROWS];
    for (int64_t i = 0; i < count; i += 4 * LANES) {
        const int64_t rest = count - i;
        for (int r = 0; r < row_count; r++) at[r] = rows[r] + i;
#define DEPTHWISE(V) depthwise_block(V, taps, out + i, (int)(rest < (V) * LANES ? rest - ((V) - 1) * LANES : LANES), \
                                     at, weights, row_count, tap_offset, finish)
        if (rest > 3 * LANES) DEPTHWISE(4);
        else if (rest > 2 * LANES) DEPTHWISE(3);
        else if (rest > LANES) DEPTHWISE(2);
        else DEPTHWISE(1);
#undef DEPTHWISE
    }
}

static void depthwise_row(void *out, int64_t count, const void *const *rows, const void *const *weights,
                          int row_count, const int64_t *tap_offset, int taps, const fc_finish *finish)
{
    const real *const *r = (const real *const *)rows, *const *w = (const real *const *)weights;
    switch (taps) {  /* the common widths unrolled */
    case 3: depthwise_row_taps(3, out, count, r, w, row_count, tap_offset, finish); break;
    case 5: depthwise_row_taps(5, out, count, r, w, row_count, tap_offset, finish); break;
    case 7: depthwise_row_taps(7, out, count, r, w, row_count, tap_offset, finish); break;
    default: depthwise_row_taps(taps, out, count, r, w, row_count, tap_offset, finish);
    }
}
