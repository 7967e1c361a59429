"""Sums over groups of values, and the affine maps that normalisations and their gradients are, in double precision.

Groups. Arrays are seen as the convolutions see them, (N, C, D, H, W), and every index of C, a *group*, is treated alike:
a channel of batch normalisation, or, viewed as (1, rows, features), a long row of layer normalisation. Groups that
are neighbours in memory are taken side by side, as columns; any other is taken by rows. A group is summed in chunks
that follow from the arrays' sizes and memory order, joined in their order: the bits do not depend on the number of
threads, and few groups do not leave threads idle.

Units. The squares of float64 values above 1e154 overflow, and those below 1e-154 vanish. A group has a power of two, its
unit, by which its values are multiplied before anything else; it is 1 unless one of the two would happen.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, View, close, open_array, real
from fastconv._kernels.engine.fc_api cimport fc_kernels, fc_norm, fc_norm_columns
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel_with_gil
from fastconv._kernels.engine.order cimport (
    NORM_CHUNK as CHUNK, NORM_COLUMN_CHUNK as COLUMN_CHUNK, NORM_LEAST_ROWS as LEAST_ROWS,
)
from fastconv._kernels.pointwise.norm_fold cimport PASS_FLOPS, fold

cdef enum:
    PIECE = 1024         # elements gathered at a time
    COLUMNS = 256        # groups taken side by side, at most


cdef struct Groups:
    Opened opened
    View array[3]            # operands first, what is written to last
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
    cdef const View *first = &call.array[0]
    cdef int64_t limit = CHUNK, columns = min(<int64_t>COLUMNS, first.size[1])
    cdef int i
    join_axes(call)
    call.itemsize = first.item
    call.kernel = kernels(first.dtype)
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


cdef inline int64_t place(const View *array, int64_t group, int64_t row, int64_t w) noexcept nogil:
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


cdef void take_row(const Groups *call, int64_t group, int64_t row, int64_t w, int64_t count,
                   double *sums) noexcept nogil:
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
            call.kernel.pointwise.norm_sums(sums, operand[0], operand[1], NULL, count, &n)
        else:
            call.kernel.pointwise.norm_map(operand[last], operand[0], operand[1] if last == 2 else NULL, NULL, NULL,
                                           count, &n)
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
                call.kernel.pointwise.norm_column_sums(call.sums + slot, call.products + slot,
                                                       at(call, 0, group, row, w), at(call, 1, group, row, w), count,
                                                       call.array[0].stride[4], call.array[1].stride[4], width, &n)
            else:
                call.kernel.pointwise.norm_column_map(at(call, last, group, row, w), at(call, 0, group, row, w),
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
    """Open the operands, of which the last may be written; pair with `close`, whatever happens."""
    cdef int last = len(operands) - 1
    memset(call, 0, sizeof(Groups))
    for operand in operands:
        call.array[call.arrays] = open_array(&call.opened, operand, operand.ndim - 2, True,
                                             writes and call.arrays == last)[0]
        call.arrays += 1
    describe(call)
    return 0


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
        parallel_with_gil(sums_task, &call, divide_up(call.chunks * call.blocks, call.share), PASS_FLOPS * a.size)
    finally:
        close(&call.opened)
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
        parallel_with_gil(map_task, &call, divide_up(call.chunks * call.blocks, call.share), PASS_FLOPS * a.size)
    finally:
        close(&call.opened)
    return out
