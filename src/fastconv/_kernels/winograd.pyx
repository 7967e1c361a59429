"""Convolutions of stride 1 by Winograd's minimal filtering, fused per block of tiles.

Products are formed per point of the transformed tiles: sums[point] = u[point] . v[point], with u the transformed
weights and v the transformed inputs (winograd_tiles.pyx), accumulated over chunks of the depth. Whichever of the two
is smaller is transformed once per call; the other never leaves the cache:

    many tiles, few weights: a task owns a panel of tiles and a part of the output channels (`tiles_task`)
        for each chunk of the depth:
            transform the panel's inputs
            for each point, for each weight panel: a tile of sums, channels x tiles
    few tiles, many weights: a task owns a panel of output channels and all tiles of a block (`channels_task`)
        for each chunk of the depth:
            transform the panel's weights
            for each point, for each panel of tiles: a tile of sums, tiles x channels

Then it transforms the sums back into the output, with bias and activation. The bits are the same either way.

The transforms spread an infinity or NaN over its whole tile, and may overflow where the plain sum does not. An
image whose output is not finite everywhere is therefore computed again by the direct algorithm: non-finite values
then stand exactly where that puts them, and the image's bits still depend on nothing but the image.
"""

import dataclasses

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.conv cimport DensePlan
from fastconv._kernels.dense cimport Dense, Subconvolutions, divide_up
from fastconv._kernels.fc_api cimport FC_MAX_ROWS, fc_finish, fc_kernels, fc_winograd_run
from fastconv._kernels.native cimport (
    give_scratch, kernels, parallel, take_scratch, task_scratch, worker_threads,
)
from fastconv._kernels.packed cimport FORM_WINOGRAD, Form, Lease, give_back, lease
from fastconv._kernels.weights cimport Weights, describe_weights
from fastconv._kernels.winograd_tiles cimport (
    MOST_LANES, Place, Tiles, apart, describe_tiles, find_places, output_runs, taps_scratch, transform_inputs,
    transform_weights,
)

cdef int64_t PART_CHANNELS = 256   # output channels of a task: their sums stay in L2
cdef int64_t MOST_PIECES = 64      # of a kernel: they deepen a product that is not cut between them
cdef int64_t BLOCK_BYTES = 5 << 20 # transformed inputs of a block of tiles
cdef int64_t BLOCK_TILES = 256     # whose sums, for one panel of channels, stay in L2


cdef struct Call:
    const Dense *dense
    Tiles tiles
    Weights weights
    const char *source
    const char *bias
    char *out
    char *u                   # transformed weights: per group, chunk, panel: [point][k][channel]
    char *v                   # or transformed inputs of a block: per group, chunk, panel: [point][k][tile]
    char *finite              # per image: 0 if an output is infinite or NaN
    int64_t out_stride[5]
    int64_t depth             # source channels of a chunk
    int64_t channel_width, channel_panels
    int64_t panels, parts     # panels of tiles, parts of the weight panels (many tiles)
    int64_t block, tile_width # tiles of a block, of a panel (few tiles)
    int64_t first             # tile of the block that is computed
    bint few_tiles
    int activation
    double slope
    bint out_of_memory


# ---- both ways ---------------------------------------------------------------------------------------


cdef void write_outputs(Call *call, int64_t group, int64_t first, int64_t count, int64_t channel, int64_t channels,
                        const char *sums, int64_t point_step, int64_t sums_step) noexcept nogil:
    """Transform the sums of at most a vector of tiles back, into the output."""
    cdef const Dense *d = call.dense
    cdef int64_t item = call.tiles.itemsize, infinite
    cdef Place places[MOST_LANES]
    cdef fc_winograd_run runs[MOST_LANES]
    cdef fc_finish finish
    cdef int i, found = find_places(&call.tiles, first, count, places)
    memset(&finish, 0, sizeof(finish))
    finish.final = True
    finish.activation = call.activation
    finish.slope = call.slope
    if call.bias != NULL:
        finish.row_bias = call.bias + (group * d.channels + channel) * item
    output_runs(&call.tiles, places, found, call.out_stride,
                call.out + (group * d.channels + channel) * call.out_stride[1] * item, runs)
    infinite = call.tiles.transform.output(runs, found, call.out_stride[1], sums, point_step, sums_step,
                                           <int>channels, &finish)
    if infinite:
        for i in range(found):
            if infinite >> places[i].lane & ((<int64_t>1 << places[i].tiles) - 1):
                call.finite[places[i].n] = 0


cdef inline void partial_sums(fc_finish *finish, int64_t *row_offset, int64_t step) noexcept nogil:
    """How products go to sums whose rows lie `step` apart."""
    cdef int i
    memset(finish, 0, sizeof(fc_finish))
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * step


# ---- many tiles --------------------------------------------------------------------------------------


cdef inline int64_t transformed_weights(const Call *call) noexcept nogil:
    """Elements of the transformed weights of a group: panels of chunks."""
    return (call.channel_panels * divide_up(call.dense.depth, call.depth)
            * call.tiles.transform.points * apart(&call.tiles, call.depth * call.tiles.piece_count * call.channel_width))


cdef inline int64_t tiles_scratch(const Call *call, int64_t channels) noexcept nogil:
    """Elements of scratch of a task: transformed inputs, sums."""
    cdef int64_t width = call.tiles.kernel.max_columns
    return call.tiles.transform.points * (apart(&call.tiles, call.depth * call.tiles.piece_count * width)
                                          + apart(&call.tiles, channels * width))


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Transform one weight panel of one group, chunk by chunk."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.tiles.itemsize, points = call.tiles.transform.points
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t step = apart(&call.tiles, call.depth * call.tiles.piece_count * call.channel_width), c = 0
    cdef char *u = call.u + (group * transformed_weights(call) + panel * points * step) * item
    cdef char *taps = <char *>task_scratch(taps_scratch(&call.tiles, call.channel_width) * item)
    if taps == NULL:
        call.out_of_memory = True
        return
    while c < d.depth:
        transform_weights(&call.tiles, &call.weights, group, panel, c, min(call.depth, d.depth - c), taps, u, step)
        u += call.channel_panels * points * step * item
        c += call.depth


cdef void tiles_task(void *context, int64_t index) noexcept nogil:
    """One panel of tiles times one part of the output channels of a group."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef const fc_kernels *kernel = t.kernel
    cdef int64_t item = t.itemsize, width = kernel.max_columns, points = t.transform.points, lanes = kernel.lanes
    cdef int64_t part = index % call.parts
    cdef int64_t first = index // call.parts % call.panels * width
    cdef int64_t group = index // call.parts // call.panels
    cdef int64_t columns = min(width, t.count - first)
    cdef int64_t first_panel = part * call.channel_panels // call.parts
    cdef int64_t last_panel = (part + 1) * call.channel_panels // call.parts
    cdef int64_t channel = first_panel * call.channel_width
    cdef int64_t channels = min(last_panel * call.channel_width, d.channels) - channel
    cdef int64_t c = 0, count, point, panel, rows, row
    cdef int64_t u_step = apart(&call.tiles, call.depth * t.piece_count * call.channel_width)
    cdef int64_t v_step = apart(&call.tiles, call.depth * t.piece_count * width), sums_step = apart(&call.tiles, channels * width)
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef const char *source = call.source + group * d.depth * t.window.stride[1] * item
    cdef const char *u = call.u + group * transformed_weights(call) * item
    cdef char *v = <char *>task_scratch(tiles_scratch(call, channels) * item)
    cdef char *sums = v + points * v_step * item
    if v == NULL:
        call.out_of_memory = True
        return
    partial_sums(&finish, row_offset, width)
    while c < d.depth:
        count = min(call.depth, d.depth - c)
        transform_inputs(t, source + c * t.window.stride[1] * item, first, columns, count, v, v_step, width)
        finish.accumulate = c > 0
        for point in range(points):
            if columns % lanes:  # the micro-kernel multiplies whole vectors
                kernel.clear(v + (point * v_step + columns) * item, width, lanes - columns % lanes,
                             count * t.piece_count)
            for panel in range(first_panel, last_panel):
                row = panel * call.channel_width
                rows = min(call.channel_width, d.channels - row)
                kernel.gemm(count * t.piece_count, u + (panel * points + point) * u_step * item,
                            v + point * v_step * item, width,
                            sums + (point * sums_step + (row - channel) * width) * item, row_offset, <int>rows,
                            <int>columns, &finish)
        u += call.channel_panels * points * u_step * item
        c += count
    c = 0
    while c < columns:
        write_outputs(call, group, first + c, min(lanes, columns - c), channel, channels, sums + c * item,
                      sums_step, width)
        c += lanes


# ---- few tiles ---------------------------------------------------------------------------------------


cdef inline int64_t transformed_inputs(const Call *call) noexcept nogil:
    """Elements of the transformed inputs of a block and group: panels of chunks."""
    return (divide_up(call.block, call.tile_width) * divide_up(call.dense.depth, call.depth)
            * call.tiles.transform.points * apart(&call.tiles, call.depth * call.tiles.piece_count * call.tile_width))


cdef inline int64_t channels_scratch(const Call *call) noexcept nogil:
    """Elements of scratch of a task: taps, transformed weights, sums, and those of a vector of tiles, turned."""
    cdef int64_t width = call.channel_width
    return (taps_scratch(&call.tiles, width)
            + call.tiles.transform.points * (apart(&call.tiles, call.depth * call.tiles.piece_count * width)
                                             + apart(&call.tiles, call.tiles.kernel.lanes * width) + call.block * width))


cdef void inputs_task(void *context, int64_t index) noexcept nogil:
    """Transform one chunk of the depth of one panel of tiles of the block."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, block = min(call.block, t.count - call.first)
    cdef int64_t panels = divide_up(block, call.tile_width), chunks = divide_up(d.depth, call.depth)
    cdef int64_t tile = index % panels * call.tile_width, c = index // panels % chunks * call.depth
    cdef int64_t group = index // panels // chunks
    cdef int64_t rows = min(call.tile_width, block - tile)
    cdef int64_t step = apart(&call.tiles, call.depth * t.piece_count * call.tile_width)
    cdef char *v = call.v + (group * transformed_inputs(call)
                             + index % (panels * chunks) * t.transform.points * step) * item
    transform_inputs(t, call.source + (group * d.depth + c) * t.window.stride[1] * item, call.first + tile, rows,
                     min(call.depth, d.depth - c), v, step, rows)


cdef void channels_task(void *context, int64_t index) noexcept nogil:
    """One panel of output channels of a group times all tiles of the block."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef const fc_kernels *kernel = t.kernel
    cdef int64_t item = t.itemsize, width = call.channel_width, points = t.transform.points, lanes = kernel.lanes
    cdef int64_t block = min(call.block, t.count - call.first)
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t channel = panel * width, channels = min(width, d.channels - channel)
    cdef int64_t c = 0, count, point, tile, rows
    cdef int64_t u_step = apart(&call.tiles, call.depth * t.piece_count * width), turned_step = apart(&call.tiles, lanes * width)
    cdef int64_t v_step = apart(&call.tiles, call.depth * t.piece_count * call.tile_width)
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef const char *v = call.v + group * transformed_inputs(call) * item
    cdef char *taps = <char *>task_scratch(channels_scratch(call) * item)
    cdef char *u = taps + taps_scratch(t, width) * item
    cdef char *turned = u + points * u_step * item
    cdef char *sums = turned + points * turned_step * item
    if taps == NULL:
        call.out_of_memory = True
        return
    partial_sums(&finish, row_offset, width)
    while c < d.depth:
        count = min(call.depth, d.depth - c)
        transform_weights(t, &call.weights, group, panel, c, count, taps, u, u_step)
        finish.accumulate = c > 0
        for point in range(points):
            tile = 0
            while tile < block:
                rows = min(call.tile_width, block - tile)
                kernel.gemm(count * t.piece_count, v + (tile // call.tile_width * points + point) * v_step * item,
                            u + point * u_step * item, width, sums + (point * block + tile) * width * item, row_offset,
                            <int>rows, <int>channels, &finish)
                tile += rows
        v += divide_up(block, call.tile_width) * points * v_step * item
        c += count
    tile = 0
    while tile < block:
        rows = min(lanes, block - tile)
        for point in range(points):
            kernel.pack(turned + point * turned_step * item, lanes, rows, channels,
                        sums + (point * block + tile) * width * item, width, 1)
        write_outputs(call, group, call.first + tile, rows, channel, channels, turned, turned_step, lanes)
        tile += rows


# ---- plans -------------------------------------------------------------------------------------------


def serves(geometry):
    """Whether a geometry is one for Winograd: at least 3 taps wide, 1 or at least 3 high, stride 1."""
    pieces = geometry.kernel[0] * -(-geometry.kernel[1] // 3) * -(-geometry.kernel[2] // 3)
    return (geometry.kernel[2] >= 3 and geometry.kernel[1] != 2 and pieces <= MOST_PIECES
            and tuple(geometry.stride) == (1, 1, 1))


cdef class WinogradPlan(Subconvolutions):
    """One geometry by F(`tile`, 3), in one direction, its products added up in chunks of at most `chunk`.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef int tile
    cdef int64_t chunk
    cdef readonly DensePlan direct   # of one image: for those that are not finite
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction, int tile=2, int64_t chunk=128):
        if not serves(geometry):
            raise ValueError(
                f"algorithm='winograd': needs stride 1 and a kernel at least 3 wide, 1 or at least 3 high, and of at "
                f"most {MOST_PIECES} pieces of 3x3, not kernel {geometry.kernel}, stride {geometry.stride} (D, H, W)")
        self.tile, self.chunk = tile, chunk
        self.direct = DensePlan(dataclasses.replace(geometry, n=1, batched=True), direction)

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        cdef int64_t n
        if not self.dense.pixels:
            return 0
        finite = bytearray(b"\1") * self.dense.n
        self.run_winograd(source_array, weight_array, bias_data, out_array, finite, activation, slope)
        if 0 in finite:
            for n in range(self.dense.n):
                if not finite[n]:
                    image = slice(n, n + 1) if self.batched else None
                    self.direct.run(source[image], weight, bias, out[image], activation, slope)
        return 0

    cdef void lay_out(self, Call *call, const fc_kernels *kernel, int64_t itemsize) noexcept nogil:
        """Panels, chunks, parts and blocks: what follows from geometry, instruction set and number of threads."""
        cdef const Dense *d = self.dense
        cdef Tiles *t = &call.tiles
        cdef int64_t tasks, threads = worker_threads(d.flops)
        call.dense = d
        t.itemsize = itemsize
        describe_tiles(t, d, kernel, self.tile)
        # the depth is cut by the geometry alone, for it decides the order of summation
        call.depth = divide_up(d.depth, divide_up(d.depth * t.piece_count, self.chunk))
        call.few_tiles = t.count <= d.channels and divide_up(d.channels, kernel.max_columns) * d.groups >= threads
        call.block = call.first = 0
        if call.few_tiles:
            call.channel_width = kernel.max_columns
            call.channel_panels = divide_up(d.channels, call.channel_width)
            call.block = BLOCK_BYTES // (d.groups * d.depth * t.piece_count * t.transform.points * itemsize)
            call.block = max(kernel.max_rows, min(call.block, BLOCK_TILES))
            call.block = divide_up(t.count, divide_up(t.count, call.block))
            call.tile_width = divide_up(call.block, divide_up(call.block, kernel.max_rows))
            return
        call.panels = divide_up(t.count, kernel.max_columns)
        call.channel_width = divide_up(d.channels, divide_up(d.channels, kernel.max_rows))
        call.channel_panels = divide_up(d.channels, call.channel_width)
        call.parts = divide_up(d.channels, PART_CHANNELS)
        tasks = call.panels * d.groups
        if threads > tasks * call.parts:
            call.parts = divide_up(2 * threads, max(<int64_t>1, tasks))
        call.parts = min(call.parts, call.channel_panels)

    cdef int run_winograd(self, const Array *source, const Array *weight, const char *bias, const Array *out,
                          char *finite, int activation, double slope) except -1:
        cdef Call call
        cdef const Dense *d = self.dense
        cdef int axis
        self.lay_out(&call, kernels(source.float64), 8 if source.float64 else 4)
        call.source, call.out, call.bias, call.finite = source.data, out.data, bias, finite
        call.activation, call.slope, call.out_of_memory = activation, slope, False
        for axis in range(5):
            call.tiles.window.stride[axis] = source.stride[axis]
            call.out_stride[axis] = out.stride[axis]
        describe_weights(&call.weights, d, call.tiles.kernel, weight, self.forward)
        call.weights.width, call.weights.padded = call.channel_width, call.few_tiles
        if call.few_tiles:
            self.run_few_tiles(&call)
        else:
            self.run_many_tiles(&call, weight)
        if call.out_of_memory:
            raise MemoryError("convolution workspace")
        return 0

    cdef int run_many_tiles(self, Call *call, const Array *weight) except -1:
        cdef const Dense *d = call.dense
        cdef int64_t transformed = d.groups * transformed_weights(call)
        cdef Form form
        cdef Lease panels
        cdef bint filled = False
        form.algorithm, form.part, form.kernel = FORM_WINOGRAD, self.tile, call.tiles.kernel
        form.width, form.layout = call.channel_width, call.depth
        lease(&panels, weight, &form, transformed * call.tiles.itemsize)
        call.u = panels.memory
        try:
            if panels.fresh:
                parallel(weights_task, call, d.groups * call.channel_panels, 10.0 * transformed)
            filled = not call.out_of_memory
            parallel(tiles_task, call, d.groups * call.panels * call.parts, 2.0 * transformed * call.tiles.count)
        finally:
            give_back(&panels, filled)
        return 0

    cdef int run_few_tiles(self, Call *call) except -1:
        cdef const Dense *d = call.dense
        cdef int64_t transformed = d.groups * transformed_inputs(call), block
        cdef size_t held
        call.v = <char *>take_scratch(transformed * call.tiles.itemsize, &held)
        try:
            while call.first < call.tiles.count:
                block = min(call.block, call.tiles.count - call.first)
                parallel(inputs_task, call,
                         d.groups * divide_up(block, call.tile_width) * divide_up(d.depth, call.depth),
                         10.0 * transformed)
                parallel(channels_task, call, d.groups * call.channel_panels,
                         2.0 * d.groups * transformed_weights(call) * (block + 10))
                call.first += block
        finally:
            give_scratch(call.v, held)
        return 0

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef Call call
        cdef int64_t item = 8 if float64 else 4, tasks, packed = 0, workspace
        self.lay_out(&call, kernels(float64), item)
        if call.few_tiles:
            tasks = call.dense.groups * call.channel_panels
            workspace = channels_scratch(&call) + call.dense.groups * transformed_inputs(&call)
        else:
            tasks = call.dense.groups * call.panels * call.parts
            packed = call.dense.groups * transformed_weights(&call)
            workspace = tiles_scratch(&call, divide_up(call.dense.channels, call.parts))
        return {
            "algorithm": "winograd",
            "isa": call.tiles.kernel.isa.decode(),
            "tile": (call.tiles.transform.tile_y, call.tiles.transform.tile_x),
            "threads": min(worker_threads(call.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed * item,
            "workspace_bytes": workspace * item,
        }
