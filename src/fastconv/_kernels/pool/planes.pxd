"""Averages of whole planes; see planes.pyx."""

from fastconv._kernels.engine.arrays cimport Array
from fastconv._kernels.pool.walk cimport Pool


cdef bint covers_planes(const Pool *pool) noexcept
cdef bint average_whole(const Pool *pool, const Array *planes, const Array *averages, bint gradient,
                        bint count_padding, double divisor) except -1
