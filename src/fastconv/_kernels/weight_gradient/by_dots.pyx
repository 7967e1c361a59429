"""The weight gradient as dot products of planes: what serves few channels.

    grad_weight[oc, ic, tap] = sum over positions p of  grad_output[oc][p] * input[ic][p + offset(tap)]

Both operands are read along p. Input rows lie in scratch memory with their padding, at a pitch; grad_output rows
are copied to the same pitch, with zeros between them, so that a whole plane is one long run for every tap. A zero
between rows meets input that is not under the window: 0 * inf would be NaN, so a result that is not finite does not
count, and the caller computes it the other way.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport FC_MAX_DOT_COLUMNS, FC_MAX_DOT_ROWS, fc_kernels, fc_run_pair
from fastconv._kernels.engine.fastconv_native cimport task_scratch
from fastconv._kernels.engine.order cimport (
    DOTS_POSITIONS as CHUNK_POSITIONS, DOTS_SCRATCH_ELEMENTS as SCRATCH_ELEMENTS,
    DOTS_FEWEST_POSITIONS as FEWEST_POSITIONS, DOTS_TASKS as WANTED_TASKS, DOTS_PARTS_ELEMENTS as PARTS_ELEMENTS,
    DOTS_TASK_FLOPS as TASK_FLOPS,
)
from fastconv._kernels.weight_gradient.chunks cimport (
    Axis, Chunk, Strips, copy_block, copy_input, find_chunk, free_strips, lay_out_strips, tap_place,
)
from fastconv._kernels.weight_gradient.operands cimport Operands, describe_operands, run_rounds

cdef int64_t ROW_BLOCK = 64               # output channels of a task
cdef double ROUND_FLOPS = 1e9             # of one task between two looks for a pending Ctrl-C
cdef int64_t MOST_LANES = 16


cdef struct DotsCall:
    const DotLayout *plan
    Operands on
    int64_t together            # groups of a task


cdef void copy_gradient(const DotLayout *plan, const DotsCall *call, const Chunk *chunk, int64_t channel,
                        int64_t channels, char *to) noexcept nogil:
    cdef const int64_t *stride = &call.on.grad_stride[0]
    cdef int64_t item = call.on.item, n, d
    for n in range(chunk.n_count):
        for d in range(chunk.count[0]):
            copy_block(call.on.kernel, item,
                       call.on.grad_output + ((chunk.n + n) * stride[0] + channel * stride[1]
                                           + (chunk.begin[0] + d) * stride[2] + chunk.begin[1] * stride[3]
                                           + chunk.begin[2] * stride[4]) * item,
                       [stride[1], stride[3], stride[4]],
                       to + ((n * plan.strips.axis[0].block + d) * plan.span) * item,
                       [plan.grad_channel, plan.pitch, 1], [channels, chunk.count[1], chunk.count[2]])


cdef void multiply(const DotLayout *plan, const DotsCall *call, const char *input, int64_t channels, const char *grad,
                   int64_t rows, const fc_run_pair *runs, int64_t run_count, char *sums,
                   bint accumulate) noexcept nogil:
    """A block of output channels with all taps of a block of input channels."""
    cdef const fc_kernels *kernel = call.on.kernel
    cdef int64_t columns = channels * plan.taps, row_step = plan.channels * plan.taps
    cdef int64_t row_tiles = divide_up(rows, kernel.dot.max_rows), column_tiles, i, j, r, row, column, tap, channel
    cdef int64_t tile_rows, tile_columns
    cdef const void *a[FC_MAX_DOT_ROWS]
    cdef const void *b[FC_MAX_DOT_COLUMNS]
    cdef int64_t row_offset[FC_MAX_DOT_ROWS]
    for r in range(FC_MAX_DOT_ROWS):
        row_offset[r] = r * row_step
    for i in range(row_tiles):
        row = i * rows // row_tiles
        tile_rows = (i + 1) * rows // row_tiles - row
        for r in range(tile_rows):
            a[r] = grad + (row + r) * plan.grad_channel * call.on.item
        column_tiles = divide_up(columns, kernel.dot.max_columns(<int>tile_rows))
        tap = channel = 0
        for j in range(column_tiles):
            column = j * columns // column_tiles
            tile_columns = (j + 1) * columns // column_tiles - column
            for r in range(tile_columns):
                b[r] = input + (channel * plan.place.channel + plan.tap_offset[tap]) * call.on.item
                tap += 1
                if tap == plan.taps:
                    tap = 0
                    channel += 1
            kernel.dot.tile(a, <int>tile_rows, b, <int>tile_columns, runs, run_count,
                            sums + (row * row_step + column) * call.on.item, row_offset, accumulate)


cdef void list_runs(const DotLayout *plan, const Chunk *chunk, fc_run_pair *runs) noexcept nogil:
    """The planes of a chunk: in grad_output, and in the input's scratch."""
    cdef int64_t n, d, count = 0
    for n in range(chunk.n_count):
        for d in range(chunk.count[0]):
            runs[count].a_offset = (n * plan.strips.axis[0].block + d) * plan.span
            runs[count].b_offset = n * plan.place.n + d * plan.place.position[0]
            runs[count].count = (chunk.count[1] - 1) * plan.pitch + chunk.count[2]
            count += 1


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """One block of output and input channels of a group, or several groups, over one round of one part of the chunks."""
    cdef DotsCall *call = <DotsCall *>context
    cdef const DotLayout *plan = call.plan
    cdef int64_t group_blocks = divide_up(plan.groups, call.together)
    cdef int64_t channel_block = index % plan.channel_blocks
    cdef int64_t row_block = index // plan.channel_blocks % plan.row_blocks
    cdef int64_t group = index // plan.channel_blocks // plan.row_blocks % group_blocks * call.together
    cdef int64_t groups = min(call.together, plan.groups - group)
    cdef int64_t part = index // plan.channel_blocks // plan.row_blocks // group_blocks
    cdef int64_t row = row_block * plan.rows // plan.row_blocks
    cdef int64_t rows = (row_block + 1) * plan.rows // plan.row_blocks - row
    cdef int64_t channel = channel_block * plan.channels // plan.channel_blocks
    cdef int64_t channels = (channel_block + 1) * plan.channels // plan.channel_blocks - channel
    cdef int64_t first = part * plan.strips.chunks // plan.parts, begin, end, i, g
    cdef int64_t item = call.on.item, planes = plan.strips.block_n * plan.strips.axis[0].block
    cdef int64_t input_bytes = channels * plan.place.channel * item
    cdef int64_t grad_bytes = rows * plan.grad_channel * item
    cdef bint whole_images = plan.strips.chunks == plan.strips.blocks[0]
    cdef Chunk chunk
    cdef char *input = <char *>task_scratch(groups * (input_bytes + grad_bytes) + planes * sizeof(fc_run_pair))
    cdef char *grad = input + groups * input_bytes
    cdef fc_run_pair *runs = <fc_run_pair *>(grad + groups * grad_bytes)
    if input == NULL:
        call.on.out_of_memory = True
        return
    begin = first + call.on.begin
    end = min(begin + plan.round_chunks, (part + 1) * plan.strips.chunks // plan.parts)
    for i in range(begin, end):
        find_chunk(&plan.strips, i, &chunk)
        if i == begin or not whole_images:  # else the zeros are where the chunk before had them
            memset(input, 0, groups * (input_bytes + grad_bytes))
        copy_input(&plan.strips, &chunk, call.on.kernel, item,
                   call.on.input + (group * plan.channels + channel) * call.on.input_stride[1] * item,
                   call.on.input_stride,
                   groups * channels, input, &plan.place)
        copy_gradient(plan, call, &chunk, group * plan.rows + row, groups * rows, grad)
        list_runs(plan, &chunk, runs)
        for g in range(groups):
            multiply(plan, call, input + g * input_bytes, channels, grad + g * grad_bytes, rows, runs,
                     chunk.n_count * chunk.count[0],
                     call.on.sums + (((part * plan.groups + group + g) * plan.rows + row) * plan.channels + channel)
                     * plan.taps * item, i > first)


cdef class DotGradient:
    """How one geometry is cut into chunks, blocks and tasks. Immutable once made."""

    def __cinit__(self, geometry):
        cdef DotLayout *p = &self.layout
        cdef int64_t axis, positions = CHUNK_POSITIONS
        p.groups = geometry.groups
        p.rows = geometry.out_channels // geometry.groups
        p.channels = geometry.in_channels // geometry.groups
        p.taps = 1
        for axis in range(3):
            p.taps *= geometry.kernel[axis]
        p.row_blocks = divide_up(p.rows, ROW_BLOCK)
        p.channel_blocks = 1
        self.lay_out(geometry, positions)
        while self.scratch_elements() > SCRATCH_ELEMENTS:
            if p.channel_blocks < p.channels:
                p.channel_blocks = min(2 * p.channel_blocks, p.channels)
            elif positions > FEWEST_POSITIONS:
                positions //= 2
                self.lay_out(geometry, positions)
            else:
                break
        p.flops = geometry.flops
        self.share_out(geometry.flops)
        self.order_taps()

    def __dealloc__(self):
        free_strips(&self.layout.strips)
        free(self.layout.tap_offset)

    cdef int lay_out(self, object geometry, int64_t positions) except -1:
        cdef DotLayout *p = &self.layout
        cdef Strips *s = &p.strips
        free_strips(s)
        lay_out_strips(s, geometry, positions, False)
        p.pitch = s.axis[2].length
        p.place.position[2], p.place.position[1] = 1, p.pitch
        p.place.run[1] = s.axis[1].length * p.pitch
        p.place.position[0] = s.axis[1].runs * p.place.run[1]
        p.place.run[0] = s.axis[0].length * p.place.position[0]
        p.place.run[2] = s.axis[0].runs * p.place.run[0]
        p.place.n = s.axis[2].runs * p.place.run[2]
        p.place.channel = divide_up(s.block_n * p.place.n, MOST_LANES) * MOST_LANES + MOST_LANES
        p.span = divide_up(s.axis[1].block * p.pitch, MOST_LANES) * MOST_LANES
        p.grad_channel = s.block_n * s.axis[0].block * p.span + MOST_LANES
        return 0

    cdef int64_t scratch_elements(self) noexcept:
        cdef const DotLayout *p = &self.layout
        return (divide_up(p.channels, p.channel_blocks) * p.place.channel
                + divide_up(p.rows, p.row_blocks) * p.grad_channel)

    cdef void share_out(self, double flops) noexcept:
        """Enough tasks to occupy several threads, as far as the geometry allows."""
        cdef DotLayout *p = &self.layout
        cdef int64_t wanted = <int64_t>max(1.0, min(<double>WANTED_TASKS, flops / TASK_FLOPS))
        cdef int64_t weights = p.groups * p.rows * p.channels * p.taps
        cdef int64_t tasks
        while True:
            tasks = p.groups * p.row_blocks * p.channel_blocks
            p.parts = max(1, min(divide_up(wanted, tasks), p.strips.chunks, PARTS_ELEMENTS // weights))
            if p.parts * tasks >= wanted:
                break
            if p.channels >= 2 * p.channel_blocks:
                p.channel_blocks *= 2
            elif p.rows >= 8 * p.row_blocks:
                p.row_blocks *= 2
            else:
                break
        flops /= <double>p.groups * p.row_blocks * p.channel_blocks * max(1, p.strips.chunks)
        p.round_chunks = <int64_t>max(1.0, ROUND_FLOPS / max(1.0, flops))

    cdef int order_taps(self) except -1:
        """Taps that read the same run follow each other, so that a tile reads few of them."""
        cdef DotLayout *p = &self.layout
        cdef int64_t i
        p.tap_offset = <int64_t *>malloc(2 * p.taps * sizeof(int64_t))
        if p.tap_offset == NULL:
            raise MemoryError(f"tables of {p.taps} taps")
        p.tap_order = p.tap_offset + p.taps
        places = [tap_place(&p.strips, &p.place, i) for i in range(p.taps)]
        order = sorted(range(p.taps), key=places.__getitem__)
        for i in range(p.taps):
            p.tap_order[i] = order[i]
            p.tap_offset[i] = places[order[i]]
        p.in_order = list(order) == list(range(p.taps))
        return 0

    cdef double share(self) noexcept:
        """Of the products, those that are wanted: the others are with zeros between rows."""
        cdef const Axis *axis = self.layout.strips.axis
        cdef int64_t run = (axis[1].block - 1) * self.layout.pitch + axis[2].block
        return <double>axis[1].block * axis[2].block / (divide_up(run, MOST_LANES) * MOST_LANES)

    cdef int64_t tasks(self) noexcept nogil:
        return self.layout.parts * self.layout.groups * self.layout.row_blocks * self.layout.channel_blocks

    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums) except -1 nogil:
        """Write each part's sum to `sums`, as contiguous weights."""
        cdef const DotLayout *p = &self.layout
        cdef DotsCall call
        cdef int64_t longest = divide_up(p.strips.chunks, p.parts)
        call.plan = p
        describe_operands(&call.on, input, grad_output, sums)
        call.together = 1
        if input.stride[1] == grad_output.stride[1] == 1 and p.row_blocks == p.channel_blocks == 1:
            # neighbouring channels share cache lines
            call.together = max(1, min(p.groups, MOST_LANES // max(p.rows, p.channels)))
        return run_rounds(&call.on, block_task, &call, p.parts * divide_up(p.groups, call.together) * p.row_blocks * p.channel_blocks, longest,
                          p.round_chunks, p.flops)
