"""What a training step does besides convolving: gradients of activations and biases, and the step itself.

Each is one pass over memory. What is summed is summed by one task in a fixed order: the bits do not depend on the
number of threads.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, close, dtype_of, open_dense, real
from fastconv._kernels.engine.fc_api cimport fc_descent, fc_kernels
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel_with_gil

cdef enum:
    COLUMNS = 64         # columns that one task sums

cdef int64_t CHUNK = 8192      # elements of one flat task

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double PASS_FLOPS = 20


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
    opened.count = 0
    try:
        call.gradient = open_dense(&opened, grad_output, False, &call.itemsize)
        call.count = opened.array[0].buffer.len // call.itemsize
        call.kernel = kernels(dtype_of(call.itemsize))
        call.activation, call.slope = activation, slope
        call.output = open_dense(&opened, output, False, &call.itemsize)
        call.out = NULL if output is None else open_dense(&opened, out, True, &call.itemsize)
        call.sums = open_dense(&opened, sums, True, &call.itemsize)
        if sums is not None:
            call.channels = len(sums)
            call.inner = 1
            for axis in range(channel + 1, grad_output.ndim):
                call.inner *= grad_output.shape[axis]
        if call.sums != NULL and (call.inner > 1 or not call.count):
            parallel_with_gil(channel_task, &call, call.channels, PASS_FLOPS * call.count)
            return
        if call.out != NULL:
            parallel_with_gil(flat_task, &call, divide_up(call.count, CHUNK), PASS_FLOPS * call.count)
        if call.sums != NULL:
            parallel_with_gil(columns_task, &call, divide_up(call.channels, COLUMNS), PASS_FLOPS * call.count)
    finally:
        close(&opened)


# ---- steps -------------------------------------------------------------------------------------------


cdef struct Piece:
    Opened opened
    int64_t item, elements
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
    cdef int64_t item, first
    while index > piece.last:
        piece += 1
    item = piece.item
    first = (divide_up(piece.elements, CHUNK) - 1 - (piece.last - index)) * CHUNK
    kernels(dtype_of(item)).pointwise.descend(
        piece.value + first * item, NULL if piece.velocity == NULL else piece.velocity + first * item,
        piece.gradient + first * item, min(CHUNK, piece.elements - first), &call.how)


def descend(list values, list gradients, velocities, double rate, double momentum, double decay, bint nesterov):
    """A step of gradient descent on many arrays; `velocities`, a list as the others, is None without momentum."""
    cdef Descent call
    cdef Piece *piece
    cdef int64_t i, tasks = 0
    cdef double total = 0
    call.how.rate, call.how.momentum, call.how.decay, call.how.nesterov = rate, momentum, decay, nesterov
    call.count = len(values)
    call.pieces = <Piece *>calloc(max(1, call.count), sizeof(Piece))
    if call.pieces == NULL:
        raise MemoryError("step")
    try:
        for i in range(call.count):
            piece = &call.pieces[i]
            piece.value = open_dense(&piece.opened, values[i], True, &piece.item)
            piece.gradient = open_dense(&piece.opened, gradients[i], False, &piece.item)
            piece.velocity = open_dense(&piece.opened, None if velocities is None else velocities[i], True, &piece.item)
            piece.elements = piece.opened.array[0].buffer.len // piece.item
            tasks += divide_up(piece.elements, CHUNK)
            piece.last = tasks - 1
            total += piece.elements
        parallel_with_gil(chunk_task, &call, tasks, PASS_FLOPS * total)
    finally:
        for i in range(call.count):
            close(&call.pieces[i].opened)
        free(call.pieces)
