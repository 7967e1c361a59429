/* Transforms of real blocks, in double precision whatever the dtype.
 *
 * A block of 2 n rows of reals is read as n rows of complex numbers: row j holds x[j] + i x[j + n], times
 * exp(i pi j / 2n). The transform of that has one product per frequency for the convolution that wraps around with its
 * sign changed, at half the length and with nothing to take apart (the "right-angle" transform). Complex rows
 * lie in memory as groups of DOUBLES real and as many imaginary parts, so that every step works on whole vectors:
 *
 *     columns    n rows, a vector of columns at a time: passes of radix 5, 4, 3 and 2, in place; frequencies come out
 *                in the order of their digits and go back in from there
 *     rows       DOUBLES rows at a time, transposed, and the same passes again. They stay transposed: a spectrum is
 *                `length` groups for each DOUBLES rows
 *
 * A long row is a matrix of columns and rows with factors in between (`factors`).
 *
 * Gentleman & Sande, "Fast Fourier transforms: for fun and profit", AFIPS 29 (1966); Bailey, "FFTs in external or
 * hierarchical memory", J. Supercomputing 4 (1990); Crandall & Fagin, "Discrete weighted transforms and large-integer
 * arithmetic", Math. Comp. 62 (1994), for the right angle.
 */
#include "../fc_api.h"
#include "simd.h"

enum { GROUP = 2 * DOUBLES };

typedef int64_t double_index_vec __attribute__((vector_size(FC_VECTOR_BYTES)));

/* ---- between arrays and folded rows ------------------------------------------------------------------------ */

typedef real few_reals __attribute__((vector_size(DOUBLES * sizeof(real))));

/* Positions x .. x + DOUBLES - 1 of a row, zeros outside begin .. end - 1. */
INLINE double_vec read_reals(const real *row, int64_t stride, int64_t x, int64_t begin, int64_t end)
{
    few_reals v = {0};
    if (x >= begin && x + DOUBLES <= end) {
        if (stride == 1) {
            memcpy(&v, row + x, sizeof v);
        } else {
            UNROLL
            for (int i = 0; i < DOUBLES; i++) v[i] = row[(x + i) * stride];
        }
    } else if (x < end && x + DOUBLES > begin) {
        for (int i = 0; i < DOUBLES; i++)
            if (x + i >= begin && x + i < end) v[i] = row[(x + i) * stride];
    }
    return __builtin_convertvector(v, double_vec);
}

static double fft_read(double *to, int64_t groups, const fc_fft_rows *rows, double cosine, double sine)
{
    const real *low = rows->row[0], *high = rows->row[1];
    double_vec squares = {0};
    for (int64_t g = 0; g < groups; g++, to += GROUP) {
        const double_vec a = read_reals(low, rows->stride, g * DOUBLES, rows->begin[0], rows->end[0]);
        const double_vec b = read_reals(high, rows->stride, g * DOUBLES, rows->begin[1], rows->end[1]);
        squares += a * a + b * b;
        put_doubles(to, a * cosine - b * sine);
        put_doubles(to + DOUBLES, a * sine + b * cosine);
    }
    double sum = 0;
    UNROLL
    for (int i = 0; i < DOUBLES; i++) sum += squares[i];
    return sum;
}

INLINE double_vec choose_doubles(double_index_vec condition, double_vec yes, double_vec no)
{
    return (double_vec)(((double_index_vec)yes & condition) | ((double_index_vec)no & ~condition));
}

INLINE double_vec activate_doubles(double_vec v, int activation, double slope)
{
    const double_vec zero = {0};
    if (activation == FC_LEAKY_RELU) return choose_doubles((double_index_vec)(v < zero), slope * v, v);
    if (activation != FC_IDENTITY) v = choose_doubles((double_index_vec)(v < zero), zero, v);
    if (activation == FC_RELU6) v = choose_doubles((double_index_vec)(v > 6), splat_double(6), v);
    return v;
}

/* Positions x .. x + DOUBLES - 1 of a row, those of begin .. end - 1. */
INLINE void write_reals(real *row, int64_t stride, int64_t x, int64_t begin, int64_t end, double_vec values)
{
    const few_reals v = __builtin_convertvector(values, few_reals);
    if (stride == 1 && x >= begin && x + DOUBLES <= end) {
        memcpy(row + x, &v, sizeof v);
        return;
    }
    for (int i = 0; i < DOUBLES; i++)
        if (x + i >= begin && x + i < end) row[(x + i) * stride] = v[i];
}

/* Rounded to the array's own type: a bias that takes a whole sum away leaves no trace of the transform's rounding. */
INLINE double_vec as_stored(double_vec v)
{
    typedef real stored __attribute__((vector_size(DOUBLES * FC_REAL_BYTES)));
    return __builtin_convertvector(__builtin_convertvector(v, stored), double_vec);
}

static int fft_write(const fc_fft_rows *rows, const double *from, int64_t groups, double cosine, double sine,
                     const fc_fft_finish *finish)
{
    const double_vec sign = splat_double(-0.0), bound = splat_double(finish->bound);
    double_vec not_finite = {0};
    for (int64_t g = 0; g < groups; g++, from += GROUP) {
        const int64_t x = g * DOUBLES;
        const double_vec re = doubles_at(from), im = doubles_at(from + DOUBLES);
        const double_vec both[2] = {re * cosine + im * sine, im * cosine - re * sine};
        for (int half = 0; half < 2; half++) {
            const int64_t begin = rows->begin[half], end = rows->end[half];
            if (x >= end || x + DOUBLES <= begin) continue;
            double_vec v = both[half];
            const double_vec size = (double_vec)((double_index_vec)v & ~(double_index_vec)sign);
            not_finite += v - v;
            v = choose_doubles((double_index_vec)(size < bound), (double_vec){0}, v);
            if (finish->seen[half])
                for (int i = 0; i < DOUBLES; i++)
                    if (x + i >= begin && x + i < end && !finish->seen[half][x + i]) v[i] = 0;
            v = activate_doubles(as_stored(v) + finish->bias, finish->activation, finish->slope);
            write_reals((real *)rows->row[half], rows->stride, x, begin, end, v);
        }
    }
    double sum = 0;
    UNROLL
    for (int i = 0; i < DOUBLES; i++) sum += not_finite[i];
    return sum == 0;
}

/* ---- transforms ------------------------------------------------------------------------------------------------ */

#if FC_REAL_BYTES == 8

typedef struct complex_vec {
    vec re, im;
} complex_vec;

INLINE complex_vec complex_at(const double *p) { return (complex_vec){load(p), load(p + LANES)}; }
INLINE void put_complex(double *p, complex_vec z)
{
    store(p, z.re);
    store(p + LANES, z.im);
}
INLINE complex_vec plus(complex_vec a, complex_vec b) { return (complex_vec){a.re + b.re, a.im + b.im}; }
INLINE complex_vec minus(complex_vec a, complex_vec b) { return (complex_vec){a.re - b.re, a.im - b.im}; }
INLINE complex_vec multiple(complex_vec a, double s) { return (complex_vec){a.re * s, a.im * s}; }
INLINE complex_vec times(complex_vec a, complex_vec b)
{
    return (complex_vec){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
INLINE complex_vec times_conjugate(complex_vec a, complex_vec b)
{
    return (complex_vec){a.re * b.re + a.im * b.im, a.im * b.re - a.re * b.im};
}
/* By -i on the way there, by i on the way back. */
INLINE complex_vec turned(complex_vec a, int back)
{
    return back ? (complex_vec){-a.im, a.re} : (complex_vec){a.im, -a.re};
}

/* The transform of `radix` numbers, in place. */
INLINE void butterfly(complex_vec *x, int radix, int back)
{
    if (radix == 2) {
        const complex_vec a = x[0];
        x[0] = plus(a, x[1]);
        x[1] = minus(a, x[1]);
    } else if (radix == 3) {
        const complex_vec sum = plus(x[1], x[2]), middle = minus(x[0], multiple(sum, 0.5));
        const complex_vec side = turned(multiple(minus(x[1], x[2]), 0.86602540378443864676), back);
        x[0] = plus(x[0], sum);
        x[1] = plus(middle, side);
        x[2] = minus(middle, side);
    } else if (radix == 4) {
        const complex_vec a = plus(x[0], x[2]), b = minus(x[0], x[2]), c = plus(x[1], x[3]);
        const complex_vec d = turned(minus(x[1], x[3]), back);
        x[0] = plus(a, c);
        x[1] = plus(b, d);
        x[2] = minus(a, c);
        x[3] = minus(b, d);
    } else {
        const double c1 = 0.30901699437494742410, c2 = -0.80901699437494742410;  /* cosines of 72 and 144 degrees */
        const double s1 = 0.95105651629515357212, s2 = 0.58778525229247312917;   /* and sines */
        const complex_vec a = plus(x[1], x[4]), b = plus(x[2], x[3]), c = minus(x[1], x[4]), d = minus(x[2], x[3]);
        const complex_vec p = plus(x[0], plus(multiple(a, c1), multiple(b, c2)));
        const complex_vec q = plus(x[0], plus(multiple(a, c2), multiple(b, c1)));
        const complex_vec e = turned(plus(multiple(c, s1), multiple(d, s2)), back);
        const complex_vec f = turned(minus(multiple(c, s2), multiple(d, s1)), back);
        x[0] = plus(x[0], plus(a, b));
        x[1] = plus(p, e);
        x[2] = plus(q, f);
        x[3] = minus(q, f);
        x[4] = minus(p, e);
    }
}

/* One pass over `length` vectors that lie `step` apart, cut into parts of `part` of which each becomes `radix`. */
INLINE void pass_of(double *z, int64_t step, int64_t length, int64_t part, const double *roots, int radix, int back)
{
    const int64_t apart = part / radix, leap = apart * step;
    for (int64_t j = 0; j < apart; j++, roots += 2 * (radix - 1)) {
        complex_vec root[4];
        UNROLL
        for (int i = 1; i < radix; i++)
            root[i - 1] = (complex_vec){splat(roots[2 * i - 2]), splat(roots[2 * i - 1])};
        for (int64_t first = j; first < length; first += part) {
            double *at = z + first * step;
            complex_vec x[5];
            UNROLL
            for (int i = 0; i < radix; i++) {
                x[i] = complex_at(at + i * leap);
                if (back && i && j) x[i] = times_conjugate(x[i], root[i - 1]);
            }
            butterfly(x, radix, back);
            UNROLL
            for (int i = 0; i < radix; i++) {
                if (!back && i && j) x[i] = times(x[i], root[i - 1]);
                put_complex(at + i * leap, x[i]);
            }
        }
    }
}

INLINE void pass(double *z, int64_t step, int64_t length, int64_t part, const double *roots, int radix, int back)
{
    switch (radix) {
    case 2: pass_of(z, step, length, part, roots, 2, back); break;
    case 3: pass_of(z, step, length, part, roots, 3, back); break;
    case 4: pass_of(z, step, length, part, roots, 4, back); break;
    default: pass_of(z, step, length, part, roots, 5, back); break;
    }
}

/* Parts longer than this go on one by one once they are apart, so that a part stays in L1. */
enum { NEAR = 128 };

/* The passes from number `i` on, over vectors that are still in one part. */
static void transform_there(double *z, int64_t step, int64_t length, const fc_fft_axis *axis, int i, const double *roots)
{
    for (int64_t part = length; i < axis->passes; i++) {
        const int radix = axis->radix[i];
        pass(z, step, length, part, roots, radix, 0);
        part /= radix;
        roots += 2 * part * (radix - 1);
        if (length <= NEAR) continue;
        for (int p = 0; p < radix; p++) transform_there(z + p * part * step, step, part, axis, i + 1, roots);
        return;
    }
}

/* The passes back to number `i`, over one part as long as it makes them. */
static void transform_back(double *z, int64_t step, int64_t length, const fc_fft_axis *axis, int i)
{
    const double *roots = axis->roots;
    int64_t part = axis->length;
    for (int p = 0; p < i; p++) {
        part /= axis->radix[p];
        roots += 2 * part * (axis->radix[p] - 1);
    }
    if (length > NEAR && i < axis->passes) {
        const int radix = axis->radix[i];
        part /= radix;
        for (int p = 0; p < radix; p++) transform_back(z + p * part * step, step, part, axis, i + 1);
        pass(z, step, length, length, roots, radix, 1);
        return;
    }
    roots = axis->roots + 2 * axis->root_count;
    part = 1;
    for (int p = axis->passes - 1; p >= i; p--) {
        const int radix = axis->radix[p];
        roots -= 2 * part * (radix - 1);
        part *= radix;
        pass(z, step, length, part, roots, radix, 1);
    }
}

static void fft_columns(double *z, int64_t row_step, int64_t groups, const fc_fft_axis *axis, int back)
{
    for (int64_t g = 0; g < groups; g++) {
        if (back)
            transform_back(z + g * GROUP, row_step, axis->length, axis, 0);
        else
            transform_there(z + g * GROUP, row_step, axis->length, axis, 0, axis->roots);
    }
}

static void fft_rows(double *spectrum, double *z, int64_t row_step, int64_t rows, const fc_fft_axis *axis,
                     const double *factors, int back)
{
    const int64_t columns = axis->length;
    for (int64_t row = 0; row < rows; row += LANES, spectrum += columns * GROUP) {
        const int lanes = rows - row < LANES ? (int)(rows - row) : LANES;
        double *at = z + row * row_step;
        if (back) transform_back(spectrum, GROUP, columns, axis, 0);
        for (int64_t x = 0; x < columns; x += LANES) {
            vec re[LANES], im[LANES];
            for (int i = 0; i < LANES; i++) {
                const double *from = back ? spectrum + (x + i) * GROUP : at + i * row_step + x * 2;
                const complex_vec v = back || i < lanes ? complex_at(from) : (complex_vec){{0}, {0}};
                const complex_vec f = factors && back ? complex_at(factors + (x + i) * GROUP) : v;
                const complex_vec moved = factors && back ? times_conjugate(v, f) : v;
                re[i] = moved.re;
                im[i] = moved.im;
            }
            transpose(re);
            transpose(im);
            for (int i = 0; i < LANES; i++) {
                complex_vec v = {re[i], im[i]};
                if (back) {
                    if (i < lanes) put_complex(at + i * row_step + x * 2, v);
                } else {
                    if (factors) v = times(v, complex_at(factors + (x + i) * GROUP));
                    put_complex(spectrum + (x + i) * GROUP, v);
                }
            }
        }
        if (!back) transform_there(spectrum, GROUP, columns, axis, 0, axis->roots);
        if (factors) factors += columns * GROUP;
    }
}

/* ---- products -------------------------------------------------------------------------------------------------- */

enum { AHEAD = 16 };  /* doubles: two lines */

INLINE void products_of(double *const *sums, const double *const *a, const double *const *b, int64_t terms, int64_t size,
                        int rows, int columns, int accumulate)
{
    for (int64_t at = 0; at < size; at += GROUP) {
        complex_vec sum[2][2];
        UNROLL
        for (int r = 0; r < rows; r++)
            UNROLL
            for (int c = 0; c < columns; c++)
                sum[r][c] = accumulate ? complex_at(sums[r * columns + c] + at) : (complex_vec){{0}, {0}};
        for (int64_t t = 0; t < terms; t++) {  /* more streams than the processor follows: fetched a line ahead */
            complex_vec x[2];
            UNROLL
            for (int c = 0; c < columns; c++) {
                x[c] = complex_at(b[c * terms + t] + at);
                __builtin_prefetch(b[c * terms + t] + at + AHEAD);
            }
            UNROLL
            for (int r = 0; r < rows; r++) {
                const complex_vec w = complex_at(a[r * terms + t] + at);
                __builtin_prefetch(a[r * terms + t] + at + AHEAD);
                UNROLL
                for (int c = 0; c < columns; c++) {
                    sum[r][c].re += w.re * x[c].re;
                    sum[r][c].im += w.re * x[c].im;
                    sum[r][c].re += w.im * x[c].im;
                    sum[r][c].im -= w.im * x[c].re;
                }
            }
        }
        UNROLL
        for (int r = 0; r < rows; r++)
            UNROLL
            for (int c = 0; c < columns; c++) put_complex(sums[r * columns + c] + at, sum[r][c]);
    }
}

static void fft_products(double *const *sums, const double *const *a, const double *const *b, int64_t terms, int64_t size,
                         int rows, int columns, int accumulate)
{
    if (rows == 2 && columns == 2)
        products_of(sums, a, b, terms, size, 2, 2, accumulate);
    else if (rows == 2)
        products_of(sums, a, b, terms, size, 2, 1, accumulate);
    else if (columns == 2)
        products_of(sums, a, b, terms, size, 1, 2, accumulate);
    else
        products_of(sums, a, b, terms, size, 1, 1, accumulate);
}

#endif
