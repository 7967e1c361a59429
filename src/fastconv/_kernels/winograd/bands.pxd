"""Bands of tiles, and the operands of a Winograd weight gradient made of them; see bands.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_winograd_run
from fastconv._kernels.winograd.tiles cimport Tiles

ctypedef void (*transform_runs)(void *v, int64_t point_step, int64_t tile_step, const fc_winograd_run *runs,
                                int run_count, int64_t channels) noexcept nogil


cdef struct Bands:
    int64_t rows, phases, across  # of a band: rows of tiles, images of a dilated row, tiles of each
    int64_t along[3]              # bands along H, the dilated images of a row, W
    int64_t count                 # of the whole batch
    int64_t tiles                 # of a band, at most


cdef struct Operand:              # inputs or output gradients
    transform_runs transform
    const char *source
    int64_t stride[5]
    int64_t extent[3]             # positions outside it read as zero
    int64_t more_rows, more_columns  # that a tile reads, than it has outputs


cdef struct Panel:                # some channels of an operand, as a piece of the kernel sees them
    int64_t channel, channels
    int64_t shift[3]              # from an output position to the one that is read


cdef void cut_bands(Bands *bands, const Tiles *tiles, int64_t limit) noexcept nogil
cdef void describe_input(Operand *o, const Tiles *tiles, const View *input) noexcept nogil
cdef void describe_grad_output(Operand *o, const Tiles *tiles, const View *grad_output) noexcept nogil
cdef int64_t band_elements(const Tiles *tiles, const Bands *bands, int64_t channels) noexcept nogil
cdef int64_t transform_bands(const Tiles *tiles, const Bands *bands, int64_t first, int64_t last, const Operand *o,
                             const Panel *panel, char *to, int64_t point_step, int64_t tile_step,
                             char *scratch) noexcept nogil
