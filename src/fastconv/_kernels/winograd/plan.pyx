"""Convolutions of stride 1 by Winograd's minimal filtering, fused per block of tiles.

Products are formed per point of the transformed tiles: sums[point] = u[point] . v[point], with u the transformed
weights and v the transformed inputs (tiles.pyx). Tiles are of 2 x 2 outputs, 3 x 3 of kernels that are even,
or 4 x 4, which multiply less and round more: algorithm.py says when. Whichever of u and v is smaller is
transformed once per call; the other never leaves the cache:

    many tiles, few weights: a task owns a block of tiles and, if need be, a part of the output channels (`tiles_task`)
        transform the block's inputs, as much of the depth as stays in L2
        for each weight panel:
            for each point: sums, channels x tiles (channels-last: tiles x channels), added up over chunks of the depth
            transform the sums back into the output, with bias and activation
    few tiles, many weights: a task owns a panel of output channels and all tiles of a block (`channels_task`)
        for each chunk of the depth:
            transform the panel's weights, unless they are packed and so were transformed by the first call
            for each point, for each panel of tiles: a tile of sums, tiles x channels
        transform the sums back into the output

The chunks follow from the geometry alone, so the bits are the same either way, on any number of threads.

The transforms spread an infinity or NaN over its whole tile, and may overflow where the plain sum does not. An
image whose output is not finite everywhere is therefore computed again by the direct algorithm: non-finite values
then stand exactly where that puts them, and the image's bits still depend on nothing but the image.
"""


from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.conv.panels cimport describe_weights
from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View, dtype_number, some_images
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport FC_MAX_ROWS, fc_kernels
from fastconv._kernels.engine.machine cimport in_l2
from fastconv._kernels.engine.fastconv_native cimport (
    give_scratch, kernels, out_of_memory, parallel, take_scratch, worker_threads,
)
from fastconv._kernels.engine.order cimport WINOGRAD_CHANNELS as LEAST_CHANNELS, WINOGRAD_DEPTH as CHUNK
from fastconv._kernels.engine.packed cimport FORM_WINOGRAD, Form, Lease, give_back, lease, run_packed, work
from fastconv._kernels.winograd.tasks cimport (
    MOST_VECTORS, WinogradCall, channels_scratch, channels_task, inputs_task, tiles_scratch, tiles_task,
    transformed_inputs, transformed_weights, weights_task,
)
from fastconv._kernels.winograd.tiles cimport MOST_LANES, Tiles, describe_tiles

cdef int64_t HELD_BYTES = in_l2(768 << 10)  # transformed inputs of a panel of tiles, which stay in L2
cdef int64_t MOST_PIECES = 64      # of a kernel: they deepen a product that is not cut between them
cdef int64_t BLOCK_BYTES = 5 << 20 # transformed inputs of a block of tiles
cdef int64_t BLOCK_TILES = 256     # whose sums, for one panel of channels, stay in L2
cdef int64_t KEPT_BYTES = 4 << 20  # transformed weights that are kept: to read more from memory takes longer than to
                                   # transform those that they are made of, of which there are up to four times fewer
cdef int64_t LEAST_TILES = 28      # of a block of many, if tiles are rows


# ---- plans -------------------------------------------------------------------------------------------


cdef int run_images_again(DensePlan direct, const char *finite, const ConvCall *call) except -1 nogil:
    """Compute the images with a 0 in `finite` by the plan of one image."""
    cdef ConvCall again = call[0]
    cdef View source, out
    cdef int64_t n
    for n in range(call.source.size[0]):
        if not finite[n]:
            source, out = some_images(call.source, n, 1), some_images(call.out, n, 1)
            again.source, again.out = &source, &out
            direct.run_views(&again)
    return 0


def serves(geometry):
    """Whether a geometry is one for Winograd: at least 2 taps wide, stride 1."""
    pieces = geometry.kernel[0] * -(-geometry.kernel[1] // 3) * -(-geometry.kernel[2] // 3)
    return geometry.kernel[2] >= 2 and pieces <= MOST_PIECES and tuple(geometry.stride) == (1, 1, 1)


cdef class WinogradPlan(Subconvolutions):
    """One geometry by F(`tile`, r), in one direction: F(2, 3), F(4, 3) or F(3, 2); of each point's products at most `chunk`
    are added up in one go.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction, int tile=2, int64_t chunk=128):
        if not serves(geometry):
            raise ValueError(
                f"algorithm='winograd': needs stride 1 and a kernel at least 2 wide and of at most {MOST_PIECES} pieces "
                f"of 3x3, not kernel {geometry.kernel}, stride {geometry.stride} (D, H, W)")
        self.tile = self.form = tile
        self.chunk = min(chunk, CHUNK)
        self.direct = DensePlan(geometry._replace(n=1, batched=True), direction)

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef size_t held
        cdef char *finite
        if not self.dense.pixels:
            return 0
        finite = <char *>take_scratch(self.dense.n, &held)
        memset(finite, 1, self.dense.n)
        try:
            self.run_winograd(call, finite)
            run_images_again(self.direct, finite, call)
        finally:
            give_scratch(finite, held)
        return 0

    cdef void lay_out(self, WinogradCall *call, const fc_kernels *kernel, bint channels_last) noexcept nogil:
        """Panels, chunks, parts and blocks: what follows from geometry, memory order, instruction set and threads."""
        cdef const Dense *d = self.dense
        cdef Tiles *t = &call.tiles
        cdef int64_t tasks, threads = worker_threads(d.flops), tile_bytes, k, itemsize = kernel.item
        call.dense = d
        t.itemsize = itemsize
        describe_tiles(t, d, kernel, self.tile)
        t.channels_last = channels_last
        tile_bytes = d.depth * t.piece_count * t.transform.points * itemsize
        # the depth is cut by the geometry alone, for it decides the order of summation
        call.depth = min(d.depth, max(LEAST_CHANNELS, divide_up(d.depth, divide_up(d.depth * t.piece_count, CHUNK))))
        call.cut = even_block(call.depth * t.piece_count, self.chunk)
        call.few_tiles = t.count <= d.channels and divide_up(d.channels, kernel.gemm.max_columns) * d.groups >= threads
        call.tile_rows = call.few_tiles or channels_last
        call.first = 0
        if call.tile_rows:
            call.channel_width = kernel.gemm.max_columns
        else:
            call.channel_width = even_block(d.channels, kernel.gemm.max_rows)
        call.channel_panels = divide_up(d.channels, call.channel_width)
        if call.few_tiles:
            call.block = max(kernel.gemm.max_rows, min(BLOCK_BYTES // (d.groups * tile_bytes), BLOCK_TILES))
        elif channels_last:
            call.block = max(LEAST_TILES, min(HELD_BYTES // tile_bytes, MOST_VECTORS * MOST_LANES))
        else:
            call.block = kernel.gemm.max_columns
        if call.tile_rows:
            call.block = even_block(max(<int64_t>1, t.count), call.block)
            call.tile_width = even_block(call.block, kernel.gemm.max_rows)
            for k in range(CHUNK):
                call.k_offset[k] = k * call.channel_width
        for k in range(FC_MAX_ROWS):
            call.row_offset[k] = k * (call.channel_width if call.tile_rows else call.block)
        call.blocks = divide_up(t.count, call.block)
        call.held = HELD_BYTES // (call.depth * t.piece_count * t.transform.points * call.block * itemsize)
        call.held = min(d.depth, max(<int64_t>1, call.held) * call.depth)
        tasks = call.blocks * d.groups
        call.parts = threads if tasks % threads and tasks < 8 * threads else 1
        call.parts = min(call.parts, call.channel_panels)

    cdef int run_winograd(self, const ConvCall *what, char *finite) except -1 nogil:
        cdef const View *source = what.source
        cdef const View *out = what.out
        cdef WinogradCall call
        cdef const Dense *d = self.dense
        cdef int axis
        self.lay_out(&call, kernels(source.dtype), source.stride[1] == 1 and out.stride[1] == 1)
        call.source, call.out, call.bias, call.finite = source.data, out.data, what.bias, finite
        call.activation, call.slope, call.out_of_memory = what.activation, what.slope, False
        for axis in range(5):
            call.tiles.window.stride[axis] = source.stride[axis]
            call.out_stride[axis] = out.stride[axis]
        describe_weights(&call.weights, d, call.tiles.kernel, what.factor, self.forward)
        call.weights.width, call.weights.padded = call.channel_width, call.tile_rows
        if call.few_tiles:
            self.run_few_tiles(&call, what.factor)
        else:
            self.run_many_tiles(&call, what.factor)
        if call.out_of_memory:
            return out_of_memory(b"convolution workspace", 0)
        return 0

    cdef Form form_of(self, const WinogradCall *call) noexcept nogil:
        cdef Form form
        form.algorithm, form.part, form.kernel = FORM_WINOGRAD, self.form, call.tiles.kernel
        form.width, form.layout = call.channel_width, 2 * call.depth + call.tile_rows
        return form

    cdef int run_many_tiles(self, WinogradCall *call, const View *weight) except -1 nogil:
        cdef const Dense *d = call.dense
        cdef int64_t transformed = d.groups * transformed_weights(call)
        cdef Form form = self.form_of(call)
        return run_packed(call, &call.u, &call.out_of_memory, weight, &form, transformed * call.tiles.itemsize,
                          work(weights_task, d.groups * call.channel_panels, 10.0 * transformed),
                          work(tiles_task, d.groups * call.blocks * call.parts, 2.0 * transformed * call.tiles.count))

    cdef int run_few_tiles(self, WinogradCall *call, const View *weight) except -1 nogil:
        """By weights that are there as they are wanted, if they are packed and not too large; else each task transforms
        its own, which are read once and so need not be written down."""
        cdef const Dense *d = call.dense
        cdef int64_t transformed = d.groups * transformed_weights(call)
        cdef Form form = self.form_of(call)
        cdef Lease panels
        cdef bint filled = False
        call.u = NULL
        if weight.packed == NULL or transformed * call.tiles.itemsize > KEPT_BYTES:
            return self.run_blocks(call)
        lease(&panels, weight, &form, transformed * call.tiles.itemsize)
        call.u = panels.memory
        try:
            if panels.fresh:
                parallel(weights_task, call, d.groups * call.channel_panels, 10.0 * transformed)
            filled = not call.out_of_memory
            if filled:
                self.run_blocks(call)
        finally:
            give_back(&panels, filled)
        return 0

    cdef int run_blocks(self, WinogradCall *call) except -1 nogil:
        """The few tiles, block by block."""
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

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef WinogradCall call
        cdef const fc_kernels *kernel = kernels(dtype_number(dtype))
        cdef int64_t tasks, packed = 0, workspace
        self.lay_out(&call, kernel, channels_last)
        if call.few_tiles:
            tasks = call.dense.groups * call.channel_panels
            workspace = channels_scratch(&call) + call.dense.groups * transformed_inputs(&call)
        else:
            tasks = call.dense.groups * call.blocks * call.parts
            packed = call.dense.groups * transformed_weights(&call)
            workspace = tiles_scratch(&call, divide_up(call.channel_panels, call.parts))
        return {
            "algorithm": "winograd",
            "way": "few tiles" if call.few_tiles else "many tiles",
            "isa": kernel.isa.decode(),
            "tile": (call.tiles.transform.tile_y, call.tiles.transform.tile_x),
            "threads": min(worker_threads(call.dense.flops), tasks),
            "tasks": tasks,
            "packed_weight_bytes": packed * kernel.item,
            "workspace_bytes": workspace * kernel.item,
        }
