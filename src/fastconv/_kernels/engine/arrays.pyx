"""The memory order of an array, and of a result made for it."""

import numpy as np

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer

cdef object empty = np.empty

# By the channels' axis, then by rank: the axes of an array that has them last, in the order that has them there.
cdef tuple FROM_LAST = tuple(
    tuple((*range(channel), rank - 1, *range(channel, rank - 1)) for rank in range(6)) for channel in range(2))


cdef bint channels_adjacent(const Py_buffer *buffer, int channel) noexcept nogil:
    """Whether channels are adjacent in memory and no spatial axis is: the NHWC order, told by strides alone."""
    cdef bint found = False
    cdef int axis
    if buffer.shape[channel] == 1 or buffer.strides[channel] != buffer.itemsize:
        return False
    for axis in range(channel + 1, buffer.ndim):
        if buffer.shape[axis] > 1:
            if -buffer.itemsize <= buffer.strides[axis] <= buffer.itemsize:
                return False
            found = True
    return found


cdef object make_output(tuple shape, object dtype, bint channels_last, int channel):
    """An uninitialised array of `shape`, whose axis `channel` is innermost in memory if `channels_last`."""
    if not channels_last:
        return empty(shape, dtype)
    last = empty((*shape[:channel], *shape[channel + 1:], shape[channel]), dtype)
    return last.transpose(<tuple>(<tuple>FROM_LAST[channel])[len(shape)])


def new_output(tuple shape, dtype, like, bint batched=True):
    """An uninitialised array of `shape`, channels-last in memory if `like` is."""
    cdef Py_buffer buffer
    cdef bint channels_last
    PyObject_GetBuffer(like, &buffer, PyBUF_STRIDED_RO)
    channels_last = channels_adjacent(&buffer, batched)
    PyBuffer_Release(&buffer)
    return make_output(shape, dtype, channels_last, batched)
