"""The weight gradient from rows as they lie: what serves depthwise convolutions, and few output channels.

A filter has few input channels, or each of those one or two filters, so there is nothing to share by packing: for each
pair of planes the depthwise gradient walks a band of rows that stays in cache, and adds up a vector per tap.
Lanes are neighbouring pixels, whose sums are added up at the end, or channels that are adjacent in memory, which are
done with then. Lanes in the padding multiply zero by some other number: 0 * inf would be NaN, so a result that is not
finite does not count, and the caller computes it the other way.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_kernels, fc_planes, fc_planes_met
from fastconv._kernels.engine.fastconv_native cimport kernels, task_scratch
from fastconv._kernels.engine.order cimport (
    ROWS_BAND_BYTES as BAND_BYTES, ROWS_CHANNEL_BAND_BYTES as CHANNEL_BAND_BYTES, ROWS_TASKS as WANTED_TASKS,
    ROWS_PARTS_ELEMENTS as PARTS_ELEMENTS, ROWS_TASK_FLOPS as TASK_FLOPS,
)
from fastconv._kernels.weight_gradient.operands cimport Operands, add_sums, describe_operands, run_rounds

cdef int64_t MOST_FILTERS = 2             # of a group: more of them share what dot products load
cdef int64_t MOST_TAPS = 1024             # a vector of sums each, in scratch memory
cdef int64_t CHANNEL_VECTORS = 4          # of a task: they lie side by side in memory
cdef int64_t BAND_ROWS = 4                # a multiple of the rows that are taken together; more rows of channels, which
                                          # lie far apart, would meet in the same places of L1
cdef double ROUND_FLOPS = 1e9             # of one task between two looks for a pending Ctrl-C


cdef struct RowsCall:
    const RowsLayout *plan
    Operands on
    int64_t lanes               # channels of a vector; 1 if lanes are pixels
    int64_t together            # pairs of planes of a task
    int64_t rows, columns       # outputs of a band
    int64_t bands[2]            # of a plane, along H and W
    int64_t chunks              # bands, over all planes of a pair
    int64_t parts               # how many ways they are split
    int64_t round_chunks        # how many of its part's a task walks between two looks for Ctrl-C


cdef void lay_out(const RowsLayout *plan, RowsCall *call, bint pixels, int64_t item) noexcept nogil:
    """Bands, tasks and parts: by geometry and memory order alone, so that bits do not depend on threads."""
    cdef int64_t lanes = kernels(item == 8).lanes, width = plan.output_size[2], height = plan.output_size[1], bytes_
    cdef int64_t wanted = <int64_t>max(1.0, min(<double>WANTED_TASKS, plan.flops / TASK_FLOPS)), blocks
    cdef double flops
    call.plan, call.lanes = plan, 1 if pixels else lanes
    call.together = 1 if pixels else CHANNEL_VECTORS * lanes
    if pixels:
        bytes_ = (width + plan.stride[1] * plan.input_size[2]) * item
        call.rows, call.columns = BAND_BYTES // bytes_, width
    else:
        bytes_ = call.together * item * (1 + plan.stride[1] * plan.stride[2])
        call.rows = BAND_ROWS
        call.columns = even_block(width, CHANNEL_BAND_BYTES // bytes_ // BAND_ROWS)
    call.rows = divide_up(even_block(height, call.rows), BAND_ROWS) * BAND_ROWS
    call.bands[0], call.bands[1] = divide_up(height, call.rows), divide_up(width, call.columns)
    call.chunks = plan.n * plan.output_size[0] * call.bands[0] * call.bands[1]
    blocks = divide_up(plan.filters * plan.channels, call.together)
    call.parts = max(1, min(divide_up(wanted, blocks), call.chunks,
                            PARTS_ELEMENTS // (plan.filters * plan.channels * plan.taps)))
    flops = plan.flops / <double>(blocks * max(1, call.chunks))
    call.round_chunks = <int64_t>max(1.0, ROUND_FLOPS / max(1.0, flops))


cdef void describe_band(const RowsCall *call, int64_t index, int64_t *n, int64_t *od, int64_t *grad,
                        fc_planes_met *band) noexcept nogil:
    """The outputs of one band, from `grad` on, and the windows of their first taps along H and W."""
    cdef const RowsLayout *plan = call.plan
    cdef int64_t row = index % call.bands[0] * call.rows, column
    index //= call.bands[0]
    column = index % call.bands[1] * call.columns
    index //= call.bands[1]
    od[0], n[0] = index % plan.output_size[0], index // plan.output_size[0]
    band.rows = min(call.rows, plan.output_size[1] - row)
    band.columns = min(call.columns, plan.output_size[2] - column)
    band.grad_y_stride, band.y_stride = call.on.grad_stride[3], call.on.input_stride[3]
    band.grad_x_stride = 1 if call.lanes == 1 else call.on.grad_stride[4]
    band.x_stride = 1 if call.lanes == 1 else call.on.input_stride[4]
    grad[0] = (n[0] * call.on.grad_stride[0] + od[0] * call.on.grad_stride[2] + row * call.on.grad_stride[3]
               + column * call.on.grad_stride[4])
    band.y, band.x = row * plan.stride[1] - plan.before[1], column * plan.stride[2] - plan.before[2]
    band.height, band.width = plan.input_size[1], plan.input_size[2]
    band.y_step, band.x_step = plan.stride[1], plan.stride[2] if plan.output_size[2] > 1 else 1
    band.y_delta, band.x_delta = plan.dilation[1], plan.dilation[2]
    band.kernel_rows, band.kernel_columns = <int>plan.kernel[1], <int>plan.kernel[2]


cdef void add_band(const RowsCall *call, int64_t index, int64_t pair, int64_t count, char *sums) noexcept nogil:
    """The products of one band, for `count` pairs of planes from this one on; a vector of sums per tap."""
    cdef const RowsLayout *plan = call.plan
    cdef int64_t item = call.on.item, plane_taps = plan.kernel[1] * plan.kernel[2]
    cdef int64_t n, od, kd, z, i, k, filter, channel, from_
    cdef int64_t vector = call.on.kernel.lanes * item
    cdef const char *input
    cdef const char *grad
    cdef fc_planes_met band
    describe_band(call, index, &n, &od, &from_, &band)
    for k in range(divide_up(count, call.lanes)):
        i = k * call.lanes
        filter = (pair + i) // plan.channels
        channel = filter // plan.rows * plan.channels + (pair + i) % plan.channels
        grad = call.on.grad_output + (from_ + filter * call.on.grad_stride[1]) * item
        band.channels = <int>min(call.lanes, count - i) if call.lanes > 1 else 0
        for kd in range(plan.kernel[0]):
            z = od * plan.stride[0] - plan.before[0] + kd * plan.dilation[0]
            if 0 <= z < plan.input_size[0]:
                input = call.on.input + (n * call.on.input_stride[0] + channel * call.on.input_stride[1]
                                      + z * call.on.input_stride[2]) * item
                call.on.kernel.depthwise.gradient(sums + (k * plan.taps + kd * plane_taps) * vector, input,
                                               grad, &band)


cdef void finish(const RowsCall *call, int64_t count, const char *sums, char *to) noexcept nogil:
    """The filters of `count` pairs of planes from their vectors of sums."""
    cdef const fc_kernels *kernel = call.on.kernel
    cdef int64_t taps = call.plan.taps, i, k
    cdef fc_planes planes
    if call.lanes > 1:
        for k in range(divide_up(count, call.lanes)):
            i = k * call.lanes
            kernel.copy.pack(to + i * taps * call.on.item, taps, taps, min(call.lanes, count - i),
                             sums + i * taps * call.on.item, call.lanes, 1)
        return
    planes.planes, planes.pixels, planes.divisor = count * taps, kernel.lanes, 1
    planes.plane_step, planes.pixel_step = kernel.lanes, 1
    kernel.pool.average_planes(to, sums, &planes)


cdef void pairs_task(void *context, int64_t index) noexcept nogil:
    """A few pairs of planes, over one round of one part of the bands."""
    cdef RowsCall *call = <RowsCall *>context
    cdef const RowsLayout *plan = call.plan
    cdef int64_t pairs = plan.filters * plan.channels, blocks = divide_up(pairs, call.together)
    cdef int64_t pair = index % blocks * call.together, part = index // blocks
    cdef int64_t count = min(call.together, pairs - pair), i
    cdef int64_t begin = part * call.chunks // call.parts + call.on.begin
    cdef int64_t end = min(begin + call.round_chunks, (part + 1) * call.chunks // call.parts)
    cdef int64_t sums_bytes = divide_up(count, call.lanes) * plan.taps * call.on.kernel.lanes * call.on.item
    cdef char *sums = <char *>task_scratch(sums_bytes + count * plan.taps * call.on.item)
    cdef char *to = call.on.sums + (part * pairs + pair) * plan.taps * call.on.item
    if sums == NULL:
        call.on.out_of_memory = True
        return
    memset(sums, 0, sums_bytes)
    for i in range(begin, end):
        add_band(call, i, pair, count, sums)
    if call.on.begin == 0:
        finish(call, count, sums, to)
    else:
        finish(call, count, sums, sums + sums_bytes)
        add_sums(call.on.kernel, count * plan.taps, sums + sums_bytes, to)


def serves(geometry):
    """Whether few filters share an input channel, and several rows of taps an output row."""
    taps = geometry.kernel[0] * geometry.kernel[1] * geometry.kernel[2]
    return (geometry.out_channels // geometry.groups <= MOST_FILTERS and 1 < geometry.kernel[1]
            and taps <= MOST_TAPS)


cdef class RowsGradient:
    """One geometry that `serves` holds for. Immutable once made."""

    serves = staticmethod(serves)

    def __cinit__(self, geometry):
        cdef RowsLayout *p = &self.layout
        cdef int axis
        p.n, p.filters, p.flops = geometry.n, geometry.out_channels, geometry.flops
        p.rows = geometry.out_channels // geometry.groups
        p.channels = geometry.in_channels // geometry.groups
        p.taps = 1
        for axis in range(3):
            p.kernel[axis], p.stride[axis] = geometry.kernel[axis], geometry.stride[axis]
            p.dilation[axis], p.before[axis] = geometry.dilation[axis], geometry.before[axis]
            p.input_size[axis], p.output_size[axis] = geometry.input_size[axis], geometry.output_size[axis]
            p.taps *= p.kernel[axis]

    cdef bint pixels(self, const View *input, const View *grad_output) noexcept nogil:
        """Whether pixels can be lanes: they lie side by side, or every other one counts."""
        cdef const RowsLayout *p = &self.layout
        return ((input.stride[4] == 1 or input.size[4] == 1) and (grad_output.stride[4] == 1 or grad_output.size[4] == 1)
                and (p.stride[2] == 1 or (p.stride[2] == 2 and p.dilation[2] == 1) or p.output_size[2] == 1))

    cdef bint reads(self, const View *input, const View *grad_output) noexcept nogil:
        """Whether arrays that lie like these are read as they lie."""
        return self.pixels(input, grad_output) or (
            self.layout.rows == self.layout.channels == 1 and input.stride[1] == grad_output.stride[1] == 1)

    cdef int64_t parts(self, const View *input, const View *grad_output) noexcept nogil:
        """How many sums `sum_parts` writes."""
        cdef RowsCall call
        lay_out(&self.layout, &call, self.pixels(input, grad_output), input.item)
        return call.parts

    cdef int64_t scratch_elements(self, const View *input, const View *grad_output) noexcept nogil:
        """Of a task: its sums, a vector for each, and what they add up to."""
        cdef RowsCall call
        lay_out(&self.layout, &call, self.pixels(input, grad_output), input.item)
        return (divide_up(call.together, call.lanes) * kernels(input.dtype).lanes + call.together) * self.layout.taps

    cdef int64_t tasks(self, const View *input, const View *grad_output) noexcept nogil:
        cdef RowsCall call
        lay_out(&self.layout, &call, self.pixels(input, grad_output), input.item)
        return call.parts * divide_up(self.layout.filters * self.layout.channels, call.together)

    cdef int sum_parts(self, const View *input, const View *grad_output, char *sums) except -1 nogil:
        """Write each part's sum to `sums`, as contiguous weights."""
        cdef const RowsLayout *p = &self.layout
        cdef RowsCall call
        cdef int64_t longest, tasks
        lay_out(p, &call, self.pixels(input, grad_output), input.item)
        describe_operands(&call.on, input, grad_output, sums)
        longest = divide_up(call.chunks, call.parts)
        tasks = call.parts * divide_up(p.filters * p.channels, call.together)
        # rows are read besides: a few operations per element more than the arithmetic
        return run_rounds(&call.on, pairs_task, &call, tasks, longest, call.round_chunks, 3 * p.flops)
