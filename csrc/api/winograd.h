/* The transforms around the products of a Winograd convolution. */
#ifndef FC_API_WINOGRAD_H
#define FC_API_WINOGRAD_H

#include "finish.h"

#include <stdint.h>

/* Neighbouring tiles of one row of tiles, which take lanes [lane, lane + tiles) of a vector. Place x of row y, counted
 * from the first tile's first, lies at row[y] + x * step; only places [low, high) exist, and rows that are not NULL. */
enum { FC_MAX_SPAN = 6 };
typedef struct fc_winograd_run {
    int64_t lane, tiles, low, high, step;
    void *row[FC_MAX_SPAN];
} fc_winograd_run;

/* The transforms around the products of a Winograd convolution with `taps` (x `taps`) taps: see winograd.h. A point
 * is one of the (tile + taps - 1)^2 places at which products are formed (one row of them if tile_y is 1).
 * Runs follow each other from lane 0 on. */
typedef struct fc_winograd {
    int tile_y, tile_x;  /* outputs of a tile */
    int taps;            /* along an axis with tiles */
    int points;

    /* v[point * point_step + c * k_step + lane] from the inputs of the runs' tiles, channel_step apart; a place that
     * does not exist is zero. */
    void (*input)(void *v, int64_t point_step, int64_t k_step, const fc_winograd_run *runs, int run_count,
                  int64_t channel_step, int64_t channels);

    /* The outputs of the runs' tiles, channel_step apart for each of `rows` rows of sums, from
     * sums[point * point_step + i * sums_step + lane]; with bias and activation (finish->final). Returns a bit for
     * each lane with an output that is infinite or NaN before that. */
    int64_t (*output)(const fc_winograd_run *runs, int run_count, int64_t channel_step, const void *sums,
                      int64_t point_step, int64_t sums_step, int rows, const fc_finish *finish);

    /* `input` where channels are adjacent: v[point * point_step + lane * tile_step + c]. Any number of tiles. */
    void (*input_channels)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs, int run_count,
                           int64_t channels);

    /* `output` where channels are adjacent, from sums[point * point_step + lane * tile_step + c]; the bias is that of
     * the columns. Returns a bit for each run with an output that is infinite or NaN before bias and activation. */
    int64_t (*output_channels)(const fc_winograd_run *runs, int run_count, const void *sums, int64_t point_step,
                               int64_t tile_step, int64_t channels, const fc_finish *finish);

    /* u[point * point_step + k * width + i] from a weight panel taps[(k * taps^2 + tap) * width + i] (one row of
     * taps if tile_y is 1), last tap first if `reversed`. */
    void (*weight)(void *u, int64_t point_step, const void *taps, int64_t width, int64_t depth, int reversed);

    /* For the weight gradient, whose products are of transformed inputs and outputs: `input_channels` for the runs'
     * outputs ... */
    void (*grad_output_channels)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs,
                                 int run_count, int64_t channels);

    /* ... and the gradients of the taps, taps[tap * tap_step + i] from sums[point * point_step + i] for i < width.
     * Returns 0 if any is infinite or NaN. */
    int (*grad_weight)(void *taps, int64_t tap_step, const void *sums, int64_t point_step, int64_t width);
} fc_winograd;

enum { FC_WINOGRADS = 6 };

#endif
