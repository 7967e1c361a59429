"""The weight gradient from windows as they lie; see by_windows.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.weight_gradient.chunks cimport Place, Strips


cdef struct WindowsLayout:
    Strips strips
    Place place                               # of the input in scratch
    int64_t groups, rows, channels            # output and input channels per group
    int64_t kernel[3]
    int64_t tap_step                          # in scratch: between neighbouring taps of a kernel row
    int64_t positions                         # of a chunk
    bint padded                               # some windows reach into the padding
    double flops
    int64_t row_blocks                        # of a group: a task is one of them
    int64_t parts                             # how many ways the chunks are split
    int64_t round_chunks                      # how many of its part's a task walks between two looks for Ctrl-C


cdef class WindowsGradient:
    cdef WindowsLayout layout

    cdef void place_input(self) noexcept
    cdef void share_out(self) noexcept
    cdef double share(self) noexcept
    cdef int64_t tasks(self) noexcept nogil
    cdef int64_t scratch_elements(self) noexcept nogil
    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums) except -1 nogil
