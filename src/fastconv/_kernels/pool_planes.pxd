"""Averages of whole planes; see pool_planes.pyx."""

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.pool_walk cimport Pool


cdef bint covers_planes(const Pool *pool) noexcept
cdef bint average_whole(const Pool *pool, const Array *planes, const Array *averages, bint gradient,
                        bint count_padding, double divisor) except -1
