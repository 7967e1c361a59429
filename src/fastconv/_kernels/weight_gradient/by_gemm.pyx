"""The weight gradient as a matrix product with the positions as its depth: what serves many channels, and anything.

    grad_weight[oc, (tap, ic)] = sum over positions p of  grad_output[oc, p] * input[ic, window(p, tap)]

Rows of a tile are output channels, columns input channels. The input of a chunk is copied to scratch once, with the
channels innermost, so that the row of B for a position and a tap is read where it lies: every tap is a shift, and
`tile_at` takes the positions from a table. Where the channels do not fill a tile, the columns are the channels of a
whole row of taps, which are neighbours in that memory. A channel of grad_output is read where it lies as well if its
positions are adjacent there (`tile_of_rows`), else turned into panels.

Turning costs more than reading. So where a kernel of one tap has more input than output channels, the two change
places: rows are input channels, and what is summed up is the transpose of grad_weight.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport FC_MAX_COLUMNS, FC_MAX_ROWS, fc_finish, fc_kernels
from fastconv._kernels.engine.fastconv_native cimport task_scratch
from fastconv._kernels.engine.order cimport (
    GEMM_SCRATCH_ELEMENTS as SCRATCH_ELEMENTS, GEMM_POSITIONS as CHUNK_POSITIONS,
    GEMM_FEW_POSITIONS as FEW_POSITIONS, GEMM_FEWEST_POSITIONS as FEWEST_POSITIONS, GEMM_TASKS as WANTED_TASKS,
    GEMM_PARTS_ELEMENTS as PARTS_ELEMENTS, GEMM_TASK_FLOPS as TASK_FLOPS, GEMM_RUN as SHORTEST_RUN,
    GEMM_RUN_CHANNELS as FEWEST_CHANNELS,
)
from fastconv._kernels.weight_gradient.chunks cimport (
    Axis, Chunk, Place, Strips, copy_input, find_chunk, free_strips, lay_out_strips, list_offsets, pack_gradient,
    reaches_padding, tap_place,
)
from fastconv._kernels.weight_gradient.filters cimport Filters, write_filters
from fastconv._kernels.weight_gradient.operands cimport Operands, describe_operands, run_rounds

cdef double ROUND_FLOPS = 1e9           # of one task between two looks for a pending Ctrl-C
cdef int64_t ALIAS_BYTES = 4096         # rows so far apart get in each other's way in L1
cdef int64_t MOST_LANES = 16


cdef struct GemmCall:
    const GemmLayout *plan
    Operands on
    const Filters *filters      # or, if there is no `sums`, where a task brings what it has summed up
    bint in_place               # grad_output is read where it lies
    int64_t width               # channels that are neighbours in scratch: a tile's columns, or all there are
    int64_t panel               # elements of so many channels
    Place place                 # of them in scratch
    int64_t columns             # of a segment: the channels of one tap, or of a row of taps
    int64_t segment_taps        # taps that are neighbours in scratch


cdef struct Task:
    int64_t group, part
    int64_t row, rows
    int64_t channel, channels
    char *sums                  # of the first row, tap and channel
    int64_t tap_step            # there: channels of a tap
    char *input                 # scratch: channels innermost
    char *grad                  # scratch: panels of max_rows output channels
    int64_t *offset             # scratch: of each position in the input


cdef void place_input(GemmCall *call) noexcept nogil:
    """Panels of neighbouring channels, each a box of positions."""
    cdef const GemmLayout *plan = call.plan
    cdef const Axis *axis = &plan.strips.axis[0]
    cdef Place *place = &call.place
    call.width = min(plan.channels, <int64_t>call.on.kernel.gemm.max_columns)
    place.position[2] = call.width
    place.run[2] = axis[2].length * place.position[2]
    place.position[1] = axis[2].runs * place.run[2]
    place.run[1] = axis[1].length * place.position[1]
    place.position[0] = axis[1].runs * place.run[1]
    place.run[0] = axis[0].length * place.position[0]
    place.n = axis[0].runs * place.run[0]
    call.panel = place.channel = plan.strips.block_n * place.n
    call.segment_taps = 1
    if plan.channels < call.on.kernel.gemm.max_columns and axis[2].runs == 1 and (
            axis[2].taps == 1 or axis[2].start[1] == 1):
        call.segment_taps = axis[2].taps
    call.columns = call.segment_taps * call.width


cdef bint lies_in_runs(const GemmLayout *plan, const GemmCall *call) noexcept nogil:
    """The positions of a chunk are adjacent in each channel and image of grad_output, and channels a good way apart."""
    cdef const Axis *axis = &plan.strips.axis[0]
    cdef const int64_t *stride = &call.on.grad_stride[0]
    return ((axis[2].block == 1 or stride[4] == 1) and (axis[1].block == 1 or stride[3] == axis[2].count)
            and (axis[0].block == 1 or stride[2] == axis[1].count * axis[2].count)
            and stride[1] * call.on.item % ALIAS_BYTES != 0)


cdef void add_tile(const GemmCall *call, const Task *task, const Chunk *chunk, int64_t depth, int64_t row, int64_t rows,
                   const char *input, char *sums, const int64_t *row_offset, int64_t columns,
                   bint accumulate) noexcept nogil:
    """The products of one tile over a chunk: in one go, or image by image where grad_output lies."""
    cdef const fc_kernels *kernel = call.on.kernel
    cdef const int64_t *stride = &call.on.grad_stride[0]
    cdef const char *grad
    cdef int64_t n
    cdef fc_finish finish
    finish.accumulate, finish.final = accumulate, False
    finish.row_bias = finish.column_bias = NULL
    finish.activation, finish.slope = 0, 0
    if not call.in_place:
        kernel.gemm.tile_at(depth, task.grad + row * depth * call.on.item, input, task.offset, sums, row_offset,
                            <int>rows, <int>columns, &finish)
        return
    depth //= chunk.n_count
    for n in range(chunk.n_count):
        grad = call.on.grad_output + ((task.group * call.plan.rows + task.row + row) * stride[1]
                                   + (chunk.n + n) * stride[0] + chunk.begin[0] * stride[2]
                                   + chunk.begin[1] * stride[3] + chunk.begin[2] * stride[4]) * call.on.item
        kernel.gemm.tile_of_rows(depth, grad, stride[1], input, task.offset + n * depth, sums, row_offset, <int>rows,
                                 <int>columns, &finish)
        finish.accumulate = True


cdef void multiply(const GemmCall *call, const Task *task, const Chunk *chunk, int64_t depth,
                   bint accumulate) noexcept nogil:
    """A block of output channels with all taps of a block of input channels."""
    cdef const GemmLayout *plan = call.plan
    cdef int64_t item = call.on.item, tiles = divide_up(task.rows, call.on.kernel.gemm.max_rows), i, row, rows, tap, place
    cdef int64_t panel, channel, column, columns, wide
    cdef int64_t row_offset[FC_MAX_ROWS]
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * plan.taps * task.tap_step
    for i in range(tiles):
        row = i * task.rows // tiles
        rows = (i + 1) * task.rows // tiles - row
        wide = call.on.kernel.gemm.wide_columns(<int>rows)
        for panel in range(divide_up(task.channels, call.width)):
            channel = panel * call.width
            columns = call.columns if call.segment_taps > 1 else min(call.width, task.channels - channel)
            tap = 0
            while tap < plan.taps:
                place = panel * call.panel + tap_place(&plan.strips, &call.place, tap)
                column = 0
                while column < columns:
                    add_tile(call, task, chunk, depth, row, rows, task.input + (place + column) * item,
                             task.sums + ((row * plan.taps + tap) * task.tap_step + channel + column) * item,
                             row_offset, min(wide, columns - column), accumulate)
                    column += wide
                tap += call.segment_taps


cdef bint take_task(const GemmCall *call, int64_t index, Task *task) noexcept nogil:
    """Which blocks a task has, and its scratch memory. False if that is short."""
    cdef const GemmLayout *plan = call.plan
    cdef const Axis *axis = &plan.strips.axis[0]
    cdef int64_t panels = divide_up(plan.channels, call.width), block, elements, sums, turned
    cdef int64_t positions = plan.strips.block_n * axis[0].block * axis[1].block * axis[2].block
    block = index % plan.channel_blocks
    task.channel = block * panels // plan.channel_blocks * call.width
    task.channels = min(plan.channels, (block + 1) * panels // plan.channel_blocks * call.width) - task.channel
    block = index // plan.channel_blocks % plan.row_blocks
    task.row = block * plan.rows // plan.row_blocks
    task.rows = (block + 1) * plan.rows // plan.row_blocks - task.row
    task.group = index // plan.channel_blocks // plan.row_blocks % plan.groups
    task.part = index // plan.channel_blocks // plan.row_blocks // plan.groups
    task.tap_step = task.channels if call.on.sums == NULL else plan.channels
    # a tile may read whole vectors behind the last position
    elements = divide_up(task.channels, call.width) * call.panel + 8 * MOST_LANES
    sums = task.rows * plan.taps * task.channels if call.on.sums == NULL else 0
    turned = 0 if call.in_place else positions * task.rows
    task.offset = <int64_t *>task_scratch((elements + turned + sums) * call.on.item + positions * sizeof(int64_t))
    task.input = <char *>(task.offset + positions)
    task.grad = task.input + elements * call.on.item
    if call.on.sums == NULL:
        task.sums = task.grad + turned * call.on.item
    else:
        task.sums = call.on.sums + (
            ((task.part * plan.groups + task.group) * plan.rows + task.row) * plan.taps * plan.channels
            + task.channel) * call.on.item
    return task.offset != NULL


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """One block of output and input channels of one group, over one round of one part of the chunks."""
    cdef GemmCall *call = <GemmCall *>context
    cdef const GemmLayout *plan = call.plan
    cdef bint whole_images = plan.strips.chunks == plan.strips.blocks[0]
    cdef bint gaps = plan.padded or plan.channels % call.width != 0  # that nothing is copied to
    cdef int64_t first, begin, end, i, count
    cdef Task task
    cdef Chunk chunk
    if not take_task(call, index, &task):
        call.on.out_of_memory = True
        return
    first = task.part * plan.strips.chunks // plan.parts
    begin = first + call.on.begin
    end = min(begin + plan.round_chunks, (task.part + 1) * plan.strips.chunks // plan.parts)
    for i in range(begin, end):
        find_chunk(&plan.strips, i, &chunk)
        if gaps and (i == begin or not whole_images):  # else the zeros are where the chunk before had them
            memset(task.input, 0, divide_up(task.channels, call.width) * call.panel * call.on.item)
        copy_input(&plan.strips, &chunk, call.on.kernel, call.on.item, call.on.input
                   + (task.group * plan.channels + task.channel) * call.on.input_stride[1] * call.on.item,
                   call.on.input_stride, task.channels, task.input, &call.place)
        count = list_offsets(&plan.strips, &call.place, &chunk, task.offset)
        if not call.in_place:
            pack_gradient(&chunk, call.on.kernel, call.on.item, call.on.grad_output
                          + (task.group * plan.rows + task.row) * call.on.grad_stride[1] * call.on.item,
                          call.on.grad_stride, task.rows, divide_up(task.rows, call.on.kernel.gemm.max_rows), 0, task.grad)
        multiply(call, &task, &chunk, count, i > first)
    if call.on.sums == NULL:
        write_filters(call.filters, task.group * plan.rows + task.row, task.rows, task.channel, task.channels,
                      task.sums, 1, task.channels)


cdef class GemmGradient:
    """How one geometry is cut into chunks, blocks and tasks. Immutable once made."""

    def __cinit__(self, geometry):
        cdef GemmLayout *p = &self.layout
        cdef int64_t axis, rows, channels, positions = CHUNK_POSITIONS
        cdef bint whole_width, split_rows, split_channels
        p.groups = geometry.groups
        p.rows = geometry.out_channels // geometry.groups
        p.channels = geometry.in_channels // geometry.groups
        p.taps = 1
        for axis in range(3):
            p.kernel[axis] = geometry.kernel[axis]
            p.taps *= p.kernel[axis]
        p.padded = reaches_padding(geometry)
        p.turned = p.groups == p.taps == 1 and p.channels > p.rows and (
            geometry.input_size == geometry.output_size and not p.padded)
        if p.turned:
            p.rows, p.channels = p.channels, p.rows
        whole_width = geometry.dilation[2] == 1 and geometry.kernel[2] >= geometry.stride[2]
        p.row_blocks = p.channel_blocks = 1
        lay_out_strips(&p.strips, geometry, positions, whole_width)
        while self.scratch_elements() > SCRATCH_ELEMENTS:
            rows, channels = divide_up(p.rows, p.row_blocks), divide_up(p.channels, p.channel_blocks)
            split_rows, split_channels = rows >= 2 * FC_MAX_ROWS, channels >= FC_MAX_COLUMNS
            if self.run_length() >= SHORTEST_RUN and channels >= 2 * FEWEST_CHANNELS:
                split_rows = False
            if positions > FEW_POSITIONS and 2 * rows * channels * p.taps <= SCRATCH_ELEMENTS or not (
                    split_rows or split_channels):
                positions //= 2
                if positions < FEWEST_POSITIONS:
                    break
                free_strips(&p.strips)
                lay_out_strips(&p.strips, geometry, positions, whole_width)
            elif split_rows and (p.channels * p.row_blocks <= p.rows * p.channel_blocks or not split_channels):
                p.row_blocks *= 2       # each packs all the input
            else:
                p.channel_blocks *= 2   # each packs, or reads, all of grad_output
        self.share_out(geometry.flops)

    def __dealloc__(self):
        free_strips(&self.layout.strips)

    cdef int64_t scratch_elements(self) noexcept:
        cdef const GemmLayout *p = &self.layout
        cdef const Axis *axis = &p.strips.axis[0]
        cdef int64_t rows = divide_up(p.rows, p.row_blocks), channels = divide_up(p.channels, p.channel_blocks), d
        cdef int64_t input = p.strips.block_n, grad = p.strips.block_n
        for d in range(3):
            input *= axis[d].runs * axis[d].length
            grad *= axis[d].block
        if self.run_length() >= SHORTEST_RUN:
            grad = 0
        return rows * grad + channels * input + rows * channels * p.taps

    cdef int64_t run_length(self) noexcept nogil:
        """Positions of a chunk that are adjacent in a contiguous grad_output."""
        cdef const Axis *axis = self.layout.strips.axis
        return axis[0].block * axis[1].block * axis[2].block

    cdef void share_out(self, double flops) noexcept:
        """Enough tasks to occupy several threads, as far as the geometry allows."""
        cdef GemmLayout *p = &self.layout
        cdef int64_t wanted = <int64_t>max(1.0, min(<double>WANTED_TASKS, flops / TASK_FLOPS))
        cdef int64_t weights = p.groups * p.rows * p.channels * p.taps, tasks
        tasks = p.groups * p.row_blocks * p.channel_blocks
        while tasks < wanted and self.run_length() >= SHORTEST_RUN and (
                divide_up(p.channels, p.channel_blocks) >= 2 * FEWEST_CHANNELS):
            p.channel_blocks *= 2
            tasks *= 2
        p.parts = max(1, min(divide_up(wanted, tasks), p.strips.chunks, PARTS_ELEMENTS // weights))
        while p.parts * tasks < wanted and p.rows >= 16 * p.row_blocks:
            p.row_blocks *= 2
            tasks *= 2
        p.flops = flops
        flops /= <double>tasks * max(1, p.strips.chunks)
        p.round_chunks = <int64_t>max(1.0, ROUND_FLOPS / max(1.0, flops))

    cdef double share(self) noexcept:
        """Of the products, those that are wanted: the others are in lanes without a channel."""
        cdef const GemmLayout *p = &self.layout
        cdef int64_t columns = p.channels
        if columns < FC_MAX_COLUMNS // 2:
            columns *= p.strips.axis[2].taps
        if p.rows < FC_MAX_ROWS or columns < 24:
            return 0
        return <double>columns / (divide_up(columns, MOST_LANES) * MOST_LANES)

    cdef bint needs_no_sums(self) noexcept nogil:
        """A task has all chunks, and walks them in one go."""
        return self.layout.parts == 1 and self.layout.round_chunks >= self.layout.strips.chunks

    cdef int64_t tasks(self) noexcept nogil:
        return self.layout.parts * self.layout.groups * self.layout.row_blocks * self.layout.channel_blocks

    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums,
                       const Filters *filters) except -1 nogil:
        """Write each part's sum to `sums`, per filter taps x channels, or the only one to the filters."""
        cdef const GemmLayout *p = &self.layout
        if p.turned:
            input, grad_output = grad_output, input
        cdef GemmCall call
        cdef int64_t longest = divide_up(p.strips.chunks, p.parts)
        call.plan = p
        call.filters = filters
        describe_operands(&call.on, input, grad_output, sums)
        call.in_place = self.run_length() >= SHORTEST_RUN and lies_in_runs(p, &call)
        place_input(&call)
        return run_rounds(&call.on, block_task, &call, self.tasks(), longest,
                          p.round_chunks, p.flops)
