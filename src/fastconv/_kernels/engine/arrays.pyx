"""Arrays that are opened, filled and made; see arrays.pxd."""

import numpy as np

from cpython.buffer cimport PyBUF_WRITABLE
from libc.string cimport memcpy

from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.engine.fastconv_native cimport kernels

cdef object empty = np.empty

# By the channels' axis, then by rank: the axes of an array that has them last, in the order that has them there.
cdef tuple FROM_LAST = tuple(
    tuple((*range(channel), rank - 1, *range(channel, rank - 1)) for rank in range(6)) for channel in range(2))


cdef View *open_array(Opened *opened, object owner, int spatial_rank, bint batched, bint writable) except NULL:
    """Open an array of shape (N, C, *spatial), or (C, *spatial) if not `batched`. Pair with `close`."""
    cdef Held *held = open_buffer(opened, owner, writable)
    if held.buffer.ndim != spatial_rank + 1 + batched:
        raise ValueError(f"array has {held.buffer.ndim} axes, the plan wants {spatial_rank + 1 + batched}")
    place_axes(held, spatial_rank, batched)
    return &held.view


cdef class Exported:
    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE and not self.writable:
            raise BufferError("an input of a kernel is read-only")
        buffer.buf, buffer.obj, buffer.readonly = self.view.data, self, not self.writable
        buffer.format, buffer.itemsize = b"f" if self.view.dtype == FC_FLOAT32 else b"d", self.view.item
        buffer.ndim, buffer.shape, buffer.strides = 5, self.shape, self.strides
        buffer.suboffsets, buffer.internal, buffer.len = NULL, NULL, self.view.item
        for size in self.shape:
            buffer.len *= size


cdef Exported exported(const View *view, bint writable):
    """Valid for as long as the memory of the view is."""
    cdef Exported made = Exported.__new__(Exported)
    cdef int axis
    made.view, made.writable = view[0], writable
    for axis in range(5):
        made.shape[axis], made.strides[axis] = view.size[axis], view.stride[axis] * view.item
    return made


cdef void fill(const View *view, const char *channel_values) noexcept nogil:
    """Set every element to the value of its channel, or to zero if `channel_values` is NULL."""
    cdef int64_t n, c, z, y, x, item = view.item
    cdef const int64_t *size = &view.size[0]
    cdef const int64_t *stride = &view.stride[0]
    cdef const fc_kernels *kernel = kernels(view.dtype)
    cdef char *row
    for n in range(size[0]):
        for z in range(size[2]):
            for y in range(size[3]):
                row = view.data + (n * stride[0] + z * stride[2] + y * stride[3]) * item
                if channel_values == NULL and (stride[4] == 1 or size[4] == 1):
                    kernel.copy.clear(row, stride[1], size[4], size[1])
                elif channel_values == NULL and stride[1] == 1:
                    kernel.copy.clear(row, stride[4], size[1], size[4])
                else:
                    for c in range(size[1]):
                        for x in range(size[4]):
                            set_element(row + (c * stride[1] + x * stride[4]) * item, channel_values, c, item)


cdef inline void set_element(char *to, const char *values, int64_t c, int64_t item) noexcept nogil:
    cdef double zero = 0
    memcpy(to, <const char *>&zero if values == NULL else values + c * item, item)


cdef inline const char *end_of(const View *view, int direction) noexcept nogil:
    """The lowest (`direction` -1) address of an array, or the first one beyond it (+1)."""
    cdef const char *end = view.data
    cdef int axis
    for axis in range(5):
        if view.stride[axis] * direction > 0:
            end += (view.size[axis] - 1) * view.stride[axis] * view.item
    return end + view.item if direction > 0 else end


cdef bint lie_apart(const View *a, const View *b) noexcept nogil:
    """Whether two arrays have no memory between their ends in common."""
    return end_of(a, 1) <= end_of(b, -1) or end_of(b, 1) <= end_of(a, -1)


cdef bint elements_apart(const View *view) noexcept nogil:
    """Whether, from the axis of the smallest stride on, each steps over all that those before it span."""
    cdef int64_t spanned = 1
    cdef int placed = 0, axis, inner
    for _ in range(5):
        inner = -1
        for axis in range(4, -1, -1):
            if not placed >> axis & 1 and (inner < 0 or view.stride[axis] < view.stride[inner]):
                inner = axis
        placed |= 1 << inner
        if view.size[inner] > 1:
            if view.stride[inner] < spanned:
                return False
            spanned = view.size[inner] * view.stride[inner]
    return True


cdef object make_output(tuple shape, object dtype, bint channels_last, int channel):
    """An uninitialised array of `shape`, whose axis `channel` is innermost in memory if `channels_last`."""
    if not channels_last:
        return empty(shape, dtype)
    last = empty((*shape[:channel], *shape[channel + 1:], shape[channel]), dtype)
    return last.transpose(<tuple>(<tuple>FROM_LAST[channel])[len(shape)])


def new_output(tuple shape, dtype, like, bint batched=True):
    """An uninitialised array of `shape`, channels-last in memory if `like` is."""
    cdef Opened opened
    cdef bint channels_last = False
    cdef int spatial_rank = like.ndim - 1 - batched
    if spatial_rank < 4:
        opened.count = 0
        channels_last = is_channels_last(open_array(&opened, like, spatial_rank, batched, False))
        close(&opened)
    return make_output(shape, dtype, channels_last, batched)


def in_five_axes(array, bint batched=True):
    """View (N, C, *spatial), or (C, *spatial) if not `batched`, as (N, C, D, H, W); arrays of five axes are."""
    if array.ndim == 5:
        return array
    front = (slice(None), slice(None)) if batched else (None, slice(None))
    return array[(*front, *[None] * (4 + batched - array.ndim))]
