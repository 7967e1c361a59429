"""The weight gradient as a matrix product; see by_gemm.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.weight_gradient.chunks cimport Strips
from fastconv._kernels.weight_gradient.filters cimport Filters


cdef struct GemmLayout:
    Strips strips
    int64_t groups, rows, channels            # output and input channels per group
    int64_t taps
    int64_t kernel[3]
    bint turned                               # rows are input channels, and `channels` output channels
    bint padded                               # some windows reach into the padding
    double flops
    int64_t row_blocks, channel_blocks        # of a group: a task is one of each
    int64_t parts                             # how many ways the chunks are split
    int64_t round_chunks                      # how many of its part's a task walks between two looks for Ctrl-C


cdef class GemmGradient:
    cdef GemmLayout layout

    cdef int64_t scratch_elements(self) noexcept
    cdef int64_t run_length(self) noexcept nogil
    cdef void share_out(self, double flops) noexcept
    cdef double share(self) noexcept
    cdef int64_t tasks(self) noexcept nogil
    cdef bint needs_no_sums(self) noexcept nogil
    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums,
                       const Filters *filters) except -1 nogil
