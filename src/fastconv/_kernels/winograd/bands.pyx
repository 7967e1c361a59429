"""Bands of tiles, and their transforms with the channels of a tile side by side.

A band is a rectangle of tiles of one plane: some rows of them, over the whole width or a piece of it. Of a dilated
convolution it has every d-th row, and some or all of the d images that share a row. Where the channels of an array are
adjacent, the tiles are read where they lie. Elsewhere the pixels under a band are first turned in scratch memory, a few
channels of each side by side and with zeros for those that do not exist: that moves each of them once, not each of the
points that they are transformed to.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up, even_block
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_winograd_run
from fastconv._kernels.winograd.tiles cimport Tiles, input_rows


cdef struct Band:
    int64_t n, z, y, x            # of its first output
    int64_t rows, phases, across


cdef void cut_bands(Bands *bands, const Tiles *tiles, int64_t limit) noexcept nogil:
    """Bands of at most `limit` tiles, or one."""
    bands.across = even_block(tiles.tiles_x, limit)
    bands.phases = even_block(tiles.spread[1], limit // bands.across)
    bands.rows = even_block(tiles.tiles_y, limit // (bands.across * bands.phases))
    bands.along[0] = divide_up(tiles.tiles_y, bands.rows)
    bands.along[1] = divide_up(tiles.spread[1], bands.phases)
    bands.along[2] = divide_up(tiles.tiles_x, bands.across)
    bands.tiles = bands.rows * bands.phases * bands.across
    bands.count = tiles.count // (tiles.tiles_y * tiles.spread[1] * tiles.tiles_x)
    bands.count *= bands.along[0] * bands.along[1] * bands.along[2]


cdef void find_band(const Tiles *tiles, const Bands *bands, int64_t index, Band *band) noexcept nogil:
    cdef int64_t first = index % bands.along[2] * bands.across
    band.across = min(bands.across, tiles.tiles_x - first)
    band.x = first * tiles.transform.tile_x * tiles.spread[1]
    index //= bands.along[2]
    first = index % bands.along[1] * bands.phases
    band.phases = min(bands.phases, tiles.spread[1] - first)
    band.x += first
    index //= bands.along[1]
    first = index % bands.along[0] * bands.rows
    band.rows = min(bands.rows, tiles.tiles_y - first)
    band.y = first * tiles.transform.tile_y * tiles.spread[0]
    index //= bands.along[0]
    band.y += index % tiles.spread[0]
    index //= tiles.spread[0]
    band.z = index % tiles.window.count[0]
    band.n = index // tiles.window.count[0]


cdef void describe(Operand *o, const Tiles *tiles, const View *array) noexcept nogil:
    cdef int axis
    o.source = array.data
    for axis in range(5):
        o.stride[axis] = array.stride[axis]
    for axis in range(3):
        o.extent[axis] = array.size[axis + 2]


cdef void describe_input(Operand *o, const Tiles *tiles, const View *input) noexcept nogil:
    describe(o, tiles, input)
    o.transform = tiles.transform.input_channels
    o.more_rows = input_rows(tiles) - tiles.transform.tile_y
    o.more_columns = tiles.transform.taps - 1


cdef void describe_grad_output(Operand *o, const Tiles *tiles, const View *grad_output) noexcept nogil:
    describe(o, tiles, grad_output)
    o.transform = tiles.transform.grad_output_channels
    o.more_rows = o.more_columns = 0


cdef int64_t pixel_step(const Tiles *tiles, int64_t channels) noexcept nogil:
    """Elements of a pixel in scratch: whole vectors."""
    return divide_up(channels, tiles.kernel.lanes) * tiles.kernel.lanes


cdef int64_t band_elements(const Tiles *tiles, const Bands *bands, int64_t channels) noexcept nogil:
    """Scratch that transform_bands needs for panels of so many channels."""
    cdef int64_t more = tiles.transform.taps - 1
    return ((bands.rows * tiles.transform.tile_y + more) * (bands.across * tiles.transform.tile_x + more)
            * bands.phases * pixel_step(tiles, channels))


cdef void turn_row(const Tiles *tiles, const Band *band, const Operand *o, const char *source, int64_t x,
                   int64_t columns, int64_t channels, char *to) noexcept nogil:
    """One row of pixels, from column x on: for each column the pixels of all phases, for each pixel its channels."""
    cdef int64_t item = tiles.itemsize, step = pixel_step(tiles, channels), length = band.phases, low, high
    if band.phases == tiles.spread[1]:  # they follow each other without a gap
        length, columns = columns * band.phases, 1
    for _ in range(columns):
        low = min(length, max(<int64_t>0, -x))
        high = max(low, min(length, o.extent[2] - x))
        memset(to, 0, low * step * item)
        tiles.kernel.copy.pack(to + low * step * item, step, channels, high - low,
                               source + (x + low) * o.stride[4] * item, o.stride[1], o.stride[4])
        memset(to + high * step * item, 0, (length - high) * step * item)
        to += length * step * item
        x += tiles.spread[1]


cdef void turn_band(const Tiles *tiles, const Band *band, const Operand *o, const Panel *panel, int64_t row_step,
                    char *to) noexcept nogil:
    """The pixels under a band."""
    cdef int64_t item = tiles.itemsize, i, y, z = band.z + panel.shift[0]
    cdef int64_t columns = band.across * tiles.transform.tile_x + o.more_columns
    cdef const char *source = o.source + (band.n * o.stride[0] + panel.channel * o.stride[1] + z * o.stride[2]) * item
    for i in range(band.rows * tiles.transform.tile_y + o.more_rows):
        y = band.y + panel.shift[1] + i * tiles.spread[0]
        if 0 <= z < o.extent[0] and 0 <= y < o.extent[1]:
            turn_row(tiles, band, o, source + y * o.stride[3] * item, band.x + panel.shift[2], columns, panel.channels,
                     to)
        else:
            memset(to, 0, row_step * item)
        to += row_step * item


cdef void find_run(const Tiles *tiles, const Band *band, const Operand *o, const Panel *panel, int64_t row,
                   int64_t phase, fc_winograd_run *run) noexcept nogil:
    """Where the tiles of one row and phase lie in an array whose channels are adjacent."""
    cdef int64_t i, spread = tiles.spread[1], z = band.z + panel.shift[0]
    cdef int64_t y = band.y + row * tiles.transform.tile_y * tiles.spread[0] + panel.shift[1]
    cdef int64_t x = band.x + phase + panel.shift[2]
    run.step, run.high = spread * o.stride[4], band.across * tiles.transform.tile_x + o.more_columns
    run.low = 0 if x >= 0 else min(run.high, divide_up(-x, spread))
    run.high = max(run.low, min(run.high, 0 if x >= o.extent[2] else divide_up(o.extent[2] - x, spread)))
    for i in range(tiles.transform.tile_y + o.more_rows):
        run.row[i] = NULL
        if 0 <= z < o.extent[0] and 0 <= y < o.extent[1]:
            run.row[i] = <char *>o.source + (band.n * o.stride[0] + panel.channel * o.stride[1] + z * o.stride[2]
                                             + y * o.stride[3] + x * o.stride[4]) * tiles.itemsize
        y += tiles.spread[0]


cdef int64_t transform_bands(const Tiles *tiles, const Bands *bands, int64_t first, int64_t last, const Operand *o,
                             const Panel *panel, char *to, int64_t point_step, int64_t tile_step,
                             char *scratch) noexcept nogil:
    """to[point][tile][channel] of bands first..last-1, for the channels of a panel; returns the number of tiles."""
    cdef int64_t item = tiles.itemsize, step = pixel_step(tiles, panel.channels), count = 0, row_step, index, row, phase
    cdef int64_t i
    cdef fc_winograd_run run
    cdef Band band
    run.lane = 0
    for index in range(first, last):
        find_band(tiles, bands, index, &band)
        row_step = (band.across * tiles.transform.tile_x + o.more_columns) * band.phases * step
        run.tiles = band.across
        if o.stride[1] != 1:
            turn_band(tiles, &band, o, panel, row_step, scratch)
            run.low, run.high = 0, band.across * tiles.transform.tile_x + o.more_columns
            run.step = band.phases * step
        for row in range(band.rows):
            for phase in range(band.phases):
                if o.stride[1] == 1:
                    find_run(tiles, &band, o, panel, row, phase, &run)
                else:
                    for i in range(tiles.transform.tile_y + o.more_rows):
                        run.row[i] = scratch + ((row * tiles.transform.tile_y + i) * row_step + phase * step) * item
                o.transform(to + count * tile_step * item, point_step, tile_step, &run, 1, panel.channels)
                count += band.across
    return count
