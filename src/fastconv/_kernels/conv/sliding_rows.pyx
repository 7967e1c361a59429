"""A sliding convolution whose tiles have pixels as rows and output channels as columns (the lanes).

The other way round, sliding.pyx, reads a run of neighbouring windows as vectors. That wastes lanes on rows of outputs
that end within a vector, and a stride must first be packed away. Here a window's element is one scalar, broadcast from
wherever it lies, so that neither matters; it takes channels enough to fill vectors. The walk of one task (a block of
output rows and columns of one image):

    stage the source the block needs, with its padding          (not if it has none: read where the user has it)
    for each weight panel, for each tile of neighbouring pixels:
        for each chunk of the depth: micro-kernel over the windows of the pixels
        -> output if its channels are adjacent, else -> scratch pixels -> transposed to the output, many at a time

A tile takes pixels of one row of outputs, or of two if both fit. Sums are cut and ordered as in sliding.pyx: both give
the same bits.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.conv.panels cimport Weights, describe_weights, pack_weight_panel
from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport FC_MAX_WINDOWS, fc_finish, fc_kernels, fc_run
from fastconv._kernels.engine.machine cimport in_l2
from fastconv._kernels.engine.fastconv_native cimport (
    give_scratch, out_of_memory, parallel, take_scratch, task_scratch, worker_threads,
)
from fastconv._kernels.engine.packed cimport FORM_PIXEL_ROWS, Form, Lease, give_back, lease

cdef enum:
    PIXELS = 112                          # of a panel's channels that are transposed to the output at a time

cdef int64_t STAGE_BYTES = in_l2(256 * 1024)  # stays in L2, beside the weights
cdef int64_t LEAST_DEPTH = 64             # products of a sum that pay for its way through scratch memory
cdef int64_t MOST_UNSTAGED = 8            # source channels: more, in memory far apart, would meet in the same cache sets
cdef double TASK_FLOPS = 2e8              # of a block, so that Ctrl-C need not wait for it
cdef int64_t TASKS_PER_THREAD = 6         # that even out the threads


cdef struct Walk:
    const ConvCall *call
    const Dense *dense
    bint forward
    const fc_kernels *kernel
    char *packed                          # weights: per group, panel, chunk
    int64_t *offsets                      # of every (channel, tap) of a chunk, from the first window's first element
    int64_t itemsize
    int64_t chunk                         # source channels of a chunk
    int64_t width, panels                 # channels of a weight panel
    int64_t tile                          # pixels
    bint paired                           # tiles take two rows of outputs
    bint joined                           # rows of outputs follow one another in memory
    bint channels_last                    # the output's channels are adjacent, and its pixels are not
    bint staged
    int64_t lowest[3]                     # source position of the lowest tap of output 0
    int64_t reach[3]                      # ... and from there to the highest
    int64_t rows, columns                 # outputs of a block
    int64_t strips, blocks
    int64_t x_step, row_step, plane_step, channel_step   # of the stage, or of the source
    int64_t adjacent[PIXELS]              # 0, 1, 2 ..
    bint out_of_memory


# ---- the stage -----------------------------------------------------------------------------------------


cdef void stage_row(const Walk *walk, const char *source, int64_t y, int64_t x, int64_t positions,
                    char *to) noexcept nogil:
    """Source row y from position x on, all channels, zeros where it leaves the source. `source`: (channel, z, 0, 0)."""
    cdef const fc_kernels *kernel = walk.kernel
    cdef const View *from_ = walk.call.source
    cdef int64_t item = walk.itemsize, depth = walk.dense.depth
    cdef int64_t low = 0, high = 0
    cdef const char *at
    if 0 <= y < from_.size[3]:
        low = min(positions, max(<int64_t>0, -x))
        high = max(low, min(positions, from_.size[4] - x))
    at = source + (y * from_.stride[3] + (x + low) * from_.stride[4]) * item
    if walk.x_step > 1:  # channel beside channel
        kernel.copy.clear(to, depth, low * depth, 1)
        if high > low and from_.stride[4] == depth:
            kernel.copy.pack(to + low * depth * item, 1, (high - low) * depth, 1, at, 1, 1)
        elif high > low:
            kernel.copy.pack(to + low * depth * item, depth, depth, high - low, at, 1, from_.stride[4])
        kernel.copy.clear(to + high * depth * item, depth, (positions - high) * depth, 1)
        return
    if low > 0:
        kernel.copy.clear(to, walk.channel_step, low, depth)
    if high > low:
        kernel.copy.pack(to + low * item, walk.channel_step, high - low, depth, at, from_.stride[4], from_.stride[1])
    if high < positions:
        kernel.copy.clear(to + high * item, walk.channel_step, positions - high, depth)


cdef void fill_stage(const Walk *walk, const char *source, int64_t od, int64_t row, int64_t rows, int64_t column,
                     int64_t columns, char *to) noexcept nogil:
    """Stage what a block of outputs needs, plane of taps by plane. `source`: (n, first channel, 0, 0, 0)."""
    cdef const Dense *d = walk.dense
    cdef int64_t plane, r, z, item = walk.itemsize
    for plane in range(d.window.taps[0]):
        z = od * d.window.step[0] + d.window.first[0] + plane * d.window.delta[0]
        for r in range((rows - 1) * d.window.step[1] + walk.reach[1] + 1):
            stage_row(walk, source + z * walk.call.source.stride[2] * item,
                      row * d.window.step[1] + walk.lowest[1] + r if 0 <= z < walk.call.source.size[2] else -1,
                      column * d.window.step[2] + walk.lowest[2],
                      (columns - 1) * d.window.step[2] + walk.reach[2] + 1,
                      to + (plane * walk.plane_step + r * walk.row_step) * item)


cdef void fill_offsets(const Walk *walk) noexcept nogil:
    """Where the elements of the first window of a block lie: channel by channel, tap by tap."""
    cdef const Dense *d = walk.dense
    cdef int64_t channel, kd, kh, kw, filled = 0
    for channel in range(walk.chunk):
        for kd in range(d.window.taps[0]):
            for kh in range(d.window.taps[1]):
                for kw in range(d.window.taps[2]):
                    walk.offsets[filled] = (
                        channel * walk.channel_step + kd * walk.plane_step
                        + (d.window.first[1] + kh * d.window.delta[1] - walk.lowest[1]) * walk.row_step
                        + (d.window.first[2] + kw * d.window.delta[2] - walk.lowest[2]) * walk.x_step)
                    filled += 1


# ---- tiles ---------------------------------------------------------------------------------------------


cdef void multiply(const Walk *walk, const char *windows, int64_t second, const char *weights, char *to,
                   const int64_t *row_offset, int64_t pixels, int64_t channels, fc_finish *finish) noexcept nogil:
    """One tile over all chunks of the depth."""
    cdef const Dense *d = walk.dense
    cdef int64_t channel = 0, count
    cdef bint final = finish.final
    while channel < d.depth:
        count = min(walk.chunk, d.depth - channel)
        finish.accumulate, finish.final = channel > 0, final and channel + count == d.depth
        walk.kernel.gemm.tile_of_windows(count * d.taps, windows + channel * walk.channel_step * walk.itemsize,
                                         walk.offsets, d.window.step[2] * walk.x_step, second,
                                         weights + channel * d.taps * walk.width * walk.itemsize, walk.width, to,
                                         row_offset, <int>pixels, <int>channels, finish)
        channel += count
    finish.final = final


cdef void sweep(const Walk *walk, const char *windows, const char *weights, int64_t channels, char *out,
                const char *bias, int64_t rows, int64_t columns, char *scratch) noexcept nogil:
    """One weight panel over the pixels of a block. `out` is the first pixel's first channel."""
    cdef const Dense *d = walk.dense
    cdef const int64_t *stride = &walk.call.out.stride[0]
    cdef int64_t item = walk.itemsize, row = 0, row_count, column, count, i, filled = 0
    cdef int64_t down = d.window.step[1] * walk.row_step, second
    cdef int64_t across = walk.width
    cdef char *first = out
    cdef const char *at
    cdef int64_t row_offset[FC_MAX_WINDOWS]
    cdef fc_run run
    cdef fc_finish finish, keep
    finish.accumulate, finish.final, finish.row_bias, finish.column_bias = False, True, NULL, bias
    finish.activation, finish.slope = walk.call.activation, walk.call.slope
    keep = finish
    keep.final = False
    run.column, run.count, run.offset, run.stride = 0, channels, 0, stride[1]
    for i in range(FC_MAX_WINDOWS):
        row_offset[i] = i * across
    while row < rows:
        row_count = 2 if walk.paired and row + 1 < rows else 1
        column = 0
        while column < columns:
            count = row_count * min(walk.tile, columns - column)
            second = down if row_count == 2 else (count + 1) // 2 * d.window.step[2] * walk.x_step
            at = windows + (row * down + column * d.window.step[2] * walk.x_step) * item
            if walk.channels_last:
                for i in range(count):
                    row_offset[i] = i // columns * stride[3] + i % columns * stride[4] if row_count == 2 \
                        else i * stride[4]
                multiply(walk, at, second, weights, out + (row * stride[3] + column * stride[4]) * item, row_offset,
                         count, channels, &finish)
            else:
                if filled == 0:
                    first = out + (row * stride[3] + column) * item
                multiply(walk, at, second, weights, scratch + filled * across * item, row_offset, count, channels,
                         &keep)
                filled += count
            column += walk.tile
            if filled + row_count * walk.tile > PIXELS or filled and not walk.joined and column >= columns:
                walk.kernel.gemm.scatter(scratch, across, first, walk.adjacent, <int>filled, &run, 1, &finish)
                filled = 0
        row += row_count
    if filled:
        walk.kernel.gemm.scatter(scratch, across, first, walk.adjacent, <int>filled, &run, 1, &finish)


cdef inline int64_t panel_elements(const Walk *walk) noexcept nogil:
    return walk.width * walk.dense.depth * walk.dense.taps


cdef inline int64_t stage_elements(const Walk *walk) noexcept nogil:
    cdef const Dense *d = walk.dense
    if not walk.staged:
        return 0
    return (d.depth * d.window.taps[0] * ((walk.rows - 1) * d.window.step[1] + walk.reach[1] + 1)
            * ((walk.columns - 1) * d.window.step[2] + walk.reach[2] + 1))


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """A block of output rows and columns of one image, group and output plane."""
    cdef Walk *walk = <Walk *>context
    cdef const Dense *d = walk.dense
    cdef const View *source = walk.call.source
    cdef const int64_t *stride = &walk.call.out.stride[0]
    cdef int64_t item = walk.itemsize, panel, channel, channels
    cdef int64_t column = index % walk.blocks * walk.columns
    cdef int64_t row = index // walk.blocks % walk.strips * walk.rows
    cdef int64_t rest = index // walk.blocks // walk.strips
    cdef int64_t od = rest % d.window.count[0]
    cdef int64_t group = rest // d.window.count[0] % d.groups
    cdef int64_t n = rest // d.window.count[0] // d.groups
    cdef int64_t rows = min(walk.rows, d.window.count[1] - row), columns = min(walk.columns, d.window.count[2] - column)
    cdef const char *windows = source.data + (n * source.stride[0] + group * d.depth * source.stride[1]) * item
    cdef char *scratch = <char *>task_scratch((PIXELS * walk.width + stage_elements(walk)) * item)
    cdef char *out
    if scratch == NULL:
        walk.out_of_memory = True
        return
    if walk.staged:
        fill_stage(walk, windows, od, row, rows, column, columns, scratch + PIXELS * walk.width * item)
        windows = scratch + PIXELS * walk.width * item
    else:
        windows += ((od * d.window.step[0] + d.window.first[0]) * source.stride[2]
                    + (row * d.window.step[1] + walk.lowest[1]) * source.stride[3]
                    + (column * d.window.step[2] + walk.lowest[2]) * source.stride[4]) * item
    out = walk.call.out.data + (n * stride[0] + (d.begin[0] + od * d.out_step[0]) * stride[2]
                                + (d.begin[1] + row) * stride[3] + (d.begin[2] + column) * stride[4]) * item
    for panel in range(walk.panels):
        channel = group * d.channels + panel * walk.width
        channels = min(walk.width, d.channels - panel * walk.width)
        sweep(walk, windows, walk.packed + (group * walk.panels + panel) * panel_elements(walk) * item, channels,
              out + channel * stride[1] * item, walk.call.bias + channel * item if walk.call.bias != NULL else NULL,
              rows, columns, scratch)


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Pack one panel of one group, chunk after chunk."""
    cdef const Walk *walk = <const Walk *>context
    cdef const Dense *d = walk.dense
    cdef int64_t panel = index % walk.panels, channel = 0, channels
    cdef char *to = walk.packed + index * panel_elements(walk) * walk.itemsize
    cdef Weights weights
    describe_weights(&weights, d, walk.kernel, walk.call.factor, walk.forward)
    weights.width, weights.padded = walk.width, True
    while channel < d.depth:
        channels = min(walk.chunk, d.depth - channel)
        pack_weight_panel(&weights, index // walk.panels, panel, channel, channels, 0, d.taps, to)
        to += channels * d.taps * walk.width * walk.itemsize
        channel += channels


# ---- calls ---------------------------------------------------------------------------------------------


cdef inline int64_t reach(const Dense *d, int axis) noexcept nogil:
    """From the lowest tap to the highest."""
    return (d.window.taps[axis] - 1) * max(d.window.delta[axis], -d.window.delta[axis])


cdef inline int64_t most_pixels(const Dense *d, const fc_kernels *kernel) noexcept nogil:
    """Of a tile."""
    return 2 * kernel.gemm.max_rows if d.channels <= kernel.lanes else kernel.gemm.max_rows


cdef bint pixel_rows_serve(const Dense *d, const fc_kernels *kernel, bint channels_last) noexcept nogil:
    """Whether this is the way to compute it: see the head of the file."""
    cdef int64_t axis, lanes = kernel.lanes, outputs = d.window.count[2], tile = most_pixels(d, kernel), stage
    for axis in range(3):
        if d.out_step[axis] != 1:
            return False
    stage = d.depth * d.window.taps[0] * (reach(d, 1) + 1) * ((tile - 1) * d.window.step[2] + reach(d, 2) + 1)
    if 8 * stage > STAGE_BYTES or 4 * d.channels < 3 * lanes * divide_up(d.channels, lanes):
        return False
    if channels_last:
        return True
    return d.depth * d.taps >= LEAST_DEPTH and 8 * outputs < 7 * lanes * divide_up(outputs, lanes)


cdef void lay_out(Walk *walk, const Dense *d, const fc_kernels *kernel,
                  int64_t chunk_channels) noexcept nogil:
    """Blocks and tiles, which only say who computes which outputs when."""
    cdef int64_t axis, outputs, limit, wanted, tile, threads = worker_threads(d.flops), lanes = kernel.lanes
    walk.dense, walk.kernel, walk.itemsize, walk.chunk = d, kernel, kernel.item, chunk_channels
    walk.width = lanes * min(<int64_t>2, divide_up(d.channels, lanes))
    walk.panels = divide_up(d.channels, walk.width)
    for axis in range(3):
        walk.lowest[axis] = d.window.first[axis] + min(<int64_t>0, (d.window.taps[axis] - 1) * d.window.delta[axis])
        walk.reach[axis] = reach(d, axis)
    limit = STAGE_BYTES // (kernel.item * d.depth * d.window.taps[0])
    outputs = <int64_t>(TASK_FLOPS / (2.0 * d.channels * d.depth * d.taps))
    tile = most_pixels(d, kernel)
    walk.columns = d.window.count[2]
    while walk.columns > tile and (walk.columns > outputs or (walk.reach[1] + 1) * positions(walk) > limit):
        walk.columns = divide_up(walk.columns, 2)
    walk.blocks = divide_up(d.window.count[2], walk.columns)
    walk.columns = divide_up(d.window.count[2], walk.blocks)
    walk.paired = 2 * walk.columns <= tile and d.window.count[1] > 1
    walk.tile = walk.columns if walk.paired else even_block(walk.columns, tile)
    wanted = divide_up(TASKS_PER_THREAD * threads if threads > 1 else 1,
                       max(<int64_t>1, d.n) * d.groups * d.window.count[0] * walk.blocks)
    walk.rows = min((limit // positions(walk) - walk.reach[1] - 1) // d.window.step[1] + 1, outputs // walk.columns,
                    divide_up(d.window.count[1], wanted))
    walk.rows = even_block(d.window.count[1], max(<int64_t>1, walk.rows))
    if walk.paired:
        walk.rows = divide_up(walk.rows, 2) * 2
    walk.strips = divide_up(d.window.count[1], walk.rows)


cdef inline int64_t positions(const Walk *walk) noexcept nogil:
    """Of a row of a block in the source."""
    return (walk.columns - 1) * walk.dense.window.step[2] + walk.reach[2] + 1


cdef void place_source(Walk *walk) noexcept nogil:
    """Whether there is a stage, and the steps in it or in the source."""
    cdef const Dense *d = walk.dense
    cdef const View *source = walk.call.source
    cdef int axis
    walk.staged = d.depth > MOST_UNSTAGED
    for axis in range(3):
        if walk.lowest[axis] < 0 or walk.lowest[axis] + (d.window.count[axis] - 1) * d.window.step[axis] \
                + walk.reach[axis] >= source.size[axis + 2]:
            walk.staged = True
    if not walk.staged:
        walk.x_step, walk.row_step, walk.channel_step = source.stride[4], source.stride[3], source.stride[1]
        walk.plane_step = d.window.delta[0] * source.stride[2]
        return
    walk.x_step = d.depth if source.stride[1] == 1 and source.stride[4] != 1 else 1
    walk.row_step = walk.x_step * positions(walk)
    walk.plane_step = walk.row_step * ((walk.rows - 1) * d.window.step[1] + walk.reach[1] + 1)
    walk.channel_step = 1 if walk.x_step > 1 else walk.plane_step * d.window.taps[0]


cdef int run_pixel_rows(const Dense *d, const fc_kernels *kernel, bint forward, const ConvCall *call,
                        int64_t chunk_channels) except -1 nogil:
    """One dense sub-convolution from source to out."""
    cdef Walk walk
    cdef Form form
    cdef Lease panels
    cdef bint filled = False
    cdef int64_t i, packed, table
    cdef char *own = NULL
    cdef size_t held
    walk.call, walk.forward, walk.out_of_memory = call, forward, False
    lay_out(&walk, d, kernel, chunk_channels)
    walk.channels_last = call.out.stride[4] != 1
    walk.joined = walk.blocks == 1 and call.out.stride[3] == d.window.count[2] * call.out.stride[4]
    walk.paired = walk.paired and (walk.joined or walk.channels_last)
    for i in range(PIXELS):
        walk.adjacent[i] = i
    place_source(&walk)
    packed = d.groups * walk.panels * panel_elements(&walk) * walk.itemsize
    table = walk.chunk * d.taps * <int64_t>sizeof(int64_t)
    form.algorithm, form.part, form.kernel, form.width, form.layout = (
        FORM_PIXEL_ROWS, 0, walk.kernel, walk.width, walk.chunk)
    lease(&panels, call.factor, &form, packed + (table if call.factor.packed == NULL else 0))
    try:
        if call.factor.packed == NULL:
            walk.offsets = <int64_t *>(panels.memory + packed)
        else:
            own = <char *>take_scratch(table, &held)
            walk.offsets = <int64_t *>own
        walk.packed = panels.memory
        fill_offsets(&walk)
        if panels.fresh:
            parallel(weights_task, &walk, d.groups * walk.panels, 2.5 * packed)
        filled = True
        parallel(block_task, &walk, block_tasks(&walk), d.flops)
    finally:
        if own != NULL:
            give_scratch(own, held)
        give_back(&panels, filled)
    if walk.out_of_memory:
        return out_of_memory(b"convolution workspace", 0)
    return 0


cdef inline int64_t block_tasks(const Walk *walk) noexcept nogil:
    return walk.dense.n * walk.dense.groups * walk.dense.window.count[0] * walk.strips * walk.blocks


cdef dict pixel_rows_info(const Dense *d, const fc_kernels *kernel, int64_t chunk_channels):
    """What a call with padding would use, for `SlidingPlan.info`."""
    cdef Walk walk
    lay_out(&walk, d, kernel, chunk_channels)
    walk.staged = True
    return {
        "algorithm": "sliding",
        "way": "pixels as rows",
        "isa": kernel.isa.decode(),
        "tile": (walk.tile * (2 if walk.paired else 1), walk.width),
        "threads": min(worker_threads(d.flops), block_tasks(&walk)),
        "tasks": block_tasks(&walk),
        "packed_weight_bytes": d.groups * walk.panels * panel_elements(&walk) * kernel.item,
        "workspace_bytes": (PIXELS * walk.width + stage_elements(&walk)) * kernel.item,
    }
