"""Tiles of a Winograd convolution; see tiles.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.conv.panels cimport Weights
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport fc_kernels, fc_window, fc_winograd, fc_winograd_run

cdef enum:
    MOST_LANES = 16


cdef struct Tiles:
    const fc_kernels *kernel
    const fc_winograd *transform
    fc_window window          # with the source's strides
    int64_t itemsize
    int64_t spread[2]         # dilation along H, W: so many interleaved images, each without dilation
    int64_t tiles_y, tiles_x  # of one of them
    int64_t count             # of the whole batch
    int64_t pieces[3]         # the kernel as pieces of 1 x r x r (or 1 x 1 x r) taps, of F(m, r)
    int64_t piece_count
    bint channels_last        # channels are adjacent, so they are the lanes of the transforms


cdef struct Place:
    int64_t lane, tiles       # neighbours of a row, and the vector's lanes that they take
    int64_t n, z, y, x        # of the first output of the first tile


cdef inline int64_t input_rows(const Tiles *tiles) noexcept nogil:
    """Rows of inputs that a tile has."""
    return 1 if tiles.transform.tile_y == 1 else tiles.transform.tile_y + tiles.transform.taps - 1


cdef inline int64_t apart(const Tiles *tiles, int64_t elements) noexcept nogil:
    """How far apart the points of so many elements lie: an odd number of cache lines, for as a vector of each point is
    touched in turn, a power of two would have them all compete for the same few places of the cache."""
    return (divide_up(elements * tiles.itemsize, 64) | 1) * 64 // tiles.itemsize


cdef void describe_tiles(Tiles *tiles, const Dense *d, const fc_kernels *kernel, int tile) noexcept nogil
cdef int find_places(const Tiles *tiles, int64_t first, int64_t count, Place *places) noexcept nogil
cdef void input_runs(const Tiles *tiles, const Place *places, int count, int64_t piece, const char *source,
                     fc_winograd_run *runs) noexcept nogil
cdef void output_runs(const Tiles *tiles, const Place *places, int count, const int64_t *stride, char *out,
                      fc_winograd_run *runs) noexcept nogil
cdef void transform_inputs(const Tiles *tiles, const char *source, int64_t first, int64_t count, int64_t channels,
                           char *v, int64_t point_step, int64_t step) noexcept nogil
cdef void transform_weights(const Tiles *tiles, const Weights *w, int64_t group, int64_t panel, int64_t channel,
                            int64_t channels, char *taps, char *u, int64_t point_step) noexcept nogil
cdef int64_t taps_scratch(const Tiles *tiles, int64_t width) noexcept nogil
