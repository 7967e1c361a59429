"""The weight gradient by Winograd's minimal filtering, the transpose of plan.pyx.

    grad_weight[oc, ic] = transform back( sum over tiles of  d[point][tile, oc] * v[point][tile, ic] )

with v the transformed inputs, as in the forward pass, and d the transformed outputs' gradients. Rows of a product are
output channels, columns are input channels (of each piece of the kernel: tiles.pyx), its depth is tiles.

A task has a block of rows and columns, so small that its sums stay in the cache that a core has to itself, and walks
the tiles in rounds, of which the transformed tiles stay there, too (`block_task`):

    for each band of tiles of a round, for each panel: lay the channels of each pixel side by side, and transform
    for each point: add the product

Other tasks transform some of the same channels for themselves: that takes less time than to fetch them from the cache
that the cores share. Where there are few blocks, the rounds are split into parts as well.

A block is transformed back into grad_weight when it is complete: by its task, or, if there are several parts, after
these have been added (`finish_task`). Blocks, rounds and parts follow the geometry alone, and are added in order: the
bits do not depend on the number of threads.

An infinity or NaN spreads over all taps, and sums may overflow where plain ones do not. If the result is not finite
everywhere, it is computed again by the direct algorithm.
"""

from libc.math cimport sqrt
from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View, dtype_number
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport FC_MAX_COLUMNS, FC_MAX_ROWS, fc_finish, fc_kernels
from fastconv._kernels.engine.fastconv_native cimport (
    give_scratch, kernels, notice_signals, out_of_memory, parallel, take_scratch, task_scratch, worker_threads,
)
from fastconv._kernels.engine.order cimport (
    WINOGRAD_ROUND_TILES as MOST_TILES, WINOGRAD_SUMS_BYTES as SUMS_BYTES, WINOGRAD_ROUND_BYTES as TILES_BYTES, WINOGRAD_TASKS as WANTED_TASKS,
    WINOGRAD_TASK_FLOPS as TASK_FLOPS,
)
from fastconv._kernels.weight_gradient.operands cimport add_sums
from fastconv._kernels.weight_gradient.plan cimport WeightGradientPlan
from fastconv._kernels.winograd.bands cimport (
    Bands, Operand, Panel, band_elements, cut_bands, describe_grad_output, describe_input, transform_bands,
)
from fastconv._kernels.winograd.tiles cimport Tiles, apart, describe_tiles

from fastconv._kernels.winograd.plan import serves

cdef double STEP_FLOPS = 5e8               # of one task between two looks for a pending Ctrl-C
cdef int64_t KEPT_BYTES = 3 << 20          # sums that are kept between steps: as much again as the weights, and this


cdef struct Block:
    int64_t group
    int64_t row, row_end                     # panels
    int64_t column, column_end


cdef void find_block(const WinogradGradientCall *call, int64_t index, Block *block) noexcept nogil:
    cdef int64_t part = index % call.column_blocks
    block.column = part * call.column_panels // call.column_blocks
    block.column_end = (part + 1) * call.column_panels // call.column_blocks
    index //= call.column_blocks
    part = index % call.row_blocks
    block.row = part * call.row_panels // call.row_blocks
    block.row_end = (part + 1) * call.row_panels // call.row_blocks
    block.group = index // call.row_blocks


cdef int64_t first_row(const WinogradGradientCall *call, int64_t panel) noexcept nogil:
    """The output channel of a group that a row panel begins with."""
    return panel * call.dense.channels // call.row_panels


cdef void find_row_panel(const WinogradGradientCall *call, const Block *block, int64_t index,
                         Panel *panel) noexcept nogil:
    memset(panel, 0, sizeof(panel[0]))
    panel.channel = block.group * call.dense.channels + first_row(call, index)
    panel.channels = first_row(call, index + 1) - first_row(call, index)


cdef void find_column_panel(const WinogradGradientCall *call, const Block *block, int64_t index,
                            Panel *panel) noexcept nogil:
    cdef const Tiles *t = &call.tiles
    cdef int64_t per_piece = call.column_panels // t.piece_count, piece = index // per_piece
    cdef int64_t channel = index % per_piece * t.kernel.gemm.max_columns
    panel.channel = block.group * call.dense.depth + channel
    panel.channels = min(<int64_t>t.kernel.gemm.max_columns, call.dense.depth - channel)
    panel.shift[0] = t.window.first[0] + piece // (t.pieces[1] * t.pieces[2]) * t.window.delta[0]
    panel.shift[1] = t.window.first[1] + piece // t.pieces[2] % t.pieces[1] * t.transform.taps * t.window.delta[1]
    panel.shift[2] = t.window.first[2] + piece % t.pieces[2] * t.transform.taps * t.window.delta[2]


cdef int64_t transform_round(const WinogradGradientCall *call, const Block *block, int64_t index, char *d, char *v,
                             char *scratch) noexcept nogil:
    """Both operands' tiles of a round, of the channels of a block; returns how many tiles there are."""
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, points = t.transform.points, count = 0, i
    cdef int64_t first = index * call.round, last = min(call.bands.count, (index + 1) * call.round)
    cdef Panel panel
    for i in range(block.row, block.row_end):
        find_row_panel(call, block, i, &panel)
        transform_bands(t, &call.bands, first, last, &call.grad_output, &panel,
                        d + (i - block.row) * points * call.d_step * item, call.d_step, call.row_step, scratch)
    for i in range(block.column, block.column_end):
        find_column_panel(call, block, i, &panel)
        count = transform_bands(t, &call.bands, first, last, &call.input, &panel,
                                v + (i - block.column) * points * call.v_step * item, call.v_step,
                                t.kernel.gemm.max_columns, scratch)
    return count


cdef void multiply(const WinogradGradientCall *call, const Block *block, int64_t depth, const char *d, const char *v,
                   char *sums, bint accumulate) noexcept nogil:
    """Add the products of a round to the sums of a block."""
    cdef const fc_kernels *kernel = call.tiles.kernel
    cdef int64_t item = call.tiles.itemsize, points = call.tiles.transform.points, width = kernel.gemm.max_columns
    cdef int64_t rows = block.row_end - block.row, columns = block.column_end - block.column, point, i, j
    cdef int64_t per_piece = call.column_panels // call.tiles.piece_count, high, wide
    cdef int64_t row_offset[FC_MAX_ROWS]
    cdef int64_t tile_offset[MOST_TILES]
    cdef fc_finish finish
    memset(&finish, 0, sizeof(finish))
    finish.accumulate = accumulate
    for i in range(FC_MAX_ROWS):
        row_offset[i] = i * width
    for i in range(depth):
        tile_offset[i] = i * call.row_step
    for point in range(points):
        for j in range(columns):
            wide = min(width, call.dense.depth - (block.column + j) % per_piece * width)
            for i in range(rows):
                high = first_row(call, block.row + i + 1) - first_row(call, block.row + i)
                kernel.gemm.tile_of_windows(depth, d + (i * points + point) * call.d_step * item, tile_offset, 1,
                                            (high + 1) // 2, v + (j * points + point) * call.v_step * item, width,
                                            sums + ((i * columns + j) * points + point) * call.sums_step * item,
                                            row_offset, <int>high, <int>wide, &finish)


cdef void write_taps(const WinogradGradientCall *call, const Panel *panel, int64_t high, int64_t wide, const char *taps,
                     char *out) noexcept nogil:
    """The taps of one filter's channels, taps[tap][channel], to grad_weight."""
    cdef const fc_kernels *kernel = call.tiles.kernel
    cdef const int64_t *stride = &call.out_stride[0]
    cdef int64_t item = call.tiles.itemsize, width = kernel.gemm.max_columns, y, x, row = call.tiles.transform.taps
    if stride[4] == 1 and (high == 1 or wide == row == stride[3]):
        kernel.copy.pack(out, stride[1], high * wide, panel.channels, taps, width, 1)
        return
    for y in range(high):
        for x in range(wide):
            kernel.copy.pack(out + (y * stride[3] + x * stride[4]) * item, stride[1], 1, panel.channels,
                             taps + (y * row + x) * width * item, width, 1)


cdef bint write_panels(const WinogradGradientCall *call, const Block *block, int64_t i,
                       const char *sums) noexcept nogil:
    """Transform the sums of a row panel and a block's columns back into grad_weight; False if not all are finite."""
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, width = t.kernel.gemm.max_columns, side = t.transform.taps, piece, row, rows, j, top, left, base
    cdef int64_t plane
    cdef const int64_t *stride = &call.out_stride[0]
    cdef double taps[9 * FC_MAX_COLUMNS]
    cdef bint finite = True
    cdef Panel panel
    find_row_panel(call, block, i, &panel)
    row, rows = panel.channel, panel.channels
    for j in range(block.column, block.column_end):
        find_column_panel(call, block, j, &panel)
        piece = j // (call.column_panels // t.piece_count)
        top, left = piece // t.pieces[2] % t.pieces[1] * side, piece % t.pieces[2] * side
        plane = piece // (t.pieces[1] * t.pieces[2])
        base = ((panel.channel - block.group * call.dense.depth) * stride[1] + plane * stride[2] + top * stride[3]
                + left * stride[4])
        for i in range(rows):
            if not t.transform.grad_weight(taps, width, sums + i * width * item, call.sums_step, panel.channels):
                finite = False
            write_taps(call, &panel, min(side, t.window.taps[1] - top), min(side, t.window.taps[2] - left),
                       <char *>taps, call.out + (base + (row + i) * stride[0]) * item)
        sums += t.transform.points * call.sums_step * item
    return finite


cdef void block_task(void *context, int64_t index) noexcept nogil:
    """The products of one block over one part of the rounds, or a step of it."""
    cdef WinogradGradientCall *call = <WinogradGradientCall *>context
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, points = t.transform.points, part = index % call.parts, round, depth, i, first, last
    cdef int64_t sums_size = call.most_rows * call.most_columns * points * call.sums_step
    cdef int64_t d_size = call.most_rows * points * call.d_step, v_size = call.most_columns * points * call.v_step
    cdef int64_t turned = band_elements(t, &call.bands, max(<int64_t>t.kernel.gemm.max_columns, call.row_width))
    cdef Block block
    cdef char *d = <char *>task_scratch((d_size + v_size + turned + (0 if call.sums else sums_size)) * item)
    cdef char *v = d + d_size * item
    cdef char *scratch = v + v_size * item
    cdef char *sums = call.sums + index * sums_size * item if call.sums else scratch + turned * item
    if d == NULL:
        call.out_of_memory = True
        return
    find_block(call, call.first_block + index // call.parts, &block)
    first = part * call.rounds // call.parts
    last = min((part + 1) * call.rounds // call.parts, first + call.begin + call.step_rounds)
    for round in range(first + call.begin, last):
        depth = transform_round(call, &block, round, d, v, scratch)
        multiply(call, &block, depth, d, v, sums, round > first)
    if call.sums:
        return
    for i in range(block.row, block.row_end):
        if not write_panels(call, &block, i, sums + (i - block.row) * (block.column_end - block.column) * points
                            * call.sums_step * item):
            call.finite = False


cdef void finish_task(void *context, int64_t index) noexcept nogil:
    """Add the parts of one block and row panel in order, and transform them back."""
    cdef WinogradGradientCall *call = <WinogradGradientCall *>context
    cdef const Tiles *t = &call.tiles
    cdef int64_t item = t.itemsize, points = t.transform.points, part, count
    cdef int64_t size = call.most_rows * call.most_columns * points * call.sums_step
    cdef char *sums = call.sums + index // call.most_rows * call.parts * size * item
    cdef Block block
    find_block(call, call.first_block + index // call.most_rows, &block)
    index %= call.most_rows
    if block.row + index >= block.row_end:
        return
    count = (block.column_end - block.column) * points * call.sums_step
    sums += index * count * item
    for part in range(1, call.parts):
        add_sums(t.kernel, count, sums + part * size * item, sums)
    if not write_panels(call, &block, block.row + index, sums):
        call.finite = False


cdef class WinogradWeightGradientPlan(WeightGradientPlan):
    """One geometry's weight gradient by F(r, `tile`), its products added up in chunks of at most `chunk`.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    def __cinit__(self, geometry, direction, int tile=2, int64_t chunk=128):
        if not serves(geometry):
            raise ValueError("algorithm='winograd': does not compute weight gradients of this kernel and stride: "
                             f"kernel {geometry.kernel}, stride {geometry.stride} (D, H, W)")
        self.tile, self.chunk = tile, chunk
        self.pass_forward = Subconvolutions(geometry, "forward")

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        if not self.pass_forward.dense.pixels or not self.run_winograd(call):
            WeightGradientPlan.run_views(self, call)
        return 0

    cdef void lay_out(self, WinogradGradientCall *call, const fc_kernels *kernel) noexcept nogil:
        """Panels and blocks, whose sums stay in the cache."""
        cdef const Dense *d = self.pass_forward.dense
        cdef Tiles *t = &call.tiles
        cdef int64_t width = kernel.gemm.max_columns, elements
        call.dense = d
        t.itemsize = kernel.item
        describe_tiles(t, d, kernel, self.tile)
        call.row_panels = divide_up(d.channels, kernel.gemm.max_rows)
        call.row_width = divide_up(d.channels, call.row_panels)
        call.row_step = divide_up(call.row_width, kernel.lanes) * kernel.lanes
        call.column_panels = divide_up(d.depth, width) * t.piece_count
        elements = SUMS_BYTES // (t.transform.points * t.itemsize)
        call.most_columns = max(<int64_t>1, min(call.column_panels, <int64_t>(sqrt(elements) / width + 0.5)))
        call.most_rows = even_block(call.row_panels, elements // (call.most_columns * width * call.row_width))
        call.most_columns = even_block(call.column_panels, elements // (call.most_rows * width * call.row_width))
        call.row_blocks = divide_up(call.row_panels, call.most_rows)
        call.column_blocks = divide_up(call.column_panels, call.most_columns)
        call.sums_step = apart(t, call.row_width * width)

    cdef void share_out(self, WinogradGradientCall *call) noexcept nogil:
        """Rounds of tiles, which stay in the cache as well, parts and steps."""
        cdef const Dense *d = call.dense
        cdef Tiles *t = &call.tiles
        cdef int64_t width = t.kernel.gemm.max_columns, blocks = d.groups * call.row_blocks * call.column_blocks, limit
        cdef double flops = 2.0 * t.transform.points * call.row_width * call.most_rows * width * call.most_columns
        limit = TILES_BYTES // (t.transform.points * t.itemsize
                                * (call.most_rows * call.row_step + call.most_columns * width))
        limit = max(<int64_t>1, min(limit, self.chunk, MOST_TILES))
        cut_bands(&call.bands, t, limit)
        call.round = even_block(call.bands.count, limit // call.bands.tiles)
        call.rounds = divide_up(call.bands.count, call.round)
        call.d_step = apart(t, call.round * call.bands.tiles * call.row_step)
        call.v_step = apart(t, call.round * call.bands.tiles * width)
        call.parts = min(divide_up(WANTED_TASKS, blocks), 1 + <int64_t>(t.count * flops / TASK_FLOPS))
        if call.parts > 1 and call.parts * blocks % 2:  # an odd task would leave a thread idle
            call.parts += 1
        call.parts = min(call.parts, call.rounds)
        call.step_rounds = 1 + <int64_t>(STEP_FLOPS / (call.round * call.bands.tiles * flops))

    cdef bint run_winograd(self, const ConvCall *what) except -1 nogil:
        """False if the gradient is not finite everywhere."""
        cdef WinogradGradientCall call
        cdef const Dense *d = self.pass_forward.dense
        cdef int axis
        cdef int64_t blocks, together, size, longest
        cdef size_t held
        self.lay_out(&call, kernels(what.source.dtype))
        self.share_out(&call)
        describe_input(&call.input, &call.tiles, what.source)
        describe_grad_output(&call.grad_output, &call.tiles, what.factor)
        call.out = what.out.data
        for axis in range(5):
            call.out_stride[axis] = what.out.stride[axis]
        call.finite, call.out_of_memory = True, False
        call.sums, call.first_block = NULL, 0
        together = blocks = d.groups * call.row_blocks * call.column_blocks
        longest = divide_up(call.rounds, call.parts)
        if call.parts == 1 and longest <= call.step_rounds:
            self.run_blocks(&call, blocks, longest)
        else:
            size = call.tiles.transform.points * call.most_rows * call.most_columns * call.sums_step
            size *= call.parts * call.tiles.itemsize
            together = max(<int64_t>1, min(blocks, (KEPT_BYTES + d.groups * d.channels * d.depth * d.taps * 4) // size))
            call.sums = <char *>take_scratch(together * size, &held)
            try:
                while call.first_block < blocks:
                    self.run_blocks(&call, min(together, blocks - call.first_block), longest)
                    call.first_block += together
            finally:
                give_scratch(call.sums, held)
        if call.out_of_memory:
            return out_of_memory(b"weight gradient workspace", 0)
        return call.finite

    cdef int run_blocks(self, WinogradGradientCall *call, int64_t blocks, int64_t longest) except -1 nogil:
        """Some blocks from `first_block` on, all rounds."""
        cdef int64_t tiles = call.rounds * call.round * call.bands.tiles
        cdef double flops = 2.0 * call.tiles.transform.points * call.row_width * call.most_rows * call.most_columns
        flops *= call.tiles.kernel.gemm.max_columns * blocks
        call.begin = 0
        while call.begin < longest:
            parallel(block_task, call, blocks * call.parts,
                     1.5 * flops * tiles * min(longest, call.step_rounds) / longest)
            notice_signals()  # a step may be too short for `parallel` to look
            call.begin += call.step_rounds
        if call.sums != NULL:
            parallel(finish_task, call, blocks * call.most_rows, flops * (call.parts + 2))
        return 0

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef const fc_kernels *kernel = kernels(dtype_number(dtype))
        cdef WinogradGradientCall call
        cdef int64_t blocks, sums, packed
        self.lay_out(&call, kernel)
        self.share_out(&call)
        blocks = call.dense.groups * call.row_blocks * call.column_blocks
        sums = call.tiles.transform.points * call.most_rows * call.most_columns * call.sums_step
        packed = call.tiles.transform.points * (call.most_rows * call.d_step + call.most_columns * call.v_step)
        return {
            "algorithm": "winograd",
            "way": "rounds of tiles",
            "isa": kernel.isa.decode(),
            "tile": (call.tiles.transform.tile_y, call.tiles.transform.tile_x),
            "threads": min(worker_threads(self.work), blocks * call.parts),
            "tasks": blocks * call.parts,
            "packed_weight_bytes": 0,
            "workspace_bytes": (packed + sums) * kernel.item,
        }
