"""Convolution and its input gradient as one blocked driver over the tiles of csrc.

Both are dense sub-convolutions (dense.pyx). The walk of one task (a strip of pixels, or a part of its channels):

    for each chunk of the depth (channels x taps):
        pack the strip's windows into pixel panels          (im2col, a few hundred KiB, never whole)
        for each pixel panel, for each weight panel:
            one tile: micro-kernel -> output, or -> scratch tile -> scattered to the output

Channels become the rows of a tile and pixels its columns, unless the output is channels-last: then they change
places, so that stores stay contiguous.

The depth is cut at places that depend on the geometry alone, and threads split outputs, never a sum: the bits do
not depend on the number of threads, nor on an image's neighbours in the batch.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.dense cimport Dense, Subconvolutions, divide_up, even_block
from fastconv._kernels.fc_api cimport (
    FC_IDENTITY, FC_LEAKY_RELU, FC_MAX_COLUMNS, FC_MAX_ROWS, FC_RELU, FC_RELU6, fc_finish, fc_kernels,
    fc_run, fc_window,
)
from fastconv._kernels.native cimport (
    kernels, parallel, task_scratch, worker_threads,
)
from fastconv._kernels.packed cimport FORM_DENSE, Form, Lease, give_back, lease
from fastconv._kernels.weights cimport Weights, describe_weights, pack_weight_panel

ACTIVATIONS = {None: FC_IDENTITY, "relu": FC_RELU, "leaky_relu": FC_LEAKY_RELU, "relu6": FC_RELU6}

# Depth of one chunk: a panel of B this deep stays in L1. Strips of packed pixels stay in L2.
cdef int64_t CHUNK_DEPTH = 384
cdef int64_t CHUNK_TAPS = 512
cdef int64_t STRIP_BYTES = 256 * 1024
cdef int64_t TASK_FLOPS = 200_000_000

# So few products take less time than storing their sum: then outputs are stored row after row, not panel after panel.
cdef int64_t SHALLOW = 64


cdef struct Chunks:
    int64_t channels          # of one chunk of the depth
    int64_t taps


cdef struct Call:
    const Dense *dense
    Chunks chunk
    const fc_kernels *kernel
    fc_window window
    Weights weights
    const char *source
    const char *bias
    char *packed              # weights: per group, per chunk, per panel; NULL: each task packs what it reads
    char *out
    int64_t out_stride[5]
    int64_t itemsize
    bint pixels_are_rows
    int64_t pixel_width       # columns of a pixel panel
    int64_t channel_width     # columns of a weight panel
    int64_t channel_panels
    int64_t strip             # pixels per strip
    int64_t strips
    int64_t parts             # parts of the channel panels that tasks are split into
    int activation
    double slope
    bint out_of_memory


cdef int output_runs(const Call *call, int64_t pixel, int64_t count, fc_run *runs) noexcept nogil:
    """Where `count` pixels from `pixel` on lie in the output: runs of equal stride, merged where they meet."""
    cdef const Dense *d = call.dense
    cdef int64_t filled = 0, run, rest, od, oh, ow, offset, stride = d.out_step[2] * call.out_stride[4]
    cdef int found = 0
    while filled < count:
        rest = pixel + filled
        ow = rest % d.window.count[2]
        rest //= d.window.count[2]
        oh = rest % d.window.count[1]
        rest //= d.window.count[1]
        od = rest % d.window.count[0]
        run = min(count - filled, d.window.count[2] - ow)
        offset = (rest // d.window.count[0] * call.out_stride[0]
                  + (d.begin[0] + od * d.out_step[0]) * call.out_stride[2]
                  + (d.begin[1] + oh * d.out_step[1]) * call.out_stride[3]
                  + (d.begin[2] + ow * d.out_step[2]) * call.out_stride[4])
        if found and offset == runs[found - 1].offset + runs[found - 1].count * stride:
            runs[found - 1].count += run
        else:
            runs[found].column = filled
            runs[found].count = run
            runs[found].offset = offset
            runs[found].stride = stride
            found += 1
        filled += run
    return found


cdef inline int64_t packed_weights(const Call *call) noexcept nogil:
    """Elements of all weight panels of a call."""
    cdef const Dense *d = call.dense
    return d.groups * call.channel_panels * call.channel_width * d.depth * d.taps


cdef inline int64_t strip_scratch(const Call *call, int64_t pixels) noexcept nogil:
    """Elements of scratch of a strip: one tile, one chunk of one weight panel and of all its pixel panels."""
    return (FC_MAX_ROWS * FC_MAX_COLUMNS
            + call.chunk.channels * call.chunk.taps
            * (call.channel_width + divide_up(pixels, call.pixel_width) * call.pixel_width))


cdef void join_rows(fc_window *w) noexcept nogil:
    """See a plane that is read as it is (one tap, no padding, stride 1) and lies in one piece as one long row."""
    cdef int axis
    for axis in range(3):
        if w.taps[axis] != 1 or w.step[axis] != 1 or w.first[axis] != 0 or w.count[axis] != w.extent[axis]:
            return
    for axis in range(1, -1, -1):
        if w.count[axis] > 1 and w.stride[axis + 2] != w.extent[2] * w.stride[4]:
            return
        w.count[2] *= w.count[axis]
        w.extent[2] = w.count[2]
        w.count[axis] = w.extent[axis] = 1


# ---- one strip ---------------------------------------------------------------------------------------


cdef void strip_task(void *context, int64_t index) noexcept nogil:
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.itemsize, width = call.pixel_width
    cdef int64_t part = index % call.parts
    cdef int64_t pixel = index // call.parts % call.strips * call.strip
    cdef int64_t group = index // call.parts // call.strips
    cdef int64_t pixels = min(call.strip, d.pixels - pixel)
    cdef int64_t first_panel = part * call.channel_panels // call.parts
    cdef int64_t last_panel = (part + 1) * call.channel_panels // call.parts
    cdef int64_t channel = 0, channels, tap, taps, i, panel, count, depth
    cdef int64_t padded_channels = call.channel_panels * call.channel_width
    cdef bint accumulate, final
    cdef const char *source = call.source + group * d.depth * call.window.stride[1] * item
    cdef char *chunk = call.packed
    cdef char *tile = <char *>task_scratch(strip_scratch(call, pixels) * item)
    cdef char *weight_panel = tile + FC_MAX_ROWS * FC_MAX_COLUMNS * item
    cdef char *pixel_panels = weight_panel + call.chunk.channels * call.chunk.taps * call.channel_width * item
    if tile == NULL:
        call.out_of_memory = True
        return
    if chunk != NULL:
        chunk += group * padded_channels * d.depth * d.taps * item
    while channel < d.depth:
        channels = min(call.chunk.channels, d.depth - channel)
        tap = 0
        while tap < d.taps:
            taps = min(call.chunk.taps, d.taps - tap)
            depth = channels * taps
            accumulate = channel > 0 or tap > 0
            final = channel + channels == d.depth and tap + taps == d.taps
            # the micro-kernel steps through A by the rows it is given, through B by its full width
            count = pixels - pixels % width if call.pixels_are_rows else pixels
            call.kernel.pack_windows(pixel_panels, width, &call.window, source + channel * call.window.stride[1] * item,
                                     pixel, count, channels, tap, taps)
            if count < pixels:
                call.kernel.pack_windows(pixel_panels + count * depth * item, pixels - count, &call.window,
                                         source + channel * call.window.stride[1] * item, pixel + count,
                                         pixels - count, channels, tap, taps)
            if chunk == NULL or depth <= SHALLOW:
                for panel in range(first_panel, last_panel):
                    if chunk == NULL:
                        pack_weight_panel(&call.weights, group, panel, channel, channels, tap, taps, weight_panel)
                    else:
                        weight_panel = chunk + panel * call.channel_width * depth * item
                    for i in range(divide_up(pixels, width)):
                        multiply_panel(call, group, pixel + i * width, min(width, pixels - i * width), depth,
                                       pixel_panels + i * width * depth * item, weight_panel, panel, panel + 1,
                                       accumulate, final, tile)
            else:
                for i in range(divide_up(pixels, width)):
                    multiply_panel(call, group, pixel + i * width, min(width, pixels - i * width), depth,
                                   pixel_panels + i * width * depth * item,
                                   chunk + first_panel * call.channel_width * depth * item, first_panel, last_panel,
                                   accumulate, final, tile)
            if chunk != NULL:
                chunk += padded_channels * depth * item
            tap += taps
        channel += channels


cdef void multiply_panel(const Call *call, int64_t group, int64_t pixel, int64_t count, int64_t depth,
                         const char *pixels, const char *weights, int64_t first_panel, int64_t last_panel,
                         bint accumulate, bint final, char *tile) noexcept nogil:
    """One pixel panel times weight panels `first_panel` to `last_panel`: a row (or column) of tiles."""
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, panel, channel, channels, i
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef int64_t tile_row[FC_MAX_ROWS]
    cdef fc_finish finish, keep
    cdef const char *weight_panel
    cdef char *out
    cdef const char *bias
    cdef int found = output_runs(call, pixel, count, runs)
    finish.accumulate = accumulate
    finish.final = final
    finish.row_bias = finish.column_bias = NULL
    finish.activation = call.activation
    finish.slope = call.slope
    if call.pixels_are_rows:
        for i in range(found):
            for channel in range(runs[i].count):
                row_offset[runs[i].column + channel] = runs[i].offset + channel * runs[i].stride
    elif found != 1 or runs[0].stride != 1:
        memset(&keep, 0, sizeof(keep))
        for i in range(kernel.max_rows):
            tile_row[i] = i * kernel.max_columns
    for panel in range(first_panel, last_panel):
        channel = panel * call.channel_width
        channels = min(call.channel_width, d.channels - channel)
        weight_panel = weights + (panel - first_panel) * call.channel_width * depth * item
        out = call.out + (group * d.channels + channel) * call.out_stride[1] * item
        bias = call.bias
        if bias != NULL:
            bias += (group * d.channels + channel) * item
        if call.pixels_are_rows:
            finish.column_bias = bias
            kernel.gemm(depth, pixels, weight_panel, kernel.max_columns, out, row_offset, <int>count,
                        <int>channels, &finish)
            continue
        finish.row_bias = bias
        for i in range(channels):
            row_offset[i] = i * call.out_stride[1]
        if found == 1 and runs[0].stride == 1:
            kernel.gemm(depth, weight_panel, pixels, kernel.max_columns, out + runs[0].offset * item,
                        row_offset, <int>channels, <int>count, &finish)
        else:
            kernel.gemm(depth, weight_panel, pixels, kernel.max_columns, tile, tile_row, <int>channels,
                        <int>count, &keep)
            kernel.scatter(tile, kernel.max_columns, out, row_offset, <int>channels, runs, found, &finish)


cdef void pack_weights_task(void *context, int64_t index) noexcept nogil:
    """Pack one panel of one group, chunk after chunk, into the places `strip_task` reads them from."""
    cdef const Call *call = <const Call *>context
    cdef const Dense *d = call.dense
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t padded_channels = call.channel_panels * call.channel_width
    cdef int64_t channel = 0, channels, tap, taps
    cdef char *chunk = call.packed + group * padded_channels * d.depth * d.taps * call.itemsize
    while channel < d.depth:
        channels = min(call.chunk.channels, d.depth - channel)
        tap = 0
        while tap < d.taps:
            taps = min(call.chunk.taps, d.taps - tap)
            pack_weight_panel(&call.weights, group, panel, channel, channels, tap, taps,
                              chunk + panel * call.channel_width * channels * taps * call.itemsize)
            chunk += padded_channels * channels * taps * call.itemsize
            tap += taps
        channel += channels


# ---- plans -------------------------------------------------------------------------------------------


cdef Chunks chunks(const Dense *d) noexcept nogil:
    """The chunks of the depth: they decide the order of summation, so they follow the geometry alone."""
    cdef Chunks c
    c.taps = even_block(d.taps, CHUNK_TAPS)
    c.channels = even_block(d.depth, CHUNK_DEPTH // c.taps)
    return c


cdef void set_blocking(Call *call, int64_t threads) noexcept nogil:
    """Tile shape, strips and parts. None of it decides a sum, only who computes which outputs when."""
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t panels
    call.chunk = chunks(d)
    if call.pixels_are_rows:
        call.pixel_width = kernel.max_rows
        call.channel_width = kernel.max_columns
        call.channel_panels = divide_up(d.channels, kernel.max_columns)
    else:
        call.pixel_width = kernel.max_columns
        call.channel_width = even_block(d.channels, kernel.max_rows)
        call.channel_panels = divide_up(d.channels, call.channel_width)

    # strips: as long as their panels stay in cache, and enough tasks to keep the threads even
    panels = divide_up(d.pixels, call.pixel_width)
    call.strip = max(4, STRIP_BYTES // (call.chunk.channels * call.chunk.taps * call.pixel_width * call.itemsize))
    call.strips = divide_up(panels, call.strip)
    if threads > 1 and call.strips > 1:
        call.strips = min(panels, divide_up(call.strips, threads) * threads)
    call.strip = divide_up(panels, call.strips) * call.pixel_width
    call.strips = divide_up(d.pixels, call.strip)
    call.parts = max(divide_up(4 * threads, call.strips * d.groups) if threads > 1 else 1,
                     <int64_t>(d.flops / (<double>TASK_FLOPS * call.strips * d.groups)))
    call.parts = max(1, min(call.parts, call.channel_panels,
                            divide_up(d.channels, 64 if call.strips > 1 else call.channel_width)))


cdef class DensePlan(Subconvolutions):
    """How one geometry is computed by the blocked driver, in one direction."""

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        cdef int64_t i
        if self.leaves_gaps:
            self.fill_gaps(out, bias)
        for i in range(self.count):
            if self.dense[i].pixels:
                self.run_dense(&self.dense[i], source_array, weight_array, bias_data, out_array, activation, slope)
        return 0

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes, of its largest sub-convolution."""
        cdef Call call
        cdef int64_t i, largest = 0, itemsize = 8 if float64 else 4
        for i in range(self.count):
            if self.dense[i].flops > self.dense[largest].flops:
                largest = i
        call.dense = &self.dense[largest]
        call.kernel = kernels(float64)
        call.itemsize = itemsize
        call.pixels_are_rows = channels_last
        set_blocking(&call, worker_threads(call.dense.flops))
        tasks = call.dense.groups * call.strips * call.parts
        return {
            "algorithm": "direct",
            "isa": call.kernel.isa.decode(),
            "tile": (call.kernel.max_rows, call.kernel.max_columns),
            "threads": min(worker_threads(call.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed_weights(&call) * itemsize if call.strips > 1 else 0,
            "workspace_bytes": strip_scratch(&call, call.strip) * itemsize,
        }

    cdef int run_dense(self, const Dense *d, const Array *source, const Array *weight, const char *bias,
                       const Array *out, int activation, double slope) except -1:
        cdef Call call
        cdef int64_t axis, packed
        cdef Form form
        cdef Lease panels
        cdef bint filled = False
        call.dense = d
        call.kernel = kernels(source.float64)
        call.itemsize = 8 if source.float64 else 4
        call.source = source.data
        call.window = d.window
        call.out = out.data
        call.bias = bias
        call.activation = activation
        call.slope = slope
        call.out_of_memory = False
        for axis in range(5):
            call.window.stride[axis] = source.stride[axis]
            call.out_stride[axis] = out.stride[axis]
        join_rows(&call.window)
        call.pixels_are_rows = out.stride[1] == 1 and out.stride[4] != 1 and d.channels > 1
        set_blocking(&call, worker_threads(d.flops))
        describe_weights(&call.weights, d, call.kernel, weight, self.forward)
        call.weights.width = call.channel_width
        call.weights.padded = call.pixels_are_rows
        call.packed = NULL
        if call.strips == 1 and weight.packed == NULL:  # a task that takes in all pixels packs what it reads
            parallel(strip_task, &call, d.groups * call.parts, d.flops)
        else:
            packed = packed_weights(&call)
            form.algorithm, form.part, form.kernel = FORM_DENSE, d - self.dense, call.kernel
            form.width, form.layout = call.channel_width, call.pixels_are_rows
            lease(&panels, weight, &form, packed * call.itemsize)
            call.packed = panels.memory
            try:
                if panels.fresh:
                    parallel(pack_weights_task, &call, d.groups * call.channel_panels, 10.0 * packed)
                filled = True
                parallel(strip_task, &call, d.groups * call.strips * call.parts, d.flops)
            finally:
                give_back(&panels, filled)
        if call.out_of_memory:
            raise MemoryError("convolution workspace")
        return 0
