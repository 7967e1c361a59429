"""The weight gradient: one of four ways to the sums, and the sums on their way to the caller's array.

by_rows.pyx, by_dots.pyx, by_windows.pyx and by_gemm.pyx all cut the positions of the batch into chunks
and the chunks into parts. How, depends on the geometry and the memory order alone, and the parts are added in order:
the bits do not depend on the number of threads.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Array, acquire, release
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.engine.native cimport give_scratch, parallel, take_scratch
from fastconv._kernels.weight_gradient.by_dots cimport DotGradient
from fastconv._kernels.weight_gradient.by_gemm cimport GemmGradient
from fastconv._kernels.weight_gradient.by_rows cimport RowsGradient
from fastconv._kernels.weight_gradient.by_windows cimport WindowsGradient
from fastconv._kernels.weight_gradient.filters cimport describe_filters, write_filters
from fastconv._kernels.weight_gradient.operands cimport add_sums

cdef int64_t FILTERS = 16        # of a task, so that filters that are interleaved in memory are written together


cdef bint add_parts(const WeightGradientCall *call, int64_t filter) noexcept nogil:
    """Add the parts of a filter in order. False if the sum counts only if finite, and is not."""
    cdef const fc_kernels *kernel = call.filters.kernel
    cdef int64_t item = call.filters.item, weights = call.filters.size[1] * call.filters.taps, part
    cdef char *sums = call.sums + filter * weights * item
    cdef double total
    for part in range(1, call.parts):
        add_sums(kernel, weights, sums + part * call.filters.size[0] * weights * item, sums)
    if call.way >= BY_WINDOWS:
        return True
    total = kernel.pointwise.gradient_row(NULL, NULL, sums, weights, 0, 0)
    return total - total == 0  # NaN if any of them is infinite or NaN


cdef void filter_task(void *context, int64_t index) noexcept nogil:
    cdef WeightGradientCall *call = <WeightGradientCall *>context
    cdef int64_t first = index * FILTERS, count = min(FILTERS, call.filters.size[0] - first), i
    for i in range(first, first + count):
        if not add_parts(call, i):
            call.finite = False
    write_filters(&call.filters, first, count, 0, call.filters.size[1],
                  call.sums + first * call.filters.size[1] * call.filters.taps * call.filters.item,
                  call.channel_step, call.tap_step)


cdef class WeightGradientPlan:
    """How one geometry's weight gradient is computed. Immutable once made."""

    def __cinit__(self, geometry, *_options_of_subclasses):
        self.geometry = geometry
        self.by_rows = RowsGradient(geometry) if RowsGradient.serves(geometry) else None
        self.gemm = GemmGradient(geometry)
        self.dot = DotGradient(geometry)
        self.windows = WindowsGradient(geometry)
        best = max(self.gemm.share(), self.windows.share(), self.dot.share())
        if self.gemm.share() == best:
            self.dot = self.windows = None
        elif self.windows.share() == best:
            self.dot = None
        else:
            self.windows = None

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
        """The algorithm."""
        cdef WeightGradientCall call
        cdef Array turned = out[0]
        call.way = BY_GEMM
        if self.by_rows is not None and self.by_rows.reads(input, grad_output):
            call.way, call.parts = BY_ROWS, self.by_rows.parts(input, grad_output)
        elif self.dot is not None:
            call.way, call.parts = BY_DOTS, self.dot.layout.parts
        elif self.windows is not None:
            call.way, call.parts = BY_WINDOWS, self.windows.layout.parts
        if call.way != BY_GEMM:
            describe_filters(&call.filters, out)
            call.channel_step, call.tap_step = call.filters.taps, 1
            if call.way == BY_DOTS and not self.dot.layout.in_order:
                call.filters.tap_order = self.dot.layout.tap_order
            self.sum_up(&call, input, grad_output)
            if call.finite:
                return 0
            call.way = BY_GEMM
        if self.gemm.layout.turned:
            turned.size[0], turned.size[1] = out.size[1], out.size[0]
            turned.stride[0], turned.stride[1] = out.stride[1], out.stride[0]
        describe_filters(&call.filters, &turned)
        if self.gemm.needs_no_sums() and input.size[0] > 0:
            self.gemm.sum_parts(input, grad_output, NULL, &call.filters)
            return 0
        call.parts, call.channel_step, call.tap_step = self.gemm.layout.parts, 1, turned.size[1]
        self.sum_up(&call, input, grad_output)
        return 0

    cdef int sum_up(self, WeightGradientCall *call, const Array *input, const Array *grad_output) except -1:
        """All parts, and their sum."""
        cdef int64_t weights = call.filters.size[0] * call.filters.size[1] * call.filters.taps
        cdef size_t held, needed = call.parts * weights * call.filters.item
        call.sums = <char *>take_scratch(needed, &held)
        try:
            if input.size[0] == 0:
                memset(call.sums, 0, needed)
            elif call.way == BY_ROWS:
                self.by_rows.sum_parts(input, grad_output, call.sums)
            elif call.way == BY_DOTS:
                self.dot.sum_parts(input, grad_output, call.sums)
            elif call.way == BY_WINDOWS:
                self.windows.sum_parts(input, grad_output, call.sums)
            else:
                self.gemm.sum_parts(input, grad_output, call.sums, NULL)
            call.finite = True
            parallel(filter_task, call, divide_up(call.filters.size[0], FILTERS), 4.0 * weights * call.parts)
        finally:
            give_scratch(call.sums, held)
        return 0
