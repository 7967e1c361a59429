"""A pass by FFT; see walk.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View


cdef struct Operand:
    View array
    int64_t batch, term, row, group   # elements from one to the next; 0 if it has none


cdef struct Pass:
    Operand source, kernel, out
    int64_t batch, terms, rows, groups


cdef object walk(object plan, const Pass *what, const char *bias, int activation, double slope)
