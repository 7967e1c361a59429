/* The gradient of pooling as a gather: each element adds up what the few windows that cover it have for it, in the order
 * of their outputs. Nothing is scattered, and nothing zeroed first.
 *
 * An output has its gradient for one element, the one that its position names, or equal shares for all (averages).
 * Rows of grad_output lie in scratch between zeros, so that no window has to be asked whether it exists.
 */
#include "../fc_api.h"
#include "simd.h"

/* Outputs [low, high] whose windows reach elements [begin, end). */
typedef struct output_range {
    int64_t low, high;
} output_range;

INLINE output_range reaching(const fc_pool_axis *axis, int64_t begin, int64_t end)
{
    const int64_t first = begin + axis->before - (axis->taps - 1) * axis->dilation;
    const int64_t low = first > 0 ? (first + axis->stride - 1) / axis->stride : 0;
    const int64_t high = (end - 1 + axis->before) / axis->stride;
    return (output_range){low, high < axis->outputs ? high : axis->outputs - 1};
}

/* The most windows of an axis that one element lies under. */
INLINE int64_t most_sources(const fc_pool_axis *axis)
{
    const int64_t reach = (axis->taps - 1) * axis->dilation / axis->stride + 1;
    return reach < axis->taps ? reach : axis->taps;
}

/* A row of outputs whose windows are over a row of elements: where it begins in scratch and among the positions, both
 * counted from the first that reaches the part, and the number of its first tap. */
typedef struct row_source {
    int64_t lane, position, tap;
} row_source;

/* What is the same for all planes of a part. */
typedef struct gradient_band {
    int64_t first;          /* the output at the beginning of scratch rows; perhaps before the first that exists */
    int64_t low, high;      /* lanes of outputs that exist */
    int64_t pitch;          /* lanes of a row in scratch */
    output_range planes, rows;
    row_source *sources;    /* `most` for each row of the part */
    int64_t *count;
    int64_t most;
    double *factor;         /* of averages, per lane */
    real *gradient;         /* rows of grad_output, those of each plane of outputs after those of the one before */
} gradient_band;

static void describe_gradient(const fc_pool *pool, const fc_pool_part *part, gradient_band *band)
{
    const fc_pool_axis *depth = &pool->axis[0], *height = &pool->axis[1], *width = &pool->axis[2];
    const int64_t end = part->column + part->columns, channels = pool->channels;
    const output_range over = reaching(width, part->column, end);
    band->planes = reaching(depth, part->depth, part->depth + 1);
    band->rows = reaching(height, part->row, part->row + part->rows);
    band->most = most_sources(depth) * most_sources(height);
    band->first = over.low;
    int64_t outputs = over.high - over.low + 1;
    if (channels == 1) {  /* whole vectors from wherever a window that reaches the part might begin */
        const int64_t low = (part->column + width->before) / width->stride;
        band->first = low - (width->taps - 1) * width->dilation / width->stride;
        outputs = (end - 1 + width->before) / width->stride + LANES - band->first;
    }
    if (outputs < 0) outputs = 0;
    band->low = (band->first < 0 ? -band->first : 0) * channels;
    band->high = (width->outputs - band->first < outputs ? width->outputs - band->first : outputs) * channels;
    band->pitch = (outputs * channels + LANES - 1) / LANES * LANES + LANES;
    band->sources = part->scratch;
    band->count = (int64_t *)(band->sources + part->rows * band->most);
    band->factor = (double *)(band->count + part->rows);
    band->gradient = (real *)(band->factor + (part->positions ? 0 : band->pitch));
    if (!part->positions) {
        for (int64_t lane = 0; lane < band->pitch; lane++) band->factor[lane] = 1;
        for (int64_t lane = band->low, o = band->first + lane / channels; lane < band->high; o++) {
            const double factor = as_factor(counted(pool, 2, o));
            for (int64_t c = 0; c < channels; c++) band->factor[lane++] = factor;
        }
    }
    memset(band->count, 0, (size_t)part->rows * sizeof(int64_t));
    int64_t row = 0;
    for (int64_t oz = band->planes.low; oz <= band->planes.high; oz++) {
        const int64_t z = part->depth + depth->before - oz * depth->stride;
        for (int64_t oy = band->rows.low; oy <= band->rows.high; oy++, row++)
            for (int64_t t = 0; t < height->taps && z % depth->dilation == 0; t++) {
                const int64_t y = oy * height->stride - height->before + t * height->dilation - part->row;
                if (y < 0 || y >= part->rows) continue;
                band->sources[y * band->most + band->count[y]++] =
                    (row_source){row * band->pitch,
                                 ((oz - band->planes.low) * height->outputs + oy - band->rows.low) * part->position_step,
                                 (z / depth->dilation * height->taps + t) * width->taps};
            }
    }
    memset(band->gradient, 0, (size_t)(row * band->pitch) * sizeof(real));
}

/* One row of grad_output, or of what is left of it for each element of an average; zeros around it stay. */
INLINE void fill_row(int of_average, const fc_pool *pool, const fc_pool_part *part, const gradient_band *band, real *row,
                     const real *source, double row_factor)
{
    const int64_t channels = pool->channels, step = part->source_stride[2], channel_step = part->source_stride[3];
    const int64_t low = band->low, high = band->high;
    const int adjacent = channels == 1 ? step == 1 : channel_step == 1 && step == channels;
    const double *factor = band->factor;
    const real *from = source + band->first * step;
    if (!adjacent)
        for (int64_t lane = low; lane < high; lane++)
            row[lane] = channels == 1 ? from[lane * step] : from[lane / channels * step + lane % channels * channel_step];
    if (!adjacent) from = row;
    for (int64_t i = low / LANES * LANES; i < high; i += LANES) {
        vec g = i >= low && i + LANES <= high ? load(from + i)
                                              : load_masked(from + i, lane_range(clamp_lane(low - i), clamp_lane(high - i)));
        if (of_average) {
            double_vec share[PARTS];
            UNROLL
            for (int n = 0; n < PARTS; n++) {
                double_vec f;
                memcpy(&f, factor + i + n * LANES / PARTS, sizeof f);
                share[n] = divided(widen(g, n), f * row_factor);
            }
            g = narrow(share);
        }
        store(row + i, g);
    }
}

/* The rows of grad_output that reach the part, one plane's, to scratch. */
INLINE void fill_rows(int of_average, const fc_pool *pool, const fc_pool_part *part, const gradient_band *band,
                      const real *source)
{
    real *row = band->gradient;
    for (int64_t oz = band->planes.low; oz <= band->planes.high; oz++)
        for (int64_t oy = band->rows.low; oy <= band->rows.high; oy++, row += band->pitch)
            fill_row(of_average, pool, part, band, row,
                     source + oz * part->source_stride[0] + oy * part->source_stride[1],
                     of_average ? as_factor(counted(pool, 0, oz) * counted(pool, 1, oy)) : 1);
}

/* Where one plane's rows of grad_output and of positions lie. */
typedef struct plane_rows {
    const real *gradient;
    const uint8_t *positions;  /* of what lies at the beginning of the first of those rows */
} plane_rows;

/* Which outputs of a row are over the elements of some lanes. The elements are at q * stride + phase - before, and the
 * outputs q - j for every j from `most` down to `least` that is a tap's distance away. */
typedef struct lane_sources {
    int64_t stride, dilation, phase, most, least;
    int64_t output_step;  /* lanes from one output to the next */
} lane_sources;

/* Add to the sums of LANES elements what the outputs of one row have for them, in their order. */
INLINE vec add_gradients(int of_average, const plane_rows *from, const row_source *row, lane_sources s, int64_t lane, vec sum)
{
    const real *gradient = from->gradient + row->lane + lane;
    const uint8_t *positions = of_average ? NULL : from->positions + row->position + lane;
    for (int64_t j = s.most; j >= s.least; j--) {
        const int64_t distance = s.phase + j * s.stride;
        if (s.dilation != 1 && distance % s.dilation != 0) continue;
        const vec g = load(gradient - j * s.output_step);
        if (of_average) {
            sum += g;
            continue;
        }
        const int64_t tap = row->tap + (s.dilation == 1 ? distance : distance / s.dilation);
        sum = add_where(bytes_equal(positions - j * s.output_step, (int)tap), sum, g);
    }
    return sum;
}

/* ---- lanes are elements of a row ------------------------------------------------------------------------- */

/* The farthest output over the elements of a phase; -1 if there is none. */
INLINE int64_t farthest(const fc_pool_axis *axis, int64_t phase)
{
    const int64_t reach = (axis->taps - 1) * axis->dilation - phase;
    return reach < 0 ? -1 : reach / axis->stride;
}

/* Elements whose windows lie alike: over lane i are the outputs of lanes i + shift - j * lane_step for j <= most, which
 * have it as tap number tap + j * tap_step. */
typedef struct element_phase {
    int64_t shift, most, lane_step, tap, tap_step;
} element_phase;

/* What `count` rows of outputs have for LANES elements of a phase, in the order of the outputs: unrolled if it is known how
 * many they are. */
INLINE vec phase_sum(int of_average, int64_t count, element_phase p, plane_rows from, const row_source *over, int64_t lane)
{
    vec sum = {0};
#define ADD_OUTPUTS(LOOP)                                                                                          \
    LOOP for (int64_t r = 0; r < count; r++) {                                                                     \
        LOOP for (int64_t j = p.most; j >= 0; j--) {                                                               \
            const int64_t at = lane + p.shift - j * p.lane_step;                                                   \
            const int tap = (int)(over[r].tap + p.tap + j * p.tap_step);                                           \
            const vec g = load(from.gradient + over[r].lane + at);                                                 \
            if (of_average) sum += g;                                                                              \
            else sum = add_where(bytes_equal(from.positions + over[r].position + at, tap), sum, g);                \
        }                                                                                                          \
    }
    if (__builtin_constant_p(count) && __builtin_constant_p(p.most)) {
        ADD_OUTPUTS(UNROLL)
    } else {
        ADD_OUTPUTS(ROLLED)
    }
#undef ADD_OUTPUTS
    return sum;
}

/* A row of elements, both phases of stride 2 side by side, or the only one of stride 1. */
INLINE void adjacent_row(int of_average, int stride, int64_t count, element_phase first, element_phase second,
                         plane_rows from, const row_source *over, int64_t columns, real *target)
{
    enum { BOTH = 2 };
    const int64_t whole = columns / (stride * LANES) * LANES, rest = columns - stride * whole;
    for (int64_t lane = 0; lane < whole; lane += LANES) {
        const vec sum = phase_sum(of_average, count, first, from, over, lane);
        if (stride == BOTH) {
            const vec other = phase_sum(of_average, count, second, from, over, lane);
            store(target + 2 * lane, SHUFFLE(sum, other, ZIP_LOWER));
            store(target + 2 * lane + LANES, SHUFFLE(sum, other, ZIP_UPPER));
        } else store(target + lane, sum);
    }
    if (!rest) return;
    target += stride * whole;
    const vec sum = phase_sum(of_average, count, first, from, over, whole);
    if (stride == BOTH) {
        const vec other = phase_sum(of_average, count, second, from, over, whole);
        store_first(target, SHUFFLE(sum, other, ZIP_LOWER), clamp_lane(rest));
        if (rest > LANES) store_first(target + LANES, SHUFFLE(sum, other, ZIP_UPPER), (int)(rest - LANES));
    } else store_first(target, sum, (int)rest);
}

/* The elements of a part, row by row. */
INLINE void adjacent_elements(int of_average, int stride, element_phase first, element_phase second,
                              const plane_rows *rows, const gradient_band *band, const fc_pool_part *part, int64_t lane,
                              real *target)
{
    enum { FEW = 3 };
    plane_rows from = {.gradient = rows->gradient + lane};
    if (!of_average) from.positions = rows->positions + lane;
    const int64_t columns = part->columns, step = part->target_step, most = band->most;
    const row_source *over = band->sources;
    for (int64_t y = 0; y < part->rows; y++, over += most, target += step) {
        const int64_t count = band->count[y];
        row_source few[FEW];  /* copies, which no store changes */
        for (int64_t r = 0; r < FEW && r < count; r++) few[r] = over[r];
#define ROW(COUNT, OVER) adjacent_row(of_average, stride, COUNT, first, second, from, OVER, columns, target)
        if (count == 1) ROW(1, few);  /* the common windows unrolled */
        else if (count == 2) ROW(2, few);
        else if (count == 3) ROW(3, few);
        else ROW(count, over);
#undef ROW
    }
}

/* Both phases of stride 2; the part begins with an element of the second one if `odd`. */
INLINE void both_phases(int of_average, int64_t even_most, int64_t odd_most, int64_t odd, const plane_rows *from,
                        const gradient_band *band, const fc_pool_part *part, int64_t lane, real *target)
{
    const element_phase at_even = {.shift = odd, .most = even_most, .lane_step = 1, .tap = 0, .tap_step = 2};
    const element_phase at_odd = {.shift = 0, .most = odd_most, .lane_step = 1, .tap = 1, .tap_step = 2};
    if (odd) adjacent_elements(of_average, 2, at_odd, at_even, from, band, part, lane, target);
    else adjacent_elements(of_average, 2, at_even, at_odd, from, band, part, lane, target);
}

/* The elements of one phase, `stride` apart. */
INLINE void spread_phase(int of_average, int64_t phase, const fc_pool_axis *axis, const plane_rows *from,
                         const gradient_band *band, const fc_pool_part *part, real *target)
{
    const int64_t q = (part->column + axis->before) / axis->stride;
    const lane_sources s = {.stride = axis->stride, .dilation = axis->dilation, .phase = phase,
                            .most = farthest(axis, phase), .output_step = 1};
    for (int64_t y = 0; y < part->rows; y++, target += part->target_step) {
        const row_source *over = band->sources + y * band->most;
        int64_t x = q * axis->stride + phase - axis->before - part->column;
        for (int64_t lane = q - band->first; x < part->columns; lane += LANES) {
            vec sum = {0};
            for (int64_t r = 0; r < band->count[y]; r++) sum = add_gradients(of_average, from, &over[r], s, lane, sum);
            real lanes[LANES];
            store(lanes, sum);
            for (int i = 0; i < LANES; i++, x += axis->stride)
                if (x >= 0 && x < part->columns) target[x] = lanes[i];
        }
    }
}

INLINE void gradient_pixels(int of_average, const fc_pool *pool, const fc_pool_part *part, const gradient_band *band,
                            const plane_rows *from, real *target)
{
    const fc_pool_axis *axis = &pool->axis[2];
    const int64_t begin = part->column + axis->before, lane = begin / axis->stride - band->first;
    if (axis->stride == 1) {
        const element_phase any = {.most = axis->taps - 1, .lane_step = axis->dilation, .tap_step = 1};
        const element_phase three = {.most = 2, .lane_step = 1, .tap_step = 1};  /* the common windows unrolled */
        if (axis->taps == 3 && axis->dilation == 1)
            adjacent_elements(of_average, 1, three, three, from, band, part, lane, target);
        else adjacent_elements(of_average, 1, any, any, from, band, part, lane, target);
    } else if (axis->stride == 2 && axis->dilation == 1) {
#define BOTH_PHASES(EVEN, ODD) \
    if (begin % 2) both_phases(of_average, EVEN, ODD, 1, from, band, part, lane, target); \
    else both_phases(of_average, EVEN, ODD, 0, from, band, part, lane, target)
        if (axis->taps == 2) BOTH_PHASES(0, 0);
        else if (axis->taps == 3) BOTH_PHASES(1, 0);
        else BOTH_PHASES(farthest(axis, 0), farthest(axis, 1));
#undef BOTH_PHASES
    } else
        for (int64_t phase = 0; phase < axis->stride; phase++)
            spread_phase(of_average, phase, axis, from, band, part, target);
}

/* ---- lanes are channels ---------------------------------------------------------------------------------- */

INLINE void channel_elements(int of_average, int64_t row_count, lane_sources s, const plane_rows *rows,
                             const row_source *over, int64_t lane, int64_t channels, real *out)
{
    const plane_rows from = *rows;
    for (int64_t c = 0; c < channels; c += LANES) {
        vec sum = {0};
        for (int64_t r = 0; r < row_count; r++) sum = add_gradients(of_average, &from, &over[r], s, lane + c, sum);
        if (c + LANES <= channels) store(out + c, sum);
        else store_first(out + c, sum, (int)(channels - c));
    }
}

INLINE void gradient_channels(int of_average, const fc_pool *pool, const fc_pool_part *part, const gradient_band *band,
                              const plane_rows *from, real *target)
{
    const fc_pool_axis *axis = &pool->axis[2];
    const int64_t channels = pool->channels;
    for (int64_t x = 0; x < part->columns; x++) {
        const int64_t position = part->column + x + axis->before, q = position / axis->stride;
        lane_sources s = {.stride = axis->stride, .dilation = axis->dilation, .phase = position % axis->stride,
                          .output_step = channels};
        s.most = farthest(axis, s.phase);
        if (s.most > q) s.most = q;
        if (q >= axis->outputs) s.least = q - axis->outputs + 1;
        const int64_t lane = (q - band->first) * channels;
        for (int64_t y = 0; y < part->rows; y++) {
            const row_source *over = band->sources + y * band->most;
            real *out = target + y * part->target_step + x * channels;
            if (axis->dilation == 1) {
                s.dilation = 1;
                channel_elements(of_average, band->count[y], s, from, over, lane, channels, out);
            } else channel_elements(of_average, band->count[y], s, from, over, lane, channels, out);
        }
    }
}

INLINE void gradient_part(int of_average, const fc_pool *pool, const fc_pool_part *part)
{
    gradient_band band;
    describe_gradient(pool, part, &band);
    plane_rows from = {.gradient = band.gradient};
    const int64_t row = band.planes.low * pool->axis[1].outputs + band.rows.low;
    for (int64_t p = 0; p < part->planes; p++) {
        real *target = (real *)part->target + p * part->target_plane;
        if (!of_average)
            from.positions = part->positions + p * part->position_plane + row * part->position_step
                             + band.first * pool->channels;
        fill_rows(of_average, pool, part, &band, (const real *)part->source + p * part->source_plane);
        if (pool->channels == 1) gradient_pixels(of_average, pool, part, &band, &from, target);
        else gradient_channels(of_average, pool, part, &band, &from, target);
    }
}

static void pool_gradient(const fc_pool *pool, const fc_pool_part *part)
{
    if (part->positions) gradient_part(0, pool, part);
    else gradient_part(1, pool, part);
}
