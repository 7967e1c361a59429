"""Filters on their way from sums to the caller's grad_weight; see filters.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef struct Filters:
    char *out
    int64_t stride[5]
    int64_t size[5]             # filters, input channels of a group, taps
    int64_t taps
    bint contiguous             # each filter
    const int64_t *tap_order    # which tap each one of the sums is, if they are not in order
    int64_t item
    const fc_kernels *kernel


cdef void describe_filters(Filters *filters, const View *out) noexcept nogil
cdef void write_filters(const Filters *filters, int64_t filter, int64_t count, int64_t channel, int64_t channels,
                        const char *sums, int64_t channel_step, int64_t tap_step) noexcept nogil
