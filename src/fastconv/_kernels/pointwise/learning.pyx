"""What a training step does besides convolving: gradients of activations and biases, and the step itself.

Each is one pass over memory. What is summed is summed by one task in a fixed order: the bits do not depend on the
number of threads.
"""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport fc_descent, fc_kernels
from fastconv._kernels.engine.native cimport kernels, parallel

cdef enum:
    OPERANDS = 4         # most arrays of one call, or of one piece of a step
    COLUMNS = 64         # columns that one task sums

cdef int64_t CHUNK = 8192      # elements of one flat task

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double PASS_FLOPS = 20

ctypedef fused real:
    float
    double


cdef struct Opened:
    Py_buffer buffer[OPERANDS]
    int held


cdef char *take(Opened *opened, object array, bint writable) except NULL:
    """Open an array whose elements lie side by side, in some order of axes; returns the address of the first."""
    cdef Py_buffer *buffer = &opened.buffer[opened.held]
    PyObject_GetBuffer(array, buffer, PyBUF_STRIDED_RO | (PyBUF_WRITABLE if writable else 0))
    opened.held += 1
    return <char *>buffer.buf


cdef void close(Opened *opened) noexcept:
    while opened.held:
        opened.held -= 1
        PyBuffer_Release(&opened.buffer[opened.held])


# ---- gradients ---------------------------------------------------------------------------------------


cdef struct Gradient:
    const fc_kernels *kernel
    const char *gradient     # behind the activation
    const char *output       # of the activation
    char *out                # the gradient in front of it; NULL: there is no activation
    char *sums               # of the gradient in front, per channel
    int activation
    double slope
    int64_t count            # elements in all
    int64_t channels
    int64_t inner            # elements of one channel of one image, which lie side by side
    int64_t itemsize


cdef double take_row(const Gradient *call, int64_t first, int64_t count) noexcept nogil:
    cdef int64_t offset = first * call.itemsize
    if call.out == NULL:
        return call.kernel.pointwise.gradient_row(NULL, NULL, call.gradient + offset, count, 0, 0)
    return call.kernel.pointwise.gradient_row(call.out + offset, call.output + offset, call.gradient + offset, count,
                                              call.activation, call.slope)


cdef void flat_task(void *context, int64_t index) noexcept nogil:
    cdef const Gradient *call = <const Gradient *>context
    take_row(call, index * CHUNK, min(CHUNK, call.count - index * CHUNK))


cdef void channel_task(void *context, int64_t index) noexcept nogil:
    """One channel of all images."""
    cdef const Gradient *call = <const Gradient *>context
    cdef int64_t row = index
    cdef double total = 0
    while row * call.inner < call.count:
        total += take_row(call, row * call.inner, call.inner)
        row += call.channels
    if call.itemsize == 8:
        (<double *>call.sums)[index] = total
    else:
        (<float *>call.sums)[index] = <float>total


cdef void sum_columns(const Gradient *call, const real *rows, real *sums, int64_t first, int64_t count) noexcept nogil:
    cdef double total[COLUMNS]
    cdef int64_t i, start = first
    for i in range(count):
        total[i] = 0
    while start < call.count:
        for i in range(count):
            total[i] += rows[start + i]
        start += call.channels
    for i in range(count):
        sums[first + i] = <real>total[i]


cdef void columns_task(void *context, int64_t index) noexcept nogil:
    """Some channels of all rows, where an image is one row of channels."""
    cdef const Gradient *call = <const Gradient *>context
    cdef int64_t first = index * COLUMNS, count = min(<int64_t>COLUMNS, call.channels - index * COLUMNS)
    cdef const char *rows = call.gradient if call.out == NULL else call.out
    if call.itemsize == 8:
        sum_columns(call, <const double *>rows, <double *>call.sums, first, count)
    else:
        sum_columns(call, <const float *>rows, <float *>call.sums, first, count)


def gradient(grad_output, output=None, out=None, int activation=0, double slope=0.01, sums=None, int channel=1):
    """The gradient in front of an activation, and its sum per channel: the bias gradient.

    Parameters
    ----------
    grad_output : array, elements side by side
    output : array of the same shape and memory order, or None
        What the activation made; None if there is none.
    out : array likewise
        Where the gradient in front is written, if there is an activation.
    activation, slope
        As a plan takes them.
    sums : array, one per channel, or None
        With sums, all arrays are in C order.
    channel : int
        The axis of channels.
    """
    cdef Opened opened
    cdef Gradient call
    cdef int axis
    opened.held = 0
    try:
        call.gradient = take(&opened, grad_output, False)
        call.itemsize = opened.buffer[0].itemsize
        call.count = opened.buffer[0].len // call.itemsize
        call.kernel = kernels(call.itemsize == 8)
        call.activation, call.slope = activation, slope
        call.output = call.out = call.sums = NULL
        if output is not None:
            call.output = take(&opened, output, False)
            call.out = take(&opened, out, True)
        if sums is not None:
            call.sums = take(&opened, sums, True)
            call.channels = opened.buffer[opened.held - 1].len // call.itemsize
            call.inner = 1
            for axis in range(channel + 1, grad_output.ndim):
                call.inner *= grad_output.shape[axis]
        if call.sums != NULL and (call.inner > 1 or not call.count):
            parallel(channel_task, &call, call.channels, PASS_FLOPS * call.count)
            return
        if call.out != NULL:
            parallel(flat_task, &call, divide_up(call.count, CHUNK), PASS_FLOPS * call.count)
        if call.sums != NULL:
            parallel(columns_task, &call, divide_up(call.channels, COLUMNS), PASS_FLOPS * call.count)
    finally:
        close(&opened)


# ---- steps -------------------------------------------------------------------------------------------


cdef struct Piece:
    Opened opened
    char *value
    char *velocity           # NULL: no momentum
    char *gradient
    int64_t last             # task that has elements of it


cdef struct Descent:
    fc_descent how
    Piece *pieces
    int64_t count


cdef void chunk_task(void *context, int64_t index) noexcept nogil:
    """A chunk of one of the arrays: the task's number is counted back from its last one."""
    cdef const Descent *call = <const Descent *>context
    cdef const Piece *piece = call.pieces
    cdef int64_t itemsize, elements, first
    while index > piece.last:
        piece += 1
    itemsize = piece.opened.buffer[0].itemsize
    elements = piece.opened.buffer[0].len // itemsize
    first = (divide_up(elements, CHUNK) - 1 - (piece.last - index)) * CHUNK
    kernels(itemsize == 8).pointwise.descend(piece.value + first * itemsize,
                                             NULL if piece.velocity == NULL else piece.velocity + first * itemsize,
                                             piece.gradient + first * itemsize, min(CHUNK, elements - first), &call.how)


def descend(list values, list gradients, velocities, double rate, double momentum, double decay, bint nesterov):
    """A step of gradient descent on many arrays; `velocities`, a list as the others, is None without momentum."""
    cdef Descent call
    cdef Piece *piece
    cdef int64_t i, tasks = 0, elements
    cdef double total = 0
    call.how.rate, call.how.momentum, call.how.decay, call.how.nesterov = rate, momentum, decay, nesterov
    call.count = len(values)
    call.pieces = <Piece *>calloc(max(1, call.count), sizeof(Piece))
    if call.pieces == NULL:
        raise MemoryError("step")
    try:
        for i in range(call.count):
            piece = &call.pieces[i]
            piece.value = take(&piece.opened, values[i], True)
            piece.gradient = take(&piece.opened, gradients[i], False)
            if velocities is not None:
                piece.velocity = take(&piece.opened, velocities[i], True)
            elements = piece.opened.buffer[0].len // piece.opened.buffer[0].itemsize
            tasks += divide_up(elements, CHUNK)
            piece.last = tasks - 1
            total += elements
        parallel(chunk_task, &call, tasks, PASS_FLOPS * total)
    finally:
        for i in range(call.count):
            close(&call.pieces[i].opened)
        free(call.pieces)
