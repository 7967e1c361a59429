"""Convolution and its input gradient as one blocked driver over the tiles of csrc.

Both are dense sub-convolutions (dense.pyx). The walk of one task (a strip of pixels, or a part of its channels):

    for each chunk of the depth (channels x taps):
        pack the strip's windows into pixel panels          (im2col, a few hundred KiB, never whole)
        for each weight panel, for each pixel panel:
            one tile: micro-kernel -> output, or -> scratch tile -> scattered to the output

Channels become the rows of a tile and pixels its columns, unless the output is channels-last and they fill panels: then
they change places (and the loops, too), so that stores stay contiguous. Where a window is one tap, pixels are packed by the
micro-kernel itself as it multiplies them with the first weight panel.

The depth is cut at places that depend on the geometry alone, and threads split outputs, never a sum: the bits do
not depend on the number of threads, nor on an image's neighbours in the batch.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions, join_rows
from fastconv._kernels.conv.direct_strip cimport (
    DirectCall, Chunks, is_whole, pack_weights_task, packed_weights, strip_scratch, strip_task,
)
from fastconv._kernels.conv.panels cimport describe_weights
from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View, dtype_number, fill
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport FC_IDENTITY, FC_LEAKY_RELU, FC_RELU, FC_RELU6, fc_kernels, fc_window
from fastconv._kernels.engine.machine cimport in_l2
from fastconv._kernels.engine.fastconv_native cimport kernels, out_of_memory, parallel, worker_threads
from fastconv._kernels.engine.order cimport DIRECT_DEPTH
from fastconv._kernels.engine.packed cimport FORM_DENSE, Form, run_packed, work

ACTIVATIONS = {None: FC_IDENTITY, "relu": FC_RELU, "leaky_relu": FC_LEAKY_RELU, "relu6": FC_RELU6}

# Strips of packed pixels stay in L2.
cdef int64_t STRIP_BYTES = in_l2(256 * 1024)
cdef int64_t TASK_FLOPS = 200_000_000

# What it costs to pack an element of a window (as in algorithm.py), and to read one of a weight, in products. The weights'
# are estimates: they only decide between ways that are nearly as good.
cdef double PACKED_PRODUCTS = 50
cdef double READ_PRODUCTS = 10
cdef double WEIGHT_PRODUCTS = 20  # and to pack one
cdef int64_t TASKS = 4  # for each thread: with so many it does not matter who is late


cdef bint meets_no_padding(const fc_window *w) noexcept nogil:
    """Whether all windows lie within the source."""
    cdef int axis
    cdef int64_t first, last
    for axis in range(3):
        first, last = w.first[axis], w.first[axis] + (w.taps[axis] - 1) * w.delta[axis]
        if min(first, last) < 0 or max(first, last) + (w.count[axis] - 1) * w.step[axis] >= w.extent[axis]:
            return False
    return True


cdef inline bint fill_panels(int64_t channels, int64_t width) noexcept nogil:
    """Whether they waste no more than a quarter of the lanes, and at least one panel is full."""
    return channels >= width and 4 * channels >= 3 * width * divide_up(channels, width)


cdef Chunks chunks(const Dense *d) noexcept nogil:
    """The chunks of the depth: they decide the order of summation, so they follow the geometry alone."""
    cdef Chunks c
    c.taps = even_block(d.taps, DIRECT_DEPTH)
    c.channels = even_block(d.depth, DIRECT_DEPTH // c.taps)
    return c


cdef void share(DirectCall *call, int64_t panels, int64_t threads) noexcept nogil:
    """Strips and parts for several threads: what lets them end soonest.

    Each part of a strip packs all of its pixels, each strip reads all weights, and several of them need these packed before
    they begin; threads that have nothing left to do cost more than any of it.
    """
    cdef const Dense *d = call.dense
    cdef int64_t least = call.strips, strips, parts, i, few
    cdef double packed = 0 if call.reads_pixels else PACKED_PRODUCTS / d.channels
    cdef double rows, columns, cost, best = -1
    for strips in range(least, min(panels, least + threads - 1) + 1):
        rows = min(1.0, divide_up(panels, strips) * call.pixel_width / <double>d.pixels)
        few = divide_up(threads, strips * d.groups)
        for i in range(1, 3):
            parts = min(call.channel_panels, i * few)
            columns = divide_up(call.channel_panels, parts) / <double>call.channel_panels
            cost = divide_up(d.groups * strips * parts, threads) * (
                rows * (columns + packed) + columns * READ_PRODUCTS / d.pixels)
            if not call.keeps_weights:
                cost += WEIGHT_PRODUCTS / d.pixels * (columns if strips == 1 else 1)
            if best < 0 or cost < best:
                best, call.strips, call.parts = cost, strips, parts


cdef void set_blocking(DirectCall *call, int64_t threads) noexcept nogil:
    """Tile shape, strips and parts. None of it decides a sum, only who computes which outputs when."""
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t panels
    call.chunk = chunks(d)
    if call.pixels_are_rows:
        call.pixel_width = kernel.gemm.max_rows
        call.channel_width = kernel.gemm.max_columns
        call.channel_panels = divide_up(d.channels, kernel.gemm.max_columns)
    else:
        call.pixel_width = kernel.gemm.max_columns
        call.channel_width = even_block(d.channels, kernel.gemm.max_rows)
        call.channel_panels = divide_up(d.channels, call.channel_width)

    # strips: as long as their panels stay in cache
    panels = divide_up(d.pixels, call.pixel_width)
    call.strip = max(4, STRIP_BYTES // (call.chunk.channels * call.chunk.taps * call.pixel_width * call.itemsize))
    call.strips = divide_up(panels, call.strip)
    call.parts = 1
    if threads > 1 and call.strips * d.groups < TASKS * threads:
        share(call, panels, threads)
    elif call.strips > 1:
        call.strips = min(panels, divide_up(call.strips, threads) * threads)
    call.strip = divide_up(panels, call.strips) * call.pixel_width
    call.strips = divide_up(d.pixels, call.strip)
    call.parts = max(call.parts, min(<int64_t>(d.flops / (<double>TASK_FLOPS * call.strips * d.groups)),
                                     call.channel_panels, divide_up(d.channels, 64)))


cdef int run_dense(const Dense *d, int64_t part, bint forward, const ConvCall *what) except -1 nogil:
    """One dense sub-convolution, number `part` of its weight's."""
    cdef const View *source = what.source
    cdef const View *weight = what.factor
    cdef const View *out = what.out
    cdef DirectCall call
    cdef int64_t axis, packed
    cdef Form form
    call.dense = d
    call.kernel = kernels(source.dtype)
    call.itemsize = source.item
    call.source = source.data
    call.window = d.window
    call.out = out.data
    call.bias = what.bias
    call.activation = what.activation
    call.slope = what.slope
    call.adds = what.adds
    call.out_of_memory = False
    for axis in range(5):
        call.window.stride[axis] = source.stride[axis]
        call.out_stride[axis] = out.stride[axis]
    join_rows(&call.window, NULL)
    describe_weights(&call.weights, d, call.kernel, weight, forward)
    call.pixels_are_rows = (out.stride[1] == 1 and (out.stride[4] != 1 or d.window.count[2] == 1)
                            and fill_panels(d.channels, call.kernel.gemm.max_columns))
    call.packs_late = not call.pixels_are_rows and d.taps == 1 and call.window.step[2] * call.window.stride[4] == 1
    call.reads_pixels = (not call.pixels_are_rows and call.window.step[2] * call.window.stride[4] == 1
                         and meets_no_padding(&call.window))
    call.whole = is_whole(&call.window)
    call.keeps_weights = weight.packed != NULL
    set_blocking(&call, worker_threads(d.flops))
    call.weights.width = call.channel_width
    call.weights.padded = call.pixels_are_rows
    call.packed = NULL
    if call.strips == 1 and weight.packed == NULL:  # a task packs what it reads
        parallel(strip_task, &call, d.groups * call.parts, d.flops)
        return out_of_memory(b"convolution workspace", 0) if call.out_of_memory else 0
    packed = packed_weights(&call)
    form.algorithm, form.part, form.kernel = FORM_DENSE, part, call.kernel
    form.width, form.layout = call.channel_width, call.pixels_are_rows
    return run_packed(&call, &call.packed, &call.out_of_memory, weight, &form, packed * call.itemsize,
                      work(pack_weights_task, d.groups * call.channel_panels, 10.0 * packed),
                      work(strip_task, d.groups * call.strips * call.parts, d.flops))


cdef dict dense_info(const Dense *d, const fc_kernels *kernel, bint channels_last):
    """What `run_dense` would use: algorithm, tile, threads, tasks and bytes."""
    cdef DirectCall call
    call.dense = d
    call.kernel = kernel
    call.itemsize = kernel.item
    call.pixels_are_rows = (channels_last or d.pixels == d.n) and fill_panels(d.channels, call.kernel.gemm.max_columns)
    call.reads_pixels = call.keeps_weights = False
    set_blocking(&call, worker_threads(d.flops))
    tasks = d.groups * call.strips * call.parts
    return {
        "algorithm": "direct",
        "way": "channels as columns" if call.pixels_are_rows else "channels as rows",
        "isa": call.kernel.isa.decode(),
        "tile": (call.kernel.gemm.max_rows, call.kernel.gemm.max_columns),
        "threads": min(worker_threads(d.flops), tasks),
        "tasks": tasks,
        "packed_weight_bytes": packed_weights(&call) * kernel.item if call.strips > 1 else 0,
        "workspace_bytes": strip_scratch(&call, call.strip),
    }


cdef class DensePlan(Subconvolutions):
    """How one geometry is computed by the blocked driver, in one direction."""

    def __cinit__(self, *_):
        self.can_add = self.forward and type(self) is DensePlan

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef int64_t i
        if self.leaves_gaps:
            fill(call.out, call.bias)
        for i in range(self.count):
            if self.dense[i].pixels:
                run_dense(&self.dense[i], i, self.forward, call)
        return 0

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes, of its largest sub-convolution."""
        cdef int64_t i, largest = 0
        for i in range(self.count):
            if self.dense[i].flops > self.dense[largest].flops:
                largest = i
        return dense_info(&self.dense[largest], kernels(dtype_number(dtype)), channels_last)
