"""Activations and their gradients: one pass over arrays of any strides, in flat chunks on all threads.

The result is dense, so it is written in the order of its memory; an operand that lies in the same order is read where it
lies, any other a short piece at a time. The C tile makes an element's bits independent of where it falls.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, close, dtype_of, open_buffer, real
from fastconv._kernels.engine.fc_api cimport (
    FC_ELU, FC_GELU, FC_GELU_TANH, FC_HARDSHRINK, FC_HARDSIGMOID, FC_HARDSWISH, FC_HARDTANH, FC_LEAKY_RELU,
    FC_LOGSIGMOID, FC_MISH, FC_PRELU, FC_PRELU_SLOPE, FC_RELU, FC_RELU6, FC_SIGMOID, FC_SILU, FC_SOFTPLUS,
    FC_SOFTSHRINK, FC_SOFTSIGN, FC_TANH, FC_TANHSHRINK, FC_THRESHOLD, fc_kernels, fc_pointwise,
)
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel_with_gil

cdef enum:
    OPERANDS = 3         # input, gradient, slopes
    AXES = 64            # most that NumPy has
    PIECE = 1024         # elements gathered at a time

cdef int64_t CHUNK = 8192    # elements of one task

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double LINEAR_FLOPS = 30
cdef double EXPONENTIAL_FLOPS = 150

CODES = {
    "relu": FC_RELU, "leaky_relu": FC_LEAKY_RELU, "relu6": FC_RELU6, "prelu": FC_PRELU, "hardtanh": FC_HARDTANH,
    "threshold": FC_THRESHOLD, "hardsigmoid": FC_HARDSIGMOID, "hardswish": FC_HARDSWISH, "softshrink": FC_SOFTSHRINK,
    "hardshrink": FC_HARDSHRINK, "sigmoid": FC_SIGMOID, "tanh": FC_TANH, "logsigmoid": FC_LOGSIGMOID,
    "softsign": FC_SOFTSIGN, "tanhshrink": FC_TANHSHRINK, "softplus": FC_SOFTPLUS, "elu": FC_ELU, "silu": FC_SILU,
    "mish": FC_MISH, "gelu": FC_GELU, "gelu_tanh": FC_GELU_TANH, "prelu_slope": FC_PRELU_SLOPE,
}


cdef struct Operand:
    const Py_buffer *buffer  # NULL: there is none
    bint flat                # lies as the result does
    int64_t stride[AXES]     # in elements, along the walk's axes


cdef struct Walk:
    Operand operand[OPERANDS]
    Operand out
    int axes                 # in the order of the result's memory, joined where all operands allow it
    int64_t size[AXES]
    int64_t count
    int64_t itemsize
    const fc_kernels *kernel
    fc_pointwise how


cdef void order_axes(Walk *walk) noexcept nogil:
    """Axes by falling strides of the result, without those of size 1; neighbours that run on are one."""
    cdef const Py_buffer *out = walk.out.buffer
    cdef int order[AXES]
    cdef int axis, place, i
    cdef int64_t step
    cdef bint joins
    walk.axes = 0
    for axis in range(out.ndim):
        if out.shape[axis] == 1:
            continue
        place = walk.axes
        while place > 0 and out.strides[order[place - 1]] < out.strides[axis]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = axis
        walk.axes += 1
    place = 0
    for axis in range(walk.axes):
        joins = place > 0
        for i in range(OPERANDS):
            if walk.operand[i].buffer != NULL and joins:
                step = walk.operand[i].buffer.strides[order[axis]] // walk.itemsize
                joins = walk.operand[i].stride[place - 1] == step * out.shape[order[axis]]
        if not joins:
            walk.size[place] = 1
            place += 1
        walk.size[place - 1] *= out.shape[order[axis]]
        for i in range(OPERANDS):
            if walk.operand[i].buffer != NULL:
                walk.operand[i].stride[place - 1] = walk.operand[i].buffer.strides[order[axis]] // walk.itemsize
    walk.axes = place


cdef void find_flat(Walk *walk) noexcept nogil:
    cdef int i, axis
    cdef int64_t step
    for i in range(OPERANDS):
        if not walk.operand[i].buffer != NULL:
            continue
        walk.operand[i].flat, step = True, 1
        for axis in range(walk.axes - 1, -1, -1):
            walk.operand[i].flat = walk.operand[i].flat and walk.operand[i].stride[axis] == step
            step *= walk.size[axis]


cdef void copy_row(real *to, const real *source, int64_t step, int64_t count) noexcept nogil:
    cdef int64_t i
    for i in range(count):
        to[i] = source[i * step]


cdef void gather(const Walk *walk, const Operand *operand, char *to, int64_t first, int64_t count) noexcept nogil:
    """Elements [first, first + count) of an operand, in the order of the walk."""
    cdef int64_t index[AXES]
    cdef int64_t offset = 0, run, rest = first, last = walk.axes - 1, step = operand.stride[last]
    cdef int axis
    for axis in range(walk.axes - 1, -1, -1):
        index[axis] = rest % walk.size[axis]
        rest //= walk.size[axis]
        offset += index[axis] * operand.stride[axis]
    while count:
        run = min(count, walk.size[last] - index[last])
        if step == 1:
            memcpy(to, <char *>operand.buffer.buf + offset * walk.itemsize, run * walk.itemsize)
        elif walk.itemsize == 8:
            copy_row(<double *>to, <const double *>operand.buffer.buf + offset, step, run)
        else:
            copy_row(<float *>to, <const float *>operand.buffer.buf + offset, step, run)
        to += run * walk.itemsize
        count -= run
        offset += run * step
        index[last] += run
        axis = last
        while axis > 0 and index[axis] == walk.size[axis]:
            index[axis] = 0
            index[axis - 1] += 1
            offset += operand.stride[axis - 1] - walk.size[axis] * operand.stride[axis]
            axis -= 1


cdef void apply(const Walk *walk, char *const *at, int64_t first, int64_t count) noexcept nogil:
    cdef char *out = <char *>walk.out.buffer.buf + first * walk.itemsize
    if walk.operand[1].buffer != NULL:
        walk.kernel.pointwise.activate_gradient(out, at[0], at[1], at[2], count, &walk.how)
    else:
        walk.kernel.pointwise.activate(out, at[0], at[2], count, &walk.how)


cdef void chunk_task(void *context, int64_t index) noexcept nogil:
    cdef const Walk *walk = <const Walk *>context
    cdef int64_t first = index * CHUNK, end = min(walk.count, (index + 1) * CHUNK), count
    cdef double piece[OPERANDS][PIECE]
    cdef char *at[OPERANDS]
    cdef bint flat = True
    cdef int i
    for i in range(OPERANDS):
        at[i] = NULL
        flat = flat and (walk.operand[i].flat or not walk.operand[i].buffer != NULL)
    while first < end:
        count = end - first if flat else min(<int64_t>PIECE, end - first)
        for i in range(OPERANDS):
            if walk.operand[i].buffer != NULL and walk.operand[i].flat:
                at[i] = <char *>walk.operand[i].buffer.buf + first * walk.itemsize
            elif walk.operand[i].buffer != NULL:
                at[i] = <char *>piece[i]
                gather(walk, &walk.operand[i], at[i], first, count)
        apply(walk, at, first, count)
        first += count


def activate(int code, input, out, double a=0.0, double b=0.0, double c=0.0, gradient=None, slopes=None):
    """out = an activation of the input, or the gradient behind it times its slope there.

    Parameters
    ----------
    code : int
        One of `CODES`.
    input, gradient, slopes : array or None
        Of one shape and dtype, any strides; slopes are those of prelu, one per element.
    out : array
        Of the same shape, dense in memory in some order of its axes.
    a, b, c : float
        Parameters of the activation, see enum fc_activation.
    """
    cdef Opened opened
    cdef Walk walk
    cdef int i
    for i in range(OPERANDS):
        walk.operand[i].buffer = NULL
    walk.how.activation, walk.how.a, walk.how.b, walk.how.c = code, a, b, c
    opened.count = 0
    try:
        walk.out.buffer = &open_buffer(&opened, out, True).buffer
        for i, operand in enumerate((input, gradient, slopes)):
            if operand is not None:
                walk.operand[i].buffer = &open_buffer(&opened, operand, False).buffer
        walk.itemsize = walk.out.buffer.itemsize
        walk.count = walk.out.buffer.len // walk.itemsize
        walk.kernel = kernels(dtype_of(walk.itemsize))
        if walk.count:
            order_axes(&walk)
            find_flat(&walk)
            parallel_with_gil(chunk_task, &walk, divide_up(walk.count, CHUNK), walk.count * (
                LINEAR_FLOPS if code <= FC_HARDSHRINK else EXPONENTIAL_FLOPS * walk.itemsize / 4))
    finally:
        close(&opened)
    return out
