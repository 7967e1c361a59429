"""The weight gradient by Winograd's minimal filtering, the transpose of winograd.pyx.

    grad_weight[oc, ic] = transform back( sum over tiles of  d[point][oc, tile] * v[point][ic, tile] )

with v the transformed inputs, as in the forward pass, and d the transformed outputs' gradients. Rows of a product are
output channels, columns are input channels (of each piece of the kernel: winograd_tiles.pyx), its depth is tiles. A
round takes as many tiles as fit a bounded workspace:

    transform the round's tiles of both                                    (`transform_task`)
    for each block of rows and columns, for each point: add its product    (`block_task`)
    after the last round: transform the sums back into grad_weight

The sums of all channels may be larger than the workspace; then the rows are computed range by range. Rounds and ranges
follow the geometry alone, and rounds are added in order: the bits do not depend on the number of threads.

An infinity or NaN spreads over all taps, and sums may overflow where plain ones do not. If the result is not finite
everywhere, it is computed again by the direct algorithm.
"""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.dense cimport Dense, Subconvolutions, divide_up
from fastconv._kernels.fc_api cimport FC_MAX_ROWS, fc_finish, fc_kernels, fc_run, fc_winograd_run
from fastconv._kernels.native cimport give_scratch, kernels, parallel, take_scratch, task_scratch
from fastconv._kernels.weight_gradient cimport WeightGradientPlan
from fastconv._kernels.winograd_tiles cimport (
    MOST_LANES, Place, Tiles, apart, describe_tiles, find_places, input_runs, output_runs,
)

from fastconv._kernels.winograd import serves

cdef int64_t SUMS_BYTES = 3 << 20    # and as much again as the weights
cdef int64_t TILES_BYTES = 4 << 20   # transformed tiles of a round
cdef int64_t MOST_TILES = 256        # of a round: a panel of them stays in L1
cdef int64_t BLOCK_PANELS = 4        # rows, and columns, of a task: their sums stay in L2
cdef int64_t WANTED_TASKS = 8


cdef struct Call:
    const Dense *dense
    Tiles tiles
    const char *input
    const char *grad_output
    char *out
    char *d                      # of a round: per row panel: [point][tile][row]
    char *v                      # per column panel: [point][tile][column]
    char *sums                   # per row panel, column panel: [point][row][column]; NULL: in the task's scratch
    int64_t grad_stride[5]
    int64_t out_stride[5]
    int64_t rows                 # output channels of a range
    int64_t row_width, row_panels
    int64_t columns              # input channels
    int64_t column_panels        # of all pieces
    int64_t d_step, v_step, sums_step   # between points
    int64_t row_blocks, column_blocks
    int64_t round                # tiles of a round
    int64_t chunk                # of them, of one product
    int64_t group, first_row, first, count   # of this round
    bint finite
    bint out_of_memory


cdef void transform_task(void *context, int64_t index) noexcept nogil:
    """One vector of tiles of one row panel or column panel, turned so that its channels are adjacent."""
    cdef Call *call = <Call *>context
    cdef const Tiles *t = &call.tiles
    cdef const fc_kernels *kernel = t.kernel
    cdef int64_t item = t.itemsize, lanes = kernel.lanes, points = t.transform.points, width = kernel.max_columns
    cdef int64_t panel = index % (call.row_panels + call.column_panels) - call.row_panels
    cdef int64_t tile = index // (call.row_panels + call.column_panels) * lanes, some = min(lanes, call.count - tile)
    cdef int64_t per_piece = call.column_panels // t.piece_count, channel, channels, point
    cdef int64_t step = apart(t, max(width, call.row_width) * lanes), to_step = call.v_step
    cdef fc_winograd_run runs[MOST_LANES]
    cdef Place places[MOST_LANES]
    cdef int found = find_places(t, call.first + tile, some, places)
    cdef char *lying = <char *>task_scratch(points * step * item)
    cdef char *to
    if lying == NULL:
        call.out_of_memory = True
        return
    if panel < 0:
        panel += call.row_panels
        channel, width, to_step = call.first_row + panel * call.row_width, call.row_width, call.d_step
        channels = min(width, call.first_row + call.rows - channel, call.dense.channels - channel)
        output_runs(t, places, found, call.grad_stride, <char *>call.grad_output
                    + (call.group * call.dense.channels + channel) * call.grad_stride[1] * item, runs)
        t.transform.grad_output(lying, step, lanes, runs, found, call.grad_stride[1], channels)
        to, width = call.d + panel * points * to_step * item, channels
    else:
        channel = panel % per_piece * width
        channels = min(width, call.columns - channel)
        input_runs(t, places, found, panel // per_piece, call.input
                   + (call.group * call.columns + channel) * t.window.stride[1] * item, runs)
        t.transform.input(lying, step, lanes, runs, found, t.window.stride[1], channels)
        to = call.v + panel * points * to_step * item
    for point in range(points):
        kernel.pack(to + (point * to_step + tile * width) * item, width, channels, some, lying + point * step * item,
                    lanes, 1)
        if channels < width:
            kernel.clear(to + (point * to_step + tile * width + channels) * item, width, width - channels, some)


cdef void write_weights(Call *call, int64_t row, int64_t rows, int64_t panel, const char *sums) noexcept nogil:
    """Transform the sums of a row panel and a column panel back into grad_weight."""
    cdef const Tiles *t = &call.tiles
    cdef const fc_kernels *kernel = t.kernel
    cdef int64_t item = t.itemsize, width = kernel.max_columns, per_piece = call.column_panels // t.piece_count
    cdef int64_t piece = panel // per_piece, channel = panel % per_piece * width, i, y, x
    cdef int64_t top = piece // t.pieces[2] % t.pieces[1] * 3, left = piece % t.pieces[2] * 3
    cdef int64_t plane = piece // (t.pieces[1] * t.pieces[2])
    cdef int64_t row_offset[3]
    cdef double taps[9 * 64]
    cdef fc_finish finish
    cdef fc_run run
    cdef char *out
    memset(&finish, 0, sizeof(finish))
    run.column = run.offset = 0
    run.count, run.stride = min(width, call.columns - channel), call.out_stride[1]
    for x in range(3):
        row_offset[x] = x * call.out_stride[4]
    for i in range(rows):
        if not t.transform.grad_weight(taps, width, sums + i * width * item, call.sums_step, run.count):
            call.finite = False
        out = call.out + ((call.group * call.dense.channels + row + i) * call.out_stride[0]
                          + channel * call.out_stride[1] + plane * call.out_stride[2]
                          + top * call.out_stride[3] + left * call.out_stride[4]) * item
        for y in range(min(<int64_t>3, t.window.taps[1] - top)):
            kernel.scatter(<char *>taps + y * 3 * width * item, width, out + y * call.out_stride[3] * item, row_offset,
                           <int>min(<int64_t>3, t.window.taps[2] - left), &run, 1, &finish)


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """The products of one block of row and column panels over a round; after the last one, its part of grad_weight."""
    cdef Call *call = <Call *>context
    cdef const Tiles *t = &call.tiles
    cdef const fc_kernels *kernel = t.kernel
    cdef int64_t item = t.itemsize, points = t.transform.points, width = kernel.max_columns
    cdef int64_t row_block = index % call.row_blocks, column_block = index // call.row_blocks
    cdef int64_t first_row = row_block * call.row_panels // call.row_blocks
    cdef int64_t last_row = (row_block + 1) * call.row_panels // call.row_blocks
    cdef int64_t first_column = column_block * call.column_panels // call.column_blocks
    cdef int64_t last_column = (column_block + 1) * call.column_panels // call.column_blocks
    cdef int64_t point, i, j, row, rows, per_piece = call.column_panels // t.piece_count, columns, tile
    cdef int64_t tile_step = points * call.sums_step
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef fc_finish finish
    cdef char *sums = call.sums
    cdef int64_t first_sums = first_row * call.column_panels + first_column, line = call.column_panels
    if sums == NULL:
        sums = <char *>task_scratch((last_row - first_row) * (last_column - first_column) * tile_step * item)
        first_sums, line = 0, last_column - first_column
        if sums == NULL:
            call.out_of_memory = True
            return
    sums += first_sums * tile_step * item
    memset(&finish, 0, sizeof(finish))
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * width
    for point in range(points):
        for j in range(first_column, last_column):
            columns = min(width, call.columns - j % per_piece * width)
            for i in range(first_row, last_row):
                row = call.first_row + i * call.row_width
                rows = min(call.row_width, call.first_row + call.rows - row, call.dense.channels - row)
                tile = 0
                while tile < call.count:
                    finish.accumulate = call.first + tile > 0
                    kernel.gemm(min(call.chunk, call.count - tile),
                                call.d + ((i * points + point) * call.d_step + tile * rows) * item,
                                call.v + ((j * points + point) * call.v_step + tile * width) * item, width,
                                sums + (((i - first_row) * line + j - first_column) * tile_step
                                        + point * call.sums_step) * item, row_offset, <int>rows, <int>columns, &finish)
                    tile += call.chunk
    if call.first + call.count < t.count:
        return
    for i in range(first_row, last_row):
        row = call.first_row + i * call.row_width
        rows = min(call.row_width, call.first_row + call.rows - row, call.dense.channels - row)
        for j in range(first_column, last_column):
            write_weights(call, row, rows, j, sums + ((i - first_row) * line + j - first_column) * tile_step * item)


cdef class WinogradWeightGradientPlan(WeightGradientPlan):
    """One geometry's weight gradient by F(3, `tile`), its products added up in chunks of at most `chunk`.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Subconvolutions forward
    cdef int tile
    cdef int64_t chunk

    def __cinit__(self, geometry, int tile=2, int64_t chunk=128):
        if not serves(geometry):
            raise ValueError("algorithm='winograd': does not compute weight gradients of this kernel and stride: "
                             f"kernel {geometry.kernel}, stride {geometry.stride} (D, H, W)")
        self.tile, self.chunk = tile, chunk
        self.forward = Subconvolutions(geometry, "forward")

    cdef int run_arrays(self, const Array *input, const Array *grad_output, const Array *out) except -1:
        if not self.forward.dense.pixels or not self.run_winograd(input, grad_output, out):
            WeightGradientPlan.run_arrays(self, input, grad_output, out)
        return 0

    cdef void lay_out(self, Call *call, bint float64) noexcept nogil:
        """Panels, rounds, ranges and blocks."""
        cdef const Dense *d = self.forward.dense
        cdef Tiles *t = &call.tiles
        cdef const fc_kernels *kernel = kernels(float64)
        cdef int64_t width = kernel.max_columns, lanes = kernel.lanes, allowed, line, tasks
        call.dense, call.chunk = d, self.chunk
        t.itemsize = 8 if float64 else 4
        describe_tiles(t, d, kernel, self.tile)
        call.columns = d.depth
        call.column_panels = divide_up(d.depth, width) * t.piece_count
        call.row_width = divide_up(d.channels, divide_up(d.channels, kernel.max_rows))
        call.row_panels = divide_up(d.channels, call.row_width)
        call.sums_step = apart(t, call.row_width * width)
        line = t.transform.points * call.column_panels * call.sums_step * t.itemsize   # sums of a row panel
        allowed = SUMS_BYTES + d.groups * d.channels * d.depth * d.taps * t.itemsize
        call.round = TILES_BYTES // (t.transform.points * t.itemsize * (call.column_panels * width + d.channels))
        call.round = min(max(call.round // lanes, <int64_t>1) * lanes, MOST_TILES)
        if call.round < t.count:
            call.row_panels = divide_up(call.row_panels, divide_up(call.row_panels, max(<int64_t>1, allowed // line)))
        else:
            call.round = t.count
        call.rows = call.row_panels * call.row_width
        call.d_step = apart(t, call.round * call.row_width)
        call.v_step = apart(t, call.round * width)
        call.row_blocks, call.column_blocks = divide_up(call.row_panels, BLOCK_PANELS), call.column_panels
        call.column_blocks = divide_up(call.column_panels, BLOCK_PANELS)
        tasks = call.row_blocks * call.column_blocks
        if tasks < WANTED_TASKS:
            call.column_blocks = min(call.column_panels, divide_up(WANTED_TASKS, call.row_blocks))
        if call.row_blocks * call.column_blocks < WANTED_TASKS:
            call.row_blocks = min(call.row_panels, divide_up(WANTED_TASKS, call.column_blocks))

    cdef bint run_winograd(self, const Array *input, const Array *grad_output, const Array *out) except -1:
        """False if the gradient is not finite everywhere."""
        cdef Call call
        cdef const Dense *d = self.forward.dense
        cdef int axis
        cdef int64_t tiles_size, sums_size = 0, points, group
        cdef size_t held
        self.lay_out(&call, input.float64)
        points = call.tiles.transform.points
        call.input, call.grad_output, call.out = input.data, grad_output.data, out.data
        for axis in range(5):
            call.tiles.window.stride[axis] = input.stride[axis]
            call.grad_stride[axis], call.out_stride[axis] = grad_output.stride[axis], out.stride[axis]
        call.finite, call.out_of_memory = True, False
        tiles_size = points * (call.row_panels * call.d_step + call.column_panels * call.v_step)
        if call.round < call.tiles.count:
            sums_size = points * call.row_panels * call.column_panels * call.sums_step
        call.d = <char *>take_scratch((tiles_size + sums_size) * call.tiles.itemsize, &held)
        call.v = call.d + points * call.row_panels * call.d_step * call.tiles.itemsize
        call.sums = call.d + tiles_size * call.tiles.itemsize if sums_size else NULL
        try:
            for group in range(d.groups):
                call.group, call.first_row = group, 0
                while call.first_row < d.channels:
                    self.run_range(&call)
                    call.first_row += call.rows
        finally:
            give_scratch(call.d, held)
        if call.out_of_memory:
            raise MemoryError("weight gradient workspace")
        return call.finite

    cdef int run_range(self, Call *call) except -1:
        """All rounds of a range of output channels."""
        cdef int64_t row_panels = call.row_panels, row_blocks = call.row_blocks, points = call.tiles.transform.points
        cdef double per_tile
        call.row_panels = divide_up(min(call.rows, call.dense.channels - call.first_row), call.row_width)
        per_tile = 2.0 * points * call.row_panels * call.row_width * call.columns * call.tiles.piece_count
        call.row_blocks = min(row_blocks, call.row_panels)
        call.first = 0
        while call.first < call.tiles.count:
            call.count = min(call.round, call.tiles.count - call.first)
            parallel(transform_task, call, (call.row_panels + call.column_panels)
                     * divide_up(call.count, call.tiles.kernel.lanes),
                     10.0 * points * call.count * (call.rows + call.columns * call.tiles.piece_count))
            parallel(block_task, call, call.row_blocks * call.column_blocks, per_tile * call.count)
            PyErr_CheckSignals()  # a round may be too short for `parallel` to look
            call.first += call.count
        call.row_panels, call.row_blocks = row_panels, row_blocks
        return 0
