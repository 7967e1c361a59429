"""The weight gradient as dot products; see by_dots.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.weight_gradient.chunks cimport Place, Strips


cdef struct DotLayout:
    Strips strips
    int64_t groups, rows, channels            # output and input channels per group
    int64_t taps
    double flops
    int64_t pitch                             # elements between rows in scratch, of both
    Place place                               # of the input in scratch
    int64_t span                              # elements of a plane of grad_output ...
    int64_t grad_channel                      # ... and of all of a chunk
    int64_t *tap_offset                       # where a tap's first position lies in the input of a channel ...
    int64_t *tap_order                        # ... and which tap that is
    bint in_order
    int64_t row_blocks, channel_blocks        # of a group: a task is one of each
    int64_t parts                             # how many ways the chunks are split
    int64_t round_chunks                      # how many of its part's a task walks between two looks for Ctrl-C


cdef class DotGradient:
    cdef DotLayout layout

    cdef int lay_out(self, object geometry, int64_t positions) except -1
    cdef int64_t scratch_elements(self) noexcept
    cdef void share_out(self, double flops) noexcept
    cdef int order_taps(self) except -1
    cdef double share(self) noexcept
    cdef int64_t tasks(self) noexcept nogil
    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums) except -1 nogil
