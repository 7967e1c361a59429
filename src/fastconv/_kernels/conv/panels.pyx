"""The weights of a dense sub-convolution, cut into panels from wherever the user has them."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef void describe_weights(Weights *w, const Dense *d, const fc_kernels *kernel, const View *weight,
                           bint forward) noexcept nogil:
    """Everything but the panel's width. In an input gradient the weight's two channel axes change places."""
    cdef int axis
    w.dense, w.kernel = d, kernel
    w.source = weight.data
    w.itemsize = weight.item
    w.channel_stride = weight.stride[0 if forward else 1]
    w.depth_stride = weight.stride[1 if forward else 0]
    w.group_stride = weight.stride[0] * (d.channels if forward else d.depth)
    for axis in range(3):
        w.tap_stride[axis] = weight.stride[axis + 2]
    w.taps_adjacent = taps_adjacent(weight, d)
    w.depth_adjacent = w.taps_adjacent and w.depth_stride == d.taps


cdef bint taps_adjacent(const View *weight, const Dense *d) noexcept nogil:
    """Whether the taps take in the whole kernel in order, and the kernel is one run of memory."""
    cdef int axis
    cdef int64_t expected = 1
    for axis in range(2, -1, -1):
        if d.window.taps[axis] != weight.size[axis + 2]:
            return False
        if weight.size[axis + 2] > 1 and weight.stride[axis + 2] != expected:
            return False
        expected *= weight.size[axis + 2]
    return True


cdef void pack_weight_panel(const Weights *w, int64_t group, int64_t panel, int64_t channel, int64_t channels,
                            int64_t tap, int64_t taps, char *to) noexcept nogil:
    """One chunk (source channels x taps) of one panel of a group; depth order: channel, then tap."""
    cdef const Dense *d = w.dense
    cdef const fc_kernels *kernel = w.kernel
    cdef int64_t first = panel * w.width, item = w.itemsize, c, t
    cdef int64_t rows = min(w.width, d.channels - first)
    cdef int64_t step = w.width if w.padded else rows
    cdef const char *source = w.source + (group * w.group_stride + first * w.channel_stride
                                          + channel * w.depth_stride) * item
    if rows < step:
        kernel.copy.clear(to + rows * item, step, step - rows, channels * taps)
    if w.depth_adjacent and taps == d.taps:
        kernel.copy.pack(to, step, rows, channels * taps, source, w.channel_stride, 1)
    elif w.taps_adjacent:
        for c in range(channels):
            kernel.copy.pack(to + c * taps * step * item, step, rows, taps, source + (c * w.depth_stride + tap) * item,
                             w.channel_stride, 1)
    else:
        for t in range(taps):
            kernel.copy.pack(to + t * step * item, taps * step, rows, channels,
                             source + tap_offset(w, tap + t) * item, w.channel_stride, w.depth_stride)
