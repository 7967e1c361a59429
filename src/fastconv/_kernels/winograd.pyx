"""Convolutions with 3 or 3x3 taps and stride 1 by Winograd's minimal filtering, fused per block of tiles.

A task owns one panel of neighbouring output tiles (as many as the micro-kernel has columns) and a part of the output
channels. It never leaves the cache:

    for each chunk of the depth:
        transform the panel's input tiles             v[point][k][tile]
        for each point, for each weight panel:        sums[point][channel][tile] += u[point] . v[point]
    transform the sums back, scatter them to the output with bias and activation

The weights are transformed once per call. A third axis (3-D) is summed over like more channels.

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
from fastconv._kernels.fc_api cimport (
    FC_MAX_ROWS, FC_WINOGRADS, fc_finish, fc_kernels, fc_run, fc_window, fc_winograd,
)
from fastconv._kernels.native cimport (
    give_scratch, kernels, parallel, take_scratch, task_scratch, worker_threads,
)
from fastconv._kernels.weights cimport Weights, describe_weights, pack_weight_panel

cdef int64_t CHUNK_DEPTH = 256     # of one product; a panel this deep stays in L1
cdef int64_t CHANNELS_AT_ONCE = 8  # whose input rows are gathered together
cdef int64_t PART_CHANNELS = 256   # output channels of a task: their sums stay in L2
cdef int64_t MOST_PLANES = 64      # taps along D: they deepen a product that is not cut between them


cdef struct Call:
    const Dense *dense
    const fc_kernels *kernel
    const fc_winograd *transform
    fc_window window
    Weights weights
    const char *source
    const char *bias
    char *out
    char *u                   # transformed weights: per group, chunk, panel: [point][k][width]
    char *finite              # per image: 0 if an output is infinite or NaN
    int64_t out_stride[5]
    int64_t itemsize
    int64_t tiles_y, tiles_x, tiles, panels   # tiles of an image plane, of the whole batch, panels of them
    int64_t depth             # source channels of a chunk
    int64_t planes            # taps along D
    int64_t taps              # 3 or 9
    int64_t channel_width, channel_panels, parts
    int64_t row_step          # of the gathered input rows
    int activation
    double slope
    bint out_of_memory


cdef struct Run:
    int64_t column, count     # of the panel
    int64_t n, z, y, x        # image, output plane, tile row, first tile of the row


cdef int64_t next_run(const Call *call, int64_t first, int64_t column, int64_t columns, Run *run) noexcept nogil:
    """The tiles of one tile row from `column` of the panel on, at most a vector of them; the column after them."""
    cdef int64_t rest = first + column
    run.x = rest % call.tiles_x
    rest //= call.tiles_x
    run.y = rest % call.tiles_y
    rest //= call.tiles_y
    run.z = rest % call.window.count[0]
    run.n = rest // call.window.count[0]
    run.column = column
    run.count = min(columns - column, call.tiles_x - run.x, call.kernel.lanes)
    return column + run.count


cdef void gather_rows(const Call *call, const char *source, const Run *run, int64_t plane, int64_t channels,
                      char *rows) noexcept nogil:
    """The input rows of a run of tiles, [y][channel][x], with zeros where they leave the input."""
    cdef const fc_window *w = &call.window
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, span_y = 1 if call.transform.tile_y == 1 else call.transform.tile_y + 2
    cdef int64_t width = run.count * call.transform.tile_x + 2
    cdef int64_t z = run.z * w.step[0] + w.first[0] + plane * w.delta[0]
    # taps may run backwards (input gradient): the window starts at the lower end
    cdef int64_t top = run.y * call.transform.tile_y + w.first[1] + min(<int64_t>0, (w.taps[1] - 1) * w.delta[1])
    cdef int64_t x = run.x * call.transform.tile_x + w.first[2] + min(<int64_t>0, (w.taps[2] - 1) * w.delta[2])
    cdef int64_t low = min(max(-x, 0), width), high = max(low, min(width, w.extent[2] - x)), y
    cdef char *row
    source += (run.n * w.stride[0] + z * w.stride[2]) * item
    for y in range(span_y):
        row = rows + y * channels * call.row_step * item
        if z < 0 or z >= w.extent[0] or top + y < 0 or top + y >= w.extent[1]:
            kernel.clear(row, call.row_step, width, channels)
            continue
        kernel.clear(row, call.row_step, low, channels)
        kernel.clear(row + high * item, call.row_step, width - high, channels)
        if high > low:
            kernel.pack(row + low * item, call.row_step, high - low, channels,
                        source + ((top + y) * w.stride[3] + (x + low) * w.stride[4]) * item, w.stride[4], w.stride[1])


cdef void transform_panel(const Call *call, const char *source, int64_t first, int64_t columns, int64_t channels,
                          char *rows, char *v) noexcept nogil:
    """v[point][plane * channels + c][tile] of one panel and one chunk of source channels."""
    cdef int64_t item = call.itemsize, width = call.kernel.max_columns, k_total = channels * call.planes
    cdef int64_t column = 0, plane, c, count
    cdef Run run
    while column < columns:
        column = next_run(call, first, column, columns, &run)
        for plane in range(call.planes):
            c = 0
            while c < channels:
                count = min(CHANNELS_AT_ONCE, channels - c)
                gather_rows(call, source + c * call.window.stride[1] * item, &run, plane, count, rows)
                call.transform.input(v + ((plane * channels + c) * width + run.column) * item, k_total * width, width,
                                     rows, count * call.row_step, call.row_step, count, <int>run.count)
                c += count
    call.kernel.clear(v + columns * item, width, width - columns, call.transform.points * k_total)


cdef void scatter_panel(Call *call, int64_t group, int64_t first, int64_t columns, int64_t channel, int64_t rows,
                        const char *sums, int64_t point_step, char *tile) noexcept nogil:
    """Transform the sums of one weight panel back and carry them to the output."""
    cdef const Dense *d = call.dense
    cdef const fc_winograd *t = call.transform
    cdef int64_t item = call.itemsize, column = 0, y, i, oy, tile_step = t.tile_x * call.kernel.lanes
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef fc_run out_run
    cdef Run run
    cdef char *out = call.out + (group * d.channels + channel) * call.out_stride[1] * item
    memset(&finish, 0, sizeof(finish))
    finish.final = True
    finish.activation = call.activation
    finish.slope = call.slope
    if call.bias != NULL:
        finish.row_bias = call.bias + (group * d.channels + channel) * item
    for i in range(rows):
        row_offset[i] = i * call.out_stride[1]
    while column < columns:
        column = next_run(call, first, column, columns, &run)
        if not t.output(tile, FC_MAX_ROWS * tile_step, tile_step, sums + run.column * item, point_step,
                        call.kernel.max_columns, <int>rows, <int>run.count):
            call.finite[run.n] = 0
        out_run.column = 0
        out_run.count = min(run.count * t.tile_x, d.window.count[2] - run.x * t.tile_x)
        out_run.stride = call.out_stride[4]
        for y in range(t.tile_y):
            oy = run.y * t.tile_y + y
            if oy < d.window.count[1]:
                out_run.offset = (run.n * call.out_stride[0] + run.z * call.out_stride[2] + oy * call.out_stride[3]
                                  + run.x * t.tile_x * call.out_stride[4])
                call.kernel.scatter(tile + y * FC_MAX_ROWS * tile_step * item, tile_step, out, row_offset, <int>rows,
                                    &out_run, 1, &finish)


cdef inline int64_t transformed_weights(const Call *call) noexcept nogil:
    """Elements of the transformed weights of a call."""
    cdef const Dense *d = call.dense
    return (d.groups * call.channel_panels * call.channel_width * d.depth * call.planes
            * call.transform.points)


cdef inline int64_t panel_scratch(const Call *call, int64_t channels) noexcept nogil:
    """Elements of scratch of a task: gathered rows, finished tiles, transformed panel, sums."""
    return ((6 * CHANNELS_AT_ONCE * call.row_step + 4 * FC_MAX_ROWS * call.transform.tile_x * call.kernel.lanes)
            + call.transform.points * call.kernel.max_columns * (call.depth * call.planes + channels))


cdef void panel_task(void *context, int64_t index) noexcept nogil:
    """One panel of tiles times one part of the output channels of a group."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef const fc_kernels *kernel = call.kernel
    cdef int64_t item = call.itemsize, width = kernel.max_columns, points = call.transform.points
    cdef int64_t part = index % call.parts
    cdef int64_t first = index // call.parts % call.panels * width
    cdef int64_t group = index // call.parts // call.panels
    cdef int64_t columns = min(width, call.tiles - first)
    cdef int64_t first_panel = part * call.channel_panels // call.parts
    cdef int64_t last_panel = (part + 1) * call.channel_panels // call.parts
    cdef int64_t channels_first = first_panel * call.channel_width
    cdef int64_t channels = min(last_panel * call.channel_width, d.channels) - channels_first
    cdef int64_t c = 0, count, point, panel, rows, k_total, i, row
    cdef int64_t tile_step = call.transform.tile_x * kernel.lanes
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef const char *source = call.source + group * d.depth * call.window.stride[1] * item
    cdef const char *u = call.u + group * (transformed_weights(call) // d.groups) * item
    cdef char *rows_scratch = <char *>task_scratch(panel_scratch(call, channels) * item)
    cdef char *tile = rows_scratch + 6 * CHANNELS_AT_ONCE * call.row_step * item
    cdef char *v = tile + 4 * FC_MAX_ROWS * tile_step * item
    cdef char *sums = v + points * width * call.depth * call.planes * item
    if rows_scratch == NULL:
        call.out_of_memory = True
        return
    memset(&finish, 0, sizeof(finish))
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * width
    while c < d.depth:
        count = min(call.depth, d.depth - c)
        k_total = count * call.planes
        transform_panel(call, source + c * call.window.stride[1] * item, first, columns, count, rows_scratch, v)
        finish.accumulate = c > 0
        for point in range(points):
            for panel in range(first_panel, last_panel):
                row = panel * call.channel_width
                rows = min(call.channel_width, d.channels - row)
                kernel.gemm(k_total, u + (row * points + point * rows) * k_total * item,
                            v + point * k_total * width * item, width,
                            sums + (point * channels + row - channels_first) * width * item, row_offset, <int>rows,
                            <int>columns, &finish)
        u += call.channel_panels * call.channel_width * k_total * points * item
        c += count
    for panel in range(first_panel, last_panel):
        row = panel * call.channel_width
        scatter_panel(call, group, first, columns, row, min(call.channel_width, d.channels - row),
                      sums + (row - channels_first) * width * item, channels * width, tile)


cdef void weights_task(void *context, int64_t index) noexcept nogil:
    """Transform one weight panel of one group, chunk by chunk."""
    cdef Call *call = <Call *>context
    cdef const Dense *d = call.dense
    cdef int64_t item = call.itemsize, points = call.transform.points
    cdef int64_t panel = index % call.channel_panels, group = index // call.channel_panels
    cdef int64_t row = panel * call.channel_width, rows = min(call.channel_width, d.channels - row)
    cdef int64_t c = 0, count, plane, k_total
    cdef bint reversed = d.window.delta[2] < 0
    cdef char *u = call.u + group * (transformed_weights(call) // d.groups) * item
    cdef char *taps = <char *>task_scratch(call.depth * call.taps * call.channel_width * item)
    if taps == NULL:
        call.out_of_memory = True
        return
    while c < d.depth:
        count = min(call.depth, d.depth - c)
        k_total = count * call.planes
        for plane in range(call.planes):
            pack_weight_panel(&call.weights, group, panel, c, count, plane * call.taps, call.taps, taps)
            call.transform.weight(u + (row * points * k_total + plane * count * rows) * item, k_total * rows, taps,
                                  rows, count, reversed)
        u += call.channel_panels * call.channel_width * k_total * points * item
        c += count


def serves(geometry):
    """Whether a geometry is one for Winograd: 3 or 3x3 taps (some planes of them), stride 1, no dilation."""
    return (geometry.kernel[2] == 3 and geometry.kernel[1] in (1, 3) and geometry.kernel[0] <= MOST_PLANES
            and tuple(geometry.stride) == (1, 1, 1)
            and all(d == 1 or k == 1 for d, k in zip(geometry.dilation, geometry.kernel)))


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
                f"algorithm='winograd': needs a kernel 3 wide, 3 or 1 high and at most {MOST_PLANES} deep, stride 1 and "
                f"dilation 1, not "
                f"kernel {geometry.kernel}, stride {geometry.stride}, dilation {geometry.dilation} (D, H, W)")
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

    cdef void lay_out(self, Call *call, const fc_kernels *kernel) noexcept nogil:
        """Panels, chunks and parts: what follows from geometry, instruction set and number of threads."""
        cdef const Dense *d = self.dense
        cdef int64_t tasks, threads = worker_threads(d.flops)
        call.dense, call.kernel, call.window = d, kernel, d.window
        call.transform = find_transform(kernel, 1 if d.window.taps[1] == 1 else self.tile, self.tile)
        call.planes = d.window.taps[0]
        call.taps = d.window.taps[1] * d.window.taps[2]
        call.tiles_y = divide_up(d.window.count[1], call.transform.tile_y)
        call.tiles_x = divide_up(d.window.count[2], call.transform.tile_x)
        call.tiles = d.n * d.window.count[0] * call.tiles_y * call.tiles_x
        call.panels = divide_up(call.tiles, kernel.max_columns)
        call.row_step = 4 * kernel.lanes + 8
        # the depth is cut by the geometry alone, for it decides the order of summation
        call.depth = divide_up(d.depth, divide_up(d.depth * call.planes, CHUNK_DEPTH))
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
        cdef int64_t transformed
        cdef size_t held
        self.lay_out(&call, kernels(source.float64))
        call.itemsize = 8 if source.float64 else 4
        call.source, call.out, call.bias, call.finite = source.data, out.data, bias, finite
        call.activation, call.slope, call.out_of_memory = activation, slope, False
        for axis in range(5):
            call.window.stride[axis] = source.stride[axis]
            call.out_stride[axis] = out.stride[axis]
        describe_weights(&call.weights, d, call.kernel, weight, self.forward)
        call.weights.width, call.weights.padded = call.channel_width, False
        transformed = transformed_weights(&call)
        call.u = <char *>take_scratch(transformed * call.itemsize, &held)
        try:
            parallel(weights_task, &call, d.groups * call.channel_panels, 10.0 * transformed)
            parallel(panel_task, &call, d.groups * call.panels * call.parts,
                     d.flops * call.transform.points / (call.transform.tile_y * call.transform.tile_x * call.taps))
        finally:
            give_scratch(call.u, held)
        if call.out_of_memory:
            raise MemoryError("convolution workspace")
        return 0

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef Call call
        cdef int64_t item = 8 if float64 else 4
        self.lay_out(&call, kernels(float64))
        tasks = call.dense.groups * call.panels * call.parts
        return {
            "algorithm": "winograd",
            "isa": call.kernel.isa.decode(),
            "tile": (call.transform.tile_y, call.transform.tile_x),
            "threads": min(worker_threads(call.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": transformed_weights(&call) * item,
            "workspace_bytes": panel_scratch(&call, divide_up(call.dense.channels, call.parts)) * item,
        }


cdef const fc_winograd *find_transform(const fc_kernels *kernel, int tile_y, int tile_x) noexcept nogil:
    cdef int i
    for i in range(FC_WINOGRADS):
        if kernel.winograd[i].tile_y == tile_y and kernel.winograd[i].tile_x == tile_x:
            return &kernel.winograd[i]
    return NULL
