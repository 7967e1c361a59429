"""What strides tell the pooling modules."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View

cdef enum:
    CHANNEL_LANES = 32     # channels of one task; whole cache lines of a channels-last array
    TAP_FLOPS = 50         # one element under one window takes as long as this much convolution


cdef inline bint lanes_of_channels(int64_t channels, const int64_t *stride) noexcept nogil:
    """Whether neighbouring channels, not pixels, are neighbours in memory."""
    return channels > 1 and stride[1] == 1 and stride[4] != 1


cdef inline void copy_strides(const View *array, int64_t *stride) noexcept nogil:
    cdef int axis
    for axis in range(5):
        stride[axis] = array.stride[axis]


cdef inline int64_t common_step(const View *plane) noexcept nogil:
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
