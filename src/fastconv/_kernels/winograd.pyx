"""Convolutions of stride 1 by Winograd's minimal filtering, fused per block of tiles.

Products are formed per point of the transformed tiles: sums[point] = u[point] . v[point], with u the transformed
weights and v the transformed inputs (winograd_tiles.pyx). Tiles are of 2 x 2 outputs, or 4 x 4, which multiply less
and round more: functional/algorithm.py says when. Whichever of u and v is smaller is transformed once per call; the
other never leaves the cache:

    many tiles, few weights: a task owns a panel of tiles and, if need be, a part of the output channels (`tiles_task`)
        transform the panel's inputs, as much of the depth as stays in L2
        for each weight panel:
            for each point: a tile of sums, channels x tiles, added up over chunks of the depth in L1
            transform the sums back into the output, with bias and activation
    few tiles, many weights: a task owns a panel of output channels and all tiles of a block (`channels_task`)
        for each chunk of the depth:
            transform the panel's weights
            for each point, for each panel of tiles: a tile of sums, tiles x channels
        transform the sums back into the output

The chunks follow from the geometry alone, so the bits are the same either way, on any number of threads.

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

cdef int64_t HELD_BYTES = 768 << 10  # transformed inputs of a panel of tiles, which stay in L2
cdef int64_t CHUNK = 128           # products that are added up in one go, at most
cdef int64_t LEAST_CHANNELS = 16   # transformed in one go, if there are as many: finding the tiles' inputs takes time
cdef int64_t MOST_PIECES = 64      # of a kernel: they deepen a product that is not cut between them
cdef int64_t BLOCK_BYTES = 5 << 20 # transformed inputs of a block of tiles
cdef int64_t BLOCK_TILES = 256     # whose sums, for one panel of channels, stay in L2


cdef enum:
    MOST_VECTORS = 6  # of tiles in a panel


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
    int64_t depth             # source channels of a chunk ...
    int64_t cut               # ... whose products with all pieces of the kernel are added up in cuts of so many
    int64_t held              # ... and of the transformed inputs that a task holds: whole chunks (many tiles)
    int64_t channel_width, channel_panels
    int64_t panels, parts     # panels of tiles, parts of the weight panels (many tiles)
    int64_t block, tile_width # tiles of a block, of a panel (few tiles)
    int64_t first             # tile of the block that is computed
    bint few_tiles
    int activation
    double slope
    bint out_of_memory


# ---- both ways ---------------------------------------------------------------------------------------


cdef struct Targets:
    Place places[MOST_LANES]
    fc_winograd_run runs[MOST_LANES]
    int count


cdef void find_targets(Call *call, int64_t group, int64_t first, int64_t count, int64_t channel,
                       Targets *targets) noexcept nogil:
    """Where at most a vector of tiles, from number `first` on, have their outputs of a channel of a group."""
    cdef int64_t offset = (group * call.dense.channels + channel) * call.out_stride[1] * call.tiles.itemsize
    targets.count = find_places(&call.tiles, first, count, targets.places)
    output_runs(&call.tiles, targets.places, targets.count, call.out_stride, call.out + offset, targets.runs)


cdef void next_channels(Call *call, int64_t channels, Targets *targets) noexcept nogil:
    """Move on by so many channels."""
    cdef int64_t offset = channels * call.out_stride[1] * call.tiles.itemsize
    cdef int i, row
    for i in range(targets.count):
        for row in range(call.tiles.transform.tile_y):
            if targets.runs[i].row[row] != NULL:
                targets.runs[i].row[row] = <char *>targets.runs[i].row[row] + offset


cdef void write_outputs(Call *call, const Targets *targets, int64_t group, int64_t channel, int64_t channels,
                        const char *sums, int64_t point_step, int64_t sums_step) noexcept nogil:
    """Transform sums of `channels` channels back, into the output."""
    cdef int64_t infinite
    cdef fc_finish finish
    cdef int i
    memset(&finish, 0, sizeof(finish))
    finish.final = True
    finish.activation = call.activation
    finish.slope = call.slope
    if call.bias != NULL:
        finish.row_bias = call.bias + (group * call.dense.channels + channel) * call.tiles.itemsize
    infinite = call.tiles.transform.output(targets.runs, targets.count, call.out_stride[1], sums, point_step, sums_step,
                                           <int>channels, &finish)
    if infinite:
        for i in range(targets.count):
            if infinite >> targets.places[i].lane & ((<int64_t>1 << targets.places[i].tiles) - 1):
                call.finite[targets.places[i].n] = 0


cdef inline void partial_sums(fc_finish *finish, int64_t *row_offset, int64_t step) noexcept nogil:
    """How products go to sums whose rows lie `step` apart."""
    cdef int i
    memset(finish, 0, sizeof(fc_finish))
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * step


cdef void multiply(const Call *call, int64_t depth, const char *a, const char *b, int64_t b_step, char *c, int rows,
                   int columns, fc_finish *finish, const int64_t *row_offset) noexcept nogil:
    """The products of a chunk, cut by cut; `finish` accumulates from then on."""
    cdef int64_t item = call.tiles.itemsize, k = 0, count
    while k < depth:
        count = min(call.cut, depth - k)
        call.tiles.kernel.gemm(count, a + k * rows * item, b + k * b_step * item, b_step, c, row_offset, rows, columns,
                               finish)
        finish.accumulate = True
        k += count


# ---- many tiles --------------------------------------------------------------------------------------


cdef inline int64_t weights_step(const Call *call) noexcept nogil:
    """From point to point of a panel of transformed weights."""
    return apart(&call.tiles, call.dense.depth * call.tiles.piece_count * call.channel_width)


cdef inline int64_t transformed_weights(const Call *call) noexcept nogil:
    """Elements of the transformed weights of a group."""
    return call.channel_panels * call.tiles.transform.points * weights_step(call)


cdef inline int64_t inputs_step(const Call *call) noexcept nogil:
    """From point to point of a panel's transformed inputs."""
    return apart(&call.tiles, call.held * call.tiles.piece_count * call.tiles.kernel.max_columns)


cdef inline int64_t tiles_scratch(const Call *call, int64_t channel_panels) noexcept nogil:
    """Elements of scratch of a task: transformed inputs, sums (of all panels, if they wait for more of the depth)."""
    return call.tiles.transform.points * (inputs_step(call) + (channel_panels if call.held < call.dense.depth else 1)
                                          * apart(&call.tiles, call.channel_width * call.tiles.kernel.max_columns))


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Transform one weight panel of one group, chunk by chunk."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.tiles.itemsize, step = weights_step(call), c = 0
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t rows = min(call.channel_width, d.channels - panel * call.channel_width)
    cdef char *u = call.u + index * call.tiles.transform.points * step * item
    cdef char *taps = <char *>task_scratch(taps_scratch(&call.tiles, call.channel_width) * item)
    if taps == NULL:
        call.out_of_memory = True
        return
    while c < d.depth:
        transform_weights(&call.tiles, &call.weights, group, panel, c, min(call.depth, d.depth - c), taps,
                          u + c * call.tiles.piece_count * rows * item, step)
        c += call.depth


cdef void hold_inputs(const Call *call, int64_t group, int64_t first, int64_t columns, int64_t channel,
                      int64_t channels, char *v) noexcept nogil:
    """Transform some channels of the inputs of a panel of tiles, chunk by chunk."""
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, width = t.kernel.max_columns, step = inputs_step(call), c = 0, point
    cdef int64_t lanes = t.kernel.lanes
    cdef const char *source = call.source + (group * call.dense.depth + channel) * t.window.stride[1] * item
    while c < channels:
        transform_inputs(t, source + c * t.window.stride[1] * item, first, columns, min(call.depth, channels - c),
                         v + c * t.piece_count * width * item, step, width)
        c += call.depth
    if columns % lanes:  # the micro-kernel multiplies whole vectors
        for point in range(t.transform.points):
            t.kernel.clear(v + (point * step + columns) * item, width, lanes - columns % lanes,
                           channels * t.piece_count)


cdef void multiply_panel(const Call *call, int64_t rows, int64_t columns, int64_t channel, int64_t channels,
                         const char *u, const char *v, char *sums, int64_t sums_step) noexcept nogil:
    """All points' products of one weight panel with the inputs held, chunk by chunk: sums[point][row][tile]."""
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, width = t.kernel.max_columns, point, c
    cdef int64_t u_step = weights_step(call), v_step = inputs_step(call), pieces = t.piece_count
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    partial_sums(&finish, row_offset, width)
    for point in range(t.transform.points):
        c = 0
        finish.accumulate = channel > 0
        while c < channels:
            multiply(call, min(call.depth, channels - c) * pieces, u + (channel + c) * pieces * rows * item,
                     v + c * pieces * width * item, width, sums, <int>rows, <int>columns, &finish, row_offset)
            c += call.depth
        u += u_step * item
        v += v_step * item
        sums += sums_step * item


cdef void tiles_task(void *context, int64_t index) noexcept nogil:
    """One panel of tiles times one part of the output channels of a group."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, width = t.kernel.max_columns, points = t.transform.points, lanes = t.kernel.lanes
    cdef int64_t part = index % call.parts
    cdef int64_t first = index // call.parts % call.panels * width
    cdef int64_t group = index // call.parts // call.panels
    cdef int64_t columns = min(width, t.count - first)
    cdef int64_t first_panel = part * call.channel_panels // call.parts
    cdef int64_t last_panel = (part + 1) * call.channel_panels // call.parts
    cdef int64_t c = 0, count, panel, rows, i, vectors = divide_up(columns, lanes)
    cdef int64_t u_panel = points * weights_step(call)
    cdef int64_t sums_step = apart(t, call.channel_width * width)
    cdef Targets targets[MOST_VECTORS]
    cdef const char *u = call.u + (group * call.channel_panels + first_panel) * u_panel * item
    cdef char *v = <char *>task_scratch(tiles_scratch(call, last_panel - first_panel) * item)
    cdef char *sums
    if v == NULL:
        call.out_of_memory = True
        return
    for i in range(vectors):
        find_targets(call, group, first + i * lanes, min(lanes, columns - i * lanes), first_panel * call.channel_width,
                     &targets[i])
    while c < d.depth:
        count = min(call.held, d.depth - c)
        hold_inputs(call, group, first, columns, c, count, v)
        sums = v + points * inputs_step(call) * item
        for panel in range(first_panel, last_panel):
            rows = min(call.channel_width, d.channels - panel * call.channel_width)
            multiply_panel(call, rows, columns, c, count, u + (panel - first_panel) * u_panel * item, v, sums,
                           sums_step)
            if c + count == d.depth:
                for i in range(vectors):
                    write_outputs(call, &targets[i], group, panel * call.channel_width, rows, sums + i * lanes * item,
                                  sums_step, width)
                    next_channels(call, rows, &targets[i])
            if call.held < d.depth:
                sums += points * sums_step * item
        c += count


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
    cdef int64_t u_step = apart(t, call.depth * t.piece_count * width), turned_step = apart(t, lanes * width)
    cdef int64_t v_step = apart(t, call.depth * t.piece_count * call.tile_width)
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef Targets targets
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
        for point in range(points):
            tile = 0
            while tile < block:
                rows = min(call.tile_width, block - tile)
                finish.accumulate = c > 0
                multiply(call, count * t.piece_count, v + (tile // call.tile_width * points + point) * v_step * item,
                         u + point * u_step * item, width, sums + (point * block + tile) * width * item, <int>rows,
                         <int>channels, &finish, row_offset)
                tile += rows
        v += divide_up(block, call.tile_width) * points * v_step * item
        c += count
    tile = 0
    while tile < block:
        rows = min(lanes, block - tile)
        for point in range(points):
            kernel.pack(turned + point * turned_step * item, lanes, rows, channels,
                        sums + (point * block + tile) * width * item, width, 1)
        find_targets(call, group, call.first + tile, rows, channel, &targets)
        write_outputs(call, &targets, group, channel, channels, turned, turned_step, lanes)
        tile += rows


# ---- plans -------------------------------------------------------------------------------------------


def serves(geometry):
    """Whether a geometry is one for Winograd: at least 3 taps wide, 1 or at least 3 high, stride 1."""
    pieces = geometry.kernel[0] * -(-geometry.kernel[1] // 3) * -(-geometry.kernel[2] // 3)
    return (geometry.kernel[2] >= 3 and geometry.kernel[1] != 2 and pieces <= MOST_PIECES
            and tuple(geometry.stride) == (1, 1, 1))


cdef class WinogradPlan(Subconvolutions):
    """One geometry by F(`tile`, 3), in one direction.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef int tile
    cdef readonly DensePlan direct   # of one image: for those that are not finite
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction, int tile=2):
        if not serves(geometry):
            raise ValueError(
                f"algorithm='winograd': needs stride 1 and a kernel at least 3 wide, 1 or at least 3 high, and of at "
                f"most {MOST_PIECES} pieces of 3x3, not kernel {geometry.kernel}, stride {geometry.stride} (D, H, W)")
        self.tile = tile
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
        call.depth = min(d.depth, max(LEAST_CHANNELS, divide_up(d.depth, divide_up(d.depth * t.piece_count, CHUNK))))
        call.cut = divide_up(call.depth * t.piece_count, divide_up(call.depth * t.piece_count, CHUNK))
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
        call.held = HELD_BYTES // (call.depth * t.piece_count * t.transform.points * kernel.max_columns * itemsize)
        call.held = min(d.depth, max(<int64_t>1, call.held) * call.depth)
        tasks = call.panels * d.groups
        call.parts = threads if tasks % threads and tasks < 8 * threads else 1
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
            workspace = tiles_scratch(&call, divide_up(call.channel_panels, call.parts))
        return {
            "algorithm": "winograd",
            "isa": call.tiles.kernel.isa.decode(),
            "tile": (call.tiles.transform.tile_y, call.tiles.transform.tile_x),
            "threads": min(worker_threads(call.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed * item,
            "workspace_bytes": workspace * item,
        }
