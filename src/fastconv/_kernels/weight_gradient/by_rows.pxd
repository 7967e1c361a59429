"""The weight gradient from rows as they lie; see by_rows.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View


cdef struct RowsLayout:
    int64_t n, filters, rows, channels        # output channels, those of a group, and its input channels
    int64_t kernel[3]
    int64_t taps
    int64_t stride[3]
    int64_t dilation[3]
    int64_t before[3]
    int64_t input_size[3]
    int64_t output_size[3]
    double flops


cdef class RowsGradient:
    cdef RowsLayout layout

    cdef bint pixels(self, const View *input, const View *grad_output) noexcept nogil
    cdef bint reads(self, const View *input, const View *grad_output) noexcept nogil
    cdef int64_t parts(self, const View *input, const View *grad_output) noexcept nogil
    cdef int64_t tasks(self, const View *input, const View *grad_output) noexcept nogil
    cdef int64_t scratch_elements(self, const View *input, const View *grad_output) noexcept nogil
    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums) except -1 nogil
