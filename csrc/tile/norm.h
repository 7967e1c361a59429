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
    NORM_WAYS = 2,                                                 /* vectors of a row summed side by side */
    LINE_VECTORS = FC_VECTOR_BYTES >= 64 ? 1 : 64 / FC_VECTOR_BYTES  /* columns are summed a cache line at a time */
};

/* b, times its weight, times its unit, less its shift. */
INLINE double_vec second_operand(vec b, vec weight, int weighted, int part, double unit, double shift)
{
    const double_vec wide = widen(b, part);
    return (weighted ? wide * widen(weight, part) : wide) * unit - shift;
}

INLINE void norm_sums_of(double *sums, const real *a, const real *b, const real *weight, int64_t count, fc_norm n,
                         int weighted)
{
    double_vec sum[NORM_WAYS][PARTS] = {0}, product[NORM_WAYS][PARTS] = {0};
    int64_t i = 0;
    for (; i + NORM_WAYS * LANES <= count; i += NORM_WAYS * LANES) {
        UNROLL
        for (int way = 0; way < NORM_WAYS; way++) {
            const vec x = load(a + i + way * LANES), y = load(b + i + way * LANES);
            const vec w = weighted ? load(weight + i + way * LANES) : (vec){0};
            UNROLL
            for (int p = 0; p < PARTS; p++) {
                const double_vec second = second_operand(y, w, weighted, p, n.b_unit, n.b_shift);
                sum[way][p] += second;
                product[way][p] += (widen(x, p) * n.unit - n.shift) * second;
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
    for (; i < count; i++) {
        const double second = (weighted ? (double)b[i] * (double)weight[i] : (double)b[i]) * n.b_unit - n.b_shift;
        total += second;
        total_product += ((double)a[i] * n.unit - n.shift) * second;
    }
    sums[0] += total;
    sums[1] += total_product;
}

static void norm_sums(double *sums, const void *a, const void *b, const void *weight, int64_t count, const fc_norm *n)
{
    if (weight) norm_sums_of(sums, a, b, weight, count, *n, 1);
    else if (a == b) norm_sums_of(sums, a, a, NULL, count, *n, 0);  /* each is loaded once */
    else norm_sums_of(sums, a, b, NULL, count, *n, 0);
}

INLINE void norm_map_of(real *out, const real *a, const real *b, const real *weight, const real *bias, int64_t count,
                        fc_norm n, int two, int weighted, int biased)
{
    for (int64_t i = 0; i < count; i += LANES) {
        const int lanes = count - i < LANES ? (int)(count - i) : LANES;
        const vec x = load_up_to(a + i, lanes), none = {0};
        const vec y = two ? load_up_to(b + i, lanes) : none;
        const vec w = weighted ? load_up_to(weight + i, lanes) : none;
        const vec c = biased ? load_up_to(bias + i, lanes) : none;
        double_vec result[PARTS];
        UNROLL
        for (int p = 0; p < PARTS; p++) {
            const double_vec standard = (widen(x, p) * n.unit - n.shift) * n.scale;
            if (two) {
                const double_vec second = weighted ? widen(y, p) * widen(w, p) : widen(y, p);
                result[p] = standard + (second * n.b_scale + n.offset);
            } else {
                result[p] = (weighted ? standard * widen(w, p) : standard) + (biased ? widen(c, p) : same(n.offset));
            }
        }
        store_up_to(out + i, narrow(result), lanes);
    }
}

static void norm_map(void *out, const void *a, const void *b, const void *weight, const void *bias, int64_t count,
                     const fc_norm *n)
{
    if (b && weight) norm_map_of(out, a, b, weight, NULL, count, *n, 1, 1, 0);
    else if (b) norm_map_of(out, a, b, NULL, NULL, count, *n, 1, 0, 0);
    else if (weight && bias) norm_map_of(out, a, NULL, weight, bias, count, *n, 0, 1, 1);
    else if (weight) norm_map_of(out, a, NULL, weight, NULL, count, *n, 0, 1, 0);
    else if (bias) norm_map_of(out, a, NULL, NULL, bias, count, *n, 0, 0, 1);
    else norm_map_of(out, a, NULL, NULL, NULL, count, *n, 0, 0, 0);
}

/* ---- columns ------------------------------------------------------------------------------------- */

/* Numbers of neighbouring columns, one per lane. */
INLINE lane_sums load_doubles(const double *p, int lanes)
{
    lane_sums v = {{{0}}};
    if (lanes == LANES) memcpy(&v, p, sizeof v);
    else for (int i = 0; i < lanes; i++) v.part[i * PARTS / LANES][i % (LANES / PARTS)] = p[i];
    return v;
}

INLINE void add_doubles(double *p, const lane_sums *v, int lanes)
{
    for (int i = 0; i < lanes; i++) p[i] += v->part[i * PARTS / LANES][i % (LANES / PARTS)];
}

static void norm_column_sums(double *sums, double *products, const void *first, const void *second, int64_t rows,
                             int64_t a_step, int64_t b_step, int64_t width, const fc_norm_columns *n)
{
    for (int64_t column = 0; column < width; column += LINE_VECTORS * LANES) {
        const real *a = (const real *)first + column, *b = (const real *)second + column;
        lane_sums unit[LINE_VECTORS], shift[LINE_VECTORS], b_unit[LINE_VECTORS], b_shift[LINE_VECTORS];
        lane_sums sum[LINE_VECTORS], product[LINE_VECTORS];
        int lanes[LINE_VECTORS];
        UNROLL
        for (int v = 0; v < LINE_VECTORS; v++) {
            lanes[v] = clamp_lane(width - column - v * LANES);
            unit[v] = load_doubles(n->unit + column + v * LANES, lanes[v]);
            shift[v] = load_doubles(n->shift + column + v * LANES, lanes[v]);
            b_unit[v] = load_doubles(n->b_unit + column + v * LANES, lanes[v]);
            b_shift[v] = load_doubles(n->b_shift + column + v * LANES, lanes[v]);
            sum[v] = product[v] = (lane_sums){{{0}}};
        }
        for (int64_t row = 0; row < rows; row++)
            UNROLL
            for (int v = 0; v < LINE_VECTORS; v++) {
                const vec x = load_up_to(a + row * a_step + v * LANES, lanes[v]);
                const vec y = load_up_to(b + row * b_step + v * LANES, lanes[v]);
                UNROLL
                for (int p = 0; p < PARTS; p++) {
                    const double_vec other = widen(y, p) * b_unit[v].part[p] - b_shift[v].part[p];
                    sum[v].part[p] += other;
                    product[v].part[p] += (widen(x, p) * unit[v].part[p] - shift[v].part[p]) * other;
                }
            }
        UNROLL
        for (int v = 0; v < LINE_VECTORS; v++) {
            add_doubles(sums + column + v * LANES, &sum[v], lanes[v]);
            add_doubles(products + column + v * LANES, &product[v], lanes[v]);
        }
    }
}

static void norm_column_map(void *to, const void *first, const void *second, int64_t rows, int64_t out_step,
                            int64_t a_step, int64_t b_step, int64_t width, const fc_norm_columns *n)
{
    for (int64_t column = 0; column < width; column += LANES) {
        real *out = (real *)to + column;
        const real *a = (const real *)first + column, *b = second ? (const real *)second + column : NULL;
        const int lanes = clamp_lane(width - column);
        const lane_sums unit = load_doubles(n->unit + column, lanes), shift = load_doubles(n->shift + column, lanes);
        const lane_sums scale = load_doubles(n->scale + column, lanes), offset = load_doubles(n->offset + column, lanes);
        const lane_sums b_scale = b ? load_doubles(n->b_scale + column, lanes) : (lane_sums){{{0}}};
        for (int64_t row = 0; row < rows; row++) {
            const vec x = load_up_to(a + row * a_step, lanes), y = b ? load_up_to(b + row * b_step, lanes) : (vec){0};
            double_vec result[PARTS];
            UNROLL
            for (int p = 0; p < PARTS; p++) {
                const double_vec standard = (widen(x, p) * unit.part[p] - shift.part[p]) * scale.part[p];
                result[p] = standard + (b ? widen(y, p) * b_scale.part[p] + offset.part[p] : offset.part[p]);
            }
            store_up_to(out + row * out_step, narrow(result), lanes);
        }
    }
}

static void norm_weight_sums(double *sums, double *products, const void *first, const void *second, int64_t rows,
                             int64_t step, int64_t width, const fc_norm *n)
{
    for (int64_t column = 0; column < width; column += LINE_VECTORS * LANES) {
        const real *a = (const real *)first + column, *b = (const real *)second + column;
        lane_sums sum[LINE_VECTORS], product[LINE_VECTORS];
        int lanes[LINE_VECTORS];
        UNROLL
        for (int v = 0; v < LINE_VECTORS; v++) {
            lanes[v] = clamp_lane(width - column - v * LANES);
            sum[v] = product[v] = (lane_sums){{{0}}};
        }
        for (int64_t row = 0; row < rows; row++) {
            const double unit = n[row].unit, shift = n[row].shift, scale = n[row].scale;
            UNROLL
            for (int v = 0; v < LINE_VECTORS; v++) {
                const vec x = load_up_to(a + row * step + v * LANES, lanes[v]);
                const vec y = load_up_to(b + row * step + v * LANES, lanes[v]);
                UNROLL
                for (int p = 0; p < PARTS; p++) {
                    const double_vec other = widen(y, p);
                    sum[v].part[p] += other;
                    product[v].part[p] += (widen(x, p) * unit - shift) * scale * other;
                }
            }
        }
        UNROLL
        for (int v = 0; v < LINE_VECTORS; v++) {
            add_doubles(sums + column + v * LANES, &sum[v], lanes[v]);
            add_doubles(products + column + v * LANES, &product[v], lanes[v]);
        }
    }
}

#endif
