"""The blocked driver: for those who fall back on it, or see something else as a convolution."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef int run_dense(const Dense *d, int64_t part, bint forward, const ConvCall *what) except -1 nogil
cdef dict dense_info(const Dense *d, const fc_kernels *kernel, bint channels_last)


cdef class DensePlan(Subconvolutions):
    pass
