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

Dukhan, "The indirect convolution algorithm", arXiv:1907.02129, reads windows through a table of pointers;
Zhang et al., "High performance zero-memory overhead direct convolutions", arXiv:1809.10170, argue against im2col.
"""

cimport cython
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.dense cimport Dense, Subconvolutions, divide_up, even_block
from fastconv._kernels.fc_api cimport FC_MAX_COLUMNS, FC_MAX_ROWS, fc_finish, fc_kernels, fc_run
from fastconv._kernels.native cimport kernels, parallel, task_scratch, worker_threads
from fastconv._kernels.packed cimport FORM_SLIDING, Form, Lease, give_back, lease
from fastconv._kernels.pixel_rows cimport Pass, pixel_rows_info, pixel_rows_serve, run_pixel_rows
from fastconv._kernels.weights cimport Weights, describe_weights, pack_weight_panel

cdef enum:
    MOST_PHASES = 8                       # along one axis

cdef int64_t CHUNK_DEPTH = 512            # (channel, tap) pairs of a chunk: its weight panel stays in L1
cdef int64_t STAGE_BYTES = 256 * 1024     # stays in L2, beside the weights ...
cdef int64_t OUTPUT_BYTES = 256 * 1024    # ... and the outputs that every chunk adds to
cdef int64_t LARGEST_STAGE = 1 << 18      # elements: a kernel that needs more for its smallest block is not served
cdef double TASK_FLOPS = 2e8              # of a block, so that Ctrl-C need not wait for it
cdef int64_t TASKS_PER_THREAD = 6         # that even out the threads


# Along H and W: where the sources of all sub-convolutions lie. Position q of phase p is source element
# q * step + first + p. Output o's tap at source o * step + f is position o + (f - first) // step of phase
# (f - first) % step.
cdef struct Stage:
    int64_t step[2]
    int64_t first[2]
    int64_t span[2]                       # a block needs so many positions more than it has outputs
    int64_t slot[MOST_PHASES * MOST_PHASES]  # where phase (y, x) lies in the stage; -1: no tap reads it
    int64_t slots
    int64_t outputs[3]                    # the most of any sub-convolution


cdef struct Call:
    const Dense *dense                    # `count` of them, `shared` neighbours of which share a stage
    const Stage *stage
    const fc_kernels *kernel
    const char *source
    const char *bias
    char *packed                          # weights: per sub-convolution, group, chunk, panel
    int64_t *offsets                      # per sub-convolution: of every (channel, tap) of a chunk in the stage
    char *out
    int64_t source_stride[5]
    int64_t out_stride[5]
    int64_t row_offset[FC_MAX_ROWS]       # of a tile's channels in the output ...
    int64_t tile_row[FC_MAX_ROWS]         # ... and in the scratch tile
    int64_t source_size[5]
    const Array *weight
    bint forward
    int64_t count, shared
    int64_t itemsize
    int64_t channels                      # source channels of a chunk
    int64_t most_taps                     # of any sub-convolution
    int64_t channel_width, channel_panels
    int64_t rows, columns                 # outputs of a block
    int64_t strips, blocks, parts
    int64_t row_step, plane_step, channel_step   # of the stage
    bint flat                             # tiles run on over the ends of rows
    int activation
    double slope
    bint out_of_memory


# ---- the stage -----------------------------------------------------------------------------------------


cdef void stage_row(const Call *call, const char *source, int64_t y, int64_t phase, int64_t x0, int64_t positions,
                    int64_t channels, char *to) noexcept nogil:
    """One phase of source row y of all channels, zeros where it leaves the source. `source` is (channel, z, 0, 0)."""
    cdef const Stage *stage = call.stage
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, step = stage.step[1], width = call.source_size[4]
    cdef int64_t x = x0 * step + stage.first[1] + phase
    cdef int64_t low = 0, high = 0
    if 0 <= y < call.source_size[3]:
        low = min(positions, 0 if x >= 0 else divide_up(-x, step))
        high = max(low, min(positions, divide_up(width - x, step) if x < width else 0))
    if low > 0:
        kernel.clear(to, call.channel_step, low, channels)
    if high > low:
        kernel.pack(to + low * item, call.channel_step, high - low, channels,
                    source + (y * call.source_stride[3] + (x + low * step) * call.source_stride[4]) * item,
                    step * call.source_stride[4], call.source_stride[1])
    if high < positions:
        kernel.clear(to + high * item, call.channel_step, positions - high, channels)


cdef bint rows_as_they_lie(const Call *call, int64_t row, int64_t rows, int64_t column,
                           int64_t positions) noexcept nogil:
    """Whether the rows that a block needs are one run of the source, with no padding between or around them."""
    cdef const Stage *stage = call.stage
    row += stage.first[0]
    return (stage.step[0] == 1 and stage.step[1] == 1 and column == 0 and stage.first[1] == 0
            and positions == call.row_step == call.source_size[4] and call.source_stride[4] == 1
            and call.source_stride[3] == call.row_step
            and row >= 0 and row + rows + stage.span[0] <= call.source_size[3])


cdef void fill_stage(const Call *call, const Dense *d, const char *source, int64_t od, int64_t row, int64_t rows,
                     int64_t column, int64_t columns, int64_t channels, char *to) noexcept nogil:
    """Stage what a block of outputs needs of some channels: [channel][plane of taps][phase][row][position].

    What only the unused lanes of a vector read is cleared too: the denormal numbers that old memory may hold take the
    multiplier a hundred times as long.
    """
    cdef const Stage *stage = call.stage
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, plane, z, py, px, slot, r, filled
    cdef int64_t positions = columns + stage.span[1]
    cdef bint whole = rows_as_they_lie(call, row, rows, column, positions)
    cdef char *at
    filled = d.window.taps[0] * stage.slots * call.plane_step
    kernel.clear(to + filled * item, call.channel_step, call.channel_step - filled, channels)
    kernel.clear(to + channels * call.channel_step * item, FC_MAX_COLUMNS, FC_MAX_COLUMNS, 1)
    for plane in range(d.window.taps[0]):
        z = od * d.window.step[0] + d.window.first[0] + plane * d.window.delta[0]
        for py in range(stage.step[0]):
            for px in range(stage.step[1]):
                slot = stage.slot[py * stage.step[1] + px]
                if slot < 0:
                    continue
                at = to + (plane * stage.slots + slot) * call.plane_step * item
                filled = (rows + stage.span[0]) * call.row_step
                if filled < call.plane_step:
                    kernel.clear(at + filled * item, call.channel_step, call.plane_step - filled, channels)
                if whole and 0 <= z < call.source_size[2]:
                    kernel.pack(at, call.channel_step, filled, channels,
                                source + (z * call.source_stride[2] + (row + stage.first[0]) * call.row_step) * item,
                                1, call.source_stride[1])
                    continue
                for r in range(rows + stage.span[0]):
                    stage_row(call, source + z * call.source_stride[2] * item,
                              (row + r) * stage.step[0] + stage.first[0] + py if 0 <= z < call.source_size[2] else -1,
                              px, column, positions, channels, at + r * call.row_step * item)


cdef void fill_offsets(const Call *call, const Dense *d, int64_t *offsets) noexcept nogil:
    """Where the windows of output (0, 0) of a block lie in its stage: channel by channel, tap by tap."""
    cdef const Stage *stage = call.stage
    cdef int64_t kd, kh, kw, y, x, channel, tap = 0
    for kd in range(d.window.taps[0]):
        for kh in range(d.window.taps[1]):
            y = d.window.first[1] + kh * d.window.delta[1] - stage.first[0]
            for kw in range(d.window.taps[2]):
                x = d.window.first[2] + kw * d.window.delta[2] - stage.first[1]
                offsets[tap] = ((kd * stage.slots + stage.slot[y % stage.step[0] * stage.step[1] + x % stage.step[1]])
                                * call.plane_step + y // stage.step[0] * call.row_step + x // stage.step[1])
                tap += 1
    for channel in range(1, call.channels):
        for tap in range(d.taps):
            offsets[channel * d.taps + tap] = offsets[tap] + channel * call.channel_step


# ---- tiles ---------------------------------------------------------------------------------------------


cdef int tile_runs(const Call *call, const Dense *d, int64_t base, int64_t row, int64_t column, int64_t count,
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
        done += call.row_step - column
        column = 0
        row += 1
    return found


cdef inline void start_finish(const Call *call, bint accumulate, bint final, fc_finish *finish) noexcept nogil:
    finish.accumulate, finish.final = accumulate, final
    finish.column_bias = finish.row_bias = NULL
    finish.activation, finish.slope = call.activation, call.slope


cdef void sweep_rows(const Call *call, const Dense *d, const char *stage, const int64_t *offsets, const char *weights,
                     int64_t depth, int64_t group, int64_t part, int64_t base, int64_t rows, int64_t columns,
                     fc_finish *finish) noexcept nogil:
    """The outputs of a block, row by row, straight to where they belong."""
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, row, panel, channel, channels, column
    cdef int64_t width = kernel.lanes * even_block(
        divide_up(columns, kernel.lanes), kernel.wide_columns(<int>call.channel_width) // kernel.lanes)
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
                kernel.gemm_at(depth, weights + channel * depth * item, stage + (row * call.row_step + column) * item,
                               offsets, out + column * item, call.row_offset, <int>channels,
                               <int>min(width, columns - column), finish)
                column += width


cdef void sweep_runs(const Call *call, const Dense *d, const char *stage, const int64_t *offsets, const char *weights,
                     int64_t depth, int64_t group, int64_t part, int64_t base, int64_t rows, int64_t columns,
                     fc_finish *finish, char *tile) noexcept nogil:
    """The outputs of a block by way of scratch tiles. They run on over the ends of rows: what lies between these in
    the stage is computed too, and dropped."""
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, start = 0, length = (rows - 1) * call.row_step + columns
    cdef int64_t count, panel, channel, channels
    cdef int64_t width = kernel.lanes * even_block(
        divide_up(length, kernel.lanes), kernel.wide_columns(<int>call.channel_width) // kernel.lanes)
    cdef fc_run runs[FC_MAX_COLUMNS]
    cdef fc_finish keep
    cdef int found
    start_finish(call, False, False, &keep)
    while start < length:
        count = min(width, length - start)
        found = tile_runs(call, d, base, start // call.row_step, start % call.row_step, count, columns, runs)
        for panel in range(part * call.channel_panels // call.parts, (part + 1) * call.channel_panels // call.parts):
            channel = panel * call.channel_width
            channels = min(call.channel_width, d.channels - channel)
            if call.bias != NULL:
                finish.row_bias = call.bias + (group * d.channels + channel) * item
            kernel.gemm_at(depth, weights + channel * depth * item, stage + start * item, offsets, tile, call.tile_row,
                           <int>channels, <int>count, &keep)
            kernel.scatter(tile, FC_MAX_COLUMNS, call.out + (group * d.channels + channel) * call.out_stride[1] * item,
                           call.row_offset, <int>channels, runs, found, finish)
        start += count


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """A block of output rows and columns (of one image, group, output plane and part of the channels)."""
    cdef Call *call = <Call *>context
    cdef int64_t part = index % call.parts
    cdef int64_t column = index // call.parts % call.blocks * call.columns
    cdef int64_t rest = index // call.parts // call.blocks
    cdef int64_t row = rest % call.strips * call.rows
    cdef int64_t od = rest // call.strips % call.stage.outputs[0]
    cdef int64_t group, n, first, i, channel = 0, channels, base, item = call.itemsize
    cdef const Dense *d
    cdef const char *source
    cdef const char *weights
    cdef char *tile
    cdef char *stage
    cdef fc_finish finish
    cdef int64_t rows, columns
    rest = rest // call.strips // call.stage.outputs[0]
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
    while channel < call.dense.depth:
        channels = min(call.channels, call.dense.depth - channel)
        source = call.source + (n * call.source_stride[0]
                                + (group * call.dense.depth + channel) * call.source_stride[1]) * item
        fill_stage(call, &call.dense[first], source, od, row, min(call.rows, call.stage.outputs[1] - row), column,
                   min(call.columns, call.stage.outputs[2] - column), channels, stage)
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


cdef inline int64_t packed_before(const Call *call, int64_t index) noexcept nogil:
    """Elements of the packed weights of the sub-convolutions before one (of all, for `count`)."""
    cdef int64_t i, taps = 0
    for i in range(index):
        taps += call.dense[i].taps
    return taps * call.dense.groups * call.dense.channels * call.dense.depth


cdef inline int64_t block_scratch(const Call *call) noexcept nogil:
    """Elements of scratch of a block: one tile, the stage, and what whole vectors read beyond it."""
    return FC_MAX_ROWS * FC_MAX_COLUMNS + call.channels * call.channel_step + FC_MAX_COLUMNS


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Pack one panel of one group of one sub-convolution, chunk after chunk."""
    cdef const Call *call = <const Call *>context
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels % call.dense.groups
    cdef int64_t i = index // call.channel_panels // call.dense.groups, channel = 0, channels
    cdef const Dense *d = &call.dense[i]
    cdef Weights weights
    describe_weights(&weights, d, call.kernel, call.weight, call.forward)
    weights.width, weights.padded = call.channel_width, False
    while channel < d.depth:
        channels = min(call.channels, d.depth - channel)
        pack_weight_panel(&weights, group, panel, channel, channels, 0, d.taps,
                          call.packed + (packed_before(call, i) + d.channels * d.taps * (group * d.depth + channel)
                                         + panel * call.channel_width * channels * d.taps) * call.itemsize)
        channel += channels


# ---- plans ---------------------------------------------------------------------------------------------


@cython.final
cdef class Layout:
    """What a plan's calls with one kernel table and number of threads have in common; it never changes."""

    cdef Call call            # all but arrays, activation and weights
    cdef int64_t threads

    def __dealloc__(self):
        free(self.call.offsets)


cdef class SlidingPlan(Subconvolutions):
    """How one geometry is computed from stages, in one direction."""

    cdef Stage stage
    cdef int64_t shared, planes, most_taps
    cdef double flops         # of a call
    cdef Layout latest        # of the last call: most calls are like it

    def __cinit__(self, geometry, direction):
        cdef Stage *s = &self.stage
        cdef const Dense *d
        cdef int64_t axis, i, y, x
        if not SlidingPlan.serves(geometry, direction):
            raise ValueError(
                "algorithm='sliding': serves strides up to 8 along the last two axes and kernels of up to some hundred "
                f"thousand elements' reach, not stride={geometry.stride}, kernel={geometry.kernel}, "
                f"dilation={geometry.dilation}")
        for i in range(self.count):
            d = &self.dense[i]
            self.planes = max(self.planes, d.window.taps[0])
            self.most_taps = max(self.most_taps, d.taps)
            for axis in range(3):
                s.outputs[axis] = max(s.outputs[axis], d.window.count[axis])
            for axis in range(2):
                s.step[axis] = d.window.step[axis + 1]
                s.first[axis] = min(s.first[axis] if i else lowest_tap(d, axis + 1), lowest_tap(d, axis + 1))
        for y in range(MOST_PHASES * MOST_PHASES):
            s.slot[y] = -1
        for i in range(self.count):
            d = &self.dense[i]
            for y in range(d.window.taps[1]):
                for x in range(d.window.taps[2]):
                    self.use_phase(d.window.first[1] + y * d.window.delta[1] - s.first[0],
                                   d.window.first[2] + x * d.window.delta[2] - s.first[1])
        # sub-convolutions come ordered by parity: D, H, W; those of one parity along D share a stage
        self.shared = 0
        while self.shared < self.count and self.dense[self.shared].begin[0] == self.dense[0].begin[0]:
            self.shared += 1
        for i in range(self.count):
            self.flops += self.dense[i].flops

    cdef int use_phase(self, int64_t y, int64_t x) except -1:
        """Note that a tap reads position (y, x) of the stage."""
        cdef Stage *s = &self.stage
        cdef int64_t phase = y % s.step[0] * s.step[1] + x % s.step[1]
        if s.slot[phase] < 0:
            s.slot[phase] = s.slots
            s.slots += 1
        s.span[0] = max(s.span[0], y // s.step[0])
        s.span[1] = max(s.span[1], x // s.step[1])
        return 0

    @staticmethod
    def serves(geometry, direction):
        """Whether the smallest block's stage is small enough."""
        elements = geometry.kernel[0]
        for axis in (1, 2):
            if direction == "forward" and geometry.stride[axis] > MOST_PHASES:
                return False
            elements *= FC_MAX_COLUMNS + geometry.dilation[axis] * (geometry.kernel[axis] - 1)
        return elements <= LARGEST_STAGE

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        cdef Pass whole
        if self.leaves_gaps:
            self.fill_gaps(out, bias)
        if not self.count or not self.dense.n:
            return 0
        if (out_array.stride[4] == 1 or out_array.stride[1] == 1) \
                and self.takes_pixel_rows(source_array.float64, out_array.stride[4] != 1):
            whole.dense, whole.source, whole.weight, whole.out = self.dense, source_array, weight_array, out_array
            whole.bias, whole.forward, whole.activation, whole.slope = bias_data, self.forward, activation, slope
            return run_pixel_rows(&whole, self.chunk_channels())
        return self.run_stages(source_array, weight_array, bias_data, out_array, activation, slope)

    cdef bint takes_pixel_rows(self, bint float64, bint channels_last) noexcept nogil:
        return self.count == 1 and pixel_rows_serve(self.dense, kernels(float64), channels_last)

    cdef int64_t chunk_channels(self) noexcept nogil:
        """Source channels of a chunk, which decide the order of summation: they follow the geometry alone."""
        return even_block(self.dense.depth, CHUNK_DEPTH // self.most_taps)

    cdef int run_stages(self, const Array *source_array, const Array *weight_array, const char *bias_data,
                        const Array *out_array, int activation, double slope) except -1:
        cdef Layout layout
        cdef Call call
        cdef Form form
        cdef Lease panels
        cdef bint filled = False
        cdef int64_t i, packed
        layout = self.layout(source_array.float64)
        call = layout.call
        call.source, call.weight, call.bias, call.out = source_array.data, weight_array, bias_data, out_array.data
        call.activation, call.slope, call.out_of_memory = activation, slope, False
        for i in range(5):
            call.source_stride[i], call.source_size[i] = source_array.stride[i], source_array.size[i]
            call.out_stride[i] = out_array.stride[i]
        for i in range(call.channel_width):
            call.row_offset[i] = i * out_array.stride[1]
        packed = packed_before(&call, call.count)
        form.algorithm, form.part, form.kernel = FORM_SLIDING, self.forward, call.kernel
        form.width, form.layout = call.channel_width, call.channels
        lease(&panels, weight_array, &form, packed * call.itemsize)
        call.packed = panels.memory
        try:
            if panels.fresh:
                parallel(weights_task, &call, call.count * call.dense.groups * call.channel_panels, 10.0 * packed)
            filled = True
            parallel(block_task, &call, block_tasks(&call), self.flops)
        finally:
            give_back(&panels, filled)
        if call.out_of_memory:
            raise MemoryError("convolution workspace")
        return 0

    cdef Layout layout(self, bint float64):
        """The layout of a call."""
        cdef const fc_kernels *kernel = kernels(float64)
        cdef int64_t threads = worker_threads(self.flops), i, table
        cdef Layout layout
        with cython.critical_section(self):
            layout = self.latest
        if layout is not None and layout.call.kernel == kernel and layout.threads == threads:
            return layout
        layout = Layout.__new__(Layout)
        layout.threads = threads
        self.lay_out(&layout.call, kernel, threads, float64)
        table = layout.call.channels * self.most_taps
        layout.call.offsets = <int64_t *>malloc(self.count * table * sizeof(int64_t))
        if layout.call.offsets == NULL:
            raise MemoryError("convolution plan")
        for i in range(self.count):
            fill_offsets(&layout.call, &self.dense[i], layout.call.offsets + i * table)
        with cython.critical_section(self):
            self.latest = layout
        return layout

    cdef void lay_out(self, Call *call, const fc_kernels *kernel, int64_t threads, bint float64) noexcept nogil:
        """Blocks and parts, which only say who computes which outputs when."""
        cdef const Stage *s = &self.stage
        cdef const Dense *d = self.dense
        cdef int64_t limit, outputs, wanted, aligned, i
        call.kernel, call.itemsize, call.forward = kernel, 8 if float64 else 4, self.forward
        call.dense, call.stage, call.count, call.shared = d, s, self.count, self.shared
        call.most_taps = self.most_taps
        call.channels = self.chunk_channels()
        call.channel_width = even_block(d.channels, call.kernel.max_rows)
        call.channel_panels = divide_up(d.channels, call.channel_width)

        # a block: whole rows if they fit, as many as fit; all its channels unless that is too much work
        limit = STAGE_BYTES // (call.itemsize * call.channels * self.planes * s.slots)
        outputs = <int64_t>(TASK_FLOPS / (2.0 * d.channels * d.depth * self.most_taps * self.shared))
        call.columns = s.outputs[2]
        while call.columns > FC_MAX_COLUMNS and ((1 + s.span[0]) * (call.columns + s.span[1]) > limit
                                                 or call.columns > max(<int64_t>1, outputs) * call.channel_panels):
            call.columns = divide_up(call.columns, 2)
        call.blocks = divide_up(s.outputs[2], call.columns)
        call.columns = divide_up(s.outputs[2], call.blocks)
        call.rows = min(limit // (call.columns + s.span[1]) - s.span[0], outputs // call.columns)
        if call.channels < d.depth:
            call.rows = min(call.rows, OUTPUT_BYTES // (call.itemsize * call.columns * d.channels * call.shared))
        wanted = divide_up(TASKS_PER_THREAD * threads if threads > 1 else 1,
                           divide_up(self.count, self.shared) * max(<int64_t>1, d.n) * d.groups * s.outputs[0]
                           * call.blocks)
        call.rows = even_block(s.outputs[1], max(<int64_t>1, min(call.rows, divide_up(s.outputs[1], wanted))))
        call.strips = divide_up(s.outputs[1], call.rows)
        call.parts = max(divide_up(wanted, call.strips) if threads > 1 else 1,
                         divide_up(call.columns * call.rows, max(<int64_t>1, outputs)))
        call.parts = min(call.parts, call.channel_panels)
        call.row_step = call.columns + s.span[1]
        call.plane_step = call.row_step * (call.rows + s.span[0])
        # an odd number of vectors, so that channels do not meet in the same cache sets
        call.channel_step = (divide_up(self.planes * s.slots * call.plane_step, call.kernel.lanes) | 1) \
            * call.kernel.lanes
        # rows whose last vector is rather empty do better run together
        aligned = divide_up(call.columns, call.kernel.lanes) * call.kernel.lanes
        call.flat = call.rows > 1 and call.row_step * 17 // 16 < aligned
        for i in range(FC_MAX_ROWS):
            call.tile_row[i] = i * FC_MAX_COLUMNS

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef Call call
        if self.takes_pixel_rows(float64, channels_last):
            return pixel_rows_info(self.dense, kernels(float64), self.chunk_channels(), float64)
        call = self.layout(float64).call
        tasks = block_tasks(&call)
        return {
            "algorithm": "sliding",
            "isa": call.kernel.isa.decode(),
            "tile": (call.channel_width, call.kernel.wide_columns(<int>call.channel_width)),
            "threads": min(worker_threads(self.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed_before(&call, call.count) * call.itemsize,
            "workspace_bytes": block_scratch(&call) * call.itemsize,
        }


cdef inline int64_t block_tasks(const Call *call) noexcept nogil:
    return (divide_up(call.count, call.shared) * call.dense.n * call.dense.groups * call.stage.outputs[0]
            * call.strips * call.blocks * call.parts)


cdef inline int64_t lowest_tap(const Dense *d, int axis) noexcept nogil:
    """The lowest source offset of any tap along an axis."""
    return d.window.first[axis] + min(<int64_t>0, (d.window.taps[axis] - 1) * d.window.delta[axis])
