"""Pooling with windows of any kind: one walk over the elements under them.

The walk brings every element under a window to the accumulator of its output (maximum, sum of powers), or, as
the gradient of averaging, something from the output back to every element (spreading). Several outputs are
computed side by side, in *lanes*:

- the pixels of a row, one tap of all their windows after the other (`rows`), so that the inner loop runs
  along the row and the places where windows leave the input are found once per tap;
- the channels of a channels-last array, window by window;
- a single output, where windows are wide or of uneven size (adaptive pooling).

A task is a box: one image, a block of its channels, and a range of outputs along one axis. Spreading splits
the *elements* among the tasks instead, and each task walks the outputs whose windows reach its own: a sum is
never split, and elements add up their outputs in scan order whatever the tasks, threads and memory order.

Windows of one size, not too wide, are left to the faster tiles, and wide ones of maxima and averages to
running.pyx.
"""

from libc.math cimport INFINITY, fabs, fmod
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_FLOAT64
from fastconv._kernels.engine.fastconv_native cimport parallel, worker_threads
from fastconv._kernels.pool.lanes cimport (
    Strip, give, give_slopes, raised, real, take_max, take_max_size, take_max_value, take_powers, take_sum,
)
from fastconv._kernels.pool.strides cimport CHANNEL_LANES, TAP_FLOPS, lanes_of_channels

cdef enum:
    LANES = 256            # accumulators of one line: a few KiB, which stay in L1

cdef double TASK_FLOPS = 1e8
cdef int64_t MOST_PARTS = 4096

# A sum of powers beyond these bounds may have lost elements that overflow or vanish when raised.
cdef double LEAST_POWERS = 1e-290
cdef double MOST_POWERS = 1e300

cdef struct Box:
    int64_t n, channel, channels
    int64_t begin[3]          # outputs of the task
    int64_t end[3]
    int64_t low[3]            # elements it may touch
    int64_t high[3]


cdef struct Span:
    int64_t first             # position of the first element
    int64_t count             # how many there are, a dilation apart


cdef struct Line:
    int64_t output[3]         # of the first lane
    int64_t lanes
    const double *share       # of an Lp norm's gradient ...
    const double *zero_share  # ... and what a 0 has of it where the norm is 0, too


cdef struct Extremes:         # of absolute values in a window
    double least, greatest
    int64_t zeros


# ---- windows -----------------------------------------------------------------------------------------


cdef inline Span window(const Pool *pool, int axis, int64_t output, int64_t low, int64_t high) noexcept nogil:
    """The elements under an output's window that lie in [low, high) along an axis."""
    cdef Span span
    cdef int64_t start, taps = pool.kernel[axis], step = pool.dilation[axis], skip = 0
    if pool.adaptive:
        start = output * pool.input_size[axis] // pool.output_size[axis]
        taps = divide_up((output + 1) * pool.input_size[axis], pool.output_size[axis]) - start
    else:
        start = output * pool.stride[axis] - pool.before[axis]
    if start < low:
        skip = divide_up(low - start, step)
    if start + (taps - 1) * step >= high:
        taps = 0 if start >= high else divide_up(high - start, step)
    span.first = start + skip * step
    span.count = max(0, taps - skip)
    return span


cdef inline int64_t extent(const WalkCall *call, int axis, int64_t output) noexcept nogil:
    """What an axis contributes to the number that a window's sum is divided by."""
    cdef const Pool *pool = call.pool
    cdef int64_t start = output * pool.stride[axis] - pool.before[axis]
    if call.count_padding and not pool.adaptive:
        return min(pool.kernel[axis], pool.input_size[axis] + pool.after[axis] - start)
    return window(pool, axis, output, 0, pool.input_size[axis]).count


cdef void divisors(const WalkCall *call, const Line *line, double *divisor) noexcept nogil:
    cdef int64_t lane, area = 1
    if call.divisor == 0:
        area = extent(call, 0, line.output[0]) * extent(call, 1, line.output[1])
    for lane in range(line.lanes):
        if call.divisor != 0:
            divisor[lane] = call.divisor
        elif lane == 0 or call.rows:
            divisor[lane] = <double>area * extent(call, 2, line.output[2] + lane)
        else:
            divisor[lane] = divisor[0]


# ---- the walk ----------------------------------------------------------------------------------------


cdef void meet(const WalkCall *call, const Box *box, const Line *line, const Strip *strip, real *elements, real *values,
               int64_t *where, double *total) noexcept nogil:
    """One row of elements meets the accumulators of the lanes above it."""
    cdef int64_t lane = strip.first_lane
    if call.operation == SPREAD and call.norm != 0:
        slopes(call, box, line, strip, elements)
    elif call.operation == SPREAD:
        give(strip, elements, values + lane)
    elif call.operation == TOTAL:
        if call.norm == 0:
            take_sum(strip, elements, total + lane)
        else:
            take_powers(strip, elements, call.norm, total + lane)
    elif call.norm != 0:
        take_max_size(strip, elements, <real>(1 if call.norm > 0 else -1), values + lane, where + lane)
    elif call.index == NULL:
        take_max_value(strip, elements, values + lane)
    else:
        take_max(strip, elements, values + lane, where + lane)


cdef void slopes(const WalkCall *call, const Box *box, const Line *line, const Strip *strip,
                 real *elements) noexcept nogil:
    """One row of elements gets its shares of the gradients of norms: an Lp norm y has the slope (x / y)^(p - 1)."""
    cdef const Pool *pool = call.pool
    cdef int64_t lane_axis = 4 if call.rows else 1, x, place
    # a row's first lane may begin before the lanes that it meets
    place = strip.index + (strip.first_lane * pool.stride[2] if call.rows else 0)
    x = place % pool.input_size[2]
    place //= pool.input_size[2]
    give_slopes(strip, elements, line.share + strip.first_lane, line.zero_share + strip.first_lane,
                <const real *>call.norm_input + box.n * call.norm_input_stride[0]
                + box.channel * call.norm_input_stride[1] + place // pool.input_size[1] * call.norm_input_stride[2]
                + place % pool.input_size[1] * call.norm_input_stride[3] + x * call.norm_input_stride[4],
                call.norm_input_stride[lane_axis] * (pool.stride[2] if call.rows else 1), call.norm_input_stride[4],
                <const real *>call.norm_output + offset(call.norm_output_stride, box, line)
                + strip.first_lane * call.norm_output_stride[lane_axis], call.norm_output_stride[lane_axis],
                call.norm - 1)


cdef Extremes extremes(const WalkCall *call, const Box *box, const Line *line, int64_t lane, const real *input,
                       const int64_t *stride) noexcept nogil:
    """Of the window of one lane; `input` is that of its image and of the block's first channel."""
    cdef Extremes found
    cdef Span span[3]
    cdef int axis
    cdef int64_t z, y, x
    cdef double size
    found.least, found.greatest, found.zeros = INFINITY, 0, 0
    for axis in range(3):
        span[axis] = window(call.pool, axis, line.output[axis] + (lane if axis == 2 and call.rows else 0), 0,
                            call.pool.input_size[axis])
    if not call.rows:
        input += lane * stride[1]
    for z in range(span[0].first, span[0].first + span[0].count):
        for y in range(span[1].first, span[1].first + span[1].count):
            for x in range(span[2].first, span[2].first + span[2].count):
                size = fabs(input[z * stride[2] + y * stride[3] + x * stride[4]])
                found.least, found.greatest = min(found.least, size), max(found.greatest, size)
                found.zeros += size == 0
    return found


cdef double scaled_norm(const WalkCall *call, const Box *box, const Line *line, int64_t lane, const real *input,
                        double total, double divisor) noexcept nogil:
    """The norm of a window whose powers overflow or vanish: that of its elements beside the one that weighs most."""
    cdef Extremes found = extremes(call, box, line, lane, input, call.input_stride)
    cdef double scale = found.greatest if call.norm > 0 else found.least
    cdef Span span[3]
    cdef int axis
    cdef int64_t z, y, x
    if scale == 0 or scale == INFINITY:
        return raised(total / divisor * volume(call.pool), 1 / call.norm)
    for axis in range(3):
        span[axis] = window(call.pool, axis, line.output[axis] + (lane if axis == 2 and call.rows else 0), 0,
                            call.pool.input_size[axis])
    if not call.rows:
        input += lane * call.input_stride[1]
    total = 0
    for z in range(span[0].first, span[0].first + span[0].count):
        for y in range(span[1].first, span[1].first + span[1].count):
            for x in range(span[2].first, span[2].first + span[2].count):
                total += raised(input[z * call.input_stride[2] + y * call.input_stride[3] + x * call.input_stride[4]]
                                / scale, call.norm)
    return scale * raised(total / divisor * volume(call.pool), 1 / call.norm)


cdef void visit_row(const WalkCall *call, const Box *box, const Line *line, real *row, int64_t row_index,
                    real *values, int64_t *where, double *total) noexcept nogil:
    """One row of the input under the windows of a row of outputs: tap by tap, all lanes it meets at once."""
    cdef const Pool *pool = call.pool
    cdef int64_t stride = pool.stride[2], step = pool.dilation[2], low = box.low[2], high = box.high[2]
    cdef int64_t start = line.output[2] * stride - pool.before[2]       # of the first lane's window
    cdef int64_t last = start + (line.lanes - 1) * stride               # of the last lane's
    cdef int64_t first_tap = 0 if last >= low else divide_up(low - last, step)
    cdef int64_t end_tap = 0 if start >= high else min(pool.kernel[2], divide_up(high - start, step))
    cdef int64_t i, tap, x
    cdef Strip strip
    strip.taps, strip.tap_step, strip.tap_index = 1, 0, 0
    strip.lane_step = stride * call.input_stride[4]
    for i in range(first_tap, end_tap):
        # backwards when spreading, so that every element adds up its outputs in their order
        tap = first_tap + end_tap - 1 - i if call.operation == SPREAD else i
        x = start + tap * step
        strip.index = row_index + x
        strip.first_lane = 0 if x >= low else divide_up(low - x, stride)
        strip.lanes = line.lanes if last + tap * step < high else divide_up(high - x, stride)
        strip.lanes -= strip.first_lane
        x += strip.first_lane * stride
        if strip.lanes > 0:
            meet(call, box, line, &strip, row + x * call.input_stride[4], values, where, total)


cdef void visit(const WalkCall *call, const Box *box, const Line *line, real *input, real *values, int64_t *where,
                double *total) noexcept nogil:
    """All elements of the box under the windows of a line meet its accumulators, in scan order."""
    cdef const Pool *pool = call.pool
    cdef int axis
    cdef int64_t i, j, z, y, row_index
    cdef real *row
    cdef Strip strip
    cdef Span span[3]
    for axis in range(3):
        span[axis] = window(pool, axis, line.output[axis], box.low[axis], box.high[axis])
    strip.first_lane, strip.lanes, strip.lane_step = 0, line.lanes, call.input_stride[1]
    strip.taps, strip.tap_step = span[2].count, pool.dilation[2] * call.input_stride[4]
    strip.tap_index = pool.dilation[2]
    for i in range(span[0].count):
        z = span[0].first + i * pool.dilation[0]
        for j in range(span[1].count):
            y = span[1].first + j * pool.dilation[1]
            row = input + z * call.input_stride[2] + y * call.input_stride[3]
            row_index = (z * pool.input_size[1] + y) * pool.input_size[2]
            if call.rows:
                visit_row(call, box, line, row, row_index, values, where, total)
            else:
                strip.index = row_index + span[2].first
                meet(call, box, line, &strip, row + span[2].first * call.input_stride[4], values, where, total)


# ---- lines -------------------------------------------------------------------------------------------


cdef void max_line(const WalkCall *call, const Box *box, const Line *line, real *input, real *output,
                   int64_t step, int64_t *index, int64_t index_step) noexcept nogil:
    cdef const Pool *pool = call.pool
    cdef real best[LANES]
    cdef int64_t where[LANES]     # counted from the first lane's window; int32 if narrow
    cdef int64_t lane, lane_index = pool.stride[2] if call.rows else 0
    for lane in range(line.lanes):
        best[lane] = <real>-INFINITY
    if index != NULL:
        # nothing beats -inf in a window that holds nothing else: its first element stays the maximum
        for lane in range(line.lanes):
            where[lane] = first_index(pool, line, lane if call.rows else 0) - lane * lane_index
    visit(call, box, line, input, best, where, NULL)
    for lane in range(line.lanes):
        output[lane * step] = -best[lane] if call.norm < 0 else best[lane]
    if index != NULL:
        for lane in range(line.lanes):
            index[lane * index_step] = where[lane] + lane * lane_index


cdef inline int64_t first_index(const Pool *pool, const Line *line, int64_t lane) noexcept nogil:
    """Flat position of the first element under the window of an output `lane` pixels along the line."""
    return ((window(pool, 0, line.output[0], 0, pool.input_size[0]).first * pool.input_size[1]
             + window(pool, 1, line.output[1], 0, pool.input_size[1]).first) * pool.input_size[2]
            + window(pool, 2, line.output[2] + lane, 0, pool.input_size[2]).first)


cdef void sum_line(const WalkCall *call, const Box *box, const Line *line, real *input, real *output,
                   int64_t step) noexcept nogil:
    cdef double total[LANES]
    cdef double divisor[LANES]
    cdef int64_t lane
    for lane in range(line.lanes):
        total[lane] = 0
    visit(call, box, line, input, <real *>NULL, NULL, total)
    divisors(call, line, divisor)
    for lane in range(line.lanes):
        if call.norm == 0:
            output[lane * step] = <real>(total[lane] / divisor[lane])
        elif LEAST_POWERS < fabs(total[lane]) < MOST_POWERS or total[lane] != total[lane]:
            output[lane * step] = <real>raised(total[lane] / divisor[lane] * volume(call.pool), 1 / call.norm)
        else:
            output[lane * step] = <real>scaled_norm(
                call, box, line, lane, <const real *>input, total[lane], divisor[lane])


cdef void spread_line(const WalkCall *call, const Box *box, Line *line, real *input, const real *output,
                      int64_t step, const real *norm_output, int64_t norm_step) noexcept nogil:
    cdef real share[LANES]
    cdef double divisor[LANES]
    cdef double norm_share[LANES]
    cdef double zero_share[LANES]
    cdef int64_t lane
    divisors(call, line, divisor)
    if call.norm == 0:
        for lane in range(line.lanes):
            share[lane] = <real>(output[lane * step] / divisor[lane])
    else:
        line.share, line.zero_share = norm_share, zero_share
        for lane in range(line.lanes):
            norm_share[lane] = output[lane * step] / divisor[lane] * volume(call.pool)
            zero_share[lane] = 0
            if norm_output[lane * norm_step] == 0 and call.norm < 0 and fmod(call.norm, 2) != 0:
                zero_share[lane] = norm_share[lane] * zero_slope(call, box, line, lane, input, divisor[lane])
    visit(call, box, line, input, share, NULL, NULL)


cdef double zero_slope(const WalkCall *call, const Box *box, const Line *line, int64_t lane, real *unused,
                       double divisor) noexcept nogil:
    """What (x / y)^(p - 1) tends to for the zeros of a window, all alike, if p is negative.

    With an even p the norm has a kink there, and no more of a slope than |x| at 0.
    """
    cdef const real *input = (<const real *>call.norm_input + box.n * call.norm_input_stride[0]
                              + box.channel * call.norm_input_stride[1])
    cdef int64_t zeros = extremes(call, box, line, lane, input, call.norm_input_stride).zeros
    return raised(volume(call.pool) / divisor * zeros, (1 - call.norm) / call.norm)


cdef inline double volume(const Pool *pool) noexcept nogil:
    return <double>pool.kernel[0] * pool.kernel[1] * pool.kernel[2]


cdef void run_line(const WalkCall *call, const Box *box, Line *line, real *input) noexcept nogil:
    cdef int lane_axis = 4 if call.rows else 1
    cdef real *output = <real *>call.output + offset(call.output_stride, box, line)
    if call.operation == MAXIMUM:
        max_line(call, box, line, input, output, call.output_stride[lane_axis],
                 NULL if call.index == NULL else call.index + offset(call.index_stride, box, line),
                 call.index_stride[lane_axis])
    elif call.operation == TOTAL:
        sum_line(call, box, line, input, output, call.output_stride[lane_axis])
    else:
        spread_line(call, box, line, input, output, call.output_stride[lane_axis],
                    <const real *>call.norm_output + offset(call.norm_output_stride, box, line),
                    call.norm_output_stride[lane_axis])


cdef inline int64_t offset(const int64_t *stride, const Box *box, const Line *line) noexcept nogil:
    return (box.n * stride[0] + box.channel * stride[1] + line.output[0] * stride[2]
            + line.output[1] * stride[3] + line.output[2] * stride[4])


cdef void run_box(const WalkCall *call, const Box *box, real *input) noexcept nogil:
    cdef Line line
    cdef int64_t od, oh, ow, run = LANES if call.rows else 1
    input += box.n * call.input_stride[0] + box.channel * call.input_stride[1]
    if call.operation == SPREAD:
        clear(box, input, call.input_stride, call.channels_are_lanes)
    for od in range(box.begin[0], box.end[0]):
        for oh in range(box.begin[1], box.end[1]):
            ow = box.begin[2]
            while ow < box.end[2]:
                line.output[0], line.output[1], line.output[2] = od, oh, ow
                line.lanes = min(run, box.end[2] - ow) if call.rows else box.channels
                run_line(call, box, &line, input)
                ow += run


cdef void clear(const Box *box, real *plane, const int64_t *stride, bint channels_are_lanes) noexcept nogil:
    """Zero a box of an array from `geometry.new_output`: rows, or the channels of a pixel, are adjacent."""
    cdef int64_t z, y, x, width = box.high[2] - box.low[2]
    cdef real *row
    for z in range(box.low[0], box.high[0]):
        for y in range(box.low[1], box.high[1]):
            row = plane + z * stride[2] + y * stride[3]
            if channels_are_lanes:
                for x in range(box.low[2], box.high[2]):
                    memset(row + x * stride[4], 0, box.channels * sizeof(real))
            else:
                memset(row + box.low[2] * stride[4], 0, width * sizeof(real))


cdef void pool_task(void *context, int64_t index) noexcept nogil:
    cdef const WalkCall *call = <const WalkCall *>context
    cdef Box box
    locate(call, index, &box)
    if call.dtype == FC_FLOAT64:
        run_box(call, &box, <double *>call.input)
    else:
        run_box(call, &box, <float *>call.input)


# ---- tasks -------------------------------------------------------------------------------------------


cdef void choose_lanes(WalkCall *call) noexcept nogil:
    cdef const Pool *pool = call.pool
    call.channels_are_lanes = lanes_of_channels(pool.channels, call.input_stride)
    call.rows = not call.channels_are_lanes and not pool.adaptive and pool.kernel[2] <= pool.output_size[2]
    call.block = min(CHANNEL_LANES, pool.channels) if call.channels_are_lanes else 1
    call.blocks = divide_up(pool.channels, call.block)


cdef double cut_tasks(WalkCall *call) noexcept nogil:
    """Cut blocks of channels along one axis, into enough tasks, and short ones; returns the FLOPs."""
    cdef const Pool *pool = call.pool
    cdef const int64_t *size = &pool.output_size[0]
    cdef double flops = TAP_FLOPS * pool.n * pool.channels
    cdef int axis
    cdef int64_t threads, wanted
    for axis in range(3):
        flops *= <double>pool.output_size[axis] * min(pool.kernel[axis], pool.input_size[axis])
    if call.operation == SPREAD:
        size = &pool.input_size[0]
    threads = worker_threads(flops)
    wanted = <int64_t>min(<double>MOST_PARTS, flops / TASK_FLOPS / max(1, pool.n * call.blocks))
    if threads > 1:
        wanted = max(wanted, divide_up(4 * threads, max(1, pool.n * call.blocks)))
    call.cut = 0
    for axis in range(3):     # the first axis that is long enough, else the longest
        if size[call.cut] < wanted and size[axis] > size[call.cut]:
            call.cut = axis
    call.part = divide_up(size[call.cut], max(1, min(wanted, size[call.cut])))
    call.parts = divide_up(size[call.cut], call.part)
    return flops


cdef void locate(const WalkCall *call, int64_t index, Box *box) noexcept nogil:
    """The box of one task."""
    cdef const Pool *pool = call.pool
    cdef int axis, cut = call.cut
    cdef int64_t first = index % call.parts * call.part, size, stride
    box.n = index // call.parts // call.blocks
    box.channel = index // call.parts % call.blocks * call.block
    box.channels = min(call.block, pool.channels - box.channel)
    for axis in range(3):
        box.begin[axis], box.end[axis] = 0, pool.output_size[axis]
        box.low[axis], box.high[axis] = 0, pool.input_size[axis]
    if call.operation != SPREAD:
        box.begin[cut] = first
        box.end[cut] = min(first + call.part, pool.output_size[cut])
        return
    box.low[cut] = first
    box.high[cut] = min(first + call.part, pool.input_size[cut])
    # the outputs whose windows reach [low, high)
    size, stride = pool.input_size[cut], pool.stride[cut]
    if pool.adaptive:
        box.begin[cut] = box.low[cut] * pool.output_size[cut] // size
        box.end[cut] = divide_up(box.high[cut] * pool.output_size[cut], size)
        return
    first = box.low[cut] + pool.before[cut] - (pool.kernel[cut] - 1) * pool.dilation[cut]
    box.begin[cut] = 0 if first <= 0 else divide_up(first, stride)
    box.end[cut] = min(box.end[cut], divide_up(box.high[cut] + pool.before[cut], stride))


cdef int walk(WalkCall *call) except -1 nogil:
    """Carry out a call whose arrays and strides are set."""
    cdef double flops
    choose_lanes(call)
    flops = cut_tasks(call)
    parallel(pool_task, call, call.pool.n * call.blocks * call.parts, flops)
    return 0
