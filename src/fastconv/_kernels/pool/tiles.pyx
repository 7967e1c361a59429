"""Pooling part by part: which rows and columns of which plane a C tile computes next, and on which thread.

A part is some rows and columns of one plane (or of all channels of an image, if they lie side by side), as many as
keep what the tile holds of them in the first-level cache. Its result depends on nothing else, so that any number of
consecutive parts makes a task, and the bits are the same however parts are shared out.

Positions of maxima are a byte per output, for the gradient: (plane, D, H, W), or (image, D, H, W, channel) for
channels-last arrays, rows rounded up to whole vectors, with room in front and behind.
"""

from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport (
    FC_POOL_TAPS, FC_POSITIONS, fc_kernels, fc_pool, fc_pool_axis, fc_pool_part,
)
from fastconv._kernels.engine.fastconv_native cimport kernels, out_of_memory, parallel, task_scratch

cdef int64_t CACHE_BYTES = 24 * 1024    # of scratch that a part fills and reads back
cdef int64_t MOST_BYTES = 2 << 20       # of scratch for a single row of outputs
cdef int64_t MOST_LANES = 512
cdef int64_t PART_ELEMENTS = 1 << 14    # of the target; small planes share a part, and what is the same for them ...
cdef int64_t GRADIENT_ELEMENTS = 1 << 17  # ... which is more in a gradient

# Work in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double ELEMENT_FLOPS = 16
cdef double TAP_FLOPS = 2
cdef double TASK_FLOPS = 1e6


cdef struct Parts:
    const TileCall *call
    const fc_kernels *kernel
    int64_t size[3]           # what is split: D, H, W of the target
    int64_t rows, columns     # of a part
    int64_t row_parts, column_parts
    int64_t planes            # per image ...
    int64_t part_planes       # ... and per part
    int64_t plane_parts
    int64_t count             # of all parts
    int64_t task_parts
    int64_t scratch_bytes
    int64_t position_step
    bint out_of_memory


cdef struct Place:
    int64_t n, plane_part, depth, row_part, column_part


cdef int64_t position_step(const fc_pool *pool, int64_t channels, bint channels_last) noexcept nogil:
    cdef int64_t lanes = pool.axis[2].outputs * (channels if channels_last else 1)
    return divide_up(lanes, FC_POSITIONS) * FC_POSITIONS


cdef inline int64_t margin(const fc_pool *pool) noexcept nogil:
    """Bytes in front of positions and behind that vectors may read."""
    return 4 * FC_POSITIONS + 2 * pool.axis[2].taps * pool.axis[2].dilation // pool.axis[2].stride


cdef int64_t position_bytes(const fc_pool *pool, int64_t n, int64_t channels, bint channels_last) noexcept nogil:
    """Bytes of memory for the positions of a call; the first lies a `margin` in."""
    cdef int64_t rows = n * (1 if channels_last else channels) * pool.axis[0].outputs * pool.axis[1].outputs
    return rows * position_step(pool, channels, channels_last) + 2 * margin(pool)


cdef inline int64_t span(const fc_pool_axis *axis) noexcept nogil:
    return (axis.taps - 1) * axis.dilation + 1


cdef inline int64_t sources(const fc_pool_axis *axis) noexcept nogil:
    """The most windows over one element."""
    return min(axis.taps, (axis.taps - 1) * axis.dilation // axis.stride + 1)


cdef bint tiles_serve(const fc_pool *pool) noexcept:
    """Whether windows are of a kind that tiles are for: not much wider than what they are moved by along a row."""
    cdef const fc_pool_axis *width = &pool.axis[2]
    cdef int64_t rows = pool.axis[0].taps * span(&pool.axis[1])
    cdef double places = 0, plane = 1
    cdef int axis
    for axis in range(2, -1, -1):  # places are counted from the start of a window, in 32 bits
        places += plane * span(&pool.axis[axis])
        plane *= pool.axis[axis].extent
    return (width.taps <= max(<int64_t>4, width.outputs) and width.taps <= FC_POOL_TAPS and places < 2**31
            and <double>rows * (64 + span(width) // width.stride) * 16 <= MOST_BYTES)


# ---- how a call is cut -------------------------------------------------------------------------------


cdef int64_t forward_bytes(const Parts *parts, int64_t rows, int64_t columns) noexcept nogil:
    """Scratch that tile/pool.h needs for a part: of each row of the input a value and a place per lane."""
    cdef const TileCall *call = parts.call
    cdef const fc_pool_axis *height = &call.pool.axis[1]
    cdef int64_t item = 8 if call.kind == AVG_PASS else kernels(call.dtype).item * (
        1 if call.positions == NULL and call.indices == NULL else 2)
    cdef int64_t held = min(height.extent, (rows - 1) * height.stride + span(height))
    return (call.pool.axis[0].taps * held * item + 8) * (columns * call.pool.channels + 2 * parts.kernel.lanes)


cdef int64_t gradient_bytes(const Parts *parts, int64_t rows, int64_t columns) noexcept nogil:
    """Scratch that tile/pool_gradient.h needs: rows of grad_output, and for each row who is over it."""
    cdef const TileCall *call = parts.call
    cdef const fc_pool_axis *depth = &call.pool.axis[0]
    cdef const fc_pool_axis *height = &call.pool.axis[1]
    cdef const fc_pool_axis *width = &call.pool.axis[2]
    cdef int64_t held = min(height.outputs, (rows + span(height) - 2) // height.stride + 1)
    cdef int64_t reach = (columns + span(width) - 2) // width.stride + 2
    cdef int64_t windows = sources(depth) * sources(height)
    return (sources(depth) * held * (reach * call.pool.channels + 4 * parts.kernel.lanes) * kernels(call.dtype).item
            + (reach * call.pool.channels + 4 * parts.kernel.lanes) * 8 + rows * (windows * 24 + 8))


cdef int64_t part_bytes(const Parts *parts, int64_t rows, int64_t columns) noexcept nogil:
    if parts.call.kind == GRADIENT_PASS:
        return gradient_bytes(parts, rows, columns)
    return forward_bytes(parts, rows, columns)


cdef void cut(Parts *parts) noexcept nogil:
    """Parts as large as the cache allows: first whole rows, then as many of them as fit."""
    cdef const TileCall *call = parts.call
    cdef int64_t step = 64, cache = CACHE_BYTES, elements
    if call.channels_last and call.channels % FC_POSITIONS == 0:
        step = 1              # parts meet at whole vectors of positions
    parts.columns = max(step, MOST_LANES // call.pool.channels // step * step)
    while parts.columns > step and part_bytes(parts, 1, parts.columns) > cache:
        parts.columns = max(step, parts.columns // 2 // step * step)
    parts.columns = min(parts.columns, parts.size[2])
    cache = max(cache, 3 * part_bytes(parts, 1, parts.columns))  # or rows would be met again and again
    parts.rows = parts.size[1]
    while parts.rows > 1 and part_bytes(parts, parts.rows, parts.columns) > cache:
        parts.rows = divide_up(parts.rows, 2)
    parts.scratch_bytes = part_bytes(parts, parts.rows, parts.columns)
    parts.row_parts = divide_up(parts.size[1], parts.rows)
    parts.column_parts = divide_up(parts.size[2], parts.columns)
    parts.planes = 1 if call.channels_last else call.channels
    elements = GRADIENT_ELEMENTS if call.kind == GRADIENT_PASS else PART_ELEMENTS
    parts.part_planes = min(parts.planes, max(<int64_t>1, elements // (parts.rows * parts.columns)))
    parts.plane_parts = divide_up(parts.planes, parts.part_planes)
    parts.count = call.n * parts.plane_parts * parts.size[0] * parts.row_parts * parts.column_parts


# ---- parts -------------------------------------------------------------------------------------------


cdef Place place_of(const Parts *parts, int64_t number) noexcept nogil:
    cdef Place at
    at.column_part = number % parts.column_parts
    number //= parts.column_parts
    at.row_part = number % parts.row_parts
    number //= parts.row_parts
    at.depth = number % parts.size[0]
    number //= parts.size[0]
    at.plane_part = number % parts.plane_parts
    at.n = number // parts.plane_parts
    return at


cdef inline void advance(const Parts *parts, Place *at) noexcept nogil:
    at.column_part += 1
    if at.column_part < parts.column_parts:
        return
    at.column_part = 0
    at.row_part += 1
    if at.row_part < parts.row_parts:
        return
    at.row_part = 0
    at.depth += 1
    if at.depth < parts.size[0]:
        return
    at.depth = 0
    at.plane_part += 1
    if at.plane_part < parts.plane_parts:
        return
    at.plane_part = 0
    at.n += 1


cdef inline int64_t offset(const View *array, int64_t n, int64_t plane, const fc_pool_part *part) noexcept nogil:
    return (n * array.stride[0] + plane * array.stride[1] + part.depth * array.stride[2] + part.row * array.stride[3]
            + part.column * array.stride[4])


cdef void aim(const Parts *parts, const Place *at, fc_pool_part *part) noexcept nogil:
    """The part at a place: its bounds, and where it lies in all arrays."""
    cdef const TileCall *call = parts.call
    cdef int64_t item = kernels(call.dtype).item, plane = at.plane_part * parts.part_planes
    part.planes = min(parts.part_planes, parts.planes - plane)
    part.depth = at.depth
    part.row = at.row_part * parts.rows
    part.rows = min(parts.rows, parts.size[1] - part.row)
    part.column = at.column_part * parts.columns
    part.columns = min(parts.columns, parts.size[2] - part.column)
    part.source = call.source.data + (at.n * call.source.stride[0] + plane * call.source.stride[1]) * item
    part.target = call.target.data + offset(call.target, at.n, plane, part) * item
    if call.indices != NULL:
        part.indices = <int64_t *>call.indices.data + offset(call.indices, at.n, plane, part)
    if call.positions != NULL:
        part.positions = call.positions + margin(&call.pool) + (at.n * parts.planes + plane) * part.position_plane
        if call.kind == MAX_PASS:
            part.positions += ((part.depth * parts.size[1] + part.row) * part.position_step
                               + part.column * call.pool.channels)


cdef void parts_task(void *context, int64_t task) noexcept nogil:
    cdef Parts *parts = <Parts *>context
    cdef const TileCall *call = parts.call
    cdef int64_t number = task * parts.task_parts
    cdef Place at = place_of(parts, number)
    cdef fc_pool_part part
    cdef int axis
    for axis in range(3):
        part.source_stride[axis] = call.source.stride[2 + axis]
    part.source_stride[3] = call.source.stride[1]
    part.source_plane = call.source.stride[1]
    part.target_plane, part.target_step = call.target.stride[1], call.target.stride[3]
    part.position_step = parts.position_step
    part.position_plane = parts.position_step * call.pool.axis[0].outputs * call.pool.axis[1].outputs
    part.positions, part.indices = NULL, NULL
    if call.indices != NULL:
        part.index_plane, part.index_step = call.indices.stride[1], call.indices.stride[3]
    part.scratch = task_scratch(parts.scratch_bytes)
    if part.scratch == NULL:
        parts.out_of_memory = True
        return
    for number in range(number, min(parts.count, number + parts.task_parts)):
        aim(parts, &at, &part)
        if call.kind == MAX_PASS:
            parts.kernel.pool.max(&call.pool, &part)
        elif call.kind == AVG_PASS:
            parts.kernel.pool.average(&call.pool, &part)
        else:
            parts.kernel.pool.gradient(&call.pool, &part)
        advance(parts, &at)


cdef int run_tiles(const TileCall *call) except -1 nogil:
    """Compute a whole call. `tiles_serve` its windows; rows of the target are contiguous, with their channels if
    those are lanes."""
    cdef Parts parts
    cdef double flops = <double>call.n * call.channels, taps = 1
    cdef int axis
    parts.call = call
    parts.kernel = kernels(call.dtype)
    parts.out_of_memory = False
    parts.position_step = position_step(&call.pool, call.channels, call.channels_last)
    for axis in range(3):
        parts.size[axis] = call.target.size[2 + axis]
        taps *= call.pool.axis[axis].taps
        flops *= max(call.pool.axis[axis].extent, call.pool.axis[axis].outputs)
    cut(&parts)
    if parts.count == 0:
        return 0
    flops *= ELEMENT_FLOPS + TAP_FLOPS * taps
    parts.task_parts = max(<int64_t>1, min(divide_up(parts.count, 8), <int64_t>(TASK_FLOPS / flops * parts.count)))
    parallel(parts_task, &parts, divide_up(parts.count, parts.task_parts), flops)
    if parts.out_of_memory:
        return out_of_memory(b"pooling workspace", 0)
    return 0
