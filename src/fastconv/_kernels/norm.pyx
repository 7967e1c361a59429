"""Sums over groups of values, and the affine maps that normalisations and their gradients are, in double precision.

Groups. Arrays are seen as the convolutions see them, (N, C, D, H, W), and every index of C, a *group*, is treated alike:
a channel of batch normalisation, or, viewed as (1, rows, features), a long row of layer normalisation. Groups that
are neighbours in memory are taken side by side, as columns; any other is taken by rows. A group is summed in chunks
that follow from the arrays' sizes and memory order, joined in their order: the bits do not depend on the number of
threads, and few groups do not leave threads idle.

Rows. Layer normalisation of rows that fit a core's cache does all its passes over one while it is there.

Units. The squares of float64 values above 1e154 overflow, and those below 1e-154 vanish. A group has a power of two, its
unit, by which its values are multiplied before anything else; it is 1 unless one of the two would happen.

Folds. (x * unit - shift) * scale + offset is one multiplication and one addition if the numbers are multiplied out
first. In double precision that costs a float32 result nothing, unless the mean is millions of deviations away: `fold`.
"""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.math cimport fabs, frexp, hypot, isfinite, ldexp, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

from fastconv._kernels.arrays cimport Array, acquire, release
from fastconv._kernels.dense cimport divide_up
from fastconv._kernels.fc_api cimport fc_kernels, fc_norm, fc_norm_columns
from fastconv._kernels.native cimport kernels, parallel

cdef enum:
    PIECE = 1024         # elements gathered at a time
    TOGETHER = 8         # rows that take each step side by side, if that many fit a core's cache
    COLUMNS = 256        # groups taken side by side, at most

cdef int64_t CHUNK = 16384         # elements of a group that one task sums
cdef int64_t COLUMN_CHUNK = 65536  # of the groups side by side; a partial sum per column and chunk is kept,
cdef int64_t LEAST_ROWS = 256      # so that a chunk has at least so many rows
cdef int64_t ROWS_IN_CACHE = 32768 # elements of rows that take each step side by side
cdef int64_t ROW_CHUNK = 65536     # elements of rows that one task sums for the gradients of weight and bias

cdef double SMALL_VARIANCE = 1e-280  # a smaller one has lost digits, or itself, unless eps covers it

# From the mean to zero, in deviations, as far as numbers are folded. What is lost is 2^-52 of it at most, 2^-30 where a
# float32 result of 1 is itself rounded by 2^-25.
cdef double FOLDED = 2.0 ** 22

# How far from the mean the variance may be measured, as a square and in variances: 10 of 53 bits are lost. A float32
# result takes 24.
cdef double NEAR = 1024

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double PASS_FLOPS = 50

ctypedef fused real:
    float
    double


cdef struct Groups:
    Array array[3]           # operands first, what is written to last
    int arrays
    const fc_kernels *kernel
    bint adjacent            # neighbouring groups are neighbours in memory
    int64_t rows             # of a group, over N, D and H
    int64_t rows_per_chunk
    int64_t span             # elements of a row in one chunk
    int64_t pieces           # chunks of a row
    int64_t chunks
    int64_t block            # groups of one unit of work: a unit is a chunk of a block of groups
    int64_t blocks
    int64_t share            # units of one task
    int64_t itemsize
    const double *unit       # the numbers of every group; see fc_norm_columns
    const double *shift
    const double *scale
    const double *offset
    const double *b_unit
    const double *b_shift
    const double *b_scale
    double *sums             # per chunk and group
    double *products


cdef void join_axes(Groups *call) noexcept nogil:
    """See neighbouring axes of N, D, H and W as one if the strides of all arrays allow it: longer rows."""
    cdef int axis, place, i
    for place in range(3):
        axis = 3 - place if place < 2 else 0
        for i in range(call.arrays):
            if call.array[i].size[4] == 1:
                call.array[i].stride[4] = call.array[i].stride[axis]
            elif (call.array[i].size[axis] > 1
                  and call.array[i].stride[axis] != call.array[i].size[4] * call.array[i].stride[4]):
                return
        for i in range(call.arrays):
            call.array[i].size[4] *= call.array[i].size[axis]
            call.array[i].size[axis] = 1


cdef void describe(Groups *call) noexcept nogil:
    """Cut the groups into units of work."""
    cdef const Array *first = &call.array[0]
    cdef int64_t limit = CHUNK, columns = min(<int64_t>COLUMNS, first.size[1])
    cdef int i
    join_axes(call)
    call.itemsize = 8 if first.float64 else 4
    call.kernel = kernels(first.float64)
    call.adjacent = True
    for i in range(call.arrays):
        call.adjacent = call.adjacent and call.array[i].stride[1] == 1 and call.array[i].stride[4] != 1
    call.block = 1
    if call.adjacent:
        call.block, limit = columns, max(LEAST_ROWS, COLUMN_CHUNK // columns)
    call.blocks = divide_up(first.size[1], call.block)
    call.rows = first.size[0] * first.size[2] * first.size[3]
    call.span = min(limit, first.size[4])
    call.pieces = divide_up(first.size[4], call.span)
    call.rows_per_chunk = 1 if call.pieces > 1 else min(call.rows, max(<int64_t>1, limit // call.span))
    call.chunks = divide_up(call.rows, call.rows_per_chunk) * call.pieces
    call.share = max(<int64_t>1, CHUNK // (call.block * call.rows_per_chunk * call.span))


cdef inline int64_t place(const Array *array, int64_t group, int64_t row, int64_t w) noexcept nogil:
    """Offset of an element of one group; rows count over N, D and H."""
    cdef int64_t h = row % array.size[3], d = row // array.size[3] % array.size[2]
    return (group * array.stride[1] + row // array.size[3] // array.size[2] * array.stride[0]
            + d * array.stride[2] + h * array.stride[3] + w * array.stride[4])


cdef inline char *at(const Groups *call, int operand, int64_t group, int64_t row, int64_t w) noexcept nogil:
    return call.array[operand].data + place(&call.array[operand], group, row, w) * call.itemsize


cdef inline fc_norm numbers_of(const Groups *call, int64_t group) noexcept nogil:
    cdef fc_norm n
    n.unit, n.shift = call.unit[group], call.shift[group]
    n.scale, n.offset, n.b_unit, n.b_shift, n.b_scale = 1, 0, 1, 0, 0
    if call.scale != NULL:
        n.scale, n.offset = call.scale[group], call.offset[group]
    if call.b_unit != NULL:
        n.b_unit, n.b_shift = call.b_unit[group], call.b_shift[group]
    if call.b_scale != NULL:
        n.b_scale = call.b_scale[group]
    return n


cdef inline fc_norm_columns columns_of(const Groups *call, int64_t group) noexcept nogil:
    cdef fc_norm_columns n
    n.unit, n.shift = call.unit + group, call.shift + group
    n.scale = n.offset = n.b_unit = n.b_shift = n.b_scale = NULL
    if call.scale != NULL:
        n.scale, n.offset = call.scale + group, call.offset + group
    if call.b_unit != NULL:
        n.b_unit, n.b_shift = call.b_unit + group, call.b_shift + group
    if call.b_scale != NULL:
        n.b_scale = call.b_scale + group
    return n


cdef void copy_row(real *to, int64_t to_step, const real *source, int64_t step, int64_t count) noexcept nogil:
    cdef int64_t i
    for i in range(count):
        to[i * to_step] = source[i * step]


cdef void copy_strided(int64_t itemsize, void *to, int64_t to_step, const void *source, int64_t step,
                       int64_t count) noexcept nogil:
    if itemsize == 8:
        copy_row(<double *>to, to_step, <const double *>source, step, count)
    else:
        copy_row(<float *>to, to_step, <const float *>source, step, count)


cdef void take_row(const Groups *call, int64_t group, int64_t row, int64_t w, int64_t count, double *sums) noexcept nogil:
    """Sum a row of one group into `sums`, or map it if there are none."""
    cdef fc_norm n = numbers_of(call, group)
    cdef double gathered[3][PIECE]
    cdef char *operand[3]
    cdef int64_t end = w + count
    cdef int i, last = call.arrays - 1
    cdef bint direct = True
    for i in range(call.arrays):
        direct = direct and (call.array[i].stride[4] == 1 or call.array[i].size[4] == 1)
    while w < end:
        count = end - w if direct else min(<int64_t>PIECE, end - w)
        for i in range(call.arrays):
            operand[i] = at(call, i, group, row, w)
            if not direct:
                if sums != NULL or i < last:
                    copy_strided(call.itemsize, gathered[i], 1, operand[i], call.array[i].stride[4], count)
                operand[i] = <char *>gathered[i]
        if sums != NULL:
            call.kernel.norm_sums(sums, operand[0], operand[1], NULL, count, &n)
        else:
            call.kernel.norm_map(operand[last], operand[0], operand[1] if last == 2 else NULL, NULL, NULL, count, &n)
            if not direct:
                copy_strided(call.itemsize, at(call, last, group, row, w), call.array[last].stride[4], gathered[last], 1,
                             count)
        w += count


cdef void take_unit(const Groups *call, int64_t unit, bint summing) noexcept nogil:
    """One chunk of one block of groups."""
    cdef int64_t chunk = unit // call.blocks, group = unit % call.blocks * call.block
    cdef int64_t width = min(call.block, call.array[0].size[1] - group)
    cdef int64_t w = chunk % call.pieces * call.span, count = min(call.span, call.array[0].size[4] - w)
    cdef int64_t row = chunk // call.pieces * call.rows_per_chunk, end = min(call.rows, row + call.rows_per_chunk)
    cdef int64_t slot = chunk * call.array[0].size[1] + group
    cdef int last = call.arrays - 1
    cdef double sums[2]
    cdef fc_norm_columns n
    sums[0] = sums[1] = 0
    while row < end:
        if not call.adjacent:
            take_row(call, group, row, w, count, sums if summing else NULL)
        else:
            n = columns_of(call, group)
            if summing:
                call.kernel.norm_column_sums(call.sums + slot, call.products + slot, at(call, 0, group, row, w),
                                             at(call, 1, group, row, w), count, call.array[0].stride[4],
                                             call.array[1].stride[4], width, &n)
            else:
                call.kernel.norm_column_map(at(call, last, group, row, w), at(call, 0, group, row, w),
                                            at(call, 1, group, row, w) if last == 2 else NULL, count,
                                            call.array[last].stride[4], call.array[0].stride[4],
                                            call.array[1].stride[4], width, &n)
        row += 1
    if summing and not call.adjacent:
        call.sums[slot], call.products[slot] = sums[0], sums[1]


cdef void sums_task(void *context, int64_t index) noexcept nogil:
    cdef const Groups *call = <const Groups *>context
    cdef int64_t unit
    for unit in range(index * call.share, min((index + 1) * call.share, call.chunks * call.blocks)):
        take_unit(call, unit, True)


cdef void map_task(void *context, int64_t index) noexcept nogil:
    cdef const Groups *call = <const Groups *>context
    cdef int64_t unit
    for unit in range(index * call.share, min((index + 1) * call.share, call.chunks * call.blocks)):
        take_unit(call, unit, False)


cdef int open_all(Groups *call, tuple operands, bint writes) except -1:
    """Open the operands, of which the last may be written; pair with `close_all`, whatever happens."""
    cdef int last = len(operands) - 1
    memset(call, 0, sizeof(Groups))
    for operand in operands:
        acquire(&call.array[call.arrays], operand, operand.ndim - 2, True, writes and call.arrays == last)
        call.arrays += 1
    describe(call)
    return 0


cdef void close_all(Groups *call) noexcept:
    while call.arrays:
        call.arrays -= 1
        release(&call.array[call.arrays])


cdef void fold(fc_norm *n, double weight, double deviations) noexcept nogil:
    """Multiply scale by `weight`; then, near enough to zero, have no scale and no offset, but in unit and shift."""
    cdef double shift
    n.scale *= weight
    shift = n.shift * n.scale - n.offset
    if fabs(deviations) <= FOLDED and isfinite(n.unit * n.scale) and isfinite(shift):
        n.unit, n.shift, n.scale, n.offset = n.unit * n.scale, shift, 1, -0.0  # whatever it is added to stays as it is


def group_sums(a, const double[::1] unit, const double[::1] shift, b, const double[::1] b_unit=None,
               const double[::1] b_shift=None):
    """Per group, in double precision: the sum of B, and of A * B.

    Parameters
    ----------
    a, b : array, shape (N, C, *spatial), float32 or float64, none of it empty
    unit, shift : float64 array, shape (C,)
        A = a * unit - shift.
    b_unit, b_shift : float64 array, shape (C,), or both None
        B = b * b_unit - b_shift, or B = b.

    Returns
    -------
    sums, products : float64 array, shape (C,)
    """
    cdef Groups call
    cdef double[:, :, ::1] partial
    try:
        open_all(&call, (a, b), False)
        joined = np.zeros((2, call.chunks, call.array[0].size[1]))
        partial = joined
        call.unit, call.shift = &unit[0], &shift[0]
        if b_unit is not None:
            call.b_unit, call.b_shift = &b_unit[0], &b_shift[0]
        call.sums, call.products = &partial[0, 0, 0], &partial[1, 0, 0]
        parallel(sums_task, &call, divide_up(call.chunks * call.blocks, call.share), PASS_FLOPS * a.size)
    finally:
        close_all(&call)
    return tuple(joined.sum(axis=1))


def group_map(a, const double[::1] unit, const double[::1] shift, const double[::1] scale, const double[::1] offset, out,
              b=None, const double[::1] b_scale=None, const double[::1] weight=None):
    """out = (a * unit - shift) * scale * weight + offset, plus b * b_scale if there is a b; in double, rounded once.

    Parameters
    ----------
    a, b : array, shape (N, C, *spatial), float32 or float64, none of it empty
    unit, shift, scale, offset, b_scale, weight : float64 array, shape (C,)
        If `scale` is one over a deviation, and the weight 1 or by itself, results are as good as float32 can be however
        far the mean is.
    out : array like a; may be a or b itself
    """
    cdef Groups call
    cdef double[:, ::1] numbers = np.empty((4, a.shape[1]))
    cdef fc_norm n
    cdef int64_t group
    cdef double factor
    cdef bint folded = True
    try:
        open_all(&call, (a, out) if b is None else (a, b, out), True)
        for group in range(call.array[0].size[1]):
            n.unit, n.shift, n.scale, n.offset = unit[group], shift[group], scale[group], offset[group]
            factor = 1 if weight is None else weight[group]
            if call.itemsize == 4:
                fold(&n, factor, n.shift * n.scale)
            else:
                n.scale *= factor
            folded = folded and n.scale == 1 and n.offset == 0
            numbers[0, group], numbers[1, group], numbers[2, group], numbers[3, group] = n.unit, n.shift, n.scale, n.offset
        call.unit, call.shift = &numbers[0, 0], &numbers[1, 0]
        if not folded:
            call.scale, call.offset = &numbers[2, 0], &numbers[3, 0]
        if b is not None:
            call.b_scale = &b_scale[0]
        parallel(map_task, &call, divide_up(call.chunks * call.blocks, call.share), PASS_FLOPS * a.size)
    finally:
        close_all(&call)
    return out


# ---- rows --------------------------------------------------------------------------------------------


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
    call.kernel.norm_sums(sums, x, x, NULL, call.features, n)
    n.shift = n.b_shift = sums[0] / call.features
    sums[0] = sums[1] = 0
    call.kernel.norm_sums(sums, x, x, NULL, call.features, n)
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
            call.kernel.norm_sums(sums[i], x + i * step, x + i * step, NULL, call.features, n)
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
            call.kernel.norm_map(call.out + row * step, call.x + row * step, NULL, call.weight, call.bias, call.features,
                                 &numbers[i])
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
        call.kernel.norm_cross_sums(call.sums + slot, call.products + slot, each[0], call.x + row * step,
                                    call.gradient + row * step, call.weight, some, call.features, call.features, numbers)
        for i in range(some):
            n = &numbers[i]
            n.offset, n.b_scale = -r[i] * each[i][0] / call.features, r[i]
            if call.itemsize == 4:
                fold(n, -r[i] * each[i][1] / call.features, deviations[i])
            else:
                n.scale *= -r[i] * each[i][1] / call.features
            call.kernel.norm_map(call.out + row * step, call.x + row * step, call.gradient + row * step, call.weight, NULL,
                                 call.features, n)
            row += 1


cdef const char *data_of(Py_buffer *buffers, int *held, object array) except? NULL:
    PyObject_GetBuffer(array, &buffers[held[0]], PyBUF_STRIDED_RO)
    held[0] += 1
    return <const char *>buffers[held[0] - 1].buf


def layer_norm(x, out, int64_t rows, int64_t features, double eps, weight=None, bias=None, gradient=None,
               double[:, ::1] measured=None):
    """Layer normalisation of rows, or its gradient; all arrays are C-contiguous, none is empty.

    Parameters
    ----------
    x, out : array of rows * features elements, float32 or float64
        In the forward pass they may be the same.
    weight, bias : float64 array of `features` elements, or None
    gradient : array like x, or None
        That behind the layer; `out` then takes the one in front of it.
    measured : float64 array, shape (rows, 3), or None
        Filled by the forward pass with what the rows are normalised by; the gradient then need not measure them.

    Returns
    -------
    grad_weight, grad_bias : float64 array, shape (features,); None in the forward pass
    """
    cdef Rows call
    cdef Py_buffer buffers[5]
    cdef int held = 0
    cdef int64_t chunks
    cdef double[:, :, ::1] partial
    memset(&call, 0, sizeof(Rows))
    call.rows, call.features, call.eps = rows, features, eps
    try:
        PyObject_GetBuffer(out, &buffers[0], PyBUF_STRIDED_RO | PyBUF_WRITABLE)
        held = 1
        call.out, call.itemsize = <char *>buffers[0].buf, buffers[0].itemsize
        call.kernel = kernels(call.itemsize == 8)
        call.x = data_of(buffers, &held, x)
        if weight is not None:
            call.weight = <const double *>data_of(buffers, &held, weight)
        if bias is not None:
            call.bias = <const double *>data_of(buffers, &held, bias)
        if measured is not None:
            call.measured = &measured[0, 0]
        if gradient is None:
            call.share = max(<int64_t>1, CHUNK // features)
            parallel(rows_task, &call, divide_up(rows, call.share), 4 * PASS_FLOPS * rows * features)
            return None
        call.gradient = data_of(buffers, &held, gradient)
        # Long rows are few to a task, lest threads be idle; but not so few that the sums need more memory than the rows.
        call.share = max(<int64_t>4, min(max(<int64_t>16, ROW_CHUNK // features), rows // 8))
        chunks = divide_up(rows, call.share)
        joined = np.zeros((2, chunks, features))
        partial = joined
        call.sums, call.products = &partial[0, 0, 0], &partial[1, 0, 0]
        parallel(gradient_task, &call, chunks, 5 * PASS_FLOPS * rows * features)
        grad_bias, grad_weight = joined.sum(axis=1)
        return grad_weight, grad_bias
    finally:
        while held:
            held -= 1
            PyBuffer_Release(&buffers[held])
