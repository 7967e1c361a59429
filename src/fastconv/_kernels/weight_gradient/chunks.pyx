"""How the operands of a weight gradient are cut into chunks and laid out in scratch memory.

A chunk is a box of output positions: several images, or one image and several planes of it, or one plane and
several rows, or one row and a piece of it. The input under its windows is copied once, padding included, so that
every tap of every position is a plain shift: along an axis of stride s the input positions are split by remainder
modulo s into *runs*, in which neighbouring outputs are neighbours. Taps so far apart that they share little of a run
(a large dilation) get runs of their own.
"""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef int lay_out_axis(Axis *axis, int64_t block, int64_t dilation, int64_t before) except -1:
    """Runs for `block` outputs: one per remainder of the taps' positions modulo the step, if sharing pays."""
    cdef int64_t period = 1, room = (block - 1) * (axis.stride // axis.step) + 1, tap, other, sharing, apart
    cdef bint shared
    axis.block = block
    axis.runs, axis.length = 0, room
    axis.first = <int64_t *>malloc(3 * axis.taps * sizeof(int64_t))
    if axis.first == NULL:
        raise MemoryError(f"tables of {axis.taps} taps")
    axis.run = axis.first + axis.taps
    axis.start = axis.run + axis.taps
    while period < axis.taps and period * dilation % axis.step:
        period += 1
    apart = period * dilation // axis.step  # how far two neighbours of equal remainder lie apart in their run
    for tap in range(min(period, axis.taps)):
        sharing = (axis.taps - tap - 1) // period
        shared = sharing == 0 or apart <= room
        if shared:
            axis.length = max(axis.length, room + sharing * apart)
        other = tap
        while other < axis.taps:
            if not shared or other == tap:
                axis.first[axis.runs] = other * dilation - before
                axis.runs += 1
            axis.run[other] = axis.runs - 1
            axis.start[other] = (other - tap) // period * apart if shared else 0
            other += period
    return 0


cdef int lay_out_strips(Strips *strips, object geometry, int64_t positions, bint whole_width) except -1:
    """Chunks of about `positions` output positions, never less than one.

    `whole_width` keeps the input in one run along W, whatever the stride.
    """
    cdef int64_t block, d
    cdef Axis *axis
    strips.chunks = 1
    for d in range(2, -1, -1):
        axis = &strips.axis[d]
        axis.taps, axis.stride = geometry.kernel[d], geometry.stride[d]
        axis.extent, axis.count = geometry.input_size[d], geometry.output_size[d]
        axis.step = 1 if whole_width and d == 2 else axis.stride
        block = max(1, min(axis.count, positions))
        block = divide_up(axis.count, divide_up(axis.count, block))
        lay_out_axis(axis, block, geometry.dilation[d], geometry.before[d])
        positions //= axis.count
        strips.blocks[d + 1] = divide_up(axis.count, block)
        strips.chunks *= strips.blocks[d + 1]
    strips.n = geometry.n
    strips.block_n = max(1, min(strips.n, positions))
    strips.block_n = divide_up(max(1, strips.n), divide_up(max(1, strips.n), strips.block_n))
    strips.blocks[0] = divide_up(strips.n, strips.block_n)
    strips.chunks *= strips.blocks[0]
    return 0


cdef void free_strips(Strips *strips) noexcept:
    cdef int d
    for d in range(3):
        free(strips.axis[d].first)
        strips.axis[d].first = NULL


cdef void find_chunk(const Strips *strips, int64_t index, Chunk *chunk) noexcept nogil:
    cdef int64_t d
    cdef const Axis *axis
    for d in range(2, -1, -1):
        axis = &strips.axis[d]
        chunk.begin[d] = index % strips.blocks[d + 1] * axis.block
        chunk.count[d] = min(axis.block, axis.count - chunk.begin[d])
        index //= strips.blocks[d + 1]
    chunk.n = index * strips.block_n
    chunk.n_count = min(strips.block_n, strips.n - chunk.n)


cdef int64_t tap_place(const Strips *strips, const Place *place, int64_t tap) noexcept nogil:
    """Where `copy_input` puts what the tap sees of a chunk's first output."""
    cdef int64_t result = 0, d
    cdef const Axis *axis
    for d in range(2, -1, -1):
        axis = &strips.axis[d]
        result += (axis.run[tap % axis.taps] * place.run[d] + axis.start[tap % axis.taps] * place.position[d])
        tap //= axis.taps
    return result


cdef int64_t list_offsets(const Strips *strips, const Place *place, const Chunk *chunk, int64_t *offset) noexcept nogil:
    """Where `copy_input` puts each position of a chunk, as its first tap sees it; returns how many there are."""
    cdef const Axis *axis = &strips.axis[0]
    cdef int64_t count = 0, n, d, h, w, base, step = axis[2].stride // axis[2].step * place.position[2]
    for n in range(chunk.n_count):
        for d in range(chunk.count[0]):
            for h in range(chunk.count[1]):
                base = n * place.n + d * place.position[0] + h * place.position[1]
                for w in range(chunk.count[2]):
                    offset[count] = base + w * step
                    count += 1
    return count


cdef bint reaches_padding(object geometry):
    """Whether some windows reach into the padding."""
    cdef int64_t axis, reach
    for axis in range(3):
        reach = (geometry.output_size[axis] - 1) * geometry.stride[axis] - geometry.before[axis]
        reach += (geometry.kernel[axis] - 1) * geometry.dilation[axis]  # the last position under a window
        if geometry.before[axis] > 0 or reach >= geometry.input_size[axis]:
            return True
    return False


cdef void inside(const Axis *axis, int64_t run, int64_t begin, int64_t *low, int64_t *high) noexcept nogil:
    """Elements low..high-1 of a run lie inside the input, for a chunk at output `begin`."""
    cdef int64_t source = axis.first[run] + begin * axis.stride
    low[0] = 0 if source >= 0 else min(axis.length, divide_up(-source, axis.step))
    high[0] = low[0]
    if source < axis.extent:
        high[0] = max(low[0], min(axis.length, divide_up(axis.extent - source, axis.step)))


cdef void copy_input(const Strips *strips, const Chunk *chunk, const fc_kernels *kernel, int64_t item,
                     const char *source, const int64_t *stride, int64_t channels, char *to,
                     const Place *place) noexcept nogil:
    """The input under a chunk's windows. What lies in the padding is not written: zeros are there already."""
    cdef const Axis *axis = &strips.axis[0]
    cdef int64_t n, k, d, from_offset, to_offset
    cdef int64_t run[3]
    cdef int64_t low[3]
    cdef int64_t high[3]
    cdef int64_t *from_stride = [stride[1], axis[1].step * stride[3], axis[2].step * stride[4]]
    cdef int64_t *to_stride = [place.channel, place.position[1], place.position[2]]
    for run[0] in range(axis[0].runs):
        inside(&axis[0], run[0], chunk.begin[0], &low[0], &high[0])
        for run[1] in range(axis[1].runs):
            inside(&axis[1], run[1], chunk.begin[1], &low[1], &high[1])
            for run[2] in range(axis[2].runs):
                inside(&axis[2], run[2], chunk.begin[2], &low[2], &high[2])
                from_offset, to_offset = chunk.n * stride[0], 0
                for d in range(3):
                    from_offset += (axis[d].first[run[d]] + chunk.begin[d] * axis[d].stride
                                    + low[d] * axis[d].step) * stride[d + 2]
                    to_offset += run[d] * place.run[d] + low[d] * place.position[d]
                for n in range(chunk.n_count):
                    for k in range(high[0] - low[0]):
                        copy_block(kernel, item,
                                   source + (from_offset + n * stride[0] + k * axis[0].step * stride[2]) * item,
                                   from_stride, to + (to_offset + n * place.n + k * place.position[0]) * item,
                                   to_stride, [channels, high[1] - low[1], high[2] - low[2]])


cdef void copy_block(const fc_kernels *kernel, int64_t item, const char *source, const int64_t *stride, char *to,
                     const int64_t *to_stride, const int64_t *size) noexcept nogil:
    """Rows of several channels; triples are channel, row, position. Positions or channels are adjacent in `to`."""
    cdef int64_t i, channels = size[0], rows = size[1], width = size[2], panel = to_stride[2], channel, done, count
    if rows < 1 or width < 1:
        return
    if rows > 1 and to_stride[1] == width * to_stride[2] and stride[1] == width * stride[2]:
        width, rows = width * rows, 1
    if panel != 1:
        for i in range(rows):
            done = 0
            while done < width:
                count = positions_at_once(stride[0], width - done)
                channel = 0
                while channel < channels:
                    kernel.copy.pack(to + (channel // panel * to_stride[0] + i * to_stride[1] + done * panel) * item,
                                     panel, min(panel, channels - channel), count,
                                     source + (channel * stride[0] + i * stride[1] + done * stride[2]) * item,
                                     stride[0], stride[2])
                    channel += panel
                done += count
    elif rows == 1 or stride[0] == 1:
        for i in range(rows):
            kernel.copy.pack(to + i * to_stride[1] * item, to_stride[0], width, channels, source + i * stride[1] * item,
                             stride[2], stride[0])
    else:
        for i in range(channels):
            kernel.copy.pack(to + i * to_stride[0] * item, to_stride[1], width, rows, source + i * stride[0] * item,
                             stride[2], stride[1])


cdef void pack_gradient(const Chunk *chunk, const fc_kernels *kernel, int64_t item, const char *source,
                        const int64_t *stride, int64_t channels, int64_t panels, int64_t width,
                        char *to) noexcept nogil:
    """A chunk of grad_output as panels whose depth is its positions, one behind the other: each with room for `width`
    channels, or (0) of even widths without room for more."""
    cdef int64_t height = chunk.count[1], across = chunk.count[2], done = 0, n, d, h, w, i, positions, first, count
    cdef int64_t depth = chunk.n_count * chunk.count[0] * chunk.count[1] * chunk.count[2]
    cdef const char *base
    if stride[3] == across * stride[4]:
        across, height = across * height, 1
    for n in range(chunk.n, chunk.n + chunk.n_count):
        for d in range(chunk.begin[0], chunk.begin[0] + chunk.count[0]):
            base = source + (n * stride[0] + d * stride[2] + chunk.begin[1] * stride[3]
                             + chunk.begin[2] * stride[4]) * item
            for h in range(height):
                w = 0
                while w < across:
                    positions = positions_at_once(stride[1], across - w)
                    for i in range(panels):
                        first = i * width if width else i * channels // panels
                        count = min(width, channels - first) if width else (i + 1) * channels // panels - first
                        kernel.copy.pack(to + (first * depth + done * (width or count)) * item, width or count, count,
                                         positions, base + (first * stride[1] + h * stride[3] + w * stride[4]) * item,
                                         stride[1], stride[4])
                    w += positions
                    done += positions
