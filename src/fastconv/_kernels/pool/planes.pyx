"""Averages whose one window covers its whole plane (global pooling), and their gradient, at the speed of memory.

The C tile sums planes that are contiguous, or that interleave as the channels of a channels-last array do; the bits
are the same. A task is some planes of one image.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_kernels, fc_planes
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel
from fastconv._kernels.pool.strides cimport common_step
from fastconv._kernels.pool.walk cimport Pool

cdef int64_t SIDE_BY_SIDE = 128       # planes of a task that interleave: whole vectors, and whole lines of cache
cdef int64_t TASK_ELEMENTS = 1 << 16  # of planes that do not
cdef double ELEMENT_FLOPS = 16        # as in tiles.pyx


cdef struct Planes:
    const fc_kernels *kernel
    fc_planes shape
    bint gradient
    int64_t item_bytes
    int64_t channels
    int64_t block               # planes of a task
    int64_t blocks
    char *planes
    char *averages
    int64_t image_step          # of `planes`
    int64_t average_image_step


cdef bint covers_planes(const Pool *pool) noexcept:
    """Whether there is one window, with every element under it."""
    cdef int axis
    for axis in range(3):
        if pool.output_size[axis] != 1 or pool.dilation[axis] != 1:
            return False
        if not pool.adaptive and pool.kernel[axis] - pool.before[axis] < pool.input_size[axis]:
            return False
    return True


cdef double counted(const Pool *pool, bint count_padding) noexcept nogil:
    """The elements of the window that an average counts."""
    cdef double count = 1
    cdef int axis
    for axis in range(3):
        if count_padding and not pool.adaptive:
            count *= min(pool.kernel[axis], pool.before[axis] + pool.input_size[axis] + pool.after[axis])
        else:
            count *= pool.input_size[axis]
    return count


cdef void planes_task(void *context, int64_t task) noexcept nogil:
    cdef const Planes *p = <const Planes *>context
    cdef fc_planes shape = p.shape
    cdef int64_t n = task // p.blocks, first = task % p.blocks * p.block
    cdef char *planes = p.planes + (n * p.image_step + first * shape.plane_step) * p.item_bytes
    cdef char *averages = p.averages + (n * p.average_image_step + first) * p.item_bytes
    shape.planes = min(p.block, p.channels - first)
    if p.gradient:
        p.kernel.pool.spread_planes(planes, averages, &shape)
    else:
        p.kernel.pool.average_planes(averages, planes, &shape)


cdef bint average_whole(const Pool *pool, const View *planes, const View *averages, bint gradient,
                        bint count_padding, double divisor) except -1 nogil:
    """Carry out a call whose window `covers_planes`; False, and nothing done, if they lie otherwise in memory."""
    cdef Planes p
    cdef double elements
    p.shape.pixels = pool.input_size[0] * pool.input_size[1] * pool.input_size[2]
    p.shape.plane_step = planes.stride[1]
    p.shape.pixel_step = common_step(planes) if p.shape.pixels > 1 else 1
    if pool.channels > 1 and averages.stride[1] != 1:
        return False
    if p.shape.pixel_step != 1 and (gradient or p.shape.pixel_step < 1 or p.shape.plane_step != 1):
        return False
    p.kernel = kernels(planes.dtype)
    p.shape.divisor = divisor if divisor != 0 else counted(pool, count_padding)
    p.gradient, p.channels = gradient, pool.channels
    p.item_bytes = planes.item
    p.planes, p.averages = planes.data, averages.data
    p.image_step, p.average_image_step = planes.stride[0], averages.stride[0]
    p.block = min(p.channels, SIDE_BY_SIDE if p.shape.pixel_step != 1 else divide_up(TASK_ELEMENTS, p.shape.pixels))
    p.blocks = divide_up(p.channels, p.block)
    elements = <double>pool.n * pool.channels * p.shape.pixels
    parallel(planes_task, &p, pool.n * p.blocks, elements * ELEMENT_FLOPS)
    return True
