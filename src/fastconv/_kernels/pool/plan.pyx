"""Plans of poolings: which of the mechanisms computes a call, and in what memory its result lies.

Windows of one size go to the C tiles (tiles.pyx), at the speed of memory, and so do averages of whole planes
(planes.pyx). Wide windows have running maxima and sums (running.pyx), as `runs` decides. Windows of uneven
size (adaptive pooling), windows as wide as the row they are on, and norms take a walk over their elements
(walk.pyx). Which it is depends on the geometry, never on threads; only planes that are neither contiguous nor
interleaved are averaged by the walk.

The gradient of max-pool has two forms. A caller who holds indices has it from by_index.pyx, which follows them. A layer
keeps *positions* instead, a byte per output, and the tiles gather from them.
"""

import math

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

import numpy as np

from fastconv._kernels.engine.arrays cimport Opened, View, close, is_channels_last, make_output, open_array
from fastconv._kernels.engine.fc_api cimport FC_POOL_TAPS, fc_pool, fc_pool_axis
from fastconv._kernels.engine.fastconv_native cimport lets_others_run
from fastconv._kernels.pool.planes cimport average_whole, covers_planes
from fastconv._kernels.pool.running cimport RunningCall, run_running, running_serves
from fastconv._kernels.pool.strides cimport TAP_FLOPS, copy_strides
from fastconv._kernels.pool.tiles cimport (
    AVG_PASS, GRADIENT_PASS, MAX_PASS, Pass, TileCall, position_bytes, run_tiles, tiles_serve,
)
from fastconv._kernels.pool.walk cimport MAXIMUM, SPREAD, TOTAL, WalkCall, Operation, Pool, walk

cdef object index_dtype = np.dtype(np.int64)
cdef int64_t LARGEST_BYTES = 2**63 - 1
cdef int64_t MOST_CHANNELS = 1 << 14    # side by side that tiles take; more of them would not leave room for rows


# How long it takes to go through windows, counted in taps of the tiles (0.15 to 0.45 ns on a core of 3 GHz): running
# takes about the same for every element and axis, and the walk for every tap.
cdef double RUNNING_MAXIMUM = 8
cdef double RUNNING_SUM = 16
cdef double WALK_TAP = 6
cdef double GRADIENT_TAP = 0.5
cdef int64_t MOST_SOURCES = 16   # windows over an element, beyond which following indices is faster than looking for it


cdef double running_taps(const Pool *pool, Operation operation) noexcept nogil:
    """What one plane takes by running maxima and sums: rows first, then columns, then planes (or, for gradients, from
    outputs to elements)."""
    cdef double taps = 0, lanes, along = RUNNING_MAXIMUM if operation == MAXIMUM else RUNNING_SUM
    cdef const int64_t *before = &pool.input_size[0]
    cdef const int64_t *after = &pool.output_size[0]
    cdef int axis, other
    if operation == SPREAD:
        before, after = after, before
    for axis in range(2, -1, -1):
        lanes = 1
        for other in range(3):
            if other != axis:
                lanes *= after[other] if other > axis else before[other]
        # few lanes leave vectors empty, unless the axis is long enough to be taken in stretches
        lanes = max(lanes, min(16.0, 16 * pool.kernel[axis] / (<double>before[axis] + after[axis])))
        taps += along * lanes * (before[axis] + after[axis]) / 2
    return taps


cdef double window_taps(const Pool *pool, Operation operation, bint tiles) noexcept nogil:
    """What one plane takes window by window: see tile/pool.h, tile/pool_gradient.h and walk.pyx."""
    cdef const int64_t *kernel = &pool.kernel[0]
    cdef const int64_t *outputs = &pool.output_size[0]
    cdef double every = <double>outputs[0] * outputs[1] * outputs[2]
    cdef double over = 1       # windows times taps that lie inside, over `every`
    cdef int axis
    for axis in range(3):
        over *= min(kernel[axis], pool.input_size[axis])
    if not tiles:
        return WALK_TAP * every * over
    if operation == SPREAD:
        return GRADIENT_TAP * every * over
    return kernel[0] * (every * kernel[1] + <double>outputs[0] * pool.input_size[1] * outputs[2] * kernel[2])


cdef int64_t most_windows(const fc_pool *pool) noexcept:
    """The most windows over one element."""
    cdef int64_t windows = 1
    cdef int axis
    for axis in range(3):
        windows *= min(pool.axis[axis].taps, (pool.axis[axis].taps - 1) * pool.axis[axis].dilation
                       // pool.axis[axis].stride + 1)
    return windows


cdef class Positions:
    """Where the maxima of one call were found: memory that the gradient reads, a byte per output."""

    cdef uint8_t *data
    cdef bint channels_last

    def __cinit__(self, int64_t size_bytes, bint channels_last):
        self.channels_last = channels_last
        self.data = <uint8_t *>malloc(size_bytes)
        if self.data == NULL:
            raise MemoryError(f"positions of {size_bytes} bytes")

    def __dealloc__(self):
        free(self.data)


cdef class PoolPlan:
    """A `geometry.PoolGeometry` in C. Immutable once made, so that calls on several threads may share it."""

    def __cinit__(self, geometry):
        cdef Pool *p = &self.pool
        cdef fc_pool_axis *a
        cdef int axis
        self.geometry = geometry
        self.spatial_rank, self.batched = geometry.spatial_rank, geometry.batched
        self.input_shape, self.output_shape = geometry.input_shape, geometry.output_shape
        self.elements = max(math.prod(self.input_shape), math.prod(self.output_shape))
        p.n, p.channels, p.adaptive = geometry.n, geometry.channels, geometry.adaptive
        for axis in range(3):
            p.input_size[axis], p.output_size[axis] = geometry.input_size[axis], geometry.output_size[axis]
            p.kernel[axis], p.stride[axis] = geometry.kernel[axis], geometry.stride[axis]
            p.before[axis], p.after[axis] = geometry.before[axis], geometry.after[axis]
            p.dilation[axis] = geometry.dilation[axis]
            a = &self.tile.axis[axis]
            a.extent, a.outputs = p.input_size[axis], p.output_size[axis]
            a.taps, a.stride, a.before, a.dilation = p.kernel[axis], p.stride[axis], p.before[axis], p.dilation[axis]
        self.tiles = not geometry.adaptive and tiles_serve(&self.tile)
        self.whole = covers_planes(p)
        self.keeps_positions = (self.tiles and math.prod(geometry.kernel) <= FC_POOL_TAPS
                                and most_windows(&self.tile) <= MOST_SOURCES)
        self.work = <double>TAP_FLOPS * self.elements

    cdef object room(self, tuple shape, object dtype, bint channels_last):
        """An uninitialised array."""
        if self.elements > LARGEST_BYTES // <int64_t>dtype.itemsize:
            raise MemoryError(f"an array of shape {shape} and dtype {dtype} cannot be allocated")
        return make_output(shape, dtype, channels_last, self.batched)

    cdef View *open(self, Opened *opened, object owner, bint writable) except NULL:
        return open_array(opened, owner, self.spatial_rank, self.batched, writable)

    # ---- the mechanisms

    cdef bint served(self, bint channels_last) noexcept nogil:
        return self.tiles and not (channels_last and self.pool.channels > MOST_CHANNELS)

    cdef bint runs(self, Operation operation, const View *source) noexcept nogil:
        """Whether windows are so wide that running maxima and sums take less time than going through them.

        An image's sums follow this, so it may depend on nothing but one image's geometry.
        """
        return running_serves(&self.pool, source.dtype) and (
            running_taps(&self.pool, operation) < window_taps(&self.pool, operation, self.tiles))

    cdef int run_tile(self, TileCall *call, const View *source, const View *target, bint channels_last) except -1 nogil:
        call.source, call.target, call.dtype = source, target, source.dtype
        call.n, call.channels, call.channels_last = self.pool.n, self.pool.channels, channels_last
        call.pool.channels = self.pool.channels if channels_last else 1
        return run_tiles(call)

    cdef int run_average(self, Pass kind, const View *source, const View *target, bint channels_last,
                         bint count_padding, double divisor) except -1 nogil:
        cdef TileCall call
        cdef int axis
        call.kind, call.indices, call.positions = kind, NULL, NULL
        call.pool, call.pool.divisor = self.tile, divisor
        for axis in range(3):
            call.pool.axis[axis].count_low = -self.pool.before[axis] if count_padding else 0
            call.pool.axis[axis].count_high = self.pool.input_size[axis] + (
                self.pool.after[axis] if count_padding else 0)
        return self.run_tile(&call, source, target, channels_last)

    cdef int run_walk(self, WalkCall *call, const View *input, const View *output) except -1 nogil:
        call.pool, call.dtype = &self.pool, input.dtype
        call.input, call.output = input.data, output.data
        copy_strides(input, call.input_stride)
        copy_strides(output, call.output_stride)
        return walk(call)

    cdef int run_running(self, RunningCall *call, const View *source, const View *target,
                         bint channels_last) except -1 nogil:
        call.pool, call.source, call.target, call.channels_last = &self.pool, source, target, channels_last
        return run_running(call)

    # ---- the passes: arrays whose rows, with their channels if those are adjacent, are contiguous in the target

    cdef int maxima(self, const View *source, const View *target, const View *places, double norm) except -1 nogil:
        """Maxima, and where they were found if `places` is not NULL; of +|x| or -|x| if `norm` is infinite."""
        cdef bint channels_last = is_channels_last(source)
        cdef TileCall tile
        cdef RunningCall running
        cdef WalkCall call
        if norm == 0 and self.runs(MAXIMUM, source):
            memset(&running, 0, sizeof(RunningCall))
            running.operation, running.indices = MAXIMUM, places
            return self.run_running(&running, source, target, channels_last)
        if norm == 0 and self.served(channels_last):
            tile.pool, tile.kind, tile.indices, tile.positions = self.tile, MAX_PASS, places, NULL
            return self.run_tile(&tile, source, target, channels_last)
        memset(&call, 0, sizeof(WalkCall))
        call.operation, call.norm = MAXIMUM, norm
        if places != NULL:
            call.index = <int64_t *>places.data
            copy_strides(places, call.index_stride)
        return self.run_walk(&call, source, target)

    cdef int totals(self, const View *source, const View *target, bint count_padding, double divisor,
                    double norm) except -1 nogil:
        """Averages, by the elements of a window or by `divisor`; or Lp norms if `norm` is not 0."""
        cdef bint channels_last = is_channels_last(source)
        cdef RunningCall running
        cdef WalkCall call
        if self.whole and norm == 0 and average_whole(&self.pool, source, target, False, count_padding, divisor):
            return 0
        if norm == 0 and self.runs(TOTAL, source):
            memset(&running, 0, sizeof(RunningCall))
            running.operation, running.count_padding, running.divisor = TOTAL, count_padding, divisor
            return self.run_running(&running, source, target, channels_last)
        if norm == 0 and self.served(channels_last):
            return self.run_average(AVG_PASS, source, target, channels_last, count_padding, divisor)
        memset(&call, 0, sizeof(WalkCall))
        call.operation, call.norm, call.count_padding, call.divisor = TOTAL, norm, count_padding, divisor
        return self.run_walk(&call, source, target)

    cdef int spread(self, const View *source, const View *target, bint count_padding, double divisor) except -1 nogil:
        """The gradient of averages with respect to their input."""
        cdef bint channels_last = is_channels_last(source)
        cdef RunningCall running
        cdef WalkCall call
        if self.whole and average_whole(&self.pool, target, source, True, count_padding, divisor):
            return 0
        if self.runs(SPREAD, source):
            memset(&running, 0, sizeof(RunningCall))
            running.operation, running.count_padding, running.divisor = SPREAD, count_padding, divisor
            return self.run_running(&running, source, target, channels_last)
        if self.served(channels_last):
            return self.run_average(GRADIENT_PASS, source, target, channels_last, count_padding, divisor)
        memset(&call, 0, sizeof(WalkCall))
        call.operation, call.count_padding, call.divisor = SPREAD, count_padding, divisor
        return self.run_walk(&call, target, source)

    cdef int run_views(self, const PoolCall *call) except -1 nogil:
        """The pass that a call asks for."""
        if call.operation == MAXIMUM:
            return self.maxima(call.source, call.target, call.places, call.norm)
        if call.operation == TOTAL:
            return self.totals(call.source, call.target, call.count_padding, call.divisor, call.norm)
        return self.spread(call.source, call.target, call.count_padding, call.divisor)

    # ---- for Python: buffers are opened directly, for the sake of tiny calls, as in conv/door.pyx

    cdef int start(self, const PoolCall *call) except -1:
        """One of the passes, for those who hold the GIL, which others may have meanwhile."""
        if not lets_others_run(self.work):
            return self.run_views(call)
        with nogil:
            return self.run_views(call)

    cdef object run(self, PoolCall *call, object source, tuple shape, bint with_places, object out=None):
        """`call` from an array to one of `shape`, made here if there is none; and its indices, if they are wanted."""
        cdef Opened opened
        indices = None
        opened.count = 0
        try:
            call.source = self.open(&opened, source, False)
            if out is None:
                out = self.room(shape, source.dtype, is_channels_last(call.source))
            call.target = self.open(&opened, out, True)
            call.places = NULL
            if with_places:
                indices = self.room(shape, index_dtype, is_channels_last(call.source))
                call.places = self.open(&opened, indices, True)
            self.start(call)
        finally:
            close(&opened)
        return (out, indices) if with_places else out

    def maximum(self, input, bint return_indices=False, double norm=0, out=None):
        """`maxima` of an array, with their indices if wanted; `out` lies in memory as the input does."""
        cdef PoolCall call
        call.operation, call.norm = MAXIMUM, norm
        return self.run(&call, input, self.output_shape, return_indices, out)

    def average(self, input, bint count_padding=True, double divisor=0, double norm=0, out=None):
        """`totals` of an array; `out` lies in memory as the input does."""
        cdef PoolCall call
        call.operation, call.count_padding, call.divisor, call.norm = TOTAL, count_padding, divisor, norm
        return self.run(&call, input, self.output_shape, False, out)

    def average_gradient(self, grad_output, bint count_padding=True, double divisor=0):
        """`spread` of an array."""
        cdef PoolCall call
        call.operation, call.count_padding, call.divisor = SPREAD, count_padding, divisor
        return self.run(&call, grad_output, self.input_shape, False)

    def maximum_and_positions(self, input):
        """Maxima and their `Positions`, which are None if windows are of a kind that has none."""
        cdef Opened opened
        cdef TileCall call
        cdef const View *source
        cdef const View *target
        cdef Positions positions
        cdef bint channels_last
        opened.count = 0
        try:
            source = self.open(&opened, input, False)
            channels_last = is_channels_last(source)
            if not (self.keeps_positions and self.served(channels_last)):
                return None, None
            out = self.room(self.output_shape, input.dtype, channels_last)
            target = self.open(&opened, out, True)
            positions = Positions(position_bytes(&self.tile, self.pool.n, self.pool.channels, channels_last),
                                  channels_last)
            call.pool, call.kind, call.indices, call.positions = self.tile, MAX_PASS, NULL, positions.data
            self.start_tile(&call, source, target, channels_last)
            return out, positions
        finally:
            close(&opened)

    def position_gradient(self, Positions positions, grad_output):
        """The gradient of `maximum_and_positions` with respect to its input, in the input's memory order."""
        cdef Opened opened
        cdef TileCall call
        cdef const View *source
        cdef const View *target
        opened.count = 0
        try:
            source = self.open(&opened, grad_output, False)
            out = self.room(self.input_shape, grad_output.dtype, positions.channels_last)
            target = self.open(&opened, out, True)
            call.pool, call.kind, call.indices, call.positions = self.tile, GRADIENT_PASS, NULL, positions.data
            self.start_tile(&call, source, target, positions.channels_last)
            return out
        finally:
            close(&opened)

    cdef int start_tile(self, TileCall *call, const View *source, const View *target, bint channels_last) except -1:
        """`run_tile` for those who hold the GIL, which others may have meanwhile."""
        if not lets_others_run(self.work):
            return self.run_tile(call, source, target, channels_last)
        with nogil:
            return self.run_tile(call, source, target, channels_last)

    def norm_gradient(self, input, output, grad_output, double norm):
        """The gradient of an Lp norm with respect to its input; `norm` is finite."""
        cdef Opened opened
        cdef WalkCall call
        cdef const View *source
        cdef const View *target
        cdef const View *array
        memset(&call, 0, sizeof(WalkCall))
        opened.count = 0
        try:
            call.operation, call.norm = SPREAD, norm
            source = self.open(&opened, grad_output, False)
            array = self.open(&opened, input, False)
            call.norm_input = array.data
            copy_strides(array, call.norm_input_stride)
            array = self.open(&opened, output, False)
            call.norm_output = array.data
            copy_strides(array, call.norm_output_stride)
            out = self.room(self.input_shape, input.dtype, is_channels_last(source))
            target = self.open(&opened, out, True)
            with nogil:
                self.run_walk(&call, target, source)
            return out
        finally:
            close(&opened)
