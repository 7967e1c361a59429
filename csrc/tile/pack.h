/* The packers: strided blocks and convolution windows of the user's memory become panels (see fc_api.h).
 *
 * `pack` serves weights and gradients, `pack_windows` the windows of neighbouring pixels (im2col). Two memory
 * orders are fast: neighbouring panel columns adjacent in memory, or 2 or 4 elements apart (copied), and
 * neighbouring depths adjacent (transposed in registers).
 */
#include "../fc_api.h"
#include "simd.h"

/* Columns that fill no vector may be stored as a whole one all the same where the lanes too many fall on elements that
 * are yet to be written (masked stores are slow on some machines): behind each row, if there is `room` for that in it,
 * or on the rows to come. In so many of `depth` rows. */
INLINE int64_t overlapping_rows(int64_t step, int64_t width, int64_t room, int64_t column, int64_t depth)
{
    if (column + LANES <= room) return depth;
    if (step != width) return 0;
    const int64_t beyond = (column + LANES - 1) / width;  /* rows that a vector reaches into */
    return depth > beyond ? depth - beyond : 0;
}

INLINE void pack_adjacent_columns(real *panel, int64_t step, int64_t width, int64_t room, int64_t depth,
                                  const real *source, int64_t k_stride)
{
    const int64_t whole = width / LANES * LANES;
    const int tail = (int)(width - whole);
    const int64_t overlapping = tail ? overlapping_rows(step, width, room, whole, depth) : 0;
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t i = 0; i < whole; i += LANES) store(panel + i, load(source + i));
        if (k < overlapping) store(panel + whole, load_first(source + whole, tail));
        else if (tail) store_first(panel + whole, load_first(source + whole, tail), tail);
        panel += step;
        source += k_stride;
    }
}

/* `width` <= LANES columns, each contiguous along the depth. */
INLINE void pack_adjacent_depths(real *panel, int64_t step, int width, int64_t depth, int64_t overlapping,
                                 const real *source, int64_t i_stride)
{
    const int64_t whole = width == LANES ? depth : overlapping;
    const real *row[LANES];
    vec block[LANES];
    int64_t k = 0;
    for (int i = 0; i < LANES; i++) row[i] = source + (i < width ? i : 0) * i_stride;
    for (; k + LANES <= whole; k += LANES) {
        UNROLL
        for (int i = 0; i < LANES; i++) block[i] = load(row[i] + k);
        transpose(block);
        UNROLL
        for (int l = 0; l < LANES; l++) store(panel + (k + l) * step, block[l]);
    }
    for (; k < depth; k += LANES) {
        const int depths = depth - k < LANES ? (int)(depth - k) : LANES;
        for (int i = 0; i < LANES; i++)
            block[i] = i < width ? load_first(source + i * i_stride + k, depths) : (vec){0};
        transpose(block);
        for (int l = 0; l < depths; l++) store_first(panel + (k + l) * step, block[l], width);
    }
}

/* The same for a panel of 2, 4 or 8 columns that stands alone: its rows, one behind the other, fill whole vectors. */
INLINE void pack_narrow(real *panel, int width, int64_t depth, const real *source, int64_t i_stride)
{
    for (int64_t k = 0; k < depth; k += LANES) {
        const int depths = depth - k < LANES ? (int)(depth - k) : LANES;
        vec rows[MOST_INTERLEAVED];
        UNROLL
        for (int i = 0; i < width; i++) rows[i] = load_up_to(source + i * i_stride + k, depths);
        interleave(rows, width);
        UNROLL
        for (int i = 0; i < width; i++) {
            const int rest = depths * width - i * LANES;
            if (rest > 0) store_up_to(panel + k * width + i * LANES, rows[i], rest < LANES ? rest : LANES);
        }
    }
}

/* Every second element of two vectors, or every fourth of four. */
INLINE vec every(int stride, const vec *v)
{
    const vec low = SHUFFLE(v[0], v[1], UNZIP_EVEN);
    return stride == 2 ? low : SHUFFLE(low, SHUFFLE(v[2], v[3], UNZIP_EVEN), UNZIP_EVEN);
}

/* Neighbouring columns 2 or 4 elements apart in memory (a strided convolution along a contiguous width). */
INLINE void pack_every(int stride, real *panel, int64_t step, int64_t width, int64_t room, int64_t depth,
                       const real *source, int64_t k_stride)
{
    for (int64_t i = 0; i < width; i += LANES) {
        const int64_t columns = width - i < LANES ? width - i : LANES;
        const int64_t elements = stride * (columns - 1) + 1;  /* the last one is the last that is wanted */
        const int64_t overlapping = i && i + LANES > room ? 0 : overlapping_rows(step, width, room, i, depth);
        const mask out = first_lanes((int)columns);
        mask in[4];
        for (int v = 0; v < stride; v++) in[v] = first_lanes(clamp_lane(elements - v * LANES));
        for (int64_t k = 0; k < depth; k++) {
            const real *from = source + k * k_stride + stride * i;
            vec block[4];
            UNROLL
            for (int v = 0; v < stride; v++)
                block[v] = columns == LANES && v < stride - 1 ? load(from + v * LANES) : load_masked(from + v * LANES, in[v]);
            if (k < overlapping) store(panel + k * step + i, every(stride, block));
            else store_masked(panel + k * step + i, every(stride, block), out);
        }
    }
}

/* `room` is how many elements of a row, from the first one on, may be overwritten: `width` or more. */
static void pack_roomy(real *panel, int64_t step, int64_t width, int64_t room, int64_t depth, const real *source,
                       int64_t i_stride, int64_t k_stride)
{
    if (i_stride == 1) {
        pack_adjacent_columns(panel, step, width, room, depth, source, k_stride);
    } else if (k_stride == 1 && depth > 2 && step == width && width == 8) {
        pack_narrow(panel, 8, depth, source, i_stride);
    } else if (k_stride == 1 && depth > 2 && step == width && width == 4) {
        pack_narrow(panel, 4, depth, source, i_stride);
    } else if (k_stride == 1 && depth > 2 && step == width && width == 2) {
        pack_narrow(panel, 2, depth, source, i_stride);
    } else if (k_stride == 1 && depth > 2) {
        for (int64_t i = 0; i < width; i += LANES)
            pack_adjacent_depths(panel + i, step, width - i < LANES ? (int)(width - i) : LANES, depth,
                                 i && i + LANES > room ? 0 : overlapping_rows(step, width, room, i, depth),
                                 source + i * i_stride, i_stride);
    } else if (i_stride == 2 && width > 2 && FC_MASKS) {
        pack_every(2, panel, step, width, room, depth, source, k_stride);
    } else if (i_stride == 4 && width > 2 && FC_MASKS) {
        pack_every(4, panel, step, width, room, depth, source, k_stride);
    } else {
        for (int64_t k = 0; k < depth; k++)
            for (int64_t i = 0; i < width; i++) panel[k * step + i] = source[i * i_stride + k * k_stride];
    }
}

static void pack(void *panel, int64_t step, int64_t width, int64_t depth, const void *source, int64_t i_stride,
                 int64_t k_stride)
{
    pack_roomy(panel, step, width, width, depth, source, i_stride, k_stride);
}

static void clear(void *panel_, int64_t step, int64_t width, int64_t depth)
{
    real *panel = panel_;
    for (int64_t k = 0; k < depth; k++)
        for (int64_t i = 0; i < width; i++) panel[k * step + i] = 0;
}

INLINE int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

enum { MOST_PIECES = 32 };

/* One tap of a run of pixels whose source elements are adjacent: columns `column` to `column` + run of the panels,
 * zeros outside [low, high) of the run. Channel by channel, so that memory is read in long strides. */
INLINE void pack_adjacent_run(real *panels, int64_t width, int64_t panel_step, int64_t column, int64_t run, int64_t low,
                              int64_t high, int64_t step, int64_t depth, const real *source, int64_t k_stride)
{
    struct {
        int64_t to, from;
        mask inside, columns;
        int whole;  /* what follows in the panel is yet to be written */
    } piece[MOST_PIECES];  /* what of a vector falls into one panel */
    for (int64_t i = 0; i < run;) {
        int pieces = 0;
        for (; i < run && pieces < MOST_PIECES; pieces++) {
            const int64_t in_panel = (column + i) % width;
            int64_t lanes = width - in_panel < LANES ? width - in_panel : LANES;
            if (lanes > run - i) lanes = run - i;
            piece[pieces].to = (column + i) / width * panel_step + in_panel;
            piece[pieces].from = i;
            piece[pieces].inside = lane_range((int)clamp(low - i, 0, lanes), (int)clamp(high - i, 0, lanes));
            piece[pieces].columns = first_lanes((int)lanes);
            piece[pieces].whole = in_panel + LANES <= width;
            i += lanes;
        }
        for (int64_t k = 0; k < depth; k++)
            for (int p = 0; p < pieces; p++) {
                const vec elements = load_masked(source + k * k_stride + piece[p].from, piece[p].inside);
                if (piece[p].whole) store(panels + k * step + piece[p].to, elements);
                else store_masked(panels + k * step + piece[p].to, elements, piece[p].columns);
            }
    }
}

/* The same for source elements `x_stride` apart. Behind this tap's columns of a panel follow those of `later` taps. */
INLINE void pack_strided_run(real *panels, int64_t width, int64_t panel_step, int64_t column, int64_t run, int64_t low,
                             int64_t high, int64_t step, int64_t later, int64_t depth, const real *source,
                             int64_t x_stride, int64_t k_stride)
{
    int64_t part;
    for (int64_t i = 0; i < run; i += part) {
        const int64_t in_panel = (column + i) % width;
        real *to = panels + (column + i) / width * panel_step + in_panel;
        part = width - in_panel < run - i ? width - in_panel : run - i;
        const int64_t begin = clamp(low - i, 0, part), end = clamp(high - i, begin, part);
        const int64_t room = in_panel == 0 ? (later + 1) * width : width - in_panel;  /* the rest is there already */
        clear(to, step, begin, depth);
        pack_roomy(to + begin, step, end - begin, room - begin, depth, source + (i + begin) * x_stride, x_stride,
                   k_stride);
        clear(to + end, step, part - end, depth);
    }
}

static void pack_windows(void *panels_, int64_t width, const fc_window *window, const void *source_,
                         int64_t pixel, int64_t count, int64_t channels, int64_t first_tap, int64_t taps)
{
    const int64_t *stride = window->stride, *size = window->count, *extent = window->extent;
    const int64_t step = taps * width, panel_step = channels * step, x_stride = window->step[2] * stride[4];
    /* taps are counted up from the first, not divided out each time: small calls would feel it */
    const int64_t kw_first = first_tap % window->taps[2], kdh_first = first_tap / window->taps[2];
    const int64_t kh_first = kdh_first % window->taps[1], kd_first = kdh_first / window->taps[1];
    real *panels = panels_;
    int64_t run;
    for (int64_t filled = 0; filled < count; filled += run) {
        int64_t rest = pixel + filled;
        const int64_t ow = rest % size[2];
        rest /= size[2];
        const int64_t oh = rest % size[1];
        rest /= size[1];
        const int64_t od = rest % size[0];
        const real *image = (const real *)source_ + rest / size[0] * stride[0];
        run = count - filled < size[2] - ow ? count - filled : size[2] - ow;
        int64_t kw = kw_first, kh = kh_first, kd = kd_first;
        const int64_t x_first = ow * window->step[2] + window->first[2];
        const int64_t y_first = oh * window->step[1] + window->first[1];
        for (int64_t t = 0; t < taps; t++, kw++) {
            if (kw == window->taps[2]) {
                kw = 0;
                if (++kh == window->taps[1]) {
                    kh = 0;
                    kd++;
                }
            }
            const int64_t z = od * window->step[0] + window->first[0] + kd * window->delta[0];
            const int64_t y = y_first + kh * window->delta[1];
            const int64_t x = x_first + kw * window->delta[2];
            /* columns [low, high) of the run lie inside the source */
            int64_t low = 0, high = z < 0 || z >= extent[0] || y < 0 || y >= extent[1] ? 0 : run;
            if (x < 0) low = clamp((-x + window->step[2] - 1) / window->step[2], 0, high);
            if (x + (run - 1) * window->step[2] >= extent[2])
                high = x >= extent[2] ? low
                                      : clamp((extent[2] - x + window->step[2] - 1) / window->step[2], low, high);
            const real *from = image + (z * stride[2] + y * stride[3] + x * stride[4]);
            if (x_stride == 1)
                pack_adjacent_run(panels + t * width, width, panel_step, filled, run, low, high, step, channels, from,
                                  stride[1]);
            else
                pack_strided_run(panels + t * width, width, panel_step, filled, run, low, high, step, taps - 1 - t,
                                 channels, from, x_stride, stride[1]);
        }
    }
    const int64_t last = count % width;
    if (last) clear(panels + count / width * panel_step + last, width, width - last, channels * taps);
}
