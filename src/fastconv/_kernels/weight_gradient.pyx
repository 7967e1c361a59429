"""The weight gradient: one of two ways to the sums, and the sums on their way to the caller's array.

weight_dot.pyx and weight_gemm.pyx both cut the positions of the batch into chunks and the chunks into parts. How,
depends on the geometry alone, and the parts are added in order: the bits do not depend on the number of threads.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.arrays cimport Array, acquire, release
from fastconv._kernels.filters cimport Filters, describe_filters, write_filter
from fastconv._kernels.native cimport give_scratch, parallel, take_scratch
from fastconv._kernels.weight_dot cimport DotGradient
from fastconv._kernels.weight_gemm cimport GemmGradient


cdef struct Call:
    Filters filters
    char *sums                  # per part: the weights
    int64_t parts               # in `sums`
    int64_t channel_step        # between neighbouring input channels there ...
    int64_t tap_step            # ... and between neighbouring taps
    bint finite                 # the result, as far as known


ctypedef fused real:
    float
    double


cdef bint add_parts(const Call *call, int64_t filter, real *sums) noexcept nogil:
    """Add the parts of a filter in order. False if the sum is not finite."""
    cdef int64_t weights = call.filters.size[1] * call.filters.taps, part_step = call.filters.size[0] * weights
    cdef int64_t part, i
    cdef real excess = 0
    sums += filter * weights
    for part in range(1, call.parts):
        for i in range(weights):
            sums[i] += sums[part * part_step + i]
    for i in range(weights):
        excess += sums[i] - sums[i]  # NaN if infinite or NaN
    return excess == 0


cdef void filter_task(void *context, int64_t index) noexcept nogil:
    cdef Call *call = <Call *>context
    cdef int64_t weights = call.filters.size[1] * call.filters.taps
    cdef bint finite
    if call.filters.item == 8:
        finite = add_parts(call, index, <double *>call.sums)
    else:
        finite = add_parts(call, index, <float *>call.sums)
    if not finite:
        call.finite = False
    write_filter(&call.filters, index, 0, call.filters.size[1], call.sums + index * weights * call.filters.item,
                 call.channel_step, call.tap_step)


cdef class WeightGradientPlan:
    """How one geometry's weight gradient is computed. Immutable once made."""

    cdef DotGradient dot        # None where the other way is the better one
    cdef GemmGradient gemm
    cdef readonly object geometry

    def __cinit__(self, geometry):
        self.geometry = geometry
        self.gemm = GemmGradient(geometry)
        self.dot = DotGradient(geometry)
        if self.gemm.share() >= self.dot.share():
            self.dot = None

    def run(self, input, grad_output, out):
        """Write grad_weight to `out`."""
        cdef Array input_array, grad_array, out_array
        cdef int rank = self.geometry.spatial_rank
        cdef bint batched = self.geometry.batched
        acquire(&input_array, input, rank, batched, False)
        try:
            acquire(&grad_array, grad_output, rank, batched, False)
            try:
                acquire(&out_array, out, rank, True, True)
                try:
                    self.run_arrays(&input_array, &grad_array, &out_array)
                finally:
                    release(&out_array)
            finally:
                release(&grad_array)
        finally:
            release(&input_array)
        return out

    cdef int run_arrays(self, const Array *input, const Array *grad_output, const Array *out) except -1:
        cdef Call call
        describe_filters(&call.filters, out)
        if self.dot is not None:
            call.parts, call.channel_step, call.tap_step = self.dot.layout.parts, call.filters.taps, 1
            if not self.dot.layout.in_order:
                call.filters.tap_order = self.dot.layout.tap_order
            self.sum_up(&call, input, grad_output, True)
            if call.finite:
                return 0
            call.filters.tap_order = NULL
        if self.gemm.needs_no_sums() and input.size[0] > 0:
            self.gemm.sum_parts(input, grad_output, NULL, &call.filters)
            return 0
        call.parts, call.channel_step, call.tap_step = self.gemm.layout.parts, 1, out.size[1]
        self.sum_up(&call, input, grad_output, False)
        return 0

    cdef int sum_up(self, Call *call, const Array *input, const Array *grad_output, bint by_dots) except -1:
        """All parts, and their sum."""
        cdef int64_t weights = call.filters.size[0] * call.filters.size[1] * call.filters.taps
        cdef size_t held, needed = call.parts * weights * call.filters.item
        call.sums = <char *>take_scratch(needed, &held)
        try:
            if input.size[0] == 0:
                memset(call.sums, 0, needed)
            elif by_dots:
                self.dot.sum_parts(input, grad_output, call.sums)
            else:
                self.gemm.sum_parts(input, grad_output, call.sums, NULL)
            call.finite = True
            parallel(filter_task, call, call.filters.size[0], 4.0 * weights * call.parts)
        finally:
            give_scratch(call.sums, held)
        return 0
