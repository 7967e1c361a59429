"""Values moved by indices; see by_index.pyx."""

from fastconv._kernels.engine.arrays cimport View


cdef enum Movement:
    ADD
    PUT
    GET


cdef bint exchange(Movement movement, const View *values, const View *indices, const View *plane) except -1 nogil
