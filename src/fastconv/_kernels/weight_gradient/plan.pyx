"""The weight gradient: one of four ways to the sums, and the sums on their way to the caller's array.

by_rows.pyx, by_dots.pyx, by_windows.pyx and by_gemm.pyx all cut the positions of the batch into chunks
and the chunks into parts. How, depends on the geometry and the memory order alone, and the parts are added in order:
the bits do not depend on the number of threads.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View, dtype_number, lay_axes
from fastconv._kernels.engine.conv_pass cimport ConvCall, ConvPass
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.engine.fastconv_native cimport give_scratch, kernels, parallel, take_scratch, worker_threads
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


cdef void lay_image_axes(View *view, int64_t n, int64_t channels, tuple size, bint channels_last):
    cdef int64_t sizes[5]
    sizes[0], sizes[1], sizes[2], sizes[3], sizes[4] = n, channels, size[0], size[1], size[2]
    lay_axes(view, sizes, channels_last)


cdef class WeightGradientPlan(ConvPass):
    """How one geometry's weight gradient is computed."""

    def __cinit__(self, geometry, direction, *_options_of_subclasses):
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

    cdef Way way(self, const View *input, const View *grad_output) noexcept nogil:
        """The best one for arrays that lie like these."""
        if self.by_rows is not None and self.by_rows.reads(input, grad_output):
            return BY_ROWS
        return BY_DOTS if self.dot is not None else BY_WINDOWS if self.windows is not None else BY_GEMM

    cdef int run_views(self, const ConvCall *what) except -1 nogil:
        cdef WeightGradientCall call
        cdef const View *out = what.out
        cdef View turned = out[0]
        call.way = self.way(what.source, what.factor)
        if call.way != BY_GEMM:
            if call.way == BY_ROWS:
                call.parts = self.by_rows.parts(what.source, what.factor)
            else:
                call.parts = self.dot.layout.parts if call.way == BY_DOTS else self.windows.layout.parts
            describe_filters(&call.filters, out)
            call.channel_step, call.tap_step = call.filters.taps, 1
            if call.way == BY_DOTS and not self.dot.layout.in_order:
                call.filters.tap_order = self.dot.layout.tap_order
            self.sum_up(&call, what)
            if call.finite:
                return 0
            call.way = BY_GEMM
        if self.gemm.layout.turned:
            turned.size[0], turned.size[1] = out.size[1], out.size[0]
            turned.stride[0], turned.stride[1] = out.stride[1], out.stride[0]
        describe_filters(&call.filters, &turned)
        if self.gemm.needs_no_sums() and what.source.size[0] > 0:
            return self.gemm.sum_parts(what.source, what.factor, NULL, &call.filters)
        call.parts, call.channel_step, call.tap_step = self.gemm.layout.parts, 1, turned.size[1]
        self.sum_up(&call, what)
        return 0

    cdef int sum_up(self, WeightGradientCall *call, const ConvCall *what) except -1 nogil:
        """All parts, and their sum."""
        cdef int64_t weights = call.filters.size[0] * call.filters.size[1] * call.filters.taps
        cdef size_t held, needed = call.parts * weights * call.filters.item
        call.sums = <char *>take_scratch(needed, &held)
        try:
            if what.source.size[0] == 0:
                memset(call.sums, 0, needed)
            elif call.way == BY_ROWS:
                self.by_rows.sum_parts(what.source, what.factor, call.sums)
            elif call.way == BY_DOTS:
                self.dot.sum_parts(what.source, what.factor, call.sums)
            elif call.way == BY_WINDOWS:
                self.windows.sum_parts(what.source, what.factor, call.sums)
            else:
                self.gemm.sum_parts(what.source, what.factor, call.sums, NULL)
            call.finite = True
            parallel(filter_task, call, divide_up(call.filters.size[0], FILTERS), 4.0 * weights * call.parts)
        finally:
            give_scratch(call.sums, held)
        return 0

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef View input, grad_output
        cdef const fc_kernels *kernel
        cdef Way way
        cdef int64_t tasks, scratch
        input.dtype = grad_output.dtype = dtype_number(dtype)
        input.item = grad_output.item = dtype.itemsize
        lay_image_axes(&input, self.geometry.n, self.geometry.in_channels, self.geometry.input_size, channels_last)
        lay_image_axes(&grad_output, self.geometry.n, self.geometry.out_channels, self.geometry.output_size, channels_last)
        kernel, way = kernels(input.dtype), self.way(&input, &grad_output)
        if way == BY_ROWS:
            tasks, scratch = self.by_rows.tasks(&input, &grad_output), self.by_rows.scratch_elements(&input, &grad_output)
        elif way == BY_DOTS:
            tasks, scratch = self.dot.tasks(), self.dot.scratch_elements()
        elif way == BY_WINDOWS:
            tasks, scratch = self.windows.tasks(), self.windows.scratch_elements()
        else:
            tasks, scratch = self.gemm.tasks(), self.gemm.scratch_elements()
        return {
            "algorithm": "direct",
            "way": ("by rows", "by dot products", "by windows", "by matrix products")[<int>way],
            "isa": kernel.isa.decode(),
            "tile": (kernel.gemm.max_rows, kernel.gemm.max_columns),
            "threads": min(worker_threads(self.work), tasks),
            "tasks": tasks,
            "packed_weight_bytes": 0,
            "workspace_bytes": scratch * dtype.itemsize,
        }
