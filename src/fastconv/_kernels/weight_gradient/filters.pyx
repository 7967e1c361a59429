"""Filters on their way from sums, which have the taps or the channels innermost, to the caller's grad_weight."""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fastconv_native cimport kernels


cdef void describe_filters(Filters *filters, const View *out) noexcept nogil:
    cdef int axis
    cdef int64_t expected = 1
    filters.out, filters.kernel = out.data, kernels(out.dtype)
    filters.item = out.item
    filters.contiguous, filters.tap_order = True, NULL
    for axis in range(4, -1, -1):
        filters.stride[axis], filters.size[axis] = out.stride[axis], out.size[axis]
        if axis > 0:
            filters.contiguous &= out.size[axis] == 1 or out.stride[axis] == expected
            expected *= out.size[axis]
    filters.taps = out.size[2] * out.size[3] * out.size[4]


cdef void write_filters(const Filters *filters, int64_t filter, int64_t count, int64_t channel, int64_t channels,
                        const char *sums, int64_t channel_step, int64_t tap_step) noexcept nogil:
    """Some channels of neighbouring filters, which follow each other in `sums`."""
    cdef int64_t item = filters.item, apart = channels * filters.taps, i
    if filters.taps == 1 and filters.stride[0] == 1:
        filters.kernel.copy.pack(filters.out + (filter + channel * filters.stride[1]) * item, filters.stride[1], count,
                                 channels, sums, apart, channel_step)
        return
    for i in range(count):
        write_filter(filters, filter + i, channel, channels, sums + i * apart * item, channel_step, tap_step)


cdef void write_filter(const Filters *filters, int64_t filter, int64_t channel, int64_t channels, const char *sums,
                       int64_t channel_step, int64_t tap_step) noexcept nogil:
    """Some channels of a filter, from where they are so many elements apart."""
    cdef int64_t item = filters.item, taps = filters.taps, i, tap, rest, place
    cdef char *out = filters.out + (filter * filters.stride[0] + channel * filters.stride[1]) * item
    if filters.contiguous and filters.tap_order == NULL and (taps == 1 or tap_step == 1 and channel_step == taps):
        memcpy(out, sums, channels * taps * item)
        return
    if filters.contiguous and filters.tap_order == NULL:
        filters.kernel.copy.pack(out, taps, taps, channels, sums, tap_step, channel_step)
        return
    for i in range(taps):
        tap = filters.tap_order[i] if filters.tap_order != NULL else i
        rest = tap // filters.size[4]
        place = (tap % filters.size[4] * filters.stride[4] + rest % filters.size[3] * filters.stride[3]
                 + rest // filters.size[3] * filters.stride[2])
        filters.kernel.copy.pack(out + place * item, filters.stride[1], 1, channels, sums + i * tap_step * item, 0,
                                 channel_step)
