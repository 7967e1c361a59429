/* What normalisations and their gradients are made of: sums, and maps that are affine in every element.
 *
 * All arithmetic is in double precision, and a result is rounded once. Groups (what shares a mean) lie either along
 * memory, and a row has one set of numbers (fc_norm); or across it, and every column has its own (fc_norm_columns).
 */
#ifndef FC_NORM_H
#define FC_NORM_H

#include "../fc_api.h"
#include "softmax.h"

enum {
    NORM_WAYS = 2,    /* vectors of a row summed side by side */
    COLUMN_ROWS = 4,  /* rows that are passed over together: a column's numbers are loaded once for all of them, and
                       * memory is still read nearly in its order */
};

/* A vector of elements, or the first `lanes` of one, in double precision. */
INLINE lane_sums load_widened(const real *p, int lanes)
{
    lane_sums v;
    const vec end = lanes == LANES ? (vec){0} : load_first(p, lanes);
    UNROLL
    for (int i = 0; i < PARTS; i++) v.part[i] = lanes == LANES ? load_wide(p, i) : widen(end, i);
    return v;
}

/* The same of numbers that are in double precision: weights, or those of neighbouring columns. */
INLINE lane_sums load_doubles(const double *p, int lanes)
{
    lane_sums v = {{{0}}};
    if (lanes == LANES) {
        UNROLL
        for (int i = 0; i < PARTS; i++) v.part[i] = doubles_at(p + i * DOUBLES);
    } else {
        ROLLED
        for (int i = 0; i < lanes; i++) v.part[i / DOUBLES][i % DOUBLES] = p[i];
    }
    return v;
}

INLINE void store_doubles(double *p, const lane_sums *v, int lanes)
{
    if (lanes == LANES) {
        UNROLL
        for (int i = 0; i < PARTS; i++) put_doubles(p + i * DOUBLES, v->part[i]);
    } else {
        ROLLED
        for (int i = 0; i < lanes; i++) p[i] = v->part[i / DOUBLES][i % DOUBLES];
    }
}

/* What the second operand of a sum is. */
typedef enum second_kind {
    THE_FIRST,  /* the same array with the same numbers, loaded and computed once */
    AS_IT_IS,
    WEIGHTED,
    OTHER,      /* with a unit and a shift of its own */
    OTHER_WEIGHTED
} second_kind;

INLINE void norm_sums_of(double *sums, const real *a, const real *b, const double *weight, int64_t count, fc_norm n,
                         second_kind kind)
{
    const int weighted = kind == WEIGHTED || kind == OTHER_WEIGHTED, plain = kind == AS_IT_IS || kind == WEIGHTED;
    double_vec sum[NORM_WAYS][PARTS] = {0}, product[NORM_WAYS][PARTS] = {0};
    int64_t i = 0;
    for (; i + NORM_WAYS * LANES <= count; i += NORM_WAYS * LANES) {
        UNROLL
        for (int way = 0; way < NORM_WAYS; way++) {
            const int64_t at = i + way * LANES;
            const lane_sums w = weighted ? load_doubles(weight + at, LANES) : (lane_sums){{{0}}};
            UNROLL
            for (int p = 0; p < PARTS; p++) {
                const double_vec first = load_wide(a + at, p) * n.unit - n.shift;
                double_vec second = first;
                if (kind != THE_FIRST) {
                    second = weighted ? load_wide(b + at, p) * w.part[p] : load_wide(b + at, p);
                    if (!plain) second = second * n.b_unit - n.b_shift;
                }
                sum[way][p] += second;
                product[way][p] += first * second;
            }
        }
    }
    double_vec all = {0}, products = {0};
    UNROLL
    for (int p = 0; p < NORM_WAYS * PARTS; p++) {
        all += sum[p / PARTS][p % PARTS];
        products += product[p / PARTS][p % PARTS];
    }
    double total = sum_in_pairs(all), total_product = sum_in_pairs(products);
    ROLLED
    for (; i < count; i++) {
        const double first = (double)a[i] * n.unit - n.shift;
        double second = first;
        if (kind != THE_FIRST) {
            second = weighted ? (double)b[i] * weight[i] : (double)b[i];
            if (!plain) second = second * n.b_unit - n.b_shift;
        }
        total += second;
        total_product += first * second;
    }
    sums[0] += total;
    sums[1] += total_product;
}

static void norm_sums(double *sums, const void *a, const void *b, const double *weight, int64_t count, const fc_norm *n)
{
    if (n->b_unit == 1 && n->b_shift == 0) {
        if (weight) norm_sums_of(sums, a, b, weight, count, *n, WEIGHTED);
        else if (a == b && n->unit == 1 && n->shift == 0) norm_sums_of(sums, a, a, NULL, count, *n, THE_FIRST);
        else norm_sums_of(sums, a, b, NULL, count, *n, AS_IT_IS);
    } else {
        if (weight) norm_sums_of(sums, a, b, weight, count, *n, OTHER_WEIGHTED);
        else if (a == b && n->unit == n->b_unit && n->shift == n->b_shift)
            norm_sums_of(sums, a, a, NULL, count, *n, THE_FIRST);
        else norm_sums_of(sums, a, b, NULL, count, *n, OTHER);
    }
}

/* One vector of a map, or the end of one. `folded`: scale 1 and offset 0 are left out. */
INLINE void map_vector(real *out, const real *a, const real *b, const lane_sums *unit, const lane_sums *shift,
                       const lane_sums *scale, const lane_sums *offset, const lane_sums *b_scale, const double *weight,
                       const double *bias, int lanes, int folded)
{
    const lane_sums x = load_widened(a, lanes);
    const lane_sums y = b ? load_widened(b, lanes) : x;
    const lane_sums w = weight ? load_doubles(weight, lanes) : x, c = bias ? load_doubles(bias, lanes) : x;
    double_vec result[PARTS];
    UNROLL
    for (int p = 0; p < PARTS; p++) {
        const double_vec centred = x.part[p] * unit->part[p] - shift->part[p];
        if (b) {
            const double_vec rest = folded ? centred : centred * scale->part[p] + offset->part[p];
            result[p] = (weight ? y.part[p] * w.part[p] : y.part[p]) * b_scale->part[p] + rest;
        } else {
            const double_vec standard = folded ? centred : centred * scale->part[p];
            const double_vec weighted = weight ? standard * w.part[p] : standard;
            result[p] = bias ? weighted + c.part[p] : folded ? weighted : weighted + offset->part[p];
        }
    }
    store_up_to(out, narrow(result), lanes);
}

INLINE lane_sums in_all_lanes(double x)
{
    lane_sums v;
    UNROLL
    for (int p = 0; p < PARTS; p++) v.part[p] = same(x);
    return v;
}

INLINE void norm_map_of(real *out, const real *a, const real *b, const double *weight, const double *bias, int64_t count,
                        const fc_norm *n, int folded)
{
    const lane_sums unit = in_all_lanes(n->unit), shift = in_all_lanes(n->shift), scale = in_all_lanes(n->scale);
    const lane_sums offset = in_all_lanes(n->offset), b_scale = in_all_lanes(n->b_scale);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        map_vector(out + i, a + i, b ? b + i : NULL, &unit, &shift, &scale, &offset, &b_scale, weight ? weight + i : NULL,
                   bias ? bias + i : NULL, LANES, folded);
    if (i < count)
        map_vector(out + i, a + i, b ? b + i : NULL, &unit, &shift, &scale, &offset, &b_scale, weight ? weight + i : NULL,
                   bias ? bias + i : NULL, (int)(count - i), folded);
}

INLINE void norm_map_by(real *out, const real *a, const real *b, const double *weight, const double *bias, int64_t count,
                        const fc_norm *n, int folded)
{
    if (b && weight) norm_map_of(out, a, b, weight, NULL, count, n, folded);
    else if (b) norm_map_of(out, a, b, NULL, NULL, count, n, folded);
    else if (weight && bias) norm_map_of(out, a, NULL, weight, bias, count, n, folded);
    else if (weight) norm_map_of(out, a, NULL, weight, NULL, count, n, folded);
    else if (bias) norm_map_of(out, a, NULL, NULL, bias, count, n, folded);
    else norm_map_of(out, a, NULL, NULL, NULL, count, n, folded);
}

static void norm_map(void *out, const void *a, const void *b, const double *weight, const double *bias, int64_t count,
                     const fc_norm *n)
{
    if (n->scale == 1 && n->offset == 0) norm_map_by(out, a, b, weight, bias, count, n, 1);
    else norm_map_by(out, a, b, weight, bias, count, n, 0);
}

/* ---- columns ------------------------------------------------------------------------------------- */

/* A vector of columns, of a few rows. `b_unit` NULL: B is b as it is. */
INLINE void add_column_rows(double *sums, double *products, const real *a, const real *b, int64_t rows, int64_t a_step,
                            int64_t b_step, const double *a_unit, const double *a_shift, const double *b_unit,
                            const double *b_shift, int lanes, int once)
{
    const lane_sums unit = load_doubles(a_unit, lanes), shift = load_doubles(a_shift, lanes);
    const lane_sums other_unit = b_unit ? load_doubles(b_unit, lanes) : unit;
    const lane_sums other_shift = b_unit ? load_doubles(b_shift, lanes) : shift;
    lane_sums sum = load_doubles(sums, lanes), product = load_doubles(products, lanes);
    for (int64_t row = 0; row < rows; row++) {
        const lane_sums x = load_widened(a + row * a_step, lanes);
        const lane_sums y = once ? x : load_widened(b + row * b_step, lanes);
        UNROLL
        for (int p = 0; p < PARTS; p++) {
            const double_vec first = x.part[p] * unit.part[p] - shift.part[p];
            const double_vec second = once ? first : b_unit ? y.part[p] * other_unit.part[p] - other_shift.part[p]
                                                            : y.part[p];
            sum.part[p] += second;
            product.part[p] += first * second;
        }
    }
    store_doubles(sums, &sum, lanes);
    store_doubles(products, &product, lanes);
}

INLINE void norm_column_sums_of(double *sums, double *products, const real *a, const real *b, int64_t rows,
                                int64_t a_step, int64_t b_step, int64_t width, const fc_norm_columns *n, int once,
                                int plain)
{
    for (int64_t row = 0; row < rows; row += COLUMN_ROWS) {
        const int64_t some = rows - row < COLUMN_ROWS ? rows - row : COLUMN_ROWS;
        const real *x = a + row * a_step, *y = b + row * b_step;
        int64_t c = 0;
        for (; c + LANES <= width; c += LANES)
            add_column_rows(sums + c, products + c, x + c, y + c, some, a_step, b_step, n->unit + c, n->shift + c,
                            plain ? NULL : n->b_unit + c, plain ? NULL : n->b_shift + c, LANES, once);
        if (c < width)
            add_column_rows(sums + c, products + c, x + c, y + c, some, a_step, b_step, n->unit + c, n->shift + c,
                            plain ? NULL : n->b_unit + c, plain ? NULL : n->b_shift + c, (int)(width - c), once);
    }
}

static void norm_column_sums(double *sums, double *products, const void *a, const void *b, int64_t rows, int64_t a_step,
                             int64_t b_step, int64_t width, const fc_norm_columns *n)
{
    if (a == b && a_step == b_step && n->unit == n->b_unit && n->shift == n->b_shift)
        norm_column_sums_of(sums, products, a, a, rows, a_step, a_step, width, n, 1, 1);
    else if (n->b_unit) norm_column_sums_of(sums, products, a, b, rows, a_step, b_step, width, n, 0, 0);
    else norm_column_sums_of(sums, products, a, b, rows, a_step, b_step, width, n, 0, 1);
}

INLINE void map_column_rows(real *out, const real *a, const real *b, int64_t rows, int64_t out_step, int64_t a_step,
                            int64_t b_step, const fc_norm_columns *n, int64_t c, int lanes, int folded)
{
    const lane_sums unit = load_doubles(n->unit + c, lanes), shift = load_doubles(n->shift + c, lanes);
    const lane_sums scale = folded ? unit : load_doubles(n->scale + c, lanes);
    const lane_sums offset = folded ? unit : load_doubles(n->offset + c, lanes);
    const lane_sums b_scale = b ? load_doubles(n->b_scale + c, lanes) : unit;
    for (int64_t row = 0; row < rows; row++)
        map_vector(out + row * out_step + c, a + row * a_step + c, b ? b + row * b_step + c : NULL, &unit, &shift, &scale,
                   &offset, &b_scale, NULL, NULL, lanes, folded);
}

INLINE void norm_column_map_of(real *out, const real *a, const real *b, int64_t rows, int64_t out_step, int64_t a_step,
                               int64_t b_step, int64_t width, const fc_norm_columns *n, int folded)
{
    for (int64_t row = 0; row < rows; row += COLUMN_ROWS) {
        const int64_t some = rows - row < COLUMN_ROWS ? rows - row : COLUMN_ROWS;
        real *to = out + row * out_step;
        const real *x = a + row * a_step, *y = b ? b + row * b_step : NULL;
        int64_t c = 0;
        for (; c + LANES <= width; c += LANES)
            map_column_rows(to, x, y, some, out_step, a_step, b_step, n, c, LANES, folded);
        if (c < width) map_column_rows(to, x, y, some, out_step, a_step, b_step, n, c, (int)(width - c), folded);
    }
}

static void norm_column_map(void *out, const void *a, const void *b, int64_t rows, int64_t out_step, int64_t a_step,
                            int64_t b_step, int64_t width, const fc_norm_columns *n)
{
    if (!n->scale) {
        if (b) norm_column_map_of(out, a, b, rows, out_step, a_step, b_step, width, n, 1);
        else norm_column_map_of(out, a, NULL, rows, out_step, a_step, 0, width, n, 1);
    } else {
        if (b) norm_column_map_of(out, a, b, rows, out_step, a_step, b_step, width, n, 0);
        else norm_column_map_of(out, a, NULL, rows, out_step, a_step, 0, width, n, 0);
    }
}

/* ---- rows and columns ---------------------------------------------------------------------------- */

/* Sums of a few rows, whose lanes are joined last. */
typedef struct row_sums {
    double_vec sum[COLUMN_ROWS], product[COLUMN_ROWS];
} row_sums;

/* A vector of columns of them; the two loads and conversions of an element serve its row and its column. */
INLINE void add_both_ways(double *sums, double *products, row_sums *of, const real *a, const real *b,
                          const double *weight, int rows, int64_t step, const fc_norm *n, int lanes, int scaled)
{
    lane_sums sum = load_doubles(sums, lanes), product = load_doubles(products, lanes);
    const lane_sums w = weight ? load_doubles(weight, lanes) : sum;
    UNROLL
    for (int row = 0; row < rows; row++) {
        const lane_sums x = load_widened(a + row * step, lanes), y = load_widened(b + row * step, lanes);
        UNROLL
        for (int p = 0; p < PARTS; p++) {
            const double_vec centred = x.part[p] * n[row].unit - n[row].shift;
            const double_vec standard = scaled ? centred * n[row].scale : centred;
            const double_vec weighted = weight ? y.part[p] * w.part[p] : y.part[p];
            sum.part[p] += y.part[p];
            product.part[p] += standard * y.part[p];
            of->sum[row] += weighted;
            of->product[row] += standard * weighted;
        }
    }
    store_doubles(sums, &sum, lanes);
    store_doubles(products, &product, lanes);
}

INLINE void norm_cross_sums_of(double *sums, double *products, double *each, const real *a, const real *b,
                               const double *weight, int rows, int64_t step, int64_t width, const fc_norm *n, int scaled)
{
    row_sums of = {{{0}}, {{0}}};
    int64_t c = 0;
    for (; c + LANES <= width; c += LANES)
        add_both_ways(sums + c, products + c, &of, a + c, b + c, weight ? weight + c : NULL, rows, step, n, LANES, scaled);
    if (c < width)  /* lanes without an element add zeros to their rows */
        add_both_ways(sums + c, products + c, &of, a + c, b + c, weight ? weight + c : NULL, rows, step, n,
                      (int)(width - c), scaled);
    UNROLL
    for (int row = 0; row < rows; row++) {
        each[2 * row] += sum_in_pairs(of.sum[row]);
        each[2 * row + 1] += sum_in_pairs(of.product[row]);
    }
}

INLINE void norm_cross_sums_by(double *sums, double *products, double *each, const real *a, const real *b,
                               const double *weight, int64_t rows, int64_t step, int64_t width, const fc_norm *n,
                               int scaled)
{
    int64_t row = 0;
    for (; row + COLUMN_ROWS <= rows; row += COLUMN_ROWS)
        norm_cross_sums_of(sums, products, each + 2 * row, a + row * step, b + row * step, weight, COLUMN_ROWS, step,
                           width, n + row, scaled);
    for (; row < rows; row++)
        norm_cross_sums_of(sums, products, each + 2 * row, a + row * step, b + row * step, weight, 1, step, width,
                           n + row, scaled);
}

static void norm_cross_sums(double *sums, double *products, double *each, const void *a, const void *b,
                            const double *weight, int64_t rows, int64_t step, int64_t width, const fc_norm *n)
{
    int scaled = 0;
    for (int64_t row = 0; row < rows; row++) scaled |= n[row].scale != 1;
    if (weight && scaled) norm_cross_sums_by(sums, products, each, a, b, weight, rows, step, width, n, 1);
    else if (weight) norm_cross_sums_by(sums, products, each, a, b, weight, rows, step, width, n, 0);
    else if (scaled) norm_cross_sums_by(sums, products, each, a, b, NULL, rows, step, width, n, 1);
    else norm_cross_sums_by(sums, products, each, a, b, NULL, rows, step, width, n, 0);
}

#endif
