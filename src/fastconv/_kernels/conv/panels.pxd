"""Weight panels; see panels.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef struct Weights:
    const Dense *dense
    const fc_kernels *kernel
    const char *source
    int64_t itemsize
    int64_t channel_stride    # between output channels (rows of a tile) of the sub-convolution
    int64_t depth_stride      # between source channels
    int64_t group_stride
    int64_t tap_stride[3]
    bint taps_adjacent        # the taps are one run of memory, in order ...
    bint depth_adjacent       # ... and so is (source channel, tap)
    int64_t width             # channels of a panel
    bint padded               # a panel that is not full gets zeros (B, read by its full width)


cdef void describe_weights(Weights *w, const Dense *d, const fc_kernels *kernel, const View *weight,
                           bint forward) noexcept nogil
cdef void pack_weight_panel(const Weights *w, int64_t group, int64_t panel, int64_t channel, int64_t channels,
                            int64_t tap, int64_t taps, char *to) noexcept nogil


cdef inline int64_t tap_offset(const Weights *w, int64_t tap) noexcept nogil:
    """Where a tap's kernel element lies in memory, from the first kernel element on."""
    cdef const Dense *d = w.dense
    cdef int64_t kw = tap % d.window.taps[2], kdh = tap // d.window.taps[2]
    return ((d.kernel_begin[0] + kdh // d.window.taps[1] * d.kernel_step[0]) * w.tap_stride[0]
            + (d.kernel_begin[1] + kdh % d.window.taps[1] * d.kernel_step[1]) * w.tap_stride[1]
            + (d.kernel_begin[2] + kw * d.kernel_step[2]) * w.tap_stride[2])
