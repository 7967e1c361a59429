/* Convolution by FFT. */
#ifndef FC_API_FFT_H
#define FC_API_FFT_H

#include <stdint.h>

/* Two rows of an array that are one row of complex numbers in a transform: elements `stride` apart, position 0 at `row`
 * (which may lie outside the array). Only positions begin .. end - 1 exist. */
typedef struct fc_fft_rows {
    void *row[2];
    int64_t stride;
    int64_t begin[2], end[2];
} fc_fft_rows;

/* What becomes of a row's values on their way to the array. */
typedef struct fc_fft_finish {
    const uint8_t *seen[2];  /* 0 at positions that are exactly zero; NULL: there are none */
    double bound;            /* smaller values are rounding, and zero */
    double bias;             /* added then */
    int activation;
    double slope;
} fc_fft_finish;

/* How an axis is transformed: in passes of radix 2 to 5, from whole to single numbers. */
typedef struct fc_fft_axis {
    int64_t length;
    int passes;
    int radix[24];
    int64_t root_count;      /* of all passes: for each, part / radix times radix - 1 powers of its root of unity */
    const double *roots;     /* complex */
} fc_fft_axis;

typedef struct fc_fft_kernels {
    /* Convolution by FFT, always in double: see fft.h. Rows of complex numbers are groups of as many real and as many
     * imaginary parts as the float64 table has lanes.
     *
     * `read` folds two rows of the array into `groups` groups, times cosine + i sine; returns the sum of the squares.
     * `write` is the way back, divided by the unit cosine + i sine where that has been scaled (by 1 / points, say).
     * False if a value is not finite. */
    double (*read)(double *to, int64_t groups, const fc_fft_rows *rows, double cosine, double sine);
    int (*write)(const fc_fft_rows *rows, const double *from, int64_t groups, double cosine, double sine,
                 const fc_fft_finish *finish);

    /* In the float64 table alone. Transforms of `groups` neighbouring groups of columns, rows `row_step` doubles apart,
     * in place; and of rows (whole groups long), between z and `spectrum`: groups of rows, transposed, `axis.length` each.
     * Between transposition and transform a spectrum is multiplied by `factors` of its shape, if any. */
    void (*columns)(double *z, int64_t row_step, int64_t groups, const fc_fft_axis *axis, int back);
    void (*rows)(double *spectrum, double *z, int64_t row_step, int64_t rows, const fc_fft_axis *axis,
                 const double *factors, int back);

    /* sums[r * columns + c] (+)= the sum over `terms` of conj(a[r * terms + t]) * b[c * terms + t], `size` doubles each;
     * at most 2 rows and columns. */
    void (*products)(double *const *sums, const double *const *a, const double *const *b, int64_t terms, int64_t size,
                     int rows, int columns, int accumulate);
} fc_fft_kernels;

#endif
