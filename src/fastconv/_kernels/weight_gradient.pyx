"""The weight gradient: one of two ways to the sums, and the sums on their way to the caller's array.

weight_dot.pyx and weight_gemm.pyx both cut the positions of the batch into chunks and the chunks into parts. How,
depends on the geometry alone, and the parts are added in order: the bits do not depend on the number of threads.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.arrays cimport Array, acquire, release
from fastconv._kernels.native cimport give_scratch, parallel, take_scratch
from fastconv._kernels.weight_dot cimport DotGradient
from fastconv._kernels.weight_gemm cimport GemmGradient


cdef struct Call:
    char *out
    char *sums                  # per part: the weights
    int64_t out_stride[5]
    int64_t size[5]             # filters, input channels of a group, taps
    int64_t taps
    int64_t parts               # in `sums`
    int64_t tap_step            # between neighbouring taps there ...
    int64_t channel_step        # ... and between neighbouring input channels
    bint float64
    bint finite                 # the result, as far as known


ctypedef fused real:
    float
    double


cdef bint add_parts(const Call *call, int64_t filter, const real *sums, real *out) noexcept nogil:
    """Add the parts of one filter in order and lay it out as the caller's grad_weight. False if not finite."""
    cdef int64_t weights = call.size[1] * call.taps, part_step = call.size[0] * weights, channel, kd, kh, kw, part
    cdef real total, excess = 0
    cdef real *target
    sums += filter * weights
    out += filter * call.out_stride[0]
    for channel in range(call.size[1]):
        for kd in range(call.size[2]):
            for kh in range(call.size[3]):
                target = out + channel * call.out_stride[1] + kd * call.out_stride[2] + kh * call.out_stride[3]
                for kw in range(call.size[4]):
                    total = sums[0]
                    for part in range(1, call.parts):
                        total += sums[part * part_step]
                    target[kw * call.out_stride[4]] = total
                    excess += total - total  # NaN if infinite or NaN
                    sums += call.tap_step
        sums += call.channel_step - call.taps * call.tap_step
    return excess == 0


cdef void filter_task(void *context, int64_t index) noexcept nogil:
    cdef Call *call = <Call *>context
    cdef bint finite
    if call.float64:
        finite = add_parts(call, index, <double *>call.sums, <double *>call.out)
    else:
        finite = add_parts(call, index, <float *>call.sums, <float *>call.out)
    if not finite:
        call.finite = False


cdef class WeightGradientPlan:
    """How one geometry's weight gradient is computed. Immutable once made."""

    cdef DotGradient dot        # None where the other way is the better one
    cdef GemmGradient gemm
    cdef int64_t taps
    cdef readonly object geometry

    def __cinit__(self, geometry):
        self.geometry = geometry
        self.taps = geometry.kernel[0] * geometry.kernel[1] * geometry.kernel[2]
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
        cdef int axis
        for axis in range(5):
            call.out_stride[axis], call.size[axis] = out.stride[axis], out.size[axis]
        call.taps = self.taps
        call.out, call.float64 = out.data, out.float64
        if self.dot is not None:
            call.parts, call.tap_step, call.channel_step = self.dot.layout.parts, 1, call.taps
            self.sum_up(&call, input, grad_output, True)
            if call.finite:
                return 0
        call.parts, call.tap_step, call.channel_step = self.gemm.layout.parts, out.size[1], 1
        self.sum_up(&call, input, grad_output, False)
        return 0

    cdef int sum_up(self, Call *call, const Array *input, const Array *grad_output, bint by_dots) except -1:
        """All parts, and their sum."""
        cdef int64_t weights = call.size[0] * call.size[1] * call.taps
        cdef size_t held, needed = call.parts * weights * (8 if call.float64 else 4)
        call.sums = <char *>take_scratch(needed, &held)
        try:
            if input.size[0] == 0:
                memset(call.sums, 0, needed)
            elif by_dots:
                self.dot.sum_parts(input, grad_output, call.sums)
            else:
                self.gemm.sum_parts(input, grad_output, call.sums)
            call.finite = True
            parallel(filter_task, call, call.size[0], 4.0 * weights * call.parts)
        finally:
            give_scratch(call.sums, held)
        return 0
