"""Pooling axis by axis with running maxima and sums: the cost of an output does not depend on its window.

A call is cut into *boxes* of outputs, a few planes deep. Within a box the windows of every row are taken first, then
those of the columns of what that gave, then those of the planes. For maxima that is scan order: along a row the first
column stays, among rows the first row. Sums add up the same elements in the same order wherever a box begins (see
tile/pool_running.h), so that boxes and threads, memory order and batch leave no trace in the bits.

Lanes are pixels of a row, or channels where those are neighbours; where windows run along the row itself, several rows
lie side by side, and if there are few of them, stretches of one.

A dilated pooling is one plain pooling for each remainder of an output by what outputs on the same elements lie apart.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport (
    FC_FLOAT64,
    FC_COUNT_ELEMENTS, FC_COUNT_NONE, FC_COUNT_OUTPUTS, fc_ends, fc_kernels, fc_running, fc_running_row,
)
from fastconv._kernels.engine.fastconv_native cimport kernels, out_of_memory, parallel, task_scratch, worker_threads
from fastconv._kernels.pool.walk cimport MAXIMUM, SPREAD, TOTAL, Pool

cdef double MOST_PLACES = 2.0**31   # of a plane, that lanes of float32 can tell apart

cdef enum:
    MOST_LANES = 16        # of a vector, on any instruction set
    GROUP_VECTORS = 4      # that the tile takes side by side

# Cuts move no bit. A box begins anew with all windows over its edge, so that it wants to be long beside them.
cdef int64_t BOX_BYTES = 1 << 20       # of what the boxes keep between axes, while they are longer than ...
cdef double LEAST_WINDOWS = 4          # ... so many windows; ...
cdef double TASK_WINDOWS = 8           # ... for the sake of more tasks they stay longer than this
cdef int64_t LEAST_WIDTH = 64          # neighbours of a row, which fill vectors and lines of cache
cdef int64_t BUNDLE_ELEMENTS = 1 << 14  # of small planes that share a box
cdef double LEAST_STRETCH = 2          # windows
cdef int64_t FEW_LANES = 2             # rows: not worth turning
cdef int64_t NO_END = <int64_t>1 << 62

# Work in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double ELEMENT_FLOPS = 100        # of one axis


cdef struct Stage:            # windows along one axis; of one class, if dilated
    fc_ends windows
    fc_ends counts
    int64_t block
    int64_t elements, outputs
    int64_t source_first, source_step   # where element k lies along the axis: source_first + k * source_step
    int64_t target_first, target_step
    bint idle                 # every window is the element itself


cdef struct Run:
    const RunningCall *call
    const fc_kernels *kernel
    int64_t item
    bint with_places
    int64_t place_unit[3]     # what a step along an axis adds to a flat place
    int64_t classes[3]        # sub-poolings of dilated windows, and ...
    int64_t size[3]           # ... outputs of the largest of them
    int64_t box[3]            # outputs of a box
    int64_t boxes[3]
    int64_t planes, plane_boxes, box_planes   # a plane is an image, if channels are lanes
    int64_t channels, channel_boxes, box_channels
    int first, last           # axes that are run; the first of them is the last one in memory
    int64_t stretch           # outputs of a row that a lane takes; see `set_stretch`
    bint single               # a row is a lane of its own, not turned
    int64_t count             # of boxes
    int64_t between_bytes[2]  # of what is kept after the first and the second axis, without places
    int64_t stage_bytes
    int64_t scratch_bytes
    bint out_of_memory


cdef struct Box:
    Stage stage[3]
    int64_t plane, planes, channel, channels
    int64_t begin[3]          # outputs
    int64_t end[3]
    int64_t low[3]            # elements under them
    int64_t high[3]


cdef struct Volume:           # one array as a stage sees it, in the numbers of the class
    char *data                # number 0 of all axes, of plane 0 of all, or of the box
    char *places
    int64_t *indices
    int64_t stride[5]
    int64_t index_stride[5]
    bint of_box
    bint totals
    int64_t item


# ---- axes --------------------------------------------------------------------------------------------


cdef inline int64_t floor_quotient(int64_t a, int64_t b) noexcept nogil:
    return a // b - (a % b < 0)


cdef inline int64_t common_divisor(int64_t a, int64_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef inline int64_t low_end(const fc_ends *ends, int64_t j) noexcept nogil:
    return min(ends.last, max(ends.first, floor_quotient(j * ends.step + ends.low, ends.per)))


cdef inline int64_t high_end(const fc_ends *ends, int64_t j) noexcept nogil:
    return min(ends.last, max(ends.first, floor_quotient(j * ends.step + ends.high, ends.per)))


cdef inline bint idle(const Pool *pool, int axis) noexcept nogil:
    """Whether every window is the element at its own place."""
    if pool.input_size[axis] != pool.output_size[axis]:
        return False
    return pool.adaptive or (pool.kernel[axis] == 1 and pool.before[axis] == 0 and (
        pool.stride[axis] == 1 or pool.output_size[axis] == 1))


cdef inline int64_t class_count(const Pool *pool, int axis) noexcept nogil:
    """Outputs that lie so many apart share elements; the others do not."""
    cdef int64_t dilation = pool.dilation[axis]
    if pool.adaptive or pool.kernel[axis] == 1 or dilation == 1:
        return 1
    return min(dilation // common_divisor(pool.stride[axis], dilation), pool.output_size[axis])


cdef void set_forward(const RunningCall *call, int axis, int64_t number, Stage *stage) noexcept nogil:
    """The elements of an output: class `number` of `class_count`."""
    cdef const Pool *pool = call.pool
    cdef int64_t extent = pool.input_size[axis], apart = class_count(pool, axis), dilation, start, rest
    cdef bint padded = call.count_padding and not pool.adaptive
    stage.target_first, stage.target_step = number, apart
    stage.outputs = divide_up(pool.output_size[axis] - number, apart)
    if pool.adaptive:
        stage.windows.step, stage.windows.per = extent, pool.output_size[axis]
        stage.windows.low, stage.windows.high = 0, extent + pool.output_size[axis] - 1
        stage.source_first, stage.source_step, stage.elements = 0, 1, extent
    else:
        dilation = pool.dilation[axis] if pool.kernel[axis] > 1 else 1
        start = number * pool.stride[axis] - pool.before[axis]
        rest = start - floor_quotient(start, dilation) * dilation
        stage.source_first, stage.source_step = rest, dilation
        stage.elements = divide_up(extent - rest, dilation) if extent > rest else 0
        stage.windows.step, stage.windows.per = pool.stride[axis] * apart // dilation, 1
        if apart * pool.stride[axis] % dilation:    # a single output of its class
            stage.windows.step = 0
        stage.windows.low = (start - rest) // dilation
        stage.windows.high = stage.windows.low + pool.kernel[axis]
    stage.windows.first, stage.windows.last = 0, stage.elements
    stage.counts = stage.windows
    if padded:
        stage.counts.first, stage.counts.last = -pool.before[axis], extent + pool.after[axis]


cdef void set_backward(const RunningCall *call, int axis, Stage *stage) noexcept nogil:
    """The outputs over an element, which change places with the elements of an output."""
    cdef const Pool *pool = call.pool
    cdef int64_t outputs = pool.output_size[axis], extent = pool.input_size[axis]
    set_forward(call, axis, 0, stage)              # for its counts
    stage.elements, stage.outputs = outputs, extent
    if pool.adaptive:
        stage.windows.step, stage.windows.per = outputs, extent
        stage.windows.low, stage.windows.high = 0, outputs + extent - 1
    else:
        stage.windows.step, stage.windows.per = 1, pool.stride[axis]
        stage.windows.high = pool.before[axis] + pool.stride[axis]
        stage.windows.low = stage.windows.high - pool.kernel[axis]
    stage.windows.first, stage.windows.last = 0, outputs


cdef void set_stage(const RunningCall *call, int axis, int64_t number, Stage *stage) noexcept nogil:
    cdef const Pool *pool = call.pool
    if call.operation == SPREAD:
        set_backward(call, axis, stage)
    else:
        set_forward(call, axis, number, stage)
    stage.block = max(<int64_t>1, (stage.windows.high - stage.windows.low) // stage.windows.per)
    stage.idle = idle(pool, axis)


cdef inline double overlap(const Stage *stage) noexcept nogil:
    """Outputs along a window: what a box computes again at its edge."""
    if stage.idle:
        return 1
    return max(1.0, min(<double>stage.block, <double>stage.elements) * stage.windows.per / max(
        <int64_t>1, stage.windows.step))


cdef inline int64_t under(const Stage *stage, int64_t outputs) noexcept nogil:
    """The most elements under so many neighbouring outputs."""
    if stage.idle:
        return outputs
    return min(stage.elements, (outputs - 1) * stage.windows.step // stage.windows.per + min(
        stage.elements, stage.block + 1) + 1)


# ---- how a call is cut -------------------------------------------------------------------------------


cdef inline int64_t state_bytes(const Run *run) noexcept nogil:
    """Of one lane between axes."""
    return 8 if run.call.operation != MAXIMUM else run.item * (1 + run.with_places)


cdef inline int64_t pitch(const Run *run) noexcept nogil:
    """Lanes from row to row of what is kept: an odd number of vectors, which do not all fall into one set of a cache."""
    cdef int64_t vectors = divide_up(run.box[2] * run.box_channels, run.kernel.lanes)
    return (vectors + 2 - vectors % 2) * run.kernel.lanes


cdef inline bint turned(const Run *run) noexcept nogil:
    """Whether rows are turned into lanes for windows along them."""
    return run.first == 2 and not run.call.channels_last


cdef void set_stretch(Run *run, const Stage *stage) noexcept nogil:
    """Rows too few to fill a vector are taken in stretches, in which pivots lie alike, long beside their windows."""
    cdef const Stage *width = &stage[2]
    cdef int64_t outputs = run.box[2], per_block = width.windows.per * width.block, unit, rows, most
    rows = run.box_planes * under(&stage[0], run.box[0]) * under(&stage[1], run.box[1])
    most = run.kernel.lanes // rows
    run.stretch, run.single = outputs, False
    if most > 1 and overlap(width) <= outputs:
        unit = per_block // common_divisor(max(<int64_t>1, width.windows.step), per_block)
        run.stretch = divide_up(max(divide_up(outputs, most), <int64_t>(LEAST_STRETCH * overlap(width))), unit) * unit
        run.stretch = min(outputs, run.stretch)
    run.single = rows * divide_up(outputs, run.stretch) <= FEW_LANES


cdef void measure(Run *run, const Stage *stage) noexcept nogil:
    """Scratch of a box: what is kept after the first axis, after the second, and what the tile wants."""
    cdef int64_t lanes = run.kernel.lanes, group = GROUP_VECTORS * lanes, bytes, elements
    cdef int64_t rows = run.box_planes, state = state_bytes(run)
    cdef int axis
    if turned(run):
        set_stretch(run, stage)
    run.between_bytes[0] = run.between_bytes[1] = 0
    run.stage_bytes = 0
    for axis in range(run.last, run.first + 1):
        if not stage[axis].idle and not (axis == 2 and turned(run)):
            run.stage_bytes = max(run.stage_bytes, min(stage[axis].block, stage[axis].elements) * group * state)
    if run.first != run.last:
        run.between_bytes[0] = (rows * under(&stage[0], run.box[0]) * (
            under(&stage[1], run.box[1]) if run.first == 2 else run.box[1]) * pitch(run) + group) * state
        if run.first == 2 and run.last == 0 and not stage[1].idle:
            run.between_bytes[1] = (rows * under(&stage[0], run.box[0]) * run.box[1] * pitch(run) + group) * state
    if turned(run):
        bytes = min(stage[2].block, stage[2].elements) * state
        if not run.single:
            elements = under(&stage[2], run.stretch)
            if run.stretch < run.box[2]:
                elements = (run.stretch - 1) * stage[2].windows.step // stage[2].windows.per + stage[2].block + 2
            bytes = (bytes + elements * run.item + (run.stretch + 2 * lanes) * state) * lanes
        run.stage_bytes = max(run.stage_bytes, bytes)
    run.stage_bytes = (run.stage_bytes + 127) // 64 * 64
    for axis in range(2):
        run.between_bytes[axis] = (run.between_bytes[axis] + 63) // 64 * 64
    run.scratch_bytes = run.stage_bytes + run.between_bytes[0] + run.between_bytes[1]


cdef void count_boxes(Run *run) noexcept nogil:
    cdef int axis
    run.plane_boxes = divide_up(run.planes, run.box_planes)
    run.channel_boxes = divide_up(run.channels, run.box_channels)
    run.count = run.plane_boxes * run.channel_boxes
    for axis in range(3):
        run.boxes[axis] = divide_up(run.size[axis], run.box[axis])
        run.count *= run.classes[axis] * run.boxes[axis]


cdef bint halve(Run *run, const Stage *stage, double least) noexcept nogil:
    """Halve the box along the axis where that costs least; False if it costs too much along all."""
    cdef int axis, best = -1
    cdef double windows, most = least
    if run.box_planes > 1:
        run.box_planes = divide_up(run.box_planes, 2)
        return True
    if run.channels > 1 and run.box_channels > LEAST_WIDTH:
        run.box_channels = max(LEAST_WIDTH, divide_up(run.box_channels, 2 * LEAST_WIDTH) * LEAST_WIDTH)
        return True
    for axis in range(3):
        windows = overlap(&stage[axis])
        if axis == 2:
            windows = max(windows, 2 * LEAST_WIDTH / least / run.box_channels)
            if turned(run):   # enough stretches to fill a vector
                windows = max(windows, 2 * LEAST_STRETCH / least * overlap(&stage[2]) * run.kernel.lanes / (
                    <double>run.box_planes * run.box[0] * run.box[1]))
        windows = run.box[axis] / windows
        if run.box[axis] > 1 and windows >= most:
            most, best = windows, axis
    if best < 0:
        return False
    run.box[best] = divide_up(run.box[best], 2)
    return True


cdef void cut(Run *run, const Stage *stage, double flops) noexcept nogil:
    """Boxes small enough for the cache, and enough of them for all threads, as long as that repeats little."""
    cdef int axis
    cdef int64_t threads = worker_threads(flops), elements = 1, wanted
    run.planes = run.call.pool.n * (1 if run.call.channels_last else run.call.pool.channels)
    run.channels = run.box_channels = run.call.pool.channels if run.call.channels_last else 1
    run.box_planes = 1
    for axis in range(3):
        run.box[axis] = run.size[axis]
        elements *= run.size[axis]
    if not run.call.channels_last:
        run.box_planes = min(run.planes, max(<int64_t>1, BUNDLE_ELEMENTS // elements))
        if turned(run):   # rows of several planes fill a vector
            run.box_planes = min(run.planes, max(run.box_planes, run.kernel.lanes // max(
                <int64_t>1, run.size[0] * run.size[1])))
    measure(run, stage)
    while run.scratch_bytes > BOX_BYTES and halve(run, stage, LEAST_WINDOWS):
        measure(run, stage)
    count_boxes(run)
    wanted = 4 * threads if threads > 1 else 1
    while run.count < wanted and halve(run, stage, TASK_WINDOWS):
        count_boxes(run)
    measure(run, stage)
    count_boxes(run)


# ---- a stage -----------------------------------------------------------------------------------------


cdef inline int64_t plane_offset(const Run *run, const Box *box, const int64_t *stride, bint of_box,
                                 int64_t plane) noexcept nogil:
    if of_box:
        return plane * stride[0]
    plane += box.plane
    if run.call.channels_last:
        return plane * stride[0] + box.channel * stride[1]
    return plane // run.call.pool.channels * stride[0] + plane % run.call.pool.channels * stride[1]


cdef inline void aim(const Run *run, const Box *box, const Volume *source, const Volume *target, int64_t plane,
                     const int64_t *from_place, const int64_t *to_place, fc_running *r) noexcept nogil:
    """Point at a place of the source (number 0 along the axis that is run) and of the target (its first output)."""
    cdef int64_t at = plane_offset(run, box, source.stride, source.of_box, plane)
    cdef int axis
    for axis in range(3):
        at += from_place[axis] * source.stride[2 + axis]
    r.source = source.data + at * source.item
    r.places = NULL if source.places == NULL else source.places + at * run.item
    at = plane_offset(run, box, target.stride, target.of_box, plane)
    for axis in range(3):
        at += to_place[axis] * target.stride[2 + axis]
    r.target = target.data + at * target.item
    r.target_places = NULL if target.places == NULL else target.places + at * run.item
    r.indices = NULL
    if target.indices != NULL:
        at = plane_offset(run, box, target.index_stride, False, plane)
        for axis in range(3):
            at += to_place[axis] * target.index_stride[2 + axis]
        r.indices = target.indices + at


cdef inline int64_t idle_place(const Run *run, const Box *box, int axis, const int64_t *place) noexcept nogil:
    """What axes that are not run add to the place of a maximum: once, along the first axis that is."""
    cdef int other
    cdef int64_t sum = 0
    if axis == run.first:
        for other in range(3):
            if box.stage[other].idle and other != axis:
                sum += place[other] * run.place_unit[other]
    return sum


cdef void prepare(const Run *run, const Box *box, int axis, const Volume *source, const Volume *target,
                  fc_running *r) noexcept nogil:
    cdef const Stage *stage = &box.stage[axis]
    cdef const RunningCall *call = run.call
    cdef bint divides = call.operation != MAXIMUM and call.norm == 0
    r.windows, r.counts, r.block = stage.windows, stage.counts, stage.block
    r.output, r.outputs = box.begin[axis], box.end[axis] - box.begin[axis]
    r.divisor = call.divisor
    r.counted = FC_COUNT_NONE
    if divides and (call.divisor == 0 or axis == run.first):
        r.counted = FC_COUNT_ELEMENTS if call.operation == SPREAD else FC_COUNT_OUTPUTS
    r.source_step, r.target_step = source.stride[2 + axis], target.stride[2 + axis]
    r.source_totals, r.target_totals = source.totals, target.totals
    r.index_step = target.index_stride[2 + axis]
    r.place_step = stage.source_step * run.place_unit[axis]
    r.place_lane_step = 0
    r.lane_places, r.shift = NULL, NULL


cdef void run_lanes(const Run *run, const Box *box, int axis, const Volume *source, const Volume *target,
                    void *scratch) noexcept nogil:
    """Windows along an axis that lanes do not lie along."""
    cdef bint along_row = axis == 2
    cdef int outer = 1 if axis == 0 else 0, inner = 1 if along_row else 2
    cdef int64_t first[3]
    cdef int64_t last[3]
    cdef int64_t from_place[3]
    cdef int64_t to_place[3]
    cdef int64_t plane, width, step = 1
    cdef int other
    cdef fc_running r
    prepare(run, box, axis, source, target, &r)
    r.scratch = scratch
    for other in range(3):    # axes further in have been run
        first[other] = box.begin[other] if other > axis else box.low[other]
        last[other] = box.end[other] if other > axis else box.high[other]
    width = last[2] - first[2]
    r.lanes = box.channels        # 1 if they are no lanes
    r.source_lane_step, r.target_lane_step, r.index_lane_step = source.stride[1], target.stride[1], target.index_stride[1]
    if box.channels == 1:
        r.source_lane_step = r.target_lane_step = r.index_lane_step = 1
    if not along_row and not run.call.channels_last:
        r.lanes, step = width, width
        r.source_lane_step, r.target_lane_step = source.stride[4], target.stride[4]
        r.index_lane_step = target.index_stride[4]
        if box.stage[2].idle and axis == run.first:
            r.place_lane_step = run.place_unit[2]
    elif not along_row and source.stride[4] == box.channels and target.stride[4] == box.channels and (
            not run.with_places or (not box.stage[2].idle and (
                target.indices == NULL or target.index_stride[4] == box.channels))):
        r.lanes, step = width * box.channels, width      # pixels and channels in one run
    for plane in range(box.planes):
        from_place[outer] = to_place[outer] = first[outer]
        while from_place[outer] < last[outer]:
            from_place[inner] = to_place[inner] = first[inner]
            while from_place[inner] < last[inner]:
                from_place[axis], to_place[axis] = 0, box.begin[axis]
                aim(run, box, source, target, plane, from_place, to_place, &r)
                r.first_place = box.stage[axis].source_first * run.place_unit[axis] + idle_place(
                    run, box, axis, from_place)
                if run.call.operation == MAXIMUM:
                    run.kernel.pool.running_max(&r)
                else:
                    run.kernel.pool.running_sum(&r)
                from_place[inner] += step
                to_place[inner] += step
            from_place[outer] += 1
            to_place[outer] += 1


cdef void run_rows(const Run *run, const Box *box, const Volume *source, const Volume *target,
                   void *scratch) noexcept nogil:
    """Windows along rows whose pixels are neighbours: as many rows side by side as a vector has lanes.

    Where a row is taken in stretches, windows that leave it find no elements instead of being cut short.
    """
    cdef const Stage *stage = &box.stage[2]
    cdef int64_t from_place[3]
    cdef int64_t to_place[3]
    cdef int64_t outputs = box.end[2] - box.begin[2], chunk = min(outputs, run.stretch)
    cdef int64_t rows, row, stretch, stretches = divide_up(outputs, chunk), shift
    cdef int64_t height = box.high[1] - box.low[1], depth = box.high[0] - box.low[0]
    cdef int count = 0
    cdef fc_running r
    cdef fc_running_row side[MOST_LANES]
    prepare(run, box, 2, source, target, &r)
    r.scratch, r.outputs = scratch, chunk
    r.source_lane_step = r.target_lane_step = r.index_lane_step = 1
    if stretches > 1:
        r.windows.first, r.windows.last = -NO_END, NO_END
    rows = box.planes * depth * height
    for row in range(rows):
        from_place[0] = to_place[0] = box.low[0] + row // height % depth
        from_place[1] = to_place[1] = box.low[1] + row % height
        for stretch in range(stretches):
            shift = stretch * chunk * stage.windows.step // stage.windows.per
            from_place[2], to_place[2] = shift, box.begin[2] + stretch * chunk
            aim(run, box, source, target, row // (height * depth), from_place, to_place, &r)
            side[count].source, side[count].target = r.source, r.target
            side[count].target_places = r.indices if r.indices != NULL else r.target_places
            side[count].low, side[count].high = -shift, stage.elements - shift
            side[count].outputs = min(chunk, outputs - stretch * chunk)
            side[count].place = (stage.source_first * run.place_unit[2] + idle_place(run, box, 2, from_place)
                                 + shift * r.place_step)
            side[count].shift = shift
            if r.counted == FC_COUNT_ELEMENTS:
                side[count].shift = shift * stage.counts.step // stage.counts.per
            count += 1
            if count == run.kernel.lanes or (row == rows - 1 and stretch == stretches - 1):
                if run.call.operation == MAXIMUM:
                    run.kernel.pool.running_max_rows(&r, side, count)
                else:
                    run.kernel.pool.running_sum_rows(&r, side, count)
                count = 0


# ---- boxes -------------------------------------------------------------------------------------------


cdef Volume outer_volume(const Run *run, const Box *box, const View *array, bint of_source) noexcept nogil:
    """An array of the caller, in the numbers of the box's classes."""
    cdef Volume volume
    cdef int axis
    cdef int64_t at = 0
    for axis in range(5):
        volume.stride[axis] = array.stride[axis]
        volume.index_stride[axis] = 0
    for axis in range(3):
        at += array.stride[2 + axis] * (
            box.stage[axis].source_first if of_source else box.stage[axis].target_first)
        volume.stride[2 + axis] *= box.stage[axis].source_step if of_source else box.stage[axis].target_step
    volume.item = run.item
    volume.data = array.data + at * run.item
    volume.places, volume.indices = NULL, NULL
    volume.of_box = volume.totals = False
    if not of_source and run.call.indices != NULL:
        at = 0
        for axis in range(5):
            volume.index_stride[axis] = run.call.indices.stride[axis]
        for axis in range(3):
            at += run.call.indices.stride[2 + axis] * box.stage[axis].target_first
            volume.index_stride[2 + axis] *= box.stage[axis].target_step
        volume.indices = <int64_t *>run.call.indices.data + at
    return volume


cdef Volume kept_volume(const Run *run, const Box *box, int axis, char *memory) noexcept nogil:
    """What a box keeps in scratch memory once windows along `axis` have been taken."""
    cdef Volume volume
    cdef int other
    cdef int64_t at = 0, size = 1
    volume.stride[1], volume.stride[4] = 1, box.channels
    volume.stride[3] = pitch(run)
    volume.stride[2] = volume.stride[3] * (box.end[1] - box.begin[1] if axis <= 1 else box.high[1] - box.low[1])
    volume.stride[0] = volume.stride[2] * (box.high[0] - box.low[0])
    for other in range(3):
        at += volume.stride[2 + other] * (box.begin[other] if other >= axis else box.low[other])
    for other in range(5):
        volume.index_stride[other] = 0
    size = box.planes * volume.stride[0]
    volume.totals = run.call.operation != MAXIMUM
    volume.item = 8 if volume.totals else run.item
    volume.data = memory - at * volume.item
    volume.places = memory + (size + run.kernel.lanes * GROUP_VECTORS - at) * run.item if run.with_places else NULL
    volume.indices = NULL
    volume.of_box = True
    return volume


cdef void locate(const Run *run, int64_t number, Box *box) noexcept nogil:
    """The box of a task."""
    cdef int axis
    cdef int64_t part, kind
    for axis in range(2, -1, -1):
        part = number % run.boxes[axis]
        number //= run.boxes[axis]
        kind = number % run.classes[axis]
        number //= run.classes[axis]
        set_stage(run.call, axis, kind, &box.stage[axis])
        box.begin[axis] = min(part * run.box[axis], box.stage[axis].outputs)
        box.end[axis] = min(box.begin[axis] + run.box[axis], box.stage[axis].outputs)
        box.low[axis], box.high[axis] = box.begin[axis], box.end[axis]
        if not box.stage[axis].idle and box.begin[axis] < box.end[axis]:
            box.low[axis] = low_end(&box.stage[axis].windows, box.begin[axis])
            box.high[axis] = max(box.low[axis], high_end(&box.stage[axis].windows, box.end[axis] - 1))
    part = number % run.channel_boxes
    box.channel = part * run.box_channels
    box.channels = min(run.box_channels, run.channels - box.channel)
    box.plane = number // run.channel_boxes * run.box_planes
    box.planes = min(run.box_planes, run.planes - box.plane)


cdef void run_box(const Run *run, const Box *box, Volume source, const Volume *target, char *scratch) noexcept nogil:
    """All windows of a box, axis by axis."""
    cdef char *kept = scratch + run.stage_bytes
    cdef int axis
    cdef Volume next
    for axis in range(run.first, run.last - 1, -1):
        if box.stage[axis].idle:
            continue
        if axis == run.last:
            next = target[0]
        else:
            next = kept_volume(run, box, axis, kept)
            kept += run.between_bytes[0]
        if axis == 2 and turned(run) and not run.single:
            run_rows(run, box, &source, &next, scratch)
        else:
            run_lanes(run, box, axis, &source, &next, scratch)
        source = next


cdef void box_task(void *context, int64_t number) noexcept nogil:
    cdef Run *run = <Run *>context
    cdef Box box
    cdef Volume target
    cdef int axis
    cdef char *scratch
    locate(run, number, &box)
    for axis in range(3):
        if box.begin[axis] == box.end[axis]:     # a class may have fewer outputs than the largest
            return
    scratch = <char *>task_scratch(run.scratch_bytes)
    if scratch == NULL:
        run.out_of_memory = True
        return
    target = outer_volume(run, &box, run.call.target, False)
    run_box(run, &box, outer_volume(run, &box, run.call.source, True), &target, scratch)


cdef bint running_serves(const Pool *pool, int dtype) noexcept nogil:
    """Whether there are windows, and places in a plane fit the tile's lanes."""
    cdef double places = 1
    cdef int axis
    cdef bint windows = False
    for axis in range(3):
        places *= pool.input_size[axis]
        windows |= not idle(pool, axis)
    return windows and (dtype == FC_FLOAT64 or places < MOST_PLACES)


cdef void turn_pool(Pool *pool) noexcept nogil:
    """As `turn_axes`, where no window is wider than the place."""
    cdef int axis
    for axis in range(2, 0, -1):
        pool.input_size[axis], pool.output_size[axis] = pool.input_size[axis - 1], pool.output_size[axis - 1]
        pool.kernel[axis], pool.stride[axis] = pool.kernel[axis - 1], pool.stride[axis - 1]
        pool.before[axis], pool.after[axis] = pool.before[axis - 1], pool.after[axis - 1]
        pool.dilation[axis] = pool.dilation[axis - 1]
    pool.input_size[0] = pool.output_size[0] = pool.kernel[0] = pool.stride[0] = pool.dilation[0] = 1
    pool.before[0] = pool.after[0] = 0


cdef void turn_axes(View *array) noexcept nogil:
    """The last axis, of one place, to the front."""
    cdef int axis
    for axis in range(4, 2, -1):
        array.size[axis], array.stride[axis] = array.size[axis - 1], array.stride[axis - 1]
    array.size[2], array.stride[2] = 1, 0


cdef int run_running(const RunningCall *call) except -1 nogil:
    """Compute a whole call: at least one axis has windows."""
    cdef RunningCall turned_call = call[0]
    cdef Pool pool = call.pool[0]
    cdef View arrays[3]
    cdef const int64_t *size = &pool.input_size[0]
    cdef int axis
    arrays[0], arrays[1] = call.source[0], call.target[0]
    turned_call.pool, turned_call.source, turned_call.target = &pool, &arrays[0], &arrays[1]
    if call.indices != NULL:
        arrays[2] = call.indices[0]
        turned_call.indices = &arrays[2]
    while pool.input_size[2] == 1 and pool.output_size[2] == 1 and pool.kernel[2] == 1 and size[0] * size[1] > 1:
        turn_pool(&pool)              # so that a column is a row
        for axis in range(3 if call.indices != NULL else 2):
            turn_axes(&arrays[axis])
    return run_turned(&turned_call)


cdef int run_turned(const RunningCall *call) except -1 nogil:
    cdef Run run
    cdef Stage stage[3]
    cdef const Pool *pool = call.pool
    cdef double flops = ELEMENT_FLOPS * pool.n * pool.channels
    cdef int axis
    cdef int64_t unit = 1
    run.call = call
    run.kernel = kernels(call.source.dtype)
    run.item = call.source.item
    run.with_places = call.indices != NULL
    run.first, run.last, run.out_of_memory = -1, -1, False
    for axis in range(2, -1, -1):
        run.place_unit[axis] = unit
        unit *= pool.input_size[axis]
        set_stage(call, axis, 0, &stage[axis])
        run.classes[axis] = 1 if call.operation == SPREAD else class_count(pool, axis)
        run.size[axis] = stage[axis].outputs
        flops *= max(pool.input_size[axis], pool.output_size[axis])
        if not stage[axis].idle:
            run.last = axis
            if run.first < 0:
                run.first = axis
        if run.classes[axis] > 1:     # the largest class has so many
            stage[axis].elements = divide_up(pool.input_size[axis], pool.dilation[axis])
    if pool.n * pool.channels == 0:
        return 0
    cut(&run, stage, flops)
    parallel(box_task, &run, run.count, flops)
    if run.out_of_memory:
        return out_of_memory(b"pooling workspace", run.scratch_bytes)
    return 0
