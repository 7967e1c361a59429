"""How a depthwise convolution is cut: the outputs computed together (`Part`), and blocks of them that stay in cache."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport fc_taps

cdef int64_t PIXEL_BLOCK_BYTES = 16 * 1024     # of gathered rows: in L1 beside what streams through it
cdef int64_t UNPADDED_BLOCK_BYTES = 128 * 1024 # of rows that are read where they lie: a task's worth
cdef int64_t CHANNEL_BLOCK_BYTES = 128 * 1024  # of gathered rows of a vector of channels: in L2
cdef int64_t TASK_PRODUCTS = 1 << 16           # 10 us: enough for what a task costs beside its work


cdef int64_t gcd(int64_t a, int64_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef Axis turned(const Dense *d, int axis) noexcept nogil:
    cdef Axis a
    a.count, a.step, a.extent = d.window.count[axis], d.window.step[axis], d.window.extent[axis]
    a.taps, a.first, a.delta = d.window.taps[axis], d.window.first[axis], d.window.delta[axis]
    a.kernel_begin, a.kernel_step = d.kernel_begin[axis], d.kernel_step[axis]
    if a.delta < 0:
        a.first += (a.taps - 1) * a.delta
        a.kernel_begin += (a.taps - 1) * a.kernel_step
        a.delta, a.kernel_step = -a.delta, -a.kernel_step
    if a.taps == 1:
        a.delta = a.step      # no second tap: the windows may as well lie side by side
    return a


cdef int64_t rows_between_taps(const Dense *d, int64_t count) noexcept nogil:
    """Along H, for all the sub-convolutions: their blocks are the same rows, so what has one tap goes by the others."""
    cdef int64_t i
    for i in range(count):
        if d[i].window.taps[1] > 1:
            return turned(&d[i], 1).delta
    return d.window.step[1]


cdef void describe_part(Part *p, const Dense *d, int phases, int64_t row_delta, int64_t lanes_of_row) noexcept nogil:
    """Everything but the offsets, of one sub-convolution or two that alternate along W."""
    cdef int axis, phase
    cdef int64_t divisor
    p.z, p.y, p.phases, p.reach = turned(d, 0), turned(d, 1), phases, 0
    p.y.delta = row_delta
    for axis in range(3):
        p.begin[axis], p.out_step[axis] = d.begin[axis], d.out_step[axis]
    for phase in range(phases):
        p.x[phase] = turned(d + phase, 2)
        p.left = p.x[phase].first if phase == 0 else min(p.left, p.x[phase].first)
    for phase in range(phases):
        p.reach = max(p.reach, p.x[phase].first - p.left + (p.x[phase].taps - 1) * p.x[phase].delta)
    divisor = gcd(p.y.step, p.y.delta)
    p.classes, p.row_step = p.y.delta // divisor, p.y.step // divisor
    p.line = p.y.taps == 1 and phases == 1
    p.period = p.x[0].taps
    if p.line and lanes_of_row * p.x[0].step % p.x[0].delta == 0:
        p.period = min(p.period, lanes_of_row * p.x[0].step // p.x[0].delta)


cdef void lay_out_blocks(DepthwiseCall *call) noexcept nogil:
    """Blocks of outputs whose gathered rows fit the cache, over all parts; and the task's scratch memory."""
    cdef const Part *p = call.parts
    cdef int64_t step = p.x[0].step, reach = 0, taps = 0, kernel_rows = 0, tap_rows, i, phase, rows, width
    cdef int64_t block_bytes = PIXEL_BLOCK_BYTES, row_bytes
    cdef int64_t vector = call.kernel.lanes
    cdef int64_t tile = (1 if call.lanes > 1 else call.kernel.lanes) * call.kernel.depthwise.max_vectors
    if call.lanes > 1:
        block_bytes = call.together * CHANNEL_BLOCK_BYTES
    elif call.depth > 1 and call.channels > 1:
        block_bytes = 2 * PIXEL_BLOCK_BYTES  # used several times
    elif p.unpadded and call.part_count == 1:
        block_bytes = UNPADDED_BLOCK_BYTES
    call.planes, call.taps, call.weights, call.classes, call.lines = 1, 1, 1, p.classes, False
    for i in range(call.part_count):
        p = &call.parts[i]
        call.lines = call.lines or p.line
        kernel_rows = max(kernel_rows, p.y.taps)
        reach = max(reach, p.reach)
        call.planes = max(call.planes, p.z.taps * call.depth)
        tap_rows = p.z.taps * call.depth * p.y.taps
        for phase in range(p.phases):
            taps = max(taps, p.x[phase].taps)
            call.count[2] = p.x[phase].count if i + phase == 0 else max(call.count[2], p.x[phase].count)
        call.weights = max(call.weights, p.phases * tap_rows * taps)
        call.taps = max(call.taps, p.phases * tap_rows * (divide_up(taps, p.period) + 1))
        call.count[0] = p.z.count if i == 0 else max(call.count[0], p.z.count)
        call.count[1] = p.y.count if i == 0 else max(call.count[1], p.y.count)
    p = call.parts
    width = max(<int64_t>1, call.count[2])
    rows = max(<int64_t>1, divide_up(call.count[1], call.classes))
    call.rows = min(rows, BLOCK_ROWS)
    # columns: as many as leave room for BLOCK_ROWS rows
    row_bytes = block_bytes // (call.planes * ((call.rows - 1) * p.row_step + kernel_rows))
    call.columns = (row_bytes // call.itemsize // step // call.lanes - reach // step) // tile * tile
    call.columns = max(call.columns, 2 * tile)
    if reach // step > call.columns:  # what windows reach beyond a block is fetched again for the next
        call.columns = reach // step // tile * tile
    if call.columns >= width:
        call.columns = width
    else:
        call.columns = divide_up(divide_up(width, divide_up(width, call.columns)), tile) * tile
    # places of a run: as far as windows reach
    call.places = reach // step + (call.columns if call.lanes > 1 else max(call.columns, vector))
    if call.lines:
        call.places += 2 * call.kernel.depthwise.max_vectors * vector // call.lanes
    call.run = divide_up(call.places * call.lanes, vector) * vector
    call.row = call.run * step
    # rows: as many as fit, shared out evenly but by fours, which tiles come out even with
    call.rows = max(call.rows, ((block_bytes // (call.planes * call.row * call.itemsize) - kernel_rows) // p.row_step
                                + 1) // 4 * 4)
    if call.rows < rows:
        call.rows = divide_up(divide_up(rows, divide_up(rows, call.rows)), 4) * 4
    call.rows = min(call.rows, rows)
    call.row_blocks = divide_up(rows, call.rows)
    call.column_blocks = divide_up(width, call.columns)
    call.plane = ((call.rows - 1) * p.row_step + kernel_rows) * call.row
    if p.unpadded and call.part_count == 1:
        call.plane = call.row  # of zeros
    # blocks of small planes, whose windows lie alike, are a task together
    call.task_groups = max(<int64_t>1, TASK_PRODUCTS // (call.rows * call.columns * call.channels * call.weights))
    call.buffers = 2 if call.lanes == 1 and call.task_groups > 1 else 1
    call.scratch_bytes = (((call.weights + 2) * vector + call.buffers * call.planes * call.plane) * call.itemsize
                          + call.taps * (sizeof(fc_taps) + sizeof(int64_t)))


cdef void fill_offsets(const DepthwiseCall *call, Part *p) noexcept nogil:
    cdef int phase
    cdef int64_t t, position
    for phase in range(p.phases):
        for t in range(p.x[phase].taps):
            position = p.x[phase].first + t * p.x[phase].delta - p.left
            p.offset[phase][t] = (position % p.x[phase].step * call.run
                                  + position // p.x[phase].step * call.lanes)
            if p.in_place != NULL:
                p.in_place[t] = position * call.stride[4]
