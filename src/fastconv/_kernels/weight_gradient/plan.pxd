"""The weight gradient, whichever way its sums are found; see plan.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.conv_pass cimport ConvCall, ConvPass
from fastconv._kernels.weight_gradient.by_dots cimport DotGradient
from fastconv._kernels.weight_gradient.by_gemm cimport GemmGradient
from fastconv._kernels.weight_gradient.by_rows cimport RowsGradient
from fastconv._kernels.weight_gradient.by_windows cimport WindowsGradient
from fastconv._kernels.weight_gradient.filters cimport Filters


cdef enum Way:                  # to the sums; the first two count only if they are finite
    BY_ROWS, BY_DOTS, BY_WINDOWS, BY_GEMM


cdef struct WeightGradientCall:
    Filters filters
    char *sums                  # per part: the weights
    int64_t parts               # in `sums`
    int64_t channel_step        # between neighbouring input channels there ...
    int64_t tap_step            # ... and between neighbouring taps
    Way way
    bint finite                 # as far as known


cdef class WeightGradientPlan(ConvPass):
    cdef RowsGradient by_rows   # None where it does not serve
    cdef DotGradient dot        # None where another one is the better way, as are the next two
    cdef WindowsGradient windows
    cdef GemmGradient gemm

    cdef Way way(self, const View *input, const View *grad_output) noexcept nogil
    cdef int sum_up(self, WeightGradientCall *call, const ConvCall *what) except -1 nogil
