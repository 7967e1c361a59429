"""Convolution and input gradient whose windows are read where they lie: the direct algorithm without im2col.

Made for what im2col is bad at: few channels on one side, so that a packed window would be used only a few times, and
kernels of many taps, which would pack an element as often. The walk of one task (a block of output rows and columns
of one image):

    for each chunk of the depth:
        stage the source the block needs: rows with their padding, split into phases if the stride is not 1
        for each sub-convolution, for each tile of neighbouring outputs, for each weight panel:
            one tile: micro-kernel over windows in the stage -> output, or -> scratch tile -> scattered to the output

In the stage every tap of neighbouring outputs is a run of neighbouring elements, so a table of offsets, one for each
(channel, tap), is all that distinguishes it from a panel. The stage of stride 2 along a width, for example:

    phase 0   x0 x2 x4 x6 ..      taps 0, 2, 4 of outputs 0, 1, 2 .. start at elements 0, 1, 2
    phase 1   x1 x3 x5 x7 ..      taps 1, 3                                             0, 1

An input gradient's sub-convolutions (one per parity of the input position) share one stage of grad_output.

Where channels are adjacent in memory, small groups of them are computed side by side (depthwise/plan.pyx), and outputs of
many channels pixel by pixel (sliding_rows.pyx).

Dukhan, "The indirect convolution algorithm", arXiv:1907.02129, reads windows through a table of pointers;
Zhang et al., "High performance zero-memory overhead direct convolutions", arXiv:1809.10170, argue against im2col.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.conv.panels cimport Weights, describe_weights, pack_weight_panel
from fastconv._kernels.conv.sliding_rows cimport pixel_rows_info, pixel_rows_serve, run_pixel_rows
from fastconv._kernels.conv.sliding_stage cimport (
    MOST_PHASES, Stage, Staging, describe_stage, fill_offsets, fill_stage, set_steps,
)
from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View, dtype_number, fill
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport (
    FC_MAX_COLUMNS, FC_MAX_ROWS, fc_finish, fc_first, fc_kernels, fc_node, fc_push, fc_run,
)
from fastconv._kernels.engine.machine cimport in_l2
from fastconv._kernels.engine.fastconv_native cimport kernels, out_of_memory, task_scratch, worker_threads
from fastconv._kernels.engine.order cimport SLIDING_DEPTH
from fastconv._kernels.engine.packed cimport FORM_SLIDING, Form, run_packed, work

cdef int64_t STAGE_BYTES = in_l2(256 * 1024)  # stays in L2, beside the weights ...
cdef int64_t OUTPUT_BYTES = in_l2(256 * 1024)  # ... and the outputs that every chunk adds to
cdef int64_t LARGEST_STAGE = 1 << 18      # elements: a kernel that needs more for its smallest block is not served
cdef int64_t SHALLOW_DEPTH = 64           # products of a sum, too few to hide its way to memory: in large planes, whose
cdef int64_t LARGE_PLANE = 1 << 14        # rows lie pages apart, tiles then have fewer of these rows, and longer ones
cdef int64_t FEW_ROWS = 6
cdef int64_t LEAST_SUMS = 8               # vectors of a tile: each waits four cycles for its turn, and there are two a cycle
cdef double TASK_FLOPS = 2e8              # of a block, so that Ctrl-C need not wait for it
cdef int64_t TASKS_PER_THREAD = 6         # that even out the threads
cdef int64_t SCATTERED_PRODUCTS = 120     # in the time that an output takes by way of a scratch tile


cdef struct SlidingCall:
    const Dense *dense                    # `count` of them, `shared` neighbours of which share a stage
    Staging staging                       # kernel table and source
    const char *source
    const char *bias
    char *packed                          # weights: per sub-convolution, group, chunk, panel
    int64_t *offsets                      # per sub-convolution: of every (channel, tap) of a chunk in the stage
    char *out
    int64_t out_stride[5]
    int64_t out_size[5]
    bint clears                           # a block's tasks zero the outputs around its own, which no tap reaches
    int64_t row_offset[FC_MAX_ROWS]       # of a tile's channels in the output ...
    int64_t tile_row[FC_MAX_ROWS]         # ... and in the scratch tile
    const View *weight
    bint forward
    int64_t count, shared
    int64_t channels                      # source channels of a chunk
    int64_t most_taps                     # of any sub-convolution
    int64_t channel_width, channel_panels
    int64_t rows, columns                 # outputs of a block
    int64_t strips, blocks, parts
    bint flat                             # tiles run on over the ends of rows
    int activation
    double slope
    bint out_of_memory


# ---- tiles ---------------------------------------------------------------------------------------------


cdef int tile_runs(const SlidingCall *call, const Dense *d, int64_t base, int64_t row, int64_t column, int64_t count,
                   int64_t columns, fc_run *runs) noexcept nogil:
    """Where `count` stage positions from (row, column) of a block on lie in the output, less those between rows."""
    cdef int64_t done = 0, run, offset, stride = d.out_step[2] * call.out_stride[4]
    cdef int found = 0
    while done < count:
        if column < columns:
            run = min(count - done, columns - column)
            offset = base + row * d.out_step[1] * call.out_stride[3] + column * stride
            if found and offset == runs[found - 1].offset + runs[found - 1].count * stride \
                    and runs[found - 1].column + runs[found - 1].count == done:
                runs[found - 1].count += run
            else:
                runs[found].column, runs[found].count = done, run
                runs[found].offset, runs[found].stride = offset, stride
                found += 1
        done += call.staging.row_step - column
        column = 0
        row += 1
    return found


cdef inline void start_finish(const SlidingCall *call, bint accumulate, bint final, fc_finish *finish) noexcept nogil:
    finish.accumulate, finish.final = accumulate, final
    finish.column_bias = finish.row_bias = NULL
    finish.activation, finish.slope = call.activation, call.slope


cdef void sweep_rows(const SlidingCall *call, const Dense *d, const char *stage, const int64_t *offsets,
                     const char *weights, int64_t depth, int64_t group, int64_t part, int64_t base, int64_t rows,
                     int64_t columns, fc_finish *finish) noexcept nogil:
    """The outputs of a block, row by row, straight to where they belong."""
    cdef const fc_kernels *kernel = call.staging.kernel
    cdef int64_t item = call.staging.itemsize, row, panel, channel, channels, column
    cdef int64_t width = kernel.lanes * even_block(
        divide_up(columns, kernel.lanes), kernel.gemm.wide_columns(<int>call.channel_width) // kernel.lanes)
    cdef char *out
    for row in range(rows):
        for panel in range(part * call.channel_panels // call.parts, (part + 1) * call.channel_panels // call.parts):
            channel = panel * call.channel_width
            channels = min(call.channel_width, d.channels - channel)
            out = call.out + (base + row * d.out_step[1] * call.out_stride[3]
                              + (group * d.channels + channel) * call.out_stride[1]) * item
            if call.bias != NULL:
                finish.row_bias = call.bias + (group * d.channels + channel) * item
            column = 0
            while column < columns:
                kernel.gemm.tile_at(depth, weights + channel * depth * item,
                                    stage + (row * call.staging.row_step + column) * item, offsets, out + column * item,
                                    call.row_offset, <int>channels, <int>min(width, columns - column), finish)
                column += width


cdef void sweep_runs(const SlidingCall *call, const Dense *d, const char *stage, const int64_t *offsets,
                     const char *weights, int64_t depth, int64_t group, int64_t part, int64_t base, int64_t rows,
                     int64_t columns, fc_finish *finish, char *tile) noexcept nogil:
    """The outputs of a block by way of scratch tiles. They run on over the ends of rows: what lies between these in
    the stage is computed too, and dropped."""
    cdef const fc_kernels *kernel = call.staging.kernel
    cdef int64_t item = call.staging.itemsize, row_step = call.staging.row_step
    cdef int64_t start = 0, length = (rows - 1) * row_step + columns
    cdef int64_t count, panel, channel, channels
    cdef int64_t width = kernel.lanes * even_block(
        divide_up(length, kernel.lanes), kernel.gemm.wide_columns(<int>call.channel_width) // kernel.lanes)
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef fc_finish keep
    cdef int found
    start_finish(call, False, False, &keep)
    while start < length:
        count = min(width, length - start)
        found = tile_runs(call, d, base, start // row_step, start % row_step, count, columns, runs)
        for panel in range(part * call.channel_panels // call.parts, (part + 1) * call.channel_panels // call.parts):
            channel = panel * call.channel_width
            channels = min(call.channel_width, d.channels - channel)
            if call.bias != NULL:
                finish.row_bias = call.bias + (group * d.channels + channel) * item
            kernel.gemm.tile_at(depth, weights + channel * depth * item, stage + start * item, offsets, tile,
                                call.tile_row, <int>channels, <int>count, &keep)
            kernel.gemm.scatter(tile, FC_MAX_COLUMNS,
                                call.out + (group * d.channels + channel) * call.out_stride[1] * item, call.row_offset,
                                <int>channels, runs, found, finish)
        start += count


cdef void clear_block(const SlidingCall *call, int64_t n, int64_t group, int64_t part, int64_t od, int64_t row,
                      int64_t column) noexcept nogil:
    """Zero a part of a block's channels: its outputs, and those up to the next block's."""
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.staging.kernel
    cdef const int64_t *stride = &call.out_stride[0]
    cdef int64_t item = call.staging.itemsize, y = row * d.out_step[1], x = column * d.out_step[2], i
    cdef int64_t rows = call.rows * d.out_step[1], columns = call.columns * d.out_step[2]
    cdef int64_t channel = part * call.channel_panels // call.parts * call.channel_width
    cdef int64_t channels = min(d.channels,
                                (part + 1) * call.channel_panels // call.parts * call.channel_width) - channel
    cdef char *at = call.out + (n * stride[0] + (group * d.channels + channel) * stride[1] + od * stride[2]
                                + y * stride[3] + x * stride[4]) * item
    if row + call.rows >= call.staging.stage.outputs[1]:
        rows = call.out_size[3] - y
    if column + call.columns >= call.staging.stage.outputs[2]:
        columns = call.out_size[4] - x
    if stride[4] == 1 and stride[3] == columns:
        columns, rows = columns * rows, 1
    for i in range(rows):
        if stride[4] == 1:
            kernel.copy.clear(at + i * stride[3] * item, stride[1], columns, channels)
        else:
            kernel.copy.clear(at + i * stride[3] * item, stride[4], channels, columns)


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """A block of output rows and columns (of one image, group, output plane and part of the channels)."""
    cdef SlidingCall *call = <SlidingCall *>context
    cdef int64_t part = index % call.parts
    cdef int64_t column = index // call.parts % call.blocks * call.columns
    cdef int64_t rest = index // call.parts // call.blocks
    cdef int64_t row = rest % call.strips * call.rows
    cdef const int64_t *outputs = &call.staging.stage.outputs[0]
    cdef int64_t od = rest // call.strips % outputs[0]
    cdef int64_t group, n, first, i, channel = 0, channels, base, item = call.staging.itemsize
    cdef const Dense *d
    cdef const char *source
    cdef const char *weights
    cdef char *tile
    cdef char *stage
    cdef fc_finish finish
    cdef int64_t rows, columns
    rest = rest // call.strips // outputs[0]
    group = rest % call.dense.groups
    n = rest // call.dense.groups % call.dense.n
    first = rest // call.dense.groups // call.dense.n * call.shared
    if od >= call.dense[first].window.count[0]:
        return
    tile = <char *>task_scratch(block_scratch(call) * item)
    if tile == NULL:
        call.out_of_memory = True
        return
    stage = tile + FC_MAX_ROWS * FC_MAX_COLUMNS * item
    if call.clears:
        clear_block(call, n, group, part, od, row, column)
    while channel < call.dense.depth:
        channels = min(call.channels, call.dense.depth - channel)
        source = call.source + (n * call.staging.source_stride[0]
                                + (group * call.dense.depth + channel) * call.staging.source_stride[1]) * item
        fill_stage(&call.staging, &call.dense[first], source, od, row, min(call.rows, outputs[1] - row), column,
                   min(call.columns, outputs[2] - column), channels, stage)
        for i in range(first, first + call.shared):
            d = &call.dense[i]
            if row >= d.window.count[1] or column >= d.window.count[2]:
                continue
            base = (n * call.out_stride[0] + (d.begin[0] + od * d.out_step[0]) * call.out_stride[2]
                    + (d.begin[1] + row * d.out_step[1]) * call.out_stride[3]
                    + (d.begin[2] + column * d.out_step[2]) * call.out_stride[4])
            weights = call.packed + (packed_before(call, i) + d.channels * d.taps * (group * d.depth + channel)) * item
            rows = min(call.rows, d.window.count[1] - row)
            columns = min(call.columns, d.window.count[2] - column)
            start_finish(call, channel > 0, channel + channels == d.depth, &finish)
            if call.flat or d.out_step[2] * call.out_stride[4] != 1:
                sweep_runs(call, d, stage, call.offsets + i * call.channels * call.most_taps, weights,
                           channels * d.taps, group, part, base, rows, columns, &finish, tile)
            else:
                sweep_rows(call, d, stage, call.offsets + i * call.channels * call.most_taps, weights,
                           channels * d.taps, group, part, base, rows, columns, &finish)
        channel += channels


cdef inline int64_t packed_before(const SlidingCall *call, int64_t index) noexcept nogil:
    """Elements of the packed weights of the sub-convolutions before one (of all, for `count`)."""
    cdef int64_t i, taps = 0
    for i in range(index):
        taps += call.dense[i].taps
    return taps * call.dense.groups * call.dense.channels * call.dense.depth


cdef inline int64_t block_scratch(const SlidingCall *call) noexcept nogil:
    """Elements of scratch of a block: one tile, the stage, and what whole vectors read beyond it."""
    return FC_MAX_ROWS * FC_MAX_COLUMNS + call.channels * call.staging.channel_step + FC_MAX_COLUMNS


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Pack one panel of one group of one sub-convolution, chunk after chunk."""
    cdef const SlidingCall *call = <const SlidingCall *>context
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels % call.dense.groups
    cdef int64_t i = index // call.channel_panels // call.dense.groups, channel = 0, channels
    cdef const Dense *d = &call.dense[i]
    cdef Weights weights
    describe_weights(&weights, d, call.staging.kernel, call.weight, call.forward)
    weights.width, weights.padded = call.channel_width, False
    while channel < d.depth:
        channels = min(call.channels, d.depth - channel)
        pack_weight_panel(&weights, group, panel, channel, channels, 0, d.taps,
                          call.packed + (packed_before(call, i) + d.channels * d.taps * (group * d.depth + channel)
                                         + panel * call.channel_width * channels * d.taps) * call.staging.itemsize)
        channel += channels


# ---- plans ---------------------------------------------------------------------------------------------


cdef struct Layout:                   # what a plan's calls with one kernel table and number of threads have in common
    fc_node node
    SlidingCall call                  # all but arrays, activation and weights
    int64_t threads


cdef class SlidingPlan(Subconvolutions):
    """How one geometry is computed from stages, in one direction."""

    cdef Stage stage
    cdef int64_t shared, most_taps
    cdef fc_node *layouts     # one `Layout` for every instruction set, dtype and number of threads that calls had
    cdef Subconvolutions small_groups   # if these are side by side in memory; None if there are none

    def __cinit__(self, geometry, direction, Subconvolutions small_groups=None):
        cdef int64_t i
        self.small_groups = small_groups
        if not SlidingPlan.serves(geometry, direction):
            raise ValueError(
                "algorithm='sliding': serves strides up to 8 along the last two axes and kernels of up to some hundred "
                f"thousand elements' reach, not stride={geometry.stride}, kernel={geometry.kernel}, "
                f"dilation={geometry.dilation}")
        describe_stage(&self.stage, self.dense, self.count)
        # sub-convolutions come ordered by parity: D, H, W; those of one parity along D share a stage
        self.shared = 0
        while self.shared < self.count and self.dense[self.shared].begin[0] == self.dense[0].begin[0]:
            self.shared += 1
        for i in range(self.count):
            self.most_taps = max(self.most_taps, self.dense[i].taps)

    def __dealloc__(self):
        cdef fc_node *node = self.layouts
        cdef fc_node *next_
        while node != NULL:
            next_ = node.next
            free((<Layout *>node).call.offsets)
            free(node)
            node = next_

    @staticmethod
    def serves(geometry, direction):
        """Whether the smallest block's stage is small enough."""
        elements = geometry.kernel[0]
        for axis in (1, 2):
            if direction == "forward" and geometry.stride[axis] > MOST_PHASES:
                return False
            elements *= FC_MAX_COLUMNS + geometry.dilation[axis] * (geometry.kernel[axis] - 1)
        return elements <= LARGEST_STAGE

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef const View *source = call.source
        cdef const View *out = call.out
        cdef const fc_kernels *kernel = kernels(source.dtype)  # once: set_isa may come between
        cdef bint adjacent = out.stride[4] == 1 or out.stride[1] == 1, pixel_rows, clears
        if self.small_groups is not None and source.stride[1] == out.stride[1] == 1 != out.stride[4]:
            return self.small_groups.run_views(call)
        pixel_rows = adjacent and self.takes_pixel_rows(kernel, out.stride[4] != 1)
        clears = (self.leaves_gaps and self.count and call.bias == NULL and self.dense.out_step[0] == 1
                  and adjacent and not pixel_rows)
        if self.leaves_gaps and not clears:
            fill(out, call.bias)
        if not self.count or not self.dense.n:
            return 0
        if pixel_rows:
            return run_pixel_rows(self.dense, kernel, self.forward, call, self.chunk_channels())
        return self.run_stages(call, kernel, clears)

    cdef bint takes_pixel_rows(self, const fc_kernels *kernel, bint channels_last) noexcept nogil:
        return self.count == 1 and pixel_rows_serve(self.dense, kernel, channels_last)

    cdef int64_t chunk_channels(self) noexcept nogil:
        """Source channels of a chunk, which decide the order of summation: they follow the geometry alone."""
        return even_block(self.dense.depth, SLIDING_DEPTH // self.most_taps)

    cdef int run_stages(self, const ConvCall *what, const fc_kernels *kernel, bint clears) except -1 nogil:
        cdef const View *source = what.source
        cdef const View *out = what.out
        cdef SlidingCall call
        cdef Form form
        cdef int64_t i, packed
        call = self.layout(kernel).call
        call.source, call.weight, call.bias, call.out = source.data, what.factor, what.bias, out.data
        call.activation, call.slope, call.clears, call.out_of_memory = what.activation, what.slope, clears, False
        for i in range(5):
            call.staging.source_stride[i], call.staging.source_size[i] = source.stride[i], source.size[i]
            call.out_stride[i], call.out_size[i] = out.stride[i], out.size[i]
        for i in range(call.channel_width):
            call.row_offset[i] = i * out.stride[1]
        packed = packed_before(&call, call.count)
        form.algorithm, form.part, form.kernel = FORM_SLIDING, self.forward, call.staging.kernel
        form.width, form.layout = call.channel_width, call.channels
        return run_packed(&call, &call.packed, &call.out_of_memory, what.factor, &form, packed * call.staging.itemsize,
                          work(weights_task, call.count * call.dense.groups * call.channel_panels, 10.0 * packed),
                          work(block_task, block_tasks(&call), self.work))

    cdef const Layout *layout(self, const fc_kernels *kernel) except NULL nogil:
        """The layout of a call; it never changes."""
        cdef int64_t threads = worker_threads(self.work), i, table
        cdef fc_node *first = fc_first(&self.layouts)
        cdef fc_node *node = first
        cdef Layout *layout
        while node != NULL:
            layout = <Layout *>node
            if layout.call.staging.kernel == kernel and layout.threads == threads:
                return layout
            node = node.next
        layout = <Layout *>malloc(sizeof(Layout))
        if layout == NULL:
            out_of_memory(b"convolution plan", sizeof(Layout))
        layout.threads = threads
        self.lay_out(&layout.call, kernel, threads)
        table = layout.call.channels * self.most_taps
        layout.call.offsets = <int64_t *>malloc(self.count * table * sizeof(int64_t))
        if layout.call.offsets == NULL:
            free(layout)
            out_of_memory(b"convolution plan", self.count * table * sizeof(int64_t))
        for i in range(self.count):
            fill_offsets(&layout.call.staging, &self.dense[i], layout.call.channels, layout.call.offsets + i * table)
        while not fc_push(&self.layouts, first, &layout.node):  # another thread's may be like it: both are kept
            first = fc_first(&self.layouts)
        return layout

    cdef void lay_out(self, SlidingCall *call, const fc_kernels *kernel, int64_t threads) noexcept nogil:
        """Blocks and parts, which only say who computes which outputs when."""
        cdef const Stage *s = &self.stage
        cdef const Dense *d = self.dense
        cdef int64_t limit, outputs, wanted, aligned, sums, depth, i
        call.staging.kernel, call.staging.itemsize, call.forward = kernel, kernel.item, self.forward
        call.dense, call.staging.stage, call.count, call.shared = d, s, self.count, self.shared
        call.most_taps = self.most_taps
        call.channels = self.chunk_channels()
        call.channel_width = even_block(d.channels, call.staging.kernel.gemm.max_rows)
        if d.depth * self.most_taps <= SHALLOW_DEPTH and s.outputs[1] * s.outputs[2] >= LARGE_PLANE:
            call.channel_width = min(call.channel_width, FEW_ROWS)
        call.channel_panels = divide_up(d.channels, call.channel_width)

        # a block: whole rows if they fit, as many as fit; all its channels unless that is too much work
        limit = STAGE_BYTES // (call.staging.itemsize * call.channels * s.planes * s.slots)
        outputs = <int64_t>(TASK_FLOPS / (2.0 * d.channels * d.depth * self.most_taps * self.shared))
        call.columns = s.outputs[2]
        while call.columns > FC_MAX_COLUMNS and ((1 + s.span[0]) * (call.columns + s.span[1]) > limit
                                                 or call.columns > max(<int64_t>1, outputs) * call.channel_panels):
            call.columns = divide_up(call.columns, 2)
        call.blocks = divide_up(s.outputs[2], call.columns)
        call.columns = divide_up(s.outputs[2], call.blocks)
        call.rows = min(limit // (call.columns + s.span[1]) - s.span[0], outputs // call.columns)
        if call.channels < d.depth:
            outputs = OUTPUT_BYTES // (call.staging.itemsize * d.channels * call.shared)
            call.rows = min(call.rows, outputs // call.columns)
        wanted = divide_up(TASKS_PER_THREAD * threads if threads > 1 else 1,
                           divide_up(self.count, self.shared) * max(<int64_t>1, d.n) * d.groups * s.outputs[0]
                           * call.blocks)
        call.rows = even_block(s.outputs[1], max(<int64_t>1, min(call.rows, divide_up(s.outputs[1], wanted))))
        call.strips = divide_up(s.outputs[1], call.rows)
        call.parts = max(divide_up(wanted, call.strips) if threads > 1 else 1,
                         divide_up(call.columns * call.rows, max(<int64_t>1, outputs)))
        call.parts = min(call.parts, call.channel_panels)
        set_steps(&call.staging, call.rows, call.columns)
        # rows whose last vector is rather empty do better run together, if the sums are long enough
        aligned = divide_up(call.columns, call.staging.kernel.lanes) * call.staging.kernel.lanes
        sums = min(LEAST_SUMS, call.channel_width * aligned // call.staging.kernel.lanes)
        depth = call.channels * self.most_taps
        call.flat = call.rows > 1 and (call.staging.row_step * (depth + depth // 16) * sums
                                       + call.columns * SCATTERED_PRODUCTS * LEAST_SUMS < aligned * depth * LEAST_SUMS)
        for i in range(FC_MAX_ROWS):
            call.tile_row[i] = i * FC_MAX_COLUMNS

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef const fc_kernels *kernel = kernels(dtype_number(dtype))
        cdef SlidingCall call
        if self.small_groups is not None and channels_last:
            return self.small_groups.info(dtype, channels_last)
        if self.takes_pixel_rows(kernel, channels_last):
            return pixel_rows_info(self.dense, kernel, self.chunk_channels())
        call = self.layout(kernel).call
        tasks = block_tasks(&call)
        return {
            "algorithm": "sliding",
            "way": "stages",
            "isa": call.staging.kernel.isa.decode(),
            "tile": (call.channel_width, call.staging.kernel.gemm.wide_columns(<int>call.channel_width)),
            "threads": min(worker_threads(self.work), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed_before(&call, call.count) * call.staging.itemsize,
            "workspace_bytes": block_scratch(&call) * call.staging.itemsize,
        }


cdef inline int64_t block_tasks(const SlidingCall *call) noexcept nogil:
    return (divide_up(call.count, call.shared) * call.dense.n * call.dense.groups * call.staging.stage.outputs[0]
            * call.strips * call.blocks * call.parts)
