"""The tiles of a Winograd convolution: where each takes its inputs and puts its outputs, and the transforms.

The tiles of a batch are numbered n, D, then H and W; neighbours of a row share a vector, and so may rows, if they are
short. A dilated convolution is one without dilation on every d-th row and column, d x d of them beside each other.

A kernel with more taps along H or W than a tile is cut into pieces (the last one padded with zeros), a kernel with
planes into its planes. Pieces see the input at different places; their products add up, so to the matrix product they
are more channels: the depth of a chunk is piece, then channel.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.conv.panels cimport Weights, pack_weight_panel
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_WINOGRADS, fc_kernels, fc_window, fc_winograd, fc_winograd_run

cdef int64_t CHANNELS_AT_ONCE = 16  # whose weights are transformed together, from L1


cdef const fc_winograd *find_transform(const fc_kernels *kernel, int tile_y, int tile_x) noexcept nogil:
    cdef int i
    for i in range(FC_WINOGRADS):
        if kernel.winograd[i].tile_y == tile_y and kernel.winograd[i].tile_x == tile_x:
            return &kernel.winograd[i]
    return NULL


cdef void describe_tiles(Tiles *tiles, const Dense *d, const fc_kernels *kernel, int tile) noexcept nogil:
    """All of it but the strides of the source and of what follows from them."""
    cdef const fc_window *w = &d.window
    cdef int axis
    tiles.kernel, tiles.window, tiles.channels_last = kernel, w[0], False
    tiles.transform = find_transform(kernel, 1 if w.taps[1] == 1 else tile, tile)
    tiles.pieces[0] = w.taps[0]
    tiles.piece_count = w.taps[0]
    for axis in range(1, 3):
        tiles.spread[axis - 1] = 1 if w.taps[axis] == 1 else max(w.delta[axis], -w.delta[axis])
        tiles.pieces[axis] = divide_up(w.taps[axis], tiles.transform.taps)
        tiles.piece_count *= tiles.pieces[axis]
    tiles.tiles_y = divide_up(divide_up(w.count[1], tiles.spread[0]), tiles.transform.tile_y)
    tiles.tiles_x = divide_up(divide_up(w.count[2], tiles.spread[1]), tiles.transform.tile_x)
    tiles.count = d.n * w.count[0] * tiles.spread[0] * tiles.spread[1] * tiles.tiles_y * tiles.tiles_x


cdef int find_places(const Tiles *tiles, int64_t first, int64_t count, Place *places) noexcept nogil:
    """Where `count` tiles, at most a vector of them, lie from number `first` on; returns of how many rows they are."""
    cdef int64_t lane = 0, rest, x
    cdef int found = 0
    cdef Place *place
    while lane < count:
        place = &places[found]
        rest = first + lane
        x = rest % tiles.tiles_x
        rest //= tiles.tiles_x
        place.y = rest % tiles.tiles_y * tiles.transform.tile_y * tiles.spread[0]
        rest //= tiles.tiles_y
        place.x = x * tiles.transform.tile_x * tiles.spread[1] + rest % tiles.spread[1]
        rest //= tiles.spread[1]
        place.y += rest % tiles.spread[0]
        rest //= tiles.spread[0]
        place.z = rest % tiles.window.count[0]
        place.n = rest // tiles.window.count[0]
        place.lane = lane
        place.tiles = min(count - lane, tiles.tiles_x - x)
        lane += place.tiles
        found += 1
    return found


cdef inline int64_t lower_end(const Tiles *tiles, int axis, int64_t piece) noexcept nogil:
    """Lowest source position of a piece's taps for output 0; taps may run backwards (input gradient)."""
    cdef const fc_window *w = &tiles.window
    cdef int64_t taps = tiles.transform.taps, last = taps - 1 if w.delta[axis] < 0 and w.taps[axis] > 1 else 0
    return w.first[axis] + w.delta[axis] * (taps * piece + last)


cdef void input_runs(const Tiles *tiles, const Place *places, int count, int64_t piece, const char *source,
                     fc_winograd_run *runs) noexcept nogil:
    """What `count` places read for a piece of the kernel, of the channel that `source` is the first element of."""
    cdef const fc_window *w = &tiles.window
    cdef const Place *place
    cdef fc_winograd_run *run
    cdef int64_t z, y, x, row, spread = tiles.spread[1]
    cdef int64_t shift_z = w.first[0] + piece // (tiles.pieces[1] * tiles.pieces[2]) * w.delta[0]
    cdef int64_t shift_y = lower_end(tiles, 1, piece // tiles.pieces[2] % tiles.pieces[1])
    cdef int64_t shift_x = lower_end(tiles, 2, piece % tiles.pieces[2])
    cdef int i
    for i in range(count):
        place, run = &places[i], &runs[i]
        z, y, x = place.z + shift_z, place.y + shift_y, place.x + shift_x
        run.lane, run.tiles, run.step = place.lane, place.tiles, spread * w.stride[4]
        run.high = place.tiles * tiles.transform.tile_x + tiles.transform.taps - 1
        run.low = 0 if x >= 0 else min(run.high, divide_up(-x, spread))
        run.high = max(run.low, min(run.high, 0 if x >= w.extent[2] else divide_up(w.extent[2] - x, spread)))
        for row in range(input_rows(tiles)):
            if 0 <= z < w.extent[0] and 0 <= y < w.extent[1]:
                run.row[row] = <char *>source + (place.n * w.stride[0] + z * w.stride[2] + y * w.stride[3]
                                                 + x * w.stride[4]) * tiles.itemsize
            else:
                run.row[row] = NULL
            y += tiles.spread[0]


cdef void output_runs(const Tiles *tiles, const Place *places, int count, const int64_t *stride, char *out,
                      fc_winograd_run *runs) noexcept nogil:
    """What `count` places write, of the channel that `out` is the first element of."""
    cdef const fc_window *w = &tiles.window
    cdef const Place *place
    cdef fc_winograd_run *run
    cdef int64_t y, row, spread = tiles.spread[1]
    cdef int i
    for i in range(count):
        place, run = &places[i], &runs[i]
        run.lane, run.tiles, run.step, run.low = place.lane, place.tiles, spread * stride[4], 0
        run.high = 0 if place.x >= w.count[2] else divide_up(w.count[2] - place.x, spread)
        run.high = min(run.high, place.tiles * tiles.transform.tile_x)
        for row in range(tiles.transform.tile_y):
            y = place.y + row * tiles.spread[0]
            run.row[row] = NULL
            if y < w.count[1]:
                run.row[row] = out + (place.n * stride[0] + place.z * stride[2] + y * stride[3]
                                      + place.x * stride[4]) * tiles.itemsize


cdef void transform_inputs(const Tiles *tiles, const char *source, int64_t first, int64_t count, int64_t channels,
                           char *v, int64_t point_step, int64_t step) noexcept nogil:
    """v[point][piece * channels + c][tile] of `count` tiles, for `channels` channels from `source` on; `step` apart are
    neighbours along the depth or, of v[point][tile][piece * channels + c] (channels-last), tiles."""
    cdef int64_t item = tiles.itemsize, done = 0, some, piece
    cdef int64_t lanes = MOST_LANES if tiles.channels_last else tiles.kernel.lanes
    cdef int found
    cdef Place places[MOST_LANES]
    cdef fc_winograd_run runs[MOST_LANES]
    while done < count:
        some = min(lanes, count - done)
        found = find_places(tiles, first + done, some, places)
        for piece in range(tiles.piece_count):
            input_runs(tiles, places, found, piece, source, runs)
            if tiles.channels_last:
                tiles.transform.input_channels(v + (done * step + piece * channels) * item, point_step, step, runs,
                                               found, channels)
            else:
                tiles.transform.input(v + (piece * channels * step + done) * item, point_step, step, runs, found,
                                      tiles.window.stride[1], channels)
        done += some


cdef void pack_piece(const Tiles *tiles, const Weights *w, int64_t group, int64_t panel, int64_t channel,
                     int64_t channels, int64_t piece, char *taps) noexcept nogil:
    """taps[c][tap][i]: one piece of the kernel, for one weight panel and some source channels."""
    cdef const fc_kernels *kernel = tiles.kernel
    cdef const fc_window *window = &tiles.window
    cdef int64_t item = tiles.itemsize, first = panel * w.width, rows = min(w.width, w.dense.channels - first)
    cdef int64_t width = w.width if w.padded else rows, y, x, tap
    cdef int64_t wide = tiles.transform.taps, high = 1 if window.taps[1] == 1 else wide, taps_step = high * wide * width
    cdef int64_t plane = piece // (tiles.pieces[1] * tiles.pieces[2])
    cdef int64_t top = piece // tiles.pieces[2] % tiles.pieces[1] * wide, left = piece % tiles.pieces[2] * wide
    cdef const char *source = w.source + (group * w.group_stride + first * w.channel_stride + channel * w.depth_stride
                                          + plane * w.tap_stride[0]) * item
    if window.taps[1] == high and window.taps[2] == wide:
        pack_weight_panel(w, group, panel, channel, channels, plane * high * wide, high * wide, taps)
        return
    for tap in range(high * wide):
        y, x = top + tap // wide, left + tap % wide
        if y >= window.taps[1] or x >= window.taps[2]:
            kernel.copy.clear(taps + tap * width * item, taps_step, width, channels)
            continue
        kernel.copy.pack(taps + tap * width * item, taps_step, rows, channels,
                         source + (y * w.tap_stride[1] + x * w.tap_stride[2]) * item, w.channel_stride, w.depth_stride)
        kernel.copy.clear(taps + (tap * width + rows) * item, taps_step, width - rows, channels)


cdef int64_t taps_scratch(const Tiles *tiles, int64_t width) noexcept nogil:
    """Elements of scratch that transform_weights needs for panels of this width."""
    return CHANNELS_AT_ONCE * 9 * width


cdef void transform_weights(const Tiles *tiles, const Weights *w, int64_t group, int64_t panel, int64_t channel,
                            int64_t channels, char *taps, char *u, int64_t point_step) noexcept nogil:
    """u[point][piece * channels + c][i] of one weight panel, for some source channels."""
    cdef int64_t width = w.width if w.padded else min(w.width, w.dense.channels - panel * w.width)
    cdef int64_t piece, c, count
    for piece in range(tiles.piece_count):
        c = 0
        while c < channels:
            count = min(CHANNELS_AT_ONCE, channels - c)
            pack_piece(tiles, w, group, panel, channel + c, count, piece, taps)
            tiles.transform.weight(u + (piece * channels + c) * width * tiles.itemsize, point_step, taps, width, count,
                                   tiles.window.delta[2] < 0)
            c += count
