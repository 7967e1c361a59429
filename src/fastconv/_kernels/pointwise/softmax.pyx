"""Softmax and its logarithm along one axis of arrays that are dense in memory, and their gradients.

Such an array is (outer, count, inner) in memory, the slices running along the middle. Tasks share whole slices: the bits
do not depend on the number of threads.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, close, dtype_of, open_dense
from fastconv._kernels.engine.fc_api cimport FC_SOFTMAX_COLUMNS, fc_kernels
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel_with_gil

cdef int64_t CHUNK = 8192    # elements of one task, if its slices are short

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double ELEMENT_FLOPS = 150


cdef struct Slices:
    char *out
    const char *first        # the input, or the output that the gradient is of
    const char *second       # the gradient
    bint backward
    int logarithm
    int64_t outer
    int64_t count
    int64_t inner
    bint along               # slices lie along memory
    int64_t blocks           # of slices side by side
    int64_t share            # blocks of one task
    int64_t itemsize
    const fc_kernels *kernel


cdef void slices_task(void *context, int64_t index) noexcept nogil:
    cdef const Slices *call = <const Slices *>context
    cdef int64_t unit, column, offset
    cdef int columns
    for unit in range(index * call.share, min((index + 1) * call.share, call.outer * call.blocks)):
        column = unit % call.blocks * FC_SOFTMAX_COLUMNS
        columns = 0 if call.along else <int>min(<int64_t>FC_SOFTMAX_COLUMNS, call.inner - column)
        offset = (unit // call.blocks * call.count * call.inner + column) * call.itemsize
        if call.backward:
            call.kernel.pointwise.softmax_gradient(call.out + offset, call.first + offset,
                                                   call.second + offset, call.count, call.inner, columns,
                                                   call.logarithm)
        else:
            call.kernel.pointwise.softmax(call.out + offset, call.first + offset, call.count,
                                          call.inner, columns, call.logarithm)


def softmax(first, out, int64_t outer, int64_t count, int64_t inner, bint along, bint logarithm, gradient=None):
    """Softmax (or its logarithm) of `first`; with `gradient`, its gradient where the output is `first`.

    The arrays lie as (outer, count, inner) in memory, none of which is 0; `out` may be one of the others. Slices may be
    summed `along` memory if `inner` is 1: the other order of adding up.
    """
    cdef Slices call
    cdef Opened opened
    call.backward, call.logarithm = gradient is not None, logarithm
    call.outer, call.count, call.inner, call.along = outer, count, inner, along
    call.blocks = divide_up(inner, FC_SOFTMAX_COLUMNS)
    call.share = max(<int64_t>1, CHUNK // (count * min(inner, <int64_t>FC_SOFTMAX_COLUMNS)))
    opened.count = 0
    try:
        call.out = open_dense(&opened, out, True, &call.itemsize)
        call.first = open_dense(&opened, first, False, &call.itemsize)
        call.second = open_dense(&opened, gradient, False, &call.itemsize)
        call.kernel = kernels(dtype_of(call.itemsize))
        parallel_with_gil(slices_task, &call, divide_up(outer * call.blocks, call.share),
                          ELEMENT_FLOPS * outer * count * inner * call.itemsize / 4)
    finally:
        close(&opened)
