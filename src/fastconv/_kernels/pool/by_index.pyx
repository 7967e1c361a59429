"""Values moved to and from the places that indices name: max-pool's gradient, unpooling and its gradient.

An index is a flat position in one plane, D * H * W of one channel of one image. It is checked where it is used: one
that lies outside moves nothing, and the call tells by giving None. A task is a block of planes; within one, values
move in scan order: sums and overwrites have one result.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, View, close, open_array, real
from fastconv._kernels.engine.fc_api cimport FC_FLOAT64
from fastconv._kernels.engine.fastconv_native cimport parallel
from fastconv._kernels.pool.strides cimport CHANNEL_LANES, TAP_FLOPS, common_step, copy_strides, lanes_of_channels

cdef double TASK_FLOPS = 2e6    # fewer are not worth a task of their own

cdef struct Exchange:
    Movement movement
    int dtype                 # fc_dtype
    int64_t n, channels
    int64_t size[3]           # of the values
    int64_t plane_size[3]
    char *values
    const int64_t *index
    char *plane
    int64_t value_stride[5]
    int64_t index_stride[5]
    int64_t plane_stride[5]
    int64_t place_step        # memory between neighbouring places of a plane; 0 if not the same for all
    bint channels_are_lanes
    bint rows_adjoin          # planes of values, of indices and of places are contiguous
    bint channels_adjoin      # or the channels of a pixel are
    int64_t block             # channels per task
    int64_t blocks
    int64_t count             # of blocks of all images ...
    int64_t task_blocks       # ... and per task
    int64_t places            # of a plane
    bint outside              # an index was not one of them


cdef inline int64_t place(const Exchange *e, int64_t index) noexcept nogil:
    """Where in a plane's memory its flat index lies."""
    if e.place_step:
        return index * e.place_step
    return (index // (e.plane_size[1] * e.plane_size[2]) * e.plane_stride[2]
            + index // e.plane_size[2] % e.plane_size[1] * e.plane_stride[3]
            + index % e.plane_size[2] * e.plane_stride[4])


cdef bint add_run(const real *values, const int64_t *index, real *plane, int64_t count, uint64_t places,
                  int64_t place_step, int64_t plane_step) noexcept nogil:
    """The common case of `move`: values and indices contiguous. Whether all indices are inside."""
    cdef int64_t i
    cdef bint inside = True
    for i in range(count):
        if <uint64_t>index[i] < places:
            plane[i * plane_step + index[i] * place_step] += values[i]
        else:
            inside = False
    return inside


cdef void move(Exchange *e, real *values, const int64_t *index, real *plane, int64_t count, int axis,
               int64_t plane_step) noexcept nogil:
    """`count` values along an axis, each with its index; planes are `plane_step` apart (0: only one)."""
    cdef int64_t i, value_step = e.value_stride[axis], index_step = e.index_stride[axis]
    cdef real *at
    for i in range(count):
        if <uint64_t>index[i * index_step] >= <uint64_t>e.places:
            e.outside = True
            continue
        at = plane + i * plane_step + place(e, index[i * index_step])
        if e.movement == ADD:
            at[0] += values[i * value_step]
        elif e.movement == PUT:
            at[0] = values[i * value_step]
        else:
            values[i * value_step] = at[0]


cdef void clear(const Exchange *e, real *plane, int64_t channels) noexcept nogil:
    """Zero planes of an array from `geometry.new_output`: each is one run of memory, or all interleave."""
    cdef int64_t pixel, pixels = e.plane_size[0] * e.plane_size[1] * e.plane_size[2]
    if not e.channels_are_lanes or (channels == e.channels and e.place_step == channels):
        memset(plane, 0, pixels * (channels if e.channels_are_lanes else 1) * sizeof(real))
        return
    for pixel in range(pixels):
        memset(plane + place(e, pixel), 0, channels * sizeof(real))


cdef void move_block(Exchange *e, int64_t n, int64_t channel, real *values, real *plane) noexcept nogil:
    cdef int64_t z, y, x, channels = min(e.block, e.channels - channel)
    cdef const int64_t *index = e.index + n * e.index_stride[0] + channel * e.index_stride[1]
    cdef const int64_t *row_index
    cdef real *row
    values += n * e.value_stride[0] + channel * e.value_stride[1]
    plane += n * e.plane_stride[0] + channel * e.plane_stride[1]
    if e.movement != GET:
        clear(e, plane, channels)
    if e.rows_adjoin and e.movement == ADD:
        if not add_run(values, index, plane, e.size[0] * e.size[1] * e.size[2], e.places, 1, 0):
            e.outside = True
        return
    for z in range(e.size[0]):
        for y in range(e.size[1]):
            row = values + z * e.value_stride[2] + y * e.value_stride[3]
            row_index = index + z * e.index_stride[2] + y * e.index_stride[3]
            if not e.channels_are_lanes:
                move(e, row, row_index, plane, e.size[2], 4, 0)
                continue
            for x in range(e.size[2]):
                if e.channels_adjoin and e.movement == ADD:
                    if not add_run(row + x * e.value_stride[4], row_index + x * e.index_stride[4], plane, channels,
                                   e.places, e.place_step, 1):
                        e.outside = True
                    continue
                move(e, row + x * e.value_stride[4], row_index + x * e.index_stride[4], plane, channels, 1,
                     e.plane_stride[1])


cdef void exchange_task(void *context, int64_t task) noexcept nogil:
    cdef Exchange *e = <Exchange *>context
    cdef int64_t block, n, channel
    for block in range(task * e.task_blocks, min(e.count, (task + 1) * e.task_blocks)):
        n, channel = block // e.blocks, block % e.blocks * e.block
        if e.dtype == FC_FLOAT64:
            move_block(e, n, channel, <double *>e.values, <double *>e.plane)
        else:
            move_block(e, n, channel, <float *>e.values, <float *>e.plane)


cdef bint exchange(Movement movement, const View *values, const View *indices, const View *plane) except -1 nogil:
    """Whether all indices lay inside."""
    cdef Exchange e
    cdef int axis
    cdef double pixels = 1, flops
    cdef int64_t places = 1
    e.movement = movement
    e.dtype = values.dtype
    e.n, e.channels = values.size[0], values.size[1]
    e.values, e.index, e.plane = values.data, <const int64_t *>indices.data, plane.data
    copy_strides(values, e.value_stride)
    copy_strides(indices, e.index_stride)
    copy_strides(plane, e.plane_stride)
    for axis in range(3):
        e.size[axis], e.plane_size[axis] = values.size[axis + 2], plane.size[axis + 2]
        pixels *= e.size[axis]
        places *= e.plane_size[axis]
    e.places, e.outside = places, False
    e.place_step = common_step(plane)
    e.channels_are_lanes = lanes_of_channels(e.channels, e.plane_stride)
    e.rows_adjoin = not e.channels_are_lanes and e.place_step == 1 and common_step(values) == 1 and (
        common_step(indices) == 1)
    e.channels_adjoin = e.channels_are_lanes and e.place_step > 0 and e.value_stride[1] == 1 and (
        e.index_stride[1] == 1)
    e.block = 1
    if e.channels_are_lanes:  # few blocks: each looks at every pixel
        e.block = min(e.channels, max(<int64_t>CHANNEL_LANES, divide_up(e.n * e.channels, 4)))
    e.blocks = divide_up(e.channels, e.block)
    # zeroing a place costs a tenth of moving a value
    flops = TAP_FLOPS * e.n * e.channels * (pixels + 0.1 * places)
    e.count = e.n * e.blocks
    e.task_blocks = max(<int64_t>1, min(divide_up(e.count, 16), <int64_t>(e.count * TASK_FLOPS / max(1, flops))))
    parallel(exchange_task, &e, divide_up(e.count, e.task_blocks), flops)
    return not e.outside


cdef bint exchange_arrays(Movement movement, values, indices, plane, int spatial_rank, bint batched) except -1:
    """`exchange` of Python's arrays."""
    cdef Opened opened
    cdef View *views[3]
    opened.count = 0
    try:
        views[0] = open_array(&opened, values, spatial_rank, batched, movement == GET)
        views[1] = open_array(&opened, indices, spatial_rank, batched, False)
        views[2] = open_array(&opened, plane, spatial_rank, batched, movement != GET)
        with nogil:
            return exchange(movement, views[0], views[1], views[2])
    finally:
        close(&opened)


def scatter_add(grad_output, indices, out, int spatial_rank, bint batched):
    """out = 0, then out[n, c, indices[n, c, ...]] += grad_output[n, c, ...] in scan order."""
    return out if exchange_arrays(ADD, grad_output, indices, out, spatial_rank, batched) else None


def scatter(input, indices, out, int spatial_rank, bint batched):
    """out = 0, then out[n, c, indices[n, c, ...]] = input[n, c, ...] in scan order."""
    return out if exchange_arrays(PUT, input, indices, out, spatial_rank, batched) else None


def gather(grad_output, indices, out, int spatial_rank, bint batched):
    """out[n, c, ...] = grad_output[n, c, indices[n, c, ...]]."""
    return out if exchange_arrays(GET, out, indices, grad_output, spatial_rank, batched) else None
