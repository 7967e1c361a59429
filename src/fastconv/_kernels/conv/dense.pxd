"""A convolution pass as dense sub-convolutions; see dense.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.conv_pass cimport ConvCall, ConvPass
from fastconv._kernels.engine.fc_api cimport fc_window

ctypedef int64_t Triple[3]


cdef struct Dense:
    int64_t n, groups
    int64_t channels          # output channels per group
    int64_t depth             # source channels per group
    fc_window window          # without strides, which are the call's
    Triple begin              # where the first output pixel lies in the output array ...
    Triple out_step           # ... and how far apart they lie
    int64_t taps              # of all axes together
    Triple kernel_begin       # the kernel element that tap 0 is ...
    Triple kernel_step        # ... and how far the others are apart
    int64_t pixels            # over the batch
    double flops


cdef class Subconvolutions(ConvPass):
    cdef Dense *dense
    cdef int64_t count
    cdef bint leaves_gaps     # some outputs belong to no sub-convolution: they are the bias alone

    cdef int describe(self, Dense *d, list axes, tuple parity) except -1


cdef void join_rows(fc_window *w, const int64_t *out_stride) noexcept nogil
