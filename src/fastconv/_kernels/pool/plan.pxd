"""What the pooling modules share."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport Array, acquire, release

cdef enum:
    CHANNEL_LANES = 32     # channels of one task; whole cache lines of a channels-last array
    TAP_FLOPS = 50         # one element under one window takes as long as this much convolution


cdef inline bint lanes_of_channels(int64_t channels, const int64_t *stride) noexcept nogil:
    """Whether neighbouring channels, not pixels, are neighbours in memory."""
    return channels > 1 and stride[1] == 1 and stride[4] != 1


cdef inline void copy_strides(const Array *array, int64_t *stride) noexcept nogil:
    cdef int axis
    for axis in range(5):
        stride[axis] = array.stride[axis]


cdef inline int64_t common_step(const Array *plane) noexcept nogil:
    """Elements of memory between neighbouring places of a plane, if it is the same for all; else 0."""
    cdef int axis
    cdef int64_t step = 0, count = 1
    for axis in range(4, 1, -1):
        if plane.size[axis] == 1:
            continue
        if count == 1:
            step = plane.stride[axis]
        elif plane.stride[axis] != step * count:
            return 0
        count *= plane.size[axis]
    return step


cdef inline int open_arrays(Array *arrays, tuple owners, int spatial_rank, bint batched) except -1:
    """Open several arrays, the first of them for writing. Pair with `close_arrays`."""
    cdef Py_ssize_t i
    for i in range(len(owners)):
        try:
            acquire(&arrays[i], owners[i], spatial_rank, batched, i == 0)
        except BaseException:
            close_arrays(arrays, i)
            raise
    return 0


cdef inline void close_arrays(Array *arrays, Py_ssize_t count) noexcept:
    cdef Py_ssize_t i
    for i in range(count):
        release(&arrays[i])
