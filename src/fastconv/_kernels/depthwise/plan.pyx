"""Depthwise convolution (one input channel per group), that of small groups, and their input gradients.

There is little to reduce but taps, so the bound is memory. A task makes one block of outputs of one channel, or, if
channels are adjacent in memory, of a vector of them. It gathers the source rows that the block's windows reach into
padded scratch that stays in L1 (L2 for a vector of channels), where every tap of every window is a plain run, and
the depthwise tiles walk over it. Vectors of channels are read where they lie instead, but for those windows
that reach into the padding:

    stride s along a row     splits a gathered row into s runs, by position modulo s
    stride 2 of both axes    reads rows where they lie, and splits them in registers: padding is masked
    dilation d along H       output rows whose windows meet the same source rows (a class, modulo d) form a block:
                             in it the windows are dense and their rows are shared
    planes                   taps along D, and source channels of a group, are gathered one behind the other
    groups as lanes          of 2 or 4 adjacent channels: in the plane of each of a group's source channels
                             all lanes of the group have that channel
    input gradient           a part per parity of the input position; of stride 2 along contiguous rows, both parities
                             of a row at once, zipped in registers
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions, join_rows
from fastconv._kernels.depthwise.blocks cimport (
    BLOCK_ROWS, Axis, DepthwiseCall, Part, describe_part, fill_offsets, lay_out_blocks, rows_between_taps,
)
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View, dtype_number, fill
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport FC_KERNEL_ROWS, fc_depthwise, fc_gather, fc_kernels, fc_taps
from fastconv._kernels.engine.fastconv_native cimport (
    give_scratch, kernels, out_of_memory, parallel, take_scratch, task_scratch, worker_threads,
)

cdef int64_t MOST_BYTES = 2 << 20              # of the rows and weights under the smallest block
cdef int64_t MOST_STRIDE = 16                  # along a row, which is split into that many runs
cdef int64_t FEWEST_IN_PLACE = 200             # outputs read in place (of a line, twice as many): fewer do not pay the
                                               # frame around them
cdef tuple SMALL_GROUPS = (2, 4)               # channels of a group, and outputs: larger ones have enough to reduce
cdef int64_t MOST_TAPS_IN_PLACE = 32           # of a plane: more of them pay for a copy that lies close


cdef struct Place:            # what a task computes
    int64_t n, group, od, row_class, row, column
    int64_t groups            # one after the other: their windows lie alike
    int64_t rows, columns
    int64_t lanes             # channels, 0 if lanes are pixels


cdef struct Windows:          # where the source of a rectangle of outputs lies
    const char *data          # of its first window
    int64_t row, plane, vector_step   # between rows that taps meet, planes, neighbouring vectors of outputs
    const int64_t *offset[2]


cdef struct Taps:             # of a part, all of them
    fc_taps *taps
    int64_t *factor           # where the weights of each begin, from the first of their channel
    int count


# ---- a task --------------------------------------------------------------------------------------------


cdef void find_place(const DepthwiseCall *call, int64_t index, Place *place) noexcept nogil:
    cdef int64_t vectors = divide_up(call.groups, call.lanes), runs = divide_up(call.groups, call.task_groups)
    place.group, place.groups = 0, 1
    if call.lanes > 1:        # vectors of channels that lie side by side are taken one after the other
        place.group = index % vectors * call.lanes
        index //= vectors
    place.column = index % call.column_blocks * call.columns
    index //= call.column_blocks
    place.row = index % call.row_blocks * call.rows
    index //= call.row_blocks
    place.row_class = index % call.classes
    index //= call.classes
    place.od = index % call.count[0]
    index //= call.count[0]
    if call.lanes == 1:
        place.group = index % runs * call.task_groups
        place.groups = min(call.task_groups, call.groups - place.group)
        index //= runs
    place.n = index
    place.lanes = min(call.lanes, call.groups - place.group) if call.lanes > 1 else 0
    place.rows, place.columns = call.rows, call.columns


cdef void gather_plane(const DepthwiseCall *call, const Part *p, const Place *place, const char *plane, int64_t y,
                       int64_t low, int64_t high, char *to) noexcept nogil:
    """Source rows y, y + delta, ...: those from `low` to `high`, which exist."""
    cdef fc_gather g
    g.first, g.step, g.extent = p.left + place.column * p.x[0].step, p.x[0].step, p.x[0].extent
    g.y_stride, g.x_stride, g.lane_stride = p.y.delta * call.stride[3], call.stride[4], call.stride[1]
    g.count = call.places - (call.columns - place.columns if place.lanes else 0)
    g.run, g.row, g.channels = call.run, call.row, <int>place.lanes
    g.spread, g.copy = <int>call.together, p.z.taps * call.plane
    call.kernel.depthwise.gather(to + low * call.row * call.itemsize,
                                 plane + (y + low * p.y.delta) * call.stride[3] * call.itemsize, high - low, &g)


cdef void clear_padding(const DepthwiseCall *call, const Part *p, const Place *place, int64_t low, int64_t high,
                        char *to) noexcept nogil:
    """Zeros for the gathered rows outside [low, high), of all planes."""
    cdef int64_t row = call.row * call.itemsize, rows = (place.rows - 1) * p.row_step + p.y.taps, plane
    for plane in range(p.z.taps * call.depth):
        memset(to, 0, low * row)
        memset(to + high * row, 0, (rows - high) * row)
        to += call.plane * call.itemsize


cdef void add_taps(const Part *p, const Windows *windows, int phase, int64_t plane, int64_t kernel_row, int rows,
                   int64_t first, int64_t columns, Taps *to, int64_t *used) noexcept nogil:
    """Taps [first, first + columns) of a few kernel rows; `plane` is where the weights of their plane begin."""
    cdef fc_taps *taps = to.taps + to.count
    taps.source, taps.row = kernel_row * (windows.vector_step if p.line else windows.row), kernel_row
    taps.weight, taps.offset, taps.columns, taps.rows = used[0], windows.offset[phase] + first, columns, rows
    to.factor[to.count] = plane + kernel_row * p.weight_row + first * p.weight_column[phase]
    to.count += 1
    used[0] += rows * columns


cdef void lay_out_taps(const DepthwiseCall *call, const Part *p, const Place *place, const Windows *windows, int phase,
                       int64_t low, int64_t high, Taps *to, int64_t *used) noexcept nogil:
    """The sum of each output, as far as it meets source rows [low, high)."""
    cdef const int64_t *stride = &call.weight_stride[0]
    cdef int64_t total = divide_up(p.x[phase].taps, p.period) if p.line else p.y.taps
    cdef int64_t columns = p.period if p.line else p.x[phase].taps
    cdef int64_t last = p.x[phase].taps - (total - 1) * p.period if p.line else columns
    cdef int64_t depth, kd, z, chunk, k, k_rows, factor
    cdef int begin
    for depth in range(call.depth):
        for kd in range(p.z.taps):
            z = place.od * p.z.step + p.z.first + kd * p.z.delta
            if z < 0 or z >= p.z.extent:
                continue
            factor = (depth * call.depth_weight + (p.z.kernel_begin + kd * p.z.kernel_step) * stride[2]
                      + p.y.kernel_begin * stride[3] + p.x[phase].kernel_begin * stride[4])
            for chunk in range(divide_up(total, FC_KERNEL_ROWS)):
                k = chunk * FC_KERNEL_ROWS
                k_rows = min(<int64_t>FC_KERNEL_ROWS, total - k)
                begin = to.count
                if k + k_rows < total or last == columns:
                    add_taps(p, windows, phase, factor, k, <int>k_rows, 0, columns, to, used)
                else:         # the last kernel row of a line has fewer taps
                    add_taps(p, windows, phase, factor, k, <int>k_rows, 0, last, to, used)
                    if k_rows > 1:
                        add_taps(p, windows, phase, factor, k, <int>k_rows - 1, last, columns - last, to, used)
                if not p.line and (k + k_rows - 1 + (place.rows - 1) * p.row_step < low or k >= high):
                    to.count = begin
                while begin < to.count:
                    to.taps[begin].source += (depth * p.z.taps + kd) * windows.plane
                    begin += 1


cdef void take_weights(const DepthwiseCall *call, const Part *p, const Place *place, const Taps *laid,
                       const fc_depthwise *d, int64_t channel_weight, char *weights) noexcept nogil:
    """The weights of one channel, or of a vector of them, as the taps want them."""
    cdef const fc_kernels *kernel = call.kernel
    cdef const fc_taps *taps
    cdef int phase, i
    for phase in range(p.phases):
        for i in range(d.tap_count[phase]):
            taps = d.taps[phase] + i
            kernel.depthwise.weights(weights + taps.weight * kernel.lanes * call.itemsize,
                                     call.weight + (channel_weight + laid.factor[taps - laid.taps]) * call.itemsize,
                                     taps.rows, taps.columns, p.weight_row, p.weight_column[phase], call.group_weight,
                                     call.channel_weight, <int>call.together, <int>place.lanes)


cdef void find_in_place(const DepthwiseCall *call, const Part *p, const Place *place, int64_t group,
                        Windows *windows) noexcept nogil:
    """The source itself: every tap must exist, or is masked."""
    windows.data = call.source + (
        place.n * call.stride[0] + group * call.depth * call.stride[1]
        + (place.od * p.z.step + p.z.first) * call.stride[2]
        + ((place.row_class + place.row * p.classes) * p.y.step + p.y.first) * call.stride[3]
        + (p.left + place.column * p.x[0].step) * call.stride[4]) * call.itemsize
    windows.row, windows.plane = p.y.delta * call.stride[3], p.z.delta * call.stride[2]
    windows.vector_step, windows.offset[0] = p.x[0].step * call.stride[4], p.in_place


cdef void gather(const DepthwiseCall *call, const Part *p, const Place *place, int64_t group, int64_t low, int64_t high,
                 char *to) noexcept nogil:
    """The source in scratch memory; of the rows that taps meet, [low, high) exist."""
    cdef int64_t y = (place.row_class + place.row * p.classes) * p.y.step + p.y.first
    cdef int64_t depth, kd, z
    cdef const char *source = call.source + (
        place.n * call.stride[0] + group // call.together * call.depth * call.stride[1]) * call.itemsize
    for depth in range(1 if call.together > 1 else call.depth):
        for kd in range(p.z.taps):
            z = place.od * p.z.step + p.z.first + kd * p.z.delta
            if 0 <= z < p.z.extent and low < high:
                gather_plane(call, p, place, source + (depth * call.stride[1] + z * call.stride[2]) * call.itemsize, y,
                             low, high, to)
            to += call.plane * call.itemsize


cdef void find_gathered(const DepthwiseCall *call, const Part *p, char *data, Windows *windows) noexcept nogil:
    cdef int phase
    windows.data, windows.row, windows.plane, windows.vector_step = data, call.row, call.plane, call.kernel.lanes
    for phase in range(p.phases):
        windows.offset[phase] = p.offset[phase]


cdef void compute_rectangle(const DepthwiseCall *call, const Part *p, const Place *place, bint in_place,
                            bint weights_wanted, char *scratch) noexcept nogil:
    """Some rows and columns of the outputs of one part; the weights in `scratch` may be those of a call before."""
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, vector = kernel.lanes * item, columns = place.columns
    cdef int64_t oh = place.row_class + place.row * p.classes, y = oh * p.y.step + p.y.first
    cdef int64_t met = (place.rows - 1) * p.row_step + p.y.taps
    cdef int64_t low = min(met, 0 if y >= 0 else divide_up(-y, p.y.delta))
    cdef int64_t high = max(low, min(met, 0 if y >= p.y.extent else divide_up(p.y.extent - y, p.y.delta)))
    cdef char *weights = scratch + vector
    cdef char *gathered = weights + call.weights * vector
    cdef int64_t room = call.planes * call.plane * item
    cdef int64_t i, channel, group, weight, used, out_step = p.out_step[2], x = p.left + place.column * p.x[0].step
    cdef int phase
    cdef Windows windows
    cdef fc_depthwise d
    cdef Taps laid
    cdef char *out
    if place.rows <= 0 or columns <= 0:
        return
    if in_place:
        find_in_place(call, p, place, place.group, &windows)
    else:
        find_gathered(call, p, gathered, &windows)
    memset(&d, 0, sizeof(d))
    d.weights, d.bias, d.phases, d.line, d.channels = weights, scratch, p.phases, p.line, <int>place.lanes
    d.kernel_row_step, d.row_step, d.vector_step = windows.row, windows.row * p.row_step, windows.vector_step
    if p.phases == 2:
        out_step = 1
        columns = min(columns, p.x[1].count - place.column) + columns
    d.lane_step = call.out_stride[1] if place.lanes else out_step * call.out_stride[4]
    d.out_vector_step = out_step * call.out_stride[4] * (1 if place.lanes else kernel.lanes)
    d.out_row_step = p.classes * p.out_step[1] * call.out_stride[3]
    if p.unpadded:
        if low > 0 or high < met:
            memset(gathered, 0, (call.row + kernel.lanes) * item)
        d.zeros, d.x, d.width = gathered + min(<int64_t>0, x) * item, x, p.x[0].extent
        d.low, d.high = low, high
    d.finish.activation, d.finish.slope = call.activation, call.slope
    laid.taps = <fc_taps *>(gathered + call.buffers * room + vector)
    laid.factor = <int64_t *>(laid.taps + call.taps)
    laid.count, used = 0, 0
    for phase in range(p.phases):
        d.taps[phase], d.tap_count[phase] = laid.taps + laid.count, -laid.count
        lay_out_taps(call, p, place, &windows, phase, low, high, &laid, &used)
        d.tap_count[phase] += laid.count
    out = call.out + (place.n * call.out_stride[0] + (p.begin[0] + place.od * p.out_step[0]) * call.out_stride[2]
                      + (p.begin[1] + oh * p.out_step[1]) * call.out_stride[3]
                      + (p.begin[2] + place.column * p.out_step[2]) * call.out_stride[4]) * item
    for i in range(0 if in_place else call.buffers):
        clear_padding(call, p, place, low, high, gathered + i * room)
    for i in range(place.groups):
        group = place.group + i
        if in_place:
            find_in_place(call, p, place, group, &windows)
        else:  # the next one is gathered first, so that its loads are far behind its stores
            if i == 0:
                gather(call, p, place, group, low, high, gathered)
            if i + 1 < place.groups:
                gather(call, p, place, group + 1, low, high, gathered + (i + 1) % 2 * room)
            windows.data = gathered + i % 2 * room
        for channel in range(group * call.channels, (group + 1) * call.channels):
            if weights_wanted:
                weight = group // call.together * call.group_weight + (
                    channel - group * call.channels) * call.channel_weight
                take_weights(call, p, place, &laid, &d, weight, weights)
            if call.bias == NULL:
                kernel.copy.clear(scratch, kernel.lanes, kernel.lanes, 1)
            else:
                kernel.depthwise.weights(scratch, call.bias + channel * item, 1, 1, 0, 0, 1, 0, 1, <int>place.lanes)
            kernel.depthwise.tile(out + channel * call.out_stride[1] * item, windows.data, place.rows, columns, &d)


cdef Place part_of(const Place *place, int64_t row, int64_t rows, int64_t column, int64_t columns) noexcept nogil:
    cdef Place part = place[0]
    part.row, part.rows, part.column, part.columns = place.row + row, rows, place.column + column, columns
    return part


cdef void compute_part(const DepthwiseCall *call, const Part *p, const Place *block, char *scratch) noexcept nogil:
    """The outputs of one part in a block; in place are those whose windows exist as a whole."""
    cdef const Axis *x = &p.x[0]
    cdef Place place = block[0], some
    cdef int64_t y, left, top, bottom, first, end
    place.rows = min(place.rows, divide_up(p.y.count - place.row_class, p.classes) - place.row)
    place.columns = min(place.columns, x.count - place.column)
    if place.rows <= 0 or place.columns <= 0 or place.od >= p.z.count:
        return
    if p.unpadded:
        compute_rectangle(call, p, &place, True, True, scratch)
        return
    y = (place.row_class + place.row * p.classes) * p.y.step + p.y.first
    left = x.first + place.column * x.step
    top = 0 if y >= 0 else divide_up(-y, p.row_step * p.y.delta)
    bottom = p.y.extent - 1 - (p.y.taps - 1) * p.y.delta - y
    bottom = min(place.rows, 0 if bottom < 0 else bottom // (p.row_step * p.y.delta) + 1)
    first = 0 if left >= 0 else divide_up(-left, x.step)
    end = x.extent - 1 - (x.taps - 1) * x.delta - left
    end = min(place.columns, 0 if end < 0 else end // x.step + 1)
    if (p.in_place == NULL or place.lanes < call.lanes or bottom <= top or end <= first
            or p.y.taps * x.taps > MOST_TAPS_IN_PLACE or (bottom - top) * (end - first) < FEWEST_IN_PLACE * (2 if p.line else 1)
            or (p.line and end - first < call.kernel.depthwise.max_rows * call.kernel.depthwise.max_vectors)):
        compute_rectangle(call, p, &place, False, True, scratch)
        return
    some = part_of(&place, top, bottom - top, first, end - first)
    compute_rectangle(call, p, &some, True, True, scratch)
    some = part_of(&place, 0, top, 0, place.columns)
    compute_rectangle(call, p, &some, False, False, scratch)
    some = part_of(&place, bottom, place.rows - bottom, 0, place.columns)
    compute_rectangle(call, p, &some, False, False, scratch)
    some = part_of(&place, top, bottom - top, 0, first)
    compute_rectangle(call, p, &some, False, False, scratch)
    some = part_of(&place, top, bottom - top, end, place.columns - end)
    compute_rectangle(call, p, &some, False, False, scratch)


cdef void block_task(void *context, int64_t index) noexcept nogil:
    cdef DepthwiseCall *call = <DepthwiseCall *>context
    cdef Place place
    cdef int64_t i
    cdef char *scratch = <char *>task_scratch(call.scratch_bytes)
    if scratch == NULL:
        call.out_of_memory = True
        return
    find_place(call, index, &place)
    for i in range(call.part_count):
        compute_part(call, &call.parts[i], &place, scratch)


# ---- the plan ------------------------------------------------------------------------------------------


def serves(geometry):
    """Whether every group has one input channel, or 2 or 4 and as many outputs, and the smallest block fits the
    workspace."""
    depth = geometry.out_channels // geometry.groups
    if geometry.groups != geometry.in_channels and not (
            geometry.groups > 1 and geometry.in_channels == geometry.out_channels and depth in SMALL_GROUPS):
        return False
    taps = geometry.kernel[0] * geometry.kernel[1] * depth
    reach = (geometry.kernel[2] - 1) * geometry.dilation[2]
    rows = (BLOCK_ROWS * geometry.stride[1] + geometry.kernel[1]) * geometry.kernel[0] * depth
    # elements of 8 bytes, vectors of 64
    return (geometry.stride[2] <= MOST_STRIDE and taps * geometry.kernel[2] * 64 <= MOST_BYTES
            and rows * (reach + geometry.stride[2] * 256) * 8 <= MOST_BYTES)


cdef class DepthwisePlan(Subconvolutions):
    """One geometry of depthwise or small groups, in one direction; raises ValueError for any other."""

    cdef int64_t offsets        # taps along W, over all sub-convolutions
    cdef bint parities_of_rows  # the sub-convolutions come in pairs whose columns alternate
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction):
        cdef int64_t i
        if not serves(geometry):
            raise ValueError(
                f"algorithm='depthwise': needs groups of one input channel, or of 2 or 4 and as many outputs, not "
                f"{geometry.groups} groups of {geometry.in_channels} and {geometry.out_channels} channels; strides along rows of at most {MOST_STRIDE}; and taps, and padded rows under "
                f"one kernel, of at most {MOST_BYTES} bytes")
        for i in range(self.count):
            self.offsets += self.dense[i].window.taps[2]
        # rows are copied and written besides: a few operations per element more than the arithmetic
        self.work += 20.0 * self.out_elements
        self.parities_of_rows = self.count > 1 and geometry.stride[2] == 2 and (
            self.dense[0].begin[2] == 0 and self.dense[1].begin[2] == 1)

    cdef int run_views(self, const ConvCall *what) except -1 nogil:
        cdef const View *source = what.source
        cdef const View *out = what.out
        cdef DepthwiseCall call
        cdef Dense joined
        cdef const Dense *dense = self.dense
        cdef int axis
        cdef size_t held
        cdef void *memory = NULL
        cdef bint channels_last = source.stride[1] == 1 and source.stride[4] != 1 and source.size[1] > 1
        if self.leaves_gaps:
            fill(out, what.bias)
        if self.count == 0 or self.out_elements == 0:
            return 0
        call.source, call.weight, call.out = source.data, what.factor.data, out.data
        call.bias, call.activation, call.slope, call.out_of_memory = what.bias, what.activation, what.slope, False
        for axis in range(5):
            call.stride[axis], call.out_stride[axis] = source.stride[axis], out.stride[axis]
            call.weight_stride[axis] = what.factor.stride[axis]
        if self.count == 1:
            joined, dense = self.dense[0], &joined
            joined.window.stride = call.stride
            join_rows(&joined.window, call.out_stride)
        memory = take_scratch(self.count * sizeof(Part) + 2 * self.offsets * sizeof(int64_t), &held)
        try:
            self.lay_out(&call, dense, kernels(source.dtype), channels_last, <Part *>memory)
            parallel(block_task, &call, self.tasks(&call), self.work)
        finally:
            give_scratch(memory, held)
        if call.out_of_memory:
            return out_of_memory(b"convolution workspace", 0)
        return 0

    cdef void lay_out(self, DepthwiseCall *call, const Dense *d, const fc_kernels *kernel, bint channels_last,
                      Part *parts) noexcept nogil:
        """Parts and blocks of a call; `parts` has room for as many as there are sub-convolutions, then the offsets."""
        cdef int64_t i = 0, phase, row_delta = rows_between_taps(d, self.count)
        cdef int phases
        cdef int64_t *offset = <int64_t *>(parts + self.count)
        call.kernel, call.itemsize, call.parts, call.part_count = kernel, kernel.item, parts, 0
        call.n, call.groups, call.channels, call.depth = d.n, d.groups, d.channels, d.depth
        call.group_weight = (d.channels if self.forward else d.depth) * call.weight_stride[0]
        call.channel_weight, call.depth_weight = call.weight_stride[0], call.weight_stride[1]
        if not self.forward:
            call.channel_weight, call.depth_weight = call.depth_weight, call.channel_weight
        # lanes are channels if those are adjacent, and whole groups of as many channels as outputs
        channels_last = channels_last and d.channels == d.depth and d.channels <= call.kernel.lanes
        call.lanes, call.together = 1, 1
        if channels_last:
            call.lanes, call.together = call.kernel.lanes, d.channels
            call.groups, call.channels = d.groups * d.channels, 1
        phases = 2 if self.parities_of_rows and not channels_last and call.out_stride[4] == 1 else 1
        while i < self.count:
            describe_part(&parts[call.part_count], d + i, phases, row_delta,
                          1 if channels_last else call.kernel.lanes)
            for phase in range(phases):
                parts[call.part_count].offset[phase] = offset
                offset += d[i + phase].window.taps[2]
            parts[call.part_count].in_place = NULL
            parts[call.part_count].unpadded = not channels_last and self.masked(call, &parts[call.part_count])
            if parts[call.part_count].unpadded or channels_last and call.together == 1:
                parts[call.part_count].in_place = offset
                offset += d[i].window.taps[2]
            call.part_count += 1
            i += phases
        lay_out_blocks(call)
        for i in range(call.part_count):
            fill_offsets(call, &parts[i])
            for phase in range(phases):
                parts[i].weight_column[phase] = parts[i].x[phase].kernel_step * call.weight_stride[4]
            parts[i].weight_row = (parts[i].period * parts[i].weight_column[0] if parts[i].line
                                   else parts[i].y.kernel_step * call.weight_stride[3])

    cdef bint masked(self, const DepthwiseCall *call, const Part *p) noexcept nogil:
        """Whether tiles can take the source where it lies, and masks for its padding."""
        return (call.stride[4] == 1 and p.phases == 1 and not p.line and p.z.taps * call.depth == 1
                and p.row_step == p.x[0].step == 2 and p.x[0].taps <= call.kernel.depthwise.in_place)

    cdef int64_t tasks(self, const DepthwiseCall *call) noexcept nogil:
        return (call.n * divide_up(call.groups, call.lanes if call.lanes > 1 else call.task_groups) * call.count[0]
                * call.classes * call.row_blocks * call.column_blocks)

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef DepthwiseCall call
        cdef size_t held
        cdef void *memory = take_scratch(self.count * sizeof(Part) + 2 * self.offsets * sizeof(int64_t), &held)
        memset(&call, 0, sizeof(call))
        call.out_stride[4] = 1
        self.lay_out(&call, self.dense, kernels(dtype_number(dtype)), channels_last, <Part *>memory)
        give_scratch(memory, held)
        tasks = self.tasks(&call)
        return {
            "algorithm": "depthwise",
            "way": "pixels as lanes" if call.lanes == 1 else "channels as lanes",
            "isa": call.kernel.isa.decode(),
            "tile": (call.kernel.depthwise.max_rows, call.kernel.depthwise.max_vectors * call.kernel.lanes),
            "threads": min(worker_threads(self.work), tasks),
            "tasks": tasks,
            "packed_weight_bytes": 0,
            "workspace_bytes": call.scratch_bytes,
        }
