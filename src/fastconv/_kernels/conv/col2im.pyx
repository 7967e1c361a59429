"""Input gradient of stride 1 as products of which none is with padding: col2im.

Seen as a convolution, an input gradient pads grad_output by the whole kernel, and in a small plane most of the products
are with those zeros: half of them for 5x5 over 10x10 outputs. Here every output is multiplied by every tap instead, and
the products, columns as im2col would have made them, are added up where the taps lie. The walk of one task (some
channels of one group and image):

    stage grad_output: its channels as dense rows
    for each block of channels:
        columns (channel, tap) x outputs = weight^T x stage       micro-kernel, into L1
        grad_input of these channels = what the columns add up to  csrc/tile/col2im.h

Chellapilla, Puri & Simard, "High performance convolutional neural networks for document processing" (2006), unroll
convolutions into such a product; Caffe (Jia et al., arXiv:1408.5093) named the way back.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.conv.panels cimport Weights, describe_weights, tap_offset
from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View, dtype_number
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport FC_COL2IM_TAPS, FC_MAX_ROWS, fc_finish, fc_kernels
from fastconv._kernels.engine.machine cimport in_l2
from fastconv._kernels.engine.fastconv_native cimport kernels, task_scratch, worker_threads
from fastconv._kernels.engine.order cimport COL2IM_DEPTH
from fastconv._kernels.engine.packed cimport FORM_COL2IM, Form, run_packed, work

cdef int64_t COLUMN_BYTES = 32 * 1024   # stay in L1 until they are added up
cdef int64_t PLANE_BYTES = in_l2(256 * 1024)  # of grad_input, added up beside each other, stay in L2
cdef int64_t LARGEST_SCRATCH = 1 << 19  # elements: planes that need more are not served
cdef int64_t LINE = 16                  # elements: every row of scratch memory begins with a cache line
cdef int64_t TASKS_PER_THREAD = 4       # that even out the threads
cdef double TASK_FLOPS = 2e8            # of a task, so that Ctrl-C need not wait for it


cdef struct Col2imCall:
    const Dense *dense
    const fc_kernels *kernel
    Weights weights
    const View *source
    const View *out
    const char *bias
    char *packed            # weights: per group, block, panel
    int64_t item
    int64_t positions       # outputs of a plane, and how far apart rows of them lie in scratch memory
    int64_t step
    int64_t channels        # of a block ...
    int64_t blocks          # ... of which a group has so many ...
    int64_t parts           # ... in so many tasks
    int64_t width           # of a weight panel
    fc_finish finish
    bint out_of_memory


cdef inline int64_t whole_lines(int64_t elements) noexcept nogil:
    return divide_up(elements, LINE) * LINE


cdef inline int64_t stage_elements(const Col2imCall *call) noexcept nogil:
    """Of grad_output."""
    return call.dense.depth * call.step


cdef inline int64_t plane_elements(const Col2imCall *call) noexcept nogil:
    """Of grad_input."""
    return call.dense.window.count[0] * call.dense.window.count[1] * call.dense.window.count[2]


cdef inline int64_t scratch_elements(const Col2imCall *call) noexcept nogil:
    """The stage, the columns of a block, and its channels, which may lie apart in memory."""
    return stage_elements(call) + call.channels * (call.dense.taps * call.step + whole_lines(plane_elements(call)))


cdef inline int64_t packed_weights(const Dense *d) noexcept nogil:
    """Elements of all weight panels."""
    return d.groups * d.channels * d.taps * d.depth


# ---- one task ----------------------------------------------------------------------------------------


cdef void fill_stage(const Col2imCall *call, const char *source, char *stage) noexcept nogil:
    """The channels of a group of one image, dense: rows that continue each other in one go."""
    cdef const int64_t *size = &call.source.size[0]
    cdef const int64_t *stride = &call.source.stride[0]
    cdef int64_t run = size[4], lines = size[3], planes = size[2], row, at
    if lines == 1 or stride[3] == run * stride[4]:
        run, lines = run * lines, 1
        if planes == 1 or stride[2] == run * stride[4]:
            run, planes = run * planes, 1
    for row in range(planes * lines):
        at = row // lines * stride[2] + row % lines * stride[3]
        call.kernel.copy.pack(stage + row * run * call.item, call.step, run, call.dense.depth, source + at * call.item,
                              stride[4], stride[1])
    # whole vectors are read, and what scratch memory held might be numbers that are slow to multiply
    call.kernel.copy.clear(stage + call.positions * call.item, call.step, call.step - call.positions, call.dense.depth)


cdef void multiply(const Col2imCall *call, const char *weights, const char *stage, int64_t rows,
                   char *columns) noexcept nogil:
    """The columns of a block: panel by panel of the weights, whose depth is one run."""
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.item, depth = call.dense.depth, first = 0, count, low, high, column, i, width
    cdef int64_t stage_row[COL2IM_DEPTH]
    cdef int64_t column_row[FC_MAX_ROWS]
    cdef fc_finish add
    add.final, add.row_bias, add.column_bias = False, NULL, NULL
    add.activation, add.slope = 0, 0
    for i in range(min(depth, <int64_t>COL2IM_DEPTH)):
        stage_row[i] = i * call.step
    for i in range(call.width):
        column_row[i] = i * call.step
    if not call.positions:
        return
    while first < rows:
        count = min(call.width, rows - first)
        width = kernel.lanes * even_block(divide_up(call.positions, kernel.lanes),
                                          kernel.gemm.wide_columns(<int>count) // kernel.lanes)
        low = 0
        while low < depth:
            high = min(depth, low + COL2IM_DEPTH)
            add.accumulate = low > 0
            column = 0
            while column < call.positions:
                kernel.gemm.tile_at(high - low, weights + (first * depth + low * count) * item,
                                    stage + (low * call.step + column) * item, stage_row,
                                    columns + (first * call.step + column) * item, column_row, <int>count,
                                    <int>min(width, call.positions - column), &add)
                column += width
            low = high
        first += count


cdef void add_up(const Col2imCall *call, const char *columns, int64_t first, int64_t channels, char *out,
                 char *planes) noexcept nogil:
    """grad_input of a block, whose first channel is the group's number `first`, from its columns. Rows with gaps
    between their elements go through `planes`."""
    cdef const Dense *d = call.dense
    cdef const int64_t *size = &d.window.count[0]
    cdef const int64_t *stride = &call.out.stride[0]
    cdef bint apart = stride[4] != 1 and size[2] > 1
    cdef int64_t dense[2]
    cdef const int64_t *to_stride = &stride[2]
    cdef int64_t channel, z, y, plane = whole_lines(plane_elements(call))
    cdef fc_finish finish = call.finish
    cdef char *to
    if apart:
        dense[0], dense[1] = size[1] * size[2], size[2]
        to_stride = dense
    for channel in range(channels):
        if call.bias != NULL:
            finish.row_bias = call.bias + (first + channel) * call.item
        to = planes + channel * plane * call.item if apart else out + channel * stride[1] * call.item
        call.kernel.copy.col2im(to, to_stride, columns + channel * d.taps * call.step * call.item, call.step, &d.window,
                                &finish)
    if not apart:
        return
    for z in range(size[0]):
        for y in range(size[1]):
            to = out + (z * stride[2] + y * stride[3]) * call.item
            if stride[1] == 1:
                call.kernel.copy.pack(to, stride[4], channels, size[2],
                                      planes + (z * size[1] + y) * size[2] * call.item, plane, 1)
                continue
            for channel in range(channels):
                call.kernel.copy.pack(to + channel * stride[1] * call.item, stride[4], 1, size[2],
                                      planes + (channel * plane + (z * size[1] + y) * size[2]) * call.item, plane, 1)


cdef void part_task(void *context, int64_t index) noexcept nogil:
    """Some blocks of channels of one group of one image."""
    cdef Col2imCall *call = <Col2imCall *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.item, part = index % call.parts, group = index // call.parts % d.groups
    cdef int64_t n = index // call.parts // d.groups, block, first, channels
    cdef char *stage = <char *>task_scratch(scratch_elements(call) * item)
    cdef char *columns
    cdef char *planes
    if stage == NULL:
        call.out_of_memory = True
        return
    columns = stage + stage_elements(call) * item
    planes = columns + call.channels * d.taps * call.step * item
    fill_stage(call, call.source.data + (n * call.source.stride[0] + group * d.depth * call.source.stride[1]) * item,
               stage)
    for block in range(part * call.blocks // call.parts, (part + 1) * call.blocks // call.parts):
        first = group * d.channels + block * call.channels
        channels = min(call.channels, d.channels - block * call.channels)
        multiply(call, call.packed + first * d.taps * d.depth * item, stage, channels * d.taps, columns)
        add_up(call, columns, first, channels,
               call.out.data + (n * call.out.stride[0] + first * call.out.stride[1]) * item, planes)


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """The panels of one block: rows are (channel, tap), the depth is grad_output's channels."""
    cdef const Col2imCall *call = <const Col2imCall *>context
    cdef const Dense *d = call.dense
    cdef const Weights *w = &call.weights
    cdef int64_t item = call.item, group = index // call.blocks, channel = index % call.blocks * call.channels
    cdef int64_t rows = min(call.channels, d.channels - channel) * d.taps, first = 0, row, count
    cdef bint adjacent = w.taps_adjacent and (d.channels == 1 or w.channel_stride == d.taps)
    cdef const char *source = w.source + (group * w.group_stride + channel * w.channel_stride) * item
    cdef char *to = call.packed + (group * d.channels + channel) * d.taps * d.depth * item
    while first < rows:
        count = min(call.width, rows - first)
        if adjacent:
            call.kernel.copy.pack(to, count, count, d.depth, source + first * item, 1, w.depth_stride)
        else:
            for row in range(first, first + count):
                call.kernel.copy.pack(to + (row - first) * item, count, 1, d.depth, source + (
                    row // d.taps * w.channel_stride + tap_offset(w, row % d.taps)) * item, 1, w.depth_stride)
        to += count * d.depth * item
        first += count


# ---- plans -------------------------------------------------------------------------------------------


def staged_outputs(geometry):
    """Elements of a column: outputs of one channel of an image, in whole cache lines."""
    return whole_lines(geometry.output_size[0] * geometry.output_size[1] * geometry.output_size[2])


cdef class Col2imPlan(Subconvolutions):
    """The input gradient of one geometry of stride 1, by col2im.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    def __cinit__(self, geometry, direction):
        if not Col2imPlan.serves(geometry, direction):
            raise ValueError(
                f"algorithm='col2im': serves input gradients of stride 1, of kernels up to {FC_COL2IM_TAPS} wide whose "
                f"columns of a channel fit half a million elements, not direction={direction!r}, stride="
                f"{geometry.stride}, kernel={geometry.kernel}, output={geometry.output_size} (D, H, W)")

    @staticmethod
    def serves(geometry, direction):
        """Whether it is an input gradient of stride 1, and one channel's columns are few enough."""
        outputs = staged_outputs(geometry)
        inputs = geometry.input_size[0] * geometry.input_size[1] * geometry.input_size[2]
        taps = geometry.kernel[0] * geometry.kernel[1] * geometry.kernel[2]
        depth = geometry.out_channels // geometry.groups
        return (direction == "input_gradient" and max(geometry.stride) == 1 and geometry.kernel[2] <= FC_COL2IM_TAPS
                and (depth + taps) * outputs + inputs <= LARGEST_SCRATCH)

    cdef void lay_out(self, Col2imCall *call, const fc_kernels *kernel) noexcept nogil:
        """Blocks and parts, which only say who computes which elements when."""
        cdef const Dense *d = self.dense
        cdef int64_t images = max(<int64_t>1, d.n * d.groups), wanted, threads = worker_threads(d.flops)
        call.dense, call.kernel, call.item = d, kernel, kernel.item
        call.positions = d.window.extent[0] * d.window.extent[1] * d.window.extent[2]
        call.step = whole_lines(call.positions)
        wanted = max(divide_up(TASKS_PER_THREAD * threads, images) if threads > 1 else 1,
                     <int64_t>(d.flops / images / TASK_FLOPS) + 1)
        call.channels = even_block(d.channels, min(
            divide_up(d.channels, wanted), COLUMN_BYTES // (d.taps * max(LINE, call.step) * call.item),
            PLANE_BYTES // (max(LINE, plane_elements(call)) * call.item)))
        call.blocks = divide_up(d.channels, call.channels)
        call.parts = min(wanted, call.blocks)
        call.width = even_block(call.channels * d.taps, call.kernel.gemm.max_rows)

    cdef int run_views(self, const ConvCall *what) except -1 nogil:
        cdef const Dense *d = self.dense
        cdef Col2imCall call
        cdef Form form
        cdef int64_t packed = packed_weights(d)
        self.lay_out(&call, kernels(what.source.dtype))
        call.source, call.out, call.bias, call.out_of_memory = what.source, what.out, what.bias, False
        call.finish.accumulate, call.finish.final = False, True
        call.finish.row_bias = call.finish.column_bias = NULL
        call.finish.activation, call.finish.slope = what.activation, what.slope
        describe_weights(&call.weights, d, call.kernel, what.factor, self.forward)
        form.algorithm, form.part, form.kernel = FORM_COL2IM, 0, call.kernel
        form.width, form.layout = call.width, call.channels
        return run_packed(&call, &call.packed, &call.out_of_memory, what.factor, &form, packed * call.item,
                          work(weights_task, d.groups * call.blocks, 10.0 * packed),
                          work(part_task, d.n * d.groups * call.parts, d.flops))

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef Col2imCall call
        self.lay_out(&call, kernels(dtype_number(dtype)))
        tasks = self.dense.n * self.dense.groups * call.parts
        return {
            "algorithm": "col2im",
            "way": "columns",
            "isa": call.kernel.isa.decode(),
            "tile": (call.width, call.kernel.gemm.wide_columns(<int>call.width)),
            "threads": min(worker_threads(self.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed_weights(self.dense) * call.item,
            "workspace_bytes": scratch_elements(&call) * call.item,
        }
