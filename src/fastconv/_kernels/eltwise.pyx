"""Passes over arrays that NumPy does badly; whatever it does well stays in Python.

- `overwrite`: masked assignment without a branch per element (NumPy's costs 5 to 10 ns each on mixed masks).
- `gelu`, `gelu_slope`: the error function, which NumPy does not have.
- `group_sums`, `group_affine`: sums of products in double precision without a temporary of the batch, and the
  affine map that normalisation and its gradient both are.

Groups. The last two see arrays as the convolutions do, (N, C, D, H, W), and treat every index of C, a
*group*, alike. For batch normalisation a group is a channel; for layer normalisation, whose rows are viewed
as (1, rows, features), it is a row, and as (rows, features) it is a feature.

One task sums a group from its first element to its last: the bits do not depend on the number of threads.
"""

from libc.math cimport erfc, exp
from libc.stdint cimport int64_t
from libc.string cimport memset

import numpy as np

from fastconv._kernels.arrays cimport Array, acquire, release
from fastconv._kernels.dense cimport divide_up
from fastconv._kernels.native cimport parallel

cdef enum:
    LANES = 4            # sums that run side by side: element w of a row goes to sum w % LANES
    BLOCK = 16           # most groups of one task

cdef int64_t CHUNK = 8192    # elements of one flat task

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double PASS_FLOPS = 50
cdef double SUM_FLOPS = 100
cdef double ERF_FLOPS = 3000

cdef double SQRT_HALF = 0.70710678118654752440
cdef double INVERSE_SQRT_TWO_PI = 0.39894228040143267794

ctypedef fused real:
    float
    double


# ---- flat passes -----------------------------------------------------------------------------------


cdef enum Pass:
    OVERWRITE
    GELU
    GELU_SLOPE


cdef struct Flat:
    Pass kind
    Array values
    Array mask               # of OVERWRITE
    double value


cdef void flat_chunk(const Flat *call, real *values, const unsigned char *mask, int64_t count) noexcept nogil:
    cdef real value = <real>call.value, kept
    cdef double x
    cdef int64_t i
    if call.kind == OVERWRITE:
        for i in range(count):
            kept = values[i]  # read in any case, so that the choice needs no branch
            values[i] = value if mask[i] else kept
    elif call.kind == GELU:
        for i in range(count):
            x = values[i]
            values[i] = <real>(0.5 * x * erfc(-x * SQRT_HALF))
    else:
        for i in range(count):
            x = values[i]
            values[i] = <real>(0.5 * erfc(-x * SQRT_HALF) + x * exp(-0.5 * x * x) * INVERSE_SQRT_TWO_PI)


cdef void flat_task(void *context, int64_t index) noexcept nogil:
    cdef const Flat *call = <Flat *>context
    cdef int64_t first = index * CHUNK, count = min(CHUNK, call.values.size[1] - index * CHUNK)
    cdef const unsigned char *mask = <const unsigned char *>call.mask.data + first
    if call.values.float64:
        flat_chunk(call, <double *>call.values.data + first, mask, count)
    else:
        flat_chunk(call, <float *>call.values.data + first, mask, count)


cdef int run_flat(Pass kind, values, mask, double value, double flops) except -1:
    cdef Flat call
    call.kind, call.value = kind, value
    acquire(&call.values, values, 0, False, True)
    try:
        acquire(&call.mask, mask, 0, False, False)
        try:
            parallel(flat_task, &call, divide_up(call.values.size[1], CHUNK), flops * call.values.size[1])
        finally:
            release(&call.mask)
    finally:
        release(&call.values)
    return 0


def overwrite(values, mask, double value):
    """values[mask] = value, for a flat contiguous array and a bool array likewise, of the same length."""
    run_flat(OVERWRITE, values, mask, value, PASS_FLOPS)


def gelu(values):
    """x <- x * Phi(x) in a flat contiguous array; Phi is the standard normal distribution function."""
    run_flat(GELU, values, values, 0, ERF_FLOPS)


def gelu_slope(values):
    """x <- Phi(x) + x * phi(x), the derivative of `gelu`, in a flat contiguous array."""
    run_flat(GELU_SLOPE, values, values, 0, ERF_FLOPS)


# ---- groups ------------------------------------------------------------------------------------------


cdef struct Groups:
    Array *array             # operands first, what is written to last
    int64_t block, blocks    # groups per task, tasks per image
    bint adjacent            # neighbouring groups are neighbours in memory: walk them innermost


cdef void join_axes(Array *array, int count) noexcept nogil:
    """See H and W, then D too, as one axis, if the strides of all arrays allow it: longer rows."""
    cdef int axis, i
    for axis in range(3, 1, -1):
        for i in range(count):
            if array[i].size[4] == 1:
                array[i].stride[4] = array[i].stride[axis]
            elif array[i].size[axis] > 1 and array[i].stride[axis] != array[i].size[4] * array[i].stride[4]:
                return
        for i in range(count):
            array[i].size[4] *= array[i].size[axis]
            array[i].size[axis] = 1


cdef void describe(Groups *call, Array *array, int count) noexcept nogil:
    """Cut the groups into tasks; nothing of it changes a sum."""
    cdef int i
    join_axes(array, count)
    call.array = array
    call.adjacent = True
    for i in range(count):
        call.adjacent = call.adjacent and (array[i].stride[1] == 1 and array[i].stride[4] != 1)
    call.block = BLOCK if call.adjacent else max(1, min(<int64_t>BLOCK, array[0].size[1] // BLOCK))
    call.blocks = divide_up(array[0].size[1], call.block)


cdef inline int64_t row_start(const Array *array, int64_t group, int64_t row) noexcept nogil:
    """Offset of a row of one group; rows count over N, D and H."""
    cdef int64_t h = row % array.size[3], d = row // array.size[3] % array.size[2]
    return (group * array.stride[1] + row // array.size[3] // array.size[2] * array.stride[0]
            + d * array.stride[2] + h * array.stride[3])


cdef struct Sums:
    Groups groups
    const double *a_shift
    const double *b_shift
    double *sums
    double *products


cdef void sum_group(const Sums *call, int64_t group, const real *a, const real *b) noexcept nogil:
    """One group whose rows lie along memory."""
    cdef const Array *first = &call.groups.array[0]
    cdef const Array *second = &call.groups.array[1]
    cdef double total[LANES]
    cdef double product[LANES]
    cdef double a_shift = call.a_shift[group], b_shift = call.b_shift[group], difference
    cdef int64_t row, w, lane, width = first.size[4], a_step = first.stride[4], b_step = second.stride[4]
    cdef const real *x
    cdef const real *y
    memset(total, 0, sizeof(total))
    memset(product, 0, sizeof(product))
    for row in range(first.size[0] * first.size[2] * first.size[3]):
        x = a + row_start(first, group, row)
        y = b + row_start(second, group, row)
        w = 0
        while w + LANES <= width:
            for lane in range(LANES):
                difference = y[(w + lane) * b_step] - b_shift
                total[lane] += difference
                product[lane] += (x[(w + lane) * a_step] - a_shift) * difference
            w += LANES
        for lane in range(width - w):
            difference = y[(w + lane) * b_step] - b_shift
            total[lane] += difference
            product[lane] += (x[(w + lane) * a_step] - a_shift) * difference
    call.sums[group] = (total[0] + total[1]) + (total[2] + total[3])
    call.products[group] = (product[0] + product[1]) + (product[2] + product[3])


cdef void sum_adjacent(const Sums *call, int64_t group, int64_t count, const real *a,
                       const real *b) noexcept nogil:
    """`count` groups that are neighbours in memory; each is summed in the order of `sum_group`."""
    cdef const Array *first = &call.groups.array[0]
    cdef const Array *second = &call.groups.array[1]
    cdef double total[LANES * BLOCK]
    cdef double product[LANES * BLOCK]
    cdef const double *a_shift = call.a_shift + group
    cdef const double *b_shift = call.b_shift + group
    cdef double difference
    cdef int64_t row, w, i, lane
    cdef const real *x
    cdef const real *y
    memset(total, 0, sizeof(total))
    memset(product, 0, sizeof(product))
    for row in range(first.size[0] * first.size[2] * first.size[3]):
        x = a + row_start(first, group, row)
        y = b + row_start(second, group, row)
        for w in range(first.size[4]):
            lane = w % LANES * BLOCK
            for i in range(count):
                difference = y[i] - b_shift[i]
                total[lane + i] += difference
                product[lane + i] += (x[i] - a_shift[i]) * difference
            x += first.stride[4]
            y += second.stride[4]
    for i in range(count):
        call.sums[group + i] = (total[i] + total[BLOCK + i]) + (total[2 * BLOCK + i] + total[3 * BLOCK + i])
        call.products[group + i] = (
            (product[i] + product[BLOCK + i]) + (product[2 * BLOCK + i] + product[3 * BLOCK + i]))


cdef void sum_block(const Sums *call, int64_t group, int64_t count, const real *a,
                    const real *b) noexcept nogil:
    cdef int64_t i
    if call.groups.adjacent:
        sum_adjacent(call, group, count, a, b)
        return
    for i in range(count):
        sum_group(call, group + i, a, b)


cdef void sums_task(void *context, int64_t index) noexcept nogil:
    cdef const Sums *call = <Sums *>context
    cdef Array *array = call.groups.array
    cdef int64_t group = index * call.groups.block, count = min(call.groups.block, array[0].size[1] - group)
    if array[0].float64:
        sum_block(call, group, count, <const double *>array[0].data, <const double *>array[1].data)
    else:
        sum_block(call, group, count, <const float *>array[0].data, <const float *>array[1].data)


def group_sums(a, const double[::1] a_shift, b, const double[::1] b_shift):
    """Per group, in double precision: the sum of b - b_shift, and of (a - a_shift) * (b - b_shift).

    Parameters
    ----------
    a, b : array, shape (N, C, *spatial), float32 or float64, N and C at least 1
    a_shift, b_shift : float64 array, shape (C,)

    Returns
    -------
    sums, products : float64 array, shape (C,)
    """
    cdef Sums call
    cdef Array array[2]
    cdef int held = 0
    sums, products = np.empty(a_shift.shape[0]), np.empty(a_shift.shape[0])
    cdef double[::1] sums_view = sums
    cdef double[::1] products_view = products
    try:
        for operand in (a, b):
            acquire(&array[held], operand, operand.ndim - 2, True, False)
            held += 1
        describe(&call.groups, array, 2)
        call.a_shift, call.b_shift = &a_shift[0], &b_shift[0]
        call.sums, call.products = &sums_view[0], &products_view[0]
        parallel(sums_task, &call, call.groups.blocks, SUM_FLOPS * a.size)
    finally:
        while held:
            held -= 1
            release(&array[held])
    return sums, products


cdef struct Affine:
    Groups groups            # arrays: a, b, out
    const double *shift
    const double *scale
    const double *offset
    const double *b_scale    # NULL: there is no b


cdef void map_row(const Affine *call, int64_t group, const real *a, const real *b, real *out) noexcept nogil:
    """A row of one group."""
    cdef Array *array = call.groups.array
    cdef double shift = call.shift[group], scale = call.scale[group], offset = call.offset[group], b_scale
    cdef int64_t a_step = array[0].stride[4], b_step = array[1].stride[4], out_step = array[2].stride[4], w
    if call.b_scale == NULL:
        for w in range(array[0].size[4]):
            out[w * out_step] = <real>((a[w * a_step] - shift) * scale + offset)
    else:
        b_scale = call.b_scale[group]
        for w in range(array[0].size[4]):
            out[w * out_step] = <real>((a[w * a_step] - shift) * scale + b[w * b_step] * b_scale + offset)


cdef void map_adjacent(const Affine *call, int64_t group, int64_t count, const real *a, const real *b,
                       real *out) noexcept nogil:
    """A row of `count` groups that are neighbours in memory."""
    cdef Array *array = call.groups.array
    cdef const double *shift = call.shift + group
    cdef const double *scale = call.scale + group
    cdef const double *offset = call.offset + group
    cdef const double *b_scale = NULL
    cdef int64_t w, i
    if call.b_scale != NULL:
        b_scale = call.b_scale + group
    for w in range(array[0].size[4]):
        if b_scale == NULL:
            for i in range(count):
                out[i] = <real>((a[i] - shift[i]) * scale[i] + offset[i])
        else:
            for i in range(count):
                out[i] = <real>((a[i] - shift[i]) * scale[i] + b[i] * b_scale[i] + offset[i])
        a += array[0].stride[4]
        b += array[1].stride[4]
        out += array[2].stride[4]


cdef void map_block(const Affine *call, int64_t n, int64_t group, int64_t count, const real *a, const real *b,
                    real *out) noexcept nogil:
    """The groups of one task in one image."""
    cdef Array *array = call.groups.array
    cdef int64_t rows = array[0].size[2] * array[0].size[3], row, i
    if call.groups.adjacent:
        for row in range(n * rows, (n + 1) * rows):
            map_adjacent(call, group, count, a + row_start(&array[0], group, row),
                         b + row_start(&array[1], group, row), out + row_start(&array[2], group, row))
        return
    for i in range(group, group + count):
        for row in range(n * rows, (n + 1) * rows):
            map_row(call, i, a + row_start(&array[0], i, row), b + row_start(&array[1], i, row),
                    out + row_start(&array[2], i, row))


cdef void affine_task(void *context, int64_t index) noexcept nogil:
    cdef const Affine *call = <Affine *>context
    cdef Array *array = call.groups.array
    cdef int64_t n = index // call.groups.blocks, group = index % call.groups.blocks * call.groups.block
    cdef int64_t count = min(call.groups.block, array[0].size[1] - group)
    if array[0].float64:
        map_block(call, n, group, count, <const double *>array[0].data, <const double *>array[1].data,
                  <double *>array[2].data)
    else:
        map_block(call, n, group, count, <const float *>array[0].data, <const float *>array[1].data,
                  <float *>array[2].data)


def group_affine(a, const double[::1] shift, const double[::1] scale, const double[::1] offset, out, b=None,
                 const double[::1] b_scale=None):
    """out = (a - shift) * scale + offset, plus b * b_scale if there is a b; in double, rounded once.

    Parameters
    ----------
    a, b : array, shape (N, C, *spatial), float32 or float64, N and C at least 1
    shift, scale, offset, b_scale : float64 array, shape (C,)
    out : array like a; may be a or b itself
    """
    cdef Affine call
    cdef Array array[3]
    cdef int held = 0
    try:
        for operand in (a, a if b is None else b, out):
            acquire(&array[held], operand, operand.ndim - 2, True, held == 2)
            held += 1
        describe(&call.groups, array, 3)
        call.shift, call.scale, call.offset = &shift[0], &scale[0], &offset[0]
        call.b_scale = NULL
        if b is not None:
            call.b_scale = &b_scale[0]
        parallel(affine_task, &call, array[0].size[0] * call.groups.blocks, SUM_FLOPS * a.size)
    finally:
        while held:
            held -= 1
            release(&array[held])
    return out
