"""Averages of whole planes; see planes.pyx."""

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.pool.walk cimport Pool


cdef bint covers_planes(const Pool *pool) noexcept
cdef bint average_whole(const Pool *pool, const View *planes, const View *averages, bint gradient,
                        bint count_padding, double divisor) except -1 nogil
