"""The weight gradient from windows as they lie, with output channels as lanes: what serves few input channels.

    grad_weight[oc, ic, tap] = sum over positions p of  window(p)[ic, tap] * grad_output[oc, p]

Rows of a tile are the taps of a row of the kernel, or of two of them, columns are output channels. The input of a
chunk is copied to scratch plane by plane, with its padding, so that the taps of a kernel row are neighbours for every
position, and a table tells where each position's are (`tile_of_windows`). grad_output is turned into panels with the
output channels innermost. So no lane and no product is wasted on zeros between rows, or on channels that are not
there; and what turning costs is shared by all taps of all input channels.

While a task walks its chunks its sums have the output channels innermost as well. It turns them at the end.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport FC_MAX_WINDOWS, fc_finish, fc_kernels
from fastconv._kernels.engine.fastconv_native cimport task_scratch
from fastconv._kernels.engine.order cimport (
    WINDOWS_POSITIONS as CHUNK_POSITIONS, WINDOWS_STAGE_ELEMENTS as STAGE_ELEMENTS,
    WINDOWS_FEWEST_POSITIONS as FEWEST_POSITIONS, WINDOWS_TASKS as WANTED_TASKS,
    WINDOWS_PARTS_ELEMENTS as PARTS_ELEMENTS, WINDOWS_TASK_FLOPS as TASK_FLOPS,
)
from fastconv._kernels.weight_gradient.chunks cimport (
    Axis, Chunk, copy_input, find_chunk, free_strips, lay_out_strips, list_offsets, pack_gradient,
    reaches_padding, tap_place,
)
from fastconv._kernels.weight_gradient.operands cimport Operands, describe_operands, run_rounds

cdef int64_t ROW_BLOCK = 256            # output channels of a task
cdef double ROUND_FLOPS = 1e9           # of one task between two looks for a pending Ctrl-C
cdef int64_t MOST_LANES = 16            # what the choice between the ways to a gradient reckons with:
cdef int64_t MOST_ROWS = 14             # it shall not depend on the instruction set
cdef double LEAST_PRODUCTS = 8          # that are under way at a time: two a cycle, for four cycles
cdef double LOADS_COST = 4.0 / 3        # products in the time of a load: of those there are three in two cycles


cdef struct WindowsCall:
    const WindowsLayout *plan
    Operands on
    int64_t width               # output channels of a panel
    int64_t taps                # of a kernel row that a tile has, at most
    bint paired                 # a tile has taps of two kernel rows


cdef struct Task:
    int64_t group, part
    int64_t row, rows
    int64_t *offset             # scratch: of each position in the input
    char *input                 # scratch: planes
    char *grad                  # scratch: panels of `width` output channels
    char *sums                  # [channel][tap][row]


cdef inline int64_t line_place(const WindowsLayout *plan, int64_t line) noexcept nogil:
    """Where a kernel row (counted on over input channels) sees a chunk's first output."""
    cdef int64_t rows = plan.kernel[0] * plan.kernel[1]
    return line // rows * plan.place.channel + tap_place(&plan.strips, &plan.place, line % rows * plan.kernel[2])


cdef void multiply_line(const WindowsCall *call, const Task *task, int64_t count, int64_t line, bint two,
                        const char *grad, char *sums, int64_t columns, const fc_finish *finish) noexcept nogil:
    """One panel of output channels with the taps of one or two kernel rows."""
    cdef const WindowsLayout *plan = call.plan
    cdef int64_t item = call.on.item, step = plan.tap_step, place = line_place(plan, line), tap = 0, taps, i, second
    cdef int64_t across = line_place(plan, line + 1) - place if two else 0
    cdef int64_t row_offset[FC_MAX_WINDOWS]
    while tap < plan.kernel[2]:
        taps = min(call.taps, plan.kernel[2] - tap)
        for i in range(taps):
            row_offset[i] = i * task.rows
            if two:
                row_offset[taps + i] = (plan.kernel[2] + i) * task.rows
        second = across if two else (taps + 1) // 2 * step
        call.on.kernel.gemm.tile_of_windows(count, task.input + (place + tap * step) * item, task.offset, step, second,
                                            grad, call.width, sums + (line * plan.kernel[2] + tap) * task.rows * item,
                                            row_offset, <int>(2 * taps if two else taps), <int>columns, finish)
        tap += taps


cdef void multiply(const WindowsCall *call, const Task *task, int64_t count, bint accumulate) noexcept nogil:
    """The output channels of a task with all taps of all input channels."""
    cdef const WindowsLayout *plan = call.plan
    cdef int64_t lines = plan.channels * plan.kernel[0] * plan.kernel[1], item = call.on.item, row = 0, line
    cdef bint two
    cdef fc_finish finish
    memset(&finish, 0, sizeof(finish))
    finish.accumulate = accumulate
    while row < task.rows:
        line = 0
        while line < lines:
            two = call.paired and line + 1 < lines
            multiply_line(call, task, count, line, two, task.grad + row * count * item, task.sums + row * item,
                          min(call.width, task.rows - row), &finish)
            line += 2 if two else 1
        row += call.width


cdef bint take_task(const WindowsCall *call, int64_t index, Task *task) noexcept nogil:
    """Which output channels and chunks a task has, and its scratch memory. False if that is short."""
    cdef const WindowsLayout *plan = call.plan
    cdef int64_t block = index % plan.row_blocks, input, grad
    cdef int64_t weights = plan.channels * plan.kernel[0] * plan.kernel[1] * plan.kernel[2]
    index //= plan.row_blocks
    task.group, task.part = index % plan.groups, index // plan.groups
    task.row = block * plan.rows // plan.row_blocks
    task.rows = (block + 1) * plan.rows // plan.row_blocks - task.row
    input = plan.channels * plan.place.channel
    grad = divide_up(task.rows, call.width) * call.width * plan.positions
    task.offset = <int64_t *>task_scratch(plan.positions * sizeof(int64_t)
                                          + (max(input, task.rows * weights) + grad) * call.on.item)
    task.grad = <char *>(task.offset + plan.positions)
    task.input = task.grad + grad * call.on.item
    task.sums = call.on.sums + ((task.part * plan.groups + task.group) * plan.rows + task.row) * weights * call.on.item
    return task.offset != NULL


cdef void turn_sums(const WindowsCall *call, const Task *task) noexcept nogil:
    """From [channel][tap][row] to [row][channel][tap], by way of the scratch memory."""
    cdef const WindowsLayout *plan = call.plan
    cdef int64_t weights = plan.channels * plan.kernel[0] * plan.kernel[1] * plan.kernel[2]
    call.on.kernel.copy.pack(task.input, weights, weights, task.rows, task.sums, task.rows, 1)
    memcpy(task.sums, task.input, task.rows * weights * call.on.item)


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """One block of output channels of a group, over one round of one part of the chunks."""
    cdef WindowsCall *call = <WindowsCall *>context
    cdef const WindowsLayout *plan = call.plan
    cdef bint whole_images = plan.strips.chunks == plan.strips.blocks[0]
    cdef int64_t first, last, begin, end, i, count
    cdef Task task
    cdef Chunk chunk
    if not take_task(call, index, &task):
        call.on.out_of_memory = True
        return
    first = task.part * plan.strips.chunks // plan.parts
    last = (task.part + 1) * plan.strips.chunks // plan.parts
    begin = first + call.on.begin
    end = min(begin + plan.round_chunks, last)
    for i in range(begin, end):
        find_chunk(&plan.strips, i, &chunk)
        if plan.padded and (i == begin or not whole_images):  # else the zeros are where the chunk before had them
            memset(task.input, 0, plan.channels * plan.place.channel * call.on.item)
        copy_input(&plan.strips, &chunk, call.on.kernel, call.on.item,
                   call.on.input + task.group * plan.channels * call.on.input_stride[1] * call.on.item,
                   call.on.input_stride, plan.channels, task.input, &plan.place)
        count = list_offsets(&plan.strips, &plan.place, &chunk, task.offset)
        pack_gradient(&chunk, call.on.kernel, call.on.item, call.on.grad_output
                      + (task.group * plan.rows + task.row) * call.on.grad_stride[1] * call.on.item,
                      call.on.grad_stride, task.rows, divide_up(task.rows, call.width), call.width, task.grad)
        multiply(call, &task, count, i > first)
    if begin < end == last:
        turn_sums(call, &task)


cdef class WindowsGradient:
    """How one geometry is cut into chunks and tasks. Immutable once made."""

    def __cinit__(self, geometry):
        cdef WindowsLayout *p = &self.layout
        cdef int64_t axis, positions = CHUNK_POSITIONS
        p.groups = geometry.groups
        p.rows = geometry.out_channels // geometry.groups
        p.channels = geometry.in_channels // geometry.groups
        for axis in range(3):
            p.kernel[axis] = geometry.kernel[axis]
        p.padded = reaches_padding(geometry)
        p.flops = geometry.flops
        lay_out_strips(&p.strips, geometry, positions, True)
        self.place_input()
        while p.channels * p.place.channel > STAGE_ELEMENTS and positions >= 2 * FEWEST_POSITIONS:
            positions //= 2
            free_strips(&p.strips)
            lay_out_strips(&p.strips, geometry, positions, True)
            self.place_input()
        self.share_out()

    def __dealloc__(self):
        free_strips(&self.layout.strips)

    cdef void place_input(self) noexcept:
        """Planes of whole rows, one channel after the other."""
        cdef WindowsLayout *p = &self.layout
        cdef const Axis *axis = p.strips.axis
        p.place.position[2] = 1
        p.place.run[2] = axis[2].length
        p.place.position[1] = axis[2].runs * p.place.run[2]
        p.place.run[1] = axis[1].length * p.place.position[1]
        p.place.position[0] = axis[1].runs * p.place.run[1]
        p.place.run[0] = axis[0].length * p.place.position[0]
        p.place.n = axis[0].runs * p.place.run[0]
        p.place.channel = p.strips.block_n * p.place.n
        p.tap_step = axis[2].start[1] if axis[2].taps > 1 else 1
        p.positions = p.strips.block_n * axis[0].block * axis[1].block * axis[2].block

    cdef void share_out(self) noexcept:
        """Enough tasks to occupy several threads, as far as the geometry allows."""
        cdef WindowsLayout *p = &self.layout
        cdef int64_t wanted = <int64_t>max(1.0, min(<double>WANTED_TASKS, p.flops / TASK_FLOPS)), tasks
        cdef int64_t weights = p.groups * p.rows * p.channels * p.kernel[0] * p.kernel[1] * p.kernel[2]
        p.row_blocks = divide_up(p.rows, ROW_BLOCK)
        tasks = p.groups * p.row_blocks
        p.parts = max(1, min(divide_up(wanted, tasks), p.strips.chunks, PARTS_ELEMENTS // weights))
        p.round_chunks = <int64_t>max(1.0, ROUND_FLOPS * tasks * p.strips.chunks / max(1.0, p.flops))

    cdef double share(self) noexcept:
        """Of the products that fit into the time, those that are made and wanted; 0 if the geometry is not served."""
        cdef const WindowsLayout *p = &self.layout
        cdef const Axis *width = &p.strips.axis[2]
        cdef int64_t vectors = 1 if p.rows <= MOST_LANES else 2, taps = even_block(p.kernel[2], MOST_ROWS)
        cdef int64_t most = MOST_ROWS if vectors == 2 else 2 * MOST_ROWS
        cdef double products
        if width.runs > 1 or p.kernel[2] < width.stride or p.channels * p.place.channel > STAGE_ELEMENTS:
            return 0
        if 2 * taps <= most and p.channels * p.kernel[0] * p.kernel[1] > 1:
            taps *= 2
        products = taps * vectors
        products /= max(products, LEAST_PRODUCTS, LOADS_COST * (taps + vectors + 1))
        return products * p.rows / (divide_up(p.rows, MOST_LANES) * MOST_LANES)

    cdef int64_t scratch_elements(self) noexcept nogil:
        """Of a task: input, panels of grad_output (as wide as they are long) and sums."""
        cdef const WindowsLayout *p = &self.layout
        cdef int64_t rows = divide_up(p.rows, p.row_blocks)
        return p.channels * p.place.channel + rows * (
            p.positions + p.channels * p.kernel[0] * p.kernel[1] * p.kernel[2])

    cdef int64_t tasks(self) noexcept nogil:
        return self.layout.parts * self.layout.groups * self.layout.row_blocks

    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums) except -1 nogil:
        """Write each part's sum to `sums`, as contiguous weights."""
        cdef const WindowsLayout *p = &self.layout
        cdef WindowsCall call
        cdef int64_t longest = divide_up(p.strips.chunks, p.parts)
        cdef const fc_kernels *kernel
        call.plan = p
        describe_operands(&call.on, input, grad_output, sums)
        kernel = call.on.kernel
        call.width = min(kernel.gemm.max_columns, divide_up(p.rows, kernel.lanes) * kernel.lanes)
        call.taps = even_block(p.kernel[2], kernel.gemm.max_rows)
        call.paired = 2 * call.taps <= (kernel.gemm.max_rows if call.width > kernel.lanes else 2 * kernel.gemm.max_rows)
        return run_rounds(&call.on, block_task, &call, self.tasks(), longest,
                          p.round_chunks, p.flops)
