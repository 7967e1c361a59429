"""The blocked driver: for those who fall back on it, or see something else as a convolution."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.engine.arrays cimport Array


cdef int run_dense(const Dense *d, int64_t part, bint forward, const Array *source, const Array *weight,
                   const char *bias, const Array *out, bint adds, int activation, double slope) except -1
cdef dict dense_info(const Dense *d, bint float64, bint channels_last)


cdef class DensePlan(Subconvolutions):
    pass
