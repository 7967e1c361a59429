"""Layer normalisation of rows that fit a core's cache: all passes over a row while it is there, in double precision.

Units are those of `norm.pyx`.
"""

from libc.math cimport fabs, frexp, hypot, isfinite, ldexp, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, close, dtype_of, open_dense, real
from fastconv._kernels.engine.fc_api cimport fc_kernels, fc_norm
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel_with_gil
from fastconv._kernels.engine.order cimport NORM_ROW_CHUNK as ROW_CHUNK
from fastconv._kernels.pointwise.norm_fold cimport PASS_FLOPS, fold

cdef enum:
    TOGETHER = 8         # rows that take each step side by side, if that many fit a core's cache

cdef int64_t CHUNK = 16384         # elements of rows that one task normalises
cdef int64_t ROWS_IN_CACHE = 32768 # elements of rows that take each step side by side

cdef double SMALL_VARIANCE = 1e-280  # a smaller one has lost digits, or itself, unless eps covers it

# How far from the mean the variance may be measured, as a square and in variances: 10 of 53 bits are lost. A float32
# result takes 24.
cdef double NEAR = 1024


cdef struct Rows:
    const fc_kernels *kernel
    const char *x
    const char *gradient     # NULL: forward
    const double *weight     # NULL: none
    const double *bias       # NULL: none
    char *out
    int64_t rows
    int64_t features
    int64_t share            # rows of one task
    int64_t itemsize
    double eps
    double *measured         # NULL: none; unit, mean and scale of every row, which the gradient takes from the forward pass
    double *sums             # gradients of bias and weight, per task and feature
    double *products


cdef double largest(const real *x, int64_t count) noexcept nogil:
    cdef double top = 0, size
    cdef int64_t i
    for i in range(count):
        size = fabs(x[i])
        if not size <= top:
            top = size
    return top


cdef double spread(const Rows *call, const char *x, fc_norm *n) noexcept nogil:
    """Set the shift of a row to its mean, in its unit, in two passes; returns the variance."""
    cdef double sums[2]
    n.b_unit, n.shift, n.b_shift = n.unit, 0, 0
    sums[0] = sums[1] = 0
    call.kernel.pointwise.norm_sums(sums, x, x, NULL, call.features, n)
    n.shift = n.b_shift = sums[0] / call.features
    sums[0] = sums[1] = 0
    call.kernel.pointwise.norm_sums(sums, x, x, NULL, call.features, n)
    n.b_unit, n.b_shift = 1, 0
    return sums[1] / call.features


cdef void standardise(const Rows *call, const char *x, double variance, fc_norm *n) noexcept nogil:
    """Scale of a row whose mean is its shift; and a unit, if the variance says that it needs one."""
    cdef double top
    cdef int exponent
    if not isfinite(variance) or (variance < SMALL_VARIANCE and call.eps < SMALL_VARIANCE):
        top = largest(<const double *>x, call.features) if call.itemsize == 8 else 0
        if top > 0 and isfinite(top):
            frexp(top, &exponent)
            n.unit = ldexp(1, -max(-1000, exponent))
            variance = spread(call, x, n)
            n.scale = 1 / hypot(sqrt(variance), sqrt(call.eps) * n.unit)
            return
    n.scale = 1 / sqrt(variance + call.eps)


cdef void standardise_rows(const Rows *call, const char *x, int64_t rows, fc_norm *numbers) noexcept nogil:
    """Unit, mean and scale of neighbouring rows. A step of all, then the next: no row waits for another's divisions."""
    cdef double sums[TOGETHER][2]
    cdef double away, variance
    cdef int64_t step = call.features * call.itemsize, i
    cdef bint near = call.itemsize == 4
    cdef fc_norm *n
    for i in range(rows):
        n = &numbers[i]
        n.unit = n.b_unit = 1
        n.shift = n.b_shift = n.offset = n.b_scale = 0
        if near:  # measured about the row's first element, which is rarely far from its mean
            n.shift = n.b_shift = (<const float *>(x + i * step))[0]
            sums[i][0] = sums[i][1] = 0
            call.kernel.pointwise.norm_sums(sums[i], x + i * step, x + i * step, NULL, call.features, n)
    for i in range(rows):
        n = &numbers[i]
        if near:
            away = sums[i][0] / call.features
            variance = sums[i][1] / call.features - away * away
            n.shift, n.b_shift = n.shift + away, 0
        if not near or not away * away <= NEAR * variance:
            variance = spread(call, x + i * step, n)
        standardise(call, x + i * step, variance, n)


cdef void recall_rows(const double *measured, int64_t rows, fc_norm *numbers) noexcept nogil:
    cdef int64_t i
    for i in range(rows):
        numbers[i].unit, numbers[i].shift, numbers[i].scale = measured[3 * i], measured[3 * i + 1], measured[3 * i + 2]
        numbers[i].offset, numbers[i].b_unit, numbers[i].b_shift, numbers[i].b_scale = 0, 1, 0, 0


cdef inline int64_t rows_together(const Rows *call) noexcept nogil:
    return max(<int64_t>1, min(<int64_t>TOGETHER, ROWS_IN_CACHE // call.features))


cdef void rows_task(void *context, int64_t index) noexcept nogil:
    cdef const Rows *call = <const Rows *>context
    cdef int64_t row = index * call.share, end = min(row + call.share, call.rows), step = call.features * call.itemsize
    cdef int64_t together = rows_together(call), some, i
    cdef fc_norm numbers[TOGETHER]
    while row < end:
        some = min(together, end - row)
        standardise_rows(call, call.x + row * step, some, numbers)
        for i in range(some):
            if call.measured != NULL:
                call.measured[3 * row], call.measured[3 * row + 1] = numbers[i].unit, numbers[i].shift
                call.measured[3 * row + 2] = numbers[i].scale
            if call.itemsize == 4:
                fold(&numbers[i], 1, numbers[i].shift * numbers[i].scale)
            call.kernel.pointwise.norm_map(call.out + row * step, call.x + row * step, NULL, call.weight, call.bias,
                                           call.features, &numbers[i])
            row += 1


cdef void gradient_task(void *context, int64_t index) noexcept nogil:
    cdef const Rows *call = <const Rows *>context
    cdef int64_t row = index * call.share, end = min(row + call.share, call.rows), step = call.features * call.itemsize
    cdef int64_t slot = index * call.features, together = rows_together(call), some, i
    cdef double each[TOGETHER][2]
    cdef double r[TOGETHER]
    cdef double deviations[TOGETHER]
    cdef fc_norm numbers[TOGETHER]
    cdef fc_norm *n
    while row < end:
        some = min(together, end - row)
        if call.measured != NULL:
            recall_rows(call.measured + 3 * row, some, numbers)
        else:
            standardise_rows(call, call.x + row * step, some, numbers)
        for i in range(some):
            n = &numbers[i]
            r[i], deviations[i] = n.scale * n.unit, n.shift * n.scale  # r: one over the deviation without a unit
            if call.itemsize == 4:
                fold(n, 1, deviations[i])
        memset(each, 0, sizeof(each))
        call.kernel.pointwise.norm_cross_sums(call.sums + slot, call.products + slot, each[0], call.x + row * step,
                                              call.gradient + row * step, call.weight, some, call.features,
                                              call.features, numbers)
        for i in range(some):
            n = &numbers[i]
            n.offset, n.b_scale = -r[i] * each[i][0] / call.features, r[i]
            if call.itemsize == 4:
                fold(n, -r[i] * each[i][1] / call.features, deviations[i])
            else:
                n.scale *= -r[i] * each[i][1] / call.features
            call.kernel.pointwise.norm_map(call.out + row * step, call.x + row * step, call.gradient + row * step,
                                           call.weight, NULL, call.features, n)
            row += 1


def layer_norm(x, out, int64_t rows, int64_t features, double eps, weight=None, bias=None, gradient=None,
               double[:, ::1] measured=None):
    """Layer normalisation of rows, or its gradient; all arrays are C-contiguous, none is empty.

    Parameters
    ----------
    x, out : array of rows * features elements, float32 or float64
        In the forward pass they may be the same.
    weight, bias : C-contiguous float64 array of `features` elements, or None
    gradient : array like x, or None
        That behind the layer; `out` then takes the one in front of it.
    measured : float64 array, shape (rows, 3), or None
        Filled by the forward pass with what the rows are normalised by; the gradient then need not measure them.

    Returns
    -------
    grad_weight, grad_bias : float64 array, shape (features,); None in the forward pass
    """
    cdef Rows call
    cdef Opened opened
    cdef int64_t chunks, item
    cdef double[:, :, ::1] partial
    opened.count = 0
    memset(&call, 0, sizeof(Rows))
    call.rows, call.features, call.eps = rows, features, eps
    try:
        call.out = open_dense(&opened, out, True, &call.itemsize)
        call.kernel = kernels(dtype_of(call.itemsize))
        call.x = open_dense(&opened, x, False, &call.itemsize)
        call.weight = <const double *>open_dense(&opened, weight, False, &item)
        call.bias = <const double *>open_dense(&opened, bias, False, &item)
        if measured is not None:
            call.measured = &measured[0, 0]
        if gradient is None:
            call.share = max(<int64_t>1, CHUNK // features)
            parallel_with_gil(rows_task, &call, divide_up(rows, call.share), 4 * PASS_FLOPS * rows * features)
            return None
        call.gradient = open_dense(&opened, gradient, False, &item)
        # Long rows are few to a task, lest threads be idle; but not so few that the sums need more memory than the rows.
        call.share = max(<int64_t>4, min(max(<int64_t>16, ROW_CHUNK // features), rows // 8))
        chunks = divide_up(rows, call.share)
        joined = np.zeros((2, chunks, features))
        partial = joined
        call.sums, call.products = &partial[0, 0, 0], &partial[1, 0, 0]
        parallel_with_gil(gradient_task, &call, chunks, 5 * PASS_FLOPS * rows * features)
        grad_bias, grad_weight = joined.sum(axis=1)
        return grad_weight, grad_bias
    finally:
        close(&opened)
