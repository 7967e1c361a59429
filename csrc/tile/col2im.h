/* The way back from windows to what they were taken from (col2im): an element is the sum of all places of the columns
 * that it was copied to. Each is gathered, not the columns scattered: it is written once, and vectors are neighbouring
 * elements, of which a tap's columns have the same neighbours. */
#include "../fc_api.h"
#include "simd.h"

/* Neighbouring taps, along D or H, whose windows exist for one position: the first and how many. */
typedef struct met_taps {
    int64_t first, count;
} met_taps;

INLINE met_taps taps_met(const fc_window *w, int axis, int64_t position)
{
    met_taps met = {0, 0};
    for (int64_t t = 0; t < w->taps[axis]; t++) {
        const int64_t at = position + w->first[axis] + t * w->delta[axis];
        if (at < 0 || at >= w->extent[axis]) continue;
        if (!met.count) met.first = t;
        met.count++;
    }
    return met;
}

/* A tap of a kernel row for one vector of each row: the lanes whose windows exist, and where its columns lie. */
typedef struct tap_lanes {
    mask valid;
    int64_t offset;
} tap_lanes;

INLINE int taps_of_lanes(const fc_window *w, int64_t tap_step, int64_t x, tap_lanes *met)
{
    int count = 0;
    for (int64_t t = 0; t < w->taps[2]; t++) {
        const int64_t at = x + w->first[2] + t * w->delta[2];
        const int low = clamp_lane(-at), high = clamp_lane(w->extent[2] - at);
        if (low < high) met[count++] = (tap_lanes){lane_range(low, high), t * tap_step + at};
    }
    return count;
}

static void col2im(void *target, const int64_t *stride, const void *columns, int64_t tap_step, const fc_window *w,
                   const fc_finish *finish)
{
    const int64_t line = w->extent[2], plane = w->extent[1] * line, width = w->count[2];
    /* from tap to tap the window moves against the columns */
    const int64_t row_step = w->taps[2] * tap_step + w->delta[1] * line;
    const int64_t plane_step = w->taps[1] * w->taps[2] * tap_step + w->delta[0] * plane;
    for (int64_t x = 0; x < width; x += LANES) {
        tap_lanes met[FC_COL2IM_TAPS];
        const int count = taps_of_lanes(w, tap_step, x, met), lanes = clamp_lane(width - x);
        for (int64_t z = 0; z < w->count[0]; z++) {
            const met_taps planes = taps_met(w, 0, z);
            for (int64_t y = 0; y < w->count[1]; y++) {
                const met_taps rows = taps_met(w, 1, y);
                const real *from = (const real *)columns + (z + w->first[0]) * plane + planes.first * plane_step
                                   + (y + w->first[1]) * line + rows.first * row_step;
                vec sum = {0};
                for (int64_t d = 0; d < planes.count; d++, from += plane_step)
                    for (int t = 0; t < count; t++) {
                        const real *row = from + met[t].offset;
                        for (int64_t h = 0; h < rows.count; h++, row += row_step) sum += load_masked(row, met[t].valid);
                    }
                store_first((real *)target + z * stride[0] + y * stride[1] + x,
                            finish_vector(sum, (vec){0}, finish, 0, (vec){0}), lanes);
            }
        }
    }
}
