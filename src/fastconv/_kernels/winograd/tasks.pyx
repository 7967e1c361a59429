"""What one task of a Winograd convolution does: the walks that plan.pyx chooses between.

A product at a point is formed either way round. Rows are output channels and columns (lanes) are tiles where tiles lie
beside each other in memory and there are many of them; else rows are tiles and columns are channels. If channels are
adjacent in memory they are the lanes of the transforms, too, and the transformed inputs of a tile lie along the depth.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport fc_finish, fc_kernels, fc_winograd_run
from fastconv._kernels.engine.fastconv_native cimport task_scratch
from fastconv._kernels.winograd.tiles cimport (
    MOST_LANES, Place, Tiles, apart, find_places, output_runs, taps_scratch, transform_inputs,
    transform_weights,
)


# ---- outputs -----------------------------------------------------------------------------------------


cdef struct Targets:
    Place places[MOST_LANES]
    fc_winograd_run runs[MOST_LANES]
    int count


cdef inline int64_t tiles_at_once(const WinogradCall *call) noexcept nogil:
    """Tiles whose sums are transformed back together."""
    return MOST_LANES if call.tiles.channels_last else call.tiles.kernel.lanes


cdef void find_targets(WinogradCall *call, int64_t group, int64_t first, int64_t count, int64_t channel,
                       Targets *targets) noexcept nogil:
    """Where at most `tiles_at_once` tiles, from number `first` on, have their outputs of a channel of a group."""
    cdef int64_t offset = (group * call.dense.channels + channel) * call.out_stride[1] * call.tiles.itemsize
    targets.count = find_places(&call.tiles, first, count, targets.places)
    output_runs(&call.tiles, targets.places, targets.count, call.out_stride, call.out + offset, targets.runs)


cdef void next_channels(WinogradCall *call, int64_t channels, Targets *targets) noexcept nogil:
    """Move on by so many channels."""
    cdef int64_t offset = channels * call.out_stride[1] * call.tiles.itemsize
    cdef int i, row
    for i in range(targets.count):
        for row in range(call.tiles.transform.tile_y):
            if targets.runs[i].row[row] != NULL:
                targets.runs[i].row[row] = <char *>targets.runs[i].row[row] + offset


cdef void write_outputs(WinogradCall *call, const Targets *targets, int64_t group, int64_t channel, int64_t channels,
                        const char *sums, int64_t point_step, int64_t step) noexcept nogil:
    """Transform sums of `channels` channels back, into the output; rows of sums lie `step` apart."""
    cdef int64_t infinite, lanes
    cdef const char *bias = NULL
    cdef fc_finish finish
    cdef int i
    memset(&finish, 0, sizeof(finish))
    finish.final = True
    finish.activation = call.activation
    finish.slope = call.slope
    if call.bias != NULL:
        bias = call.bias + (group * call.dense.channels + channel) * call.tiles.itemsize
    if call.tiles.channels_last:
        finish.column_bias = bias
        infinite = call.tiles.transform.output_channels(targets.runs, targets.count, sums, point_step, step, channels,
                                                        &finish)
        for i in range(targets.count):
            if infinite >> i & 1:
                call.finite[targets.places[i].n] = 0
        return
    finish.row_bias = bias
    infinite = call.tiles.transform.output(targets.runs, targets.count, call.out_stride[1], sums, point_step, step,
                                           <int>channels, &finish)
    if infinite:
        for i in range(targets.count):
            lanes = ((<int64_t>1 << targets.places[i].tiles) - 1) << targets.places[i].lane
            if infinite & lanes:
                call.finite[targets.places[i].n] = 0


# ---- products ----------------------------------------------------------------------------------------


cdef void multiply_channels(const WinogradCall *call, int64_t depth, const char *u, const char *v, char *sums,
                            int64_t channels, int64_t tiles, bint accumulate) noexcept nogil:
    """sums[channel][tile] (+)= u[k][channel] * v[k][tile], cut by cut."""
    cdef int64_t item = call.tiles.itemsize, k = 0, count
    cdef fc_finish finish
    memset(&finish, 0, sizeof(finish))
    while k < depth:
        count = min(call.cut, depth - k)
        finish.accumulate = accumulate or k > 0
        call.tiles.kernel.gemm.tile(count, u + k * channels * item, v + k * call.block * item, call.block, sums,
                                    call.row_offset, <int>channels, <int>tiles, &finish)
        k += count


cdef void multiply_tiles(const WinogradCall *call, int64_t depth, const char *u, const char *v, char *sums,
                         int64_t channels, int64_t tiles, bint accumulate) noexcept nogil:
    """sums[tile][channel] (+)= v[tile, k] * u[k][channel], cut by cut; panels of tiles lie `depth` elements per tile
    apart."""
    cdef const fc_kernels *kernel = call.tiles.kernel
    cdef int64_t item = call.tiles.itemsize, width = call.channel_width, k = 0, count, tile, rows
    cdef fc_finish finish
    memset(&finish, 0, sizeof(finish))
    while k < depth:
        count = min(call.cut, depth - k)
        finish.accumulate = accumulate or k > 0
        tile = 0
        while tile < tiles:
            rows = min(call.tile_width, tiles - tile)
            if call.tiles.channels_last:
                kernel.gemm.tile_of_rows(count, v + (tile * depth + k) * item, depth, u + k * width * item,
                                         call.k_offset, sums + tile * width * item, call.row_offset, <int>rows,
                                         <int>channels, &finish)
            else:
                kernel.gemm.tile(count, v + (tile * depth + k * rows) * item, u + k * width * item, width,
                                 sums + tile * width * item, call.row_offset, <int>rows, <int>channels, &finish)
            tile += rows
        k += count


# ---- many tiles --------------------------------------------------------------------------------------


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Transform one weight panel of one group, chunk by chunk."""
    cdef WinogradCall *call = <WinogradCall *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.tiles.itemsize, step = weights_step(call), c = 0
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t width = call.channel_width
    cdef char *u = call.u + index * call.tiles.transform.points * step * item
    cdef char *taps = <char *>task_scratch(taps_scratch(&call.tiles, width) * item)
    if taps == NULL:
        call.out_of_memory = True
        return
    if not call.weights.padded:
        width = min(width, d.channels - panel * width)
    while c < d.depth:
        transform_weights(&call.tiles, &call.weights, group, panel, c, min(call.depth, d.depth - c), taps,
                          u + c * call.tiles.piece_count * width * item, step)
        c += call.depth


cdef void hold_inputs(const WinogradCall *call, int64_t group, int64_t first, int64_t count, int64_t channel,
                      int64_t channels, char *v) noexcept nogil:
    """Transform some channels of the inputs of a block of tiles, chunk by chunk."""
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, step = inputs_step(call), c = 0, some, point, lanes = t.kernel.lanes
    cdef const char *source = call.source + (group * call.dense.depth + channel) * t.window.stride[1] * item
    while c < channels:
        some = min(call.depth, channels - c)
        transform_inputs(t, source + c * t.window.stride[1] * item, first, count, some,
                         v + c * t.piece_count * call.block * item, step,
                         some * t.piece_count if t.channels_last else call.block)
        c += some
    if not t.channels_last and count % lanes:  # the micro-kernel multiplies whole vectors
        for point in range(t.transform.points):
            t.kernel.copy.clear(v + (point * step + count) * item, call.block, lanes - count % lanes,
                                channels * t.piece_count)


cdef void multiply_panel(const WinogradCall *call, int64_t rows, int64_t tiles, int64_t channel, int64_t channels,
                         const char *u, const char *v, char *sums) noexcept nogil:
    """All points' products of one weight panel with the inputs held, chunk by chunk."""
    cdef int64_t item = call.tiles.itemsize, pieces = call.tiles.piece_count, point, c, count
    cdef int64_t width = call.channel_width if call.weights.padded else rows
    cdef int64_t u_step = weights_step(call) * item, v_step = inputs_step(call) * item, step = sums_step(call) * item
    cdef const char *weights
    cdef const char *inputs
    for point in range(call.tiles.transform.points):
        c = 0
        while c < channels:
            count = min(call.depth, channels - c)
            weights = u + point * u_step + (channel + c) * pieces * width * item
            inputs = v + point * v_step + c * pieces * call.block * item
            if call.tile_rows:
                multiply_tiles(call, count * pieces, weights, inputs, sums, rows, tiles, channel + c > 0)
            else:
                multiply_channels(call, count * pieces, weights, inputs, sums, rows, tiles, channel + c > 0)
            c += count
        sums += step


cdef void tiles_task(void *context, int64_t index) noexcept nogil:
    """One block of tiles times one part of the output channels of a group."""
    cdef WinogradCall *call = <WinogradCall *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, points = t.transform.points, at_once = tiles_at_once(call)
    cdef int64_t part = index % call.parts
    cdef int64_t first = index // call.parts % call.blocks * call.block
    cdef int64_t group = index // call.parts // call.blocks
    cdef int64_t tiles = min(call.block, t.count - first)
    cdef int64_t first_panel = part * call.channel_panels // call.parts
    cdef int64_t last_panel = (part + 1) * call.channel_panels // call.parts
    cdef int64_t c = 0, count, panel, rows, i, vectors = divide_up(tiles, at_once)
    cdef int64_t row_step = call.channel_width if call.tile_rows else call.block
    cdef int64_t vector_step = at_once * (call.channel_width if call.tile_rows else 1)
    cdef int64_t u_panel = points * weights_step(call)
    cdef Targets targets[MOST_VECTORS]
    cdef const char *u = call.u + (group * call.channel_panels + first_panel) * u_panel * item
    cdef char *v = <char *>task_scratch(tiles_scratch(call, last_panel - first_panel) * item)
    cdef char *sums
    if v == NULL:
        call.out_of_memory = True
        return
    for i in range(vectors):
        find_targets(call, group, first + i * at_once, min(at_once, tiles - i * at_once),
                     first_panel * call.channel_width, &targets[i])
    while c < d.depth:
        count = min(call.held, d.depth - c)
        hold_inputs(call, group, first, tiles, c, count, v)
        sums = v + points * inputs_step(call) * item
        for panel in range(first_panel, last_panel):
            rows = min(call.channel_width, d.channels - panel * call.channel_width)
            multiply_panel(call, rows, tiles, c, count, u + (panel - first_panel) * u_panel * item, v, sums)
            if c + count == d.depth:
                for i in range(vectors):
                    write_outputs(call, &targets[i], group, panel * call.channel_width, rows,
                                  sums + i * vector_step * item, sums_step(call), row_step)
                    next_channels(call, rows, &targets[i])
            if call.held < d.depth:
                sums += points * sums_step(call) * item
        c += count


# ---- few tiles ---------------------------------------------------------------------------------------


cdef void inputs_task(void *context, int64_t index) noexcept nogil:
    """Transform one chunk of the depth of one panel of tiles of the block."""
    cdef WinogradCall *call = <WinogradCall *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, block = min(call.block, t.count - call.first)
    cdef int64_t panels = divide_up(block, call.tile_width), chunks = divide_up(d.depth, call.depth)
    cdef int64_t tile = index % panels * call.tile_width, chunk = index // panels % chunks
    cdef int64_t group = index // panels // chunks, c = chunk * call.depth
    cdef int64_t rows = min(call.tile_width, block - tile), count = min(call.depth, d.depth - c)
    cdef char *v = call.v + (group * transformed_inputs(call) + chunk * t.transform.points * chunk_step(call)
                             + tile * count * t.piece_count) * item
    transform_inputs(t, call.source + (group * d.depth + c) * t.window.stride[1] * item, call.first + tile, rows,
                     count, v, chunk_step(call), count * t.piece_count if t.channels_last else rows)


cdef void channels_task(void *context, int64_t index) noexcept nogil:
    """One panel of output channels of a group times all tiles of the block."""
    cdef WinogradCall *call = <WinogradCall *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, width = call.channel_width, points = t.transform.points
    cdef int64_t block = min(call.block, t.count - call.first)
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t channel = panel * width, channels = min(width, d.channels - channel), c = 0, count, point
    cdef int64_t made_step = apart(t, call.depth * t.piece_count * width), u_step = made_step
    cdef const char *v = call.v + group * transformed_inputs(call) * item
    cdef char *taps = <char *>task_scratch(channels_scratch(call) * item)
    cdef char *made = taps + taps_scratch(t, width) * item
    cdef char *sums = made + points * made_step * item
    cdef const char *u = made
    if taps == NULL:
        call.out_of_memory = True
        return
    if call.u != NULL:
        u_step = weights_step(call)
        u = call.u + index * points * u_step * item
    while c < d.depth:
        count = min(call.depth, d.depth - c)
        if call.u == NULL:
            transform_weights(t, &call.weights, group, panel, c, count, taps, made, u_step)
        for point in range(points):
            multiply_tiles(call, count * t.piece_count, u + point * u_step * item, v + point * chunk_step(call) * item,
                           sums + point * sums_step(call) * item, channels, block, c > 0)
        if call.u != NULL:
            u += count * t.piece_count * width * item
        v += points * chunk_step(call) * item
        c += count
    write_block(call, group, channel, channels, block, sums)


cdef void write_block(WinogradCall *call, int64_t group, int64_t channel, int64_t channels, int64_t block,
                      char *sums) noexcept nogil:
    """Transform the sums of a block back, turned if their lanes are not those of the output."""
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, width = call.channel_width, points = t.transform.points, lanes = t.kernel.lanes
    cdef int64_t tile = 0, rows, point, step = sums_step(call), turned_step = apart(t, lanes * width)
    cdef char *turned = sums + points * step * item
    cdef Targets targets
    while tile < block:
        rows = min(tiles_at_once(call), block - tile)
        find_targets(call, group, call.first + tile, rows, channel, &targets)
        if t.channels_last:
            write_outputs(call, &targets, group, channel, channels, sums + tile * width * item, step, width)
        else:
            for point in range(points):
                t.kernel.copy.pack(turned + point * turned_step * item, lanes, rows, channels,
                                   sums + (point * step + tile * width) * item, width, 1)
            write_outputs(call, &targets, group, channel, channels, turned, turned_step, lanes)
        tile += rows
