"""The blocked driver, for those who fall back on it."""

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.dense cimport Dense, Subconvolutions


cdef class DensePlan(Subconvolutions):
    cdef int run_dense(self, const Dense *d, const Array *source, const Array *weight, const char *bias,
                       const Array *out, int activation, double slope) except -1
