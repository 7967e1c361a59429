"""The input of a weight gradient, cut into chunks of output positions; see chunks.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef struct Axis:
    int64_t taps, stride, extent  # kernel, stride and input size along the axis
    int64_t count                 # outputs
    int64_t block                 # outputs of a chunk
    int64_t runs                  # the input is held as so many runs of evenly spaced positions ...
    int64_t length                # ... with room for so many each ...
    int64_t step                  # ... that lie so far apart: stride or 1
    int64_t *first                # input position of each run's first element, for a chunk at output 0
    int64_t *run                  # of each tap: the run it reads ...
    int64_t *start                # ... and where its first output lies in it


cdef struct Chunk:
    int64_t n, n_count            # first image, and how many
    int64_t begin[3]              # first output position
    int64_t count[3]              # output positions


cdef struct Strips:
    Axis axis[3]
    int64_t n, block_n            # images, and those of a chunk
    int64_t blocks[4]             # chunks along N, D, H, W
    int64_t chunks


cdef struct Place:                # strides of scratch memory
    int64_t n
    int64_t channel               # between channels; if these are adjacent: between panels of position[2] of them
    int64_t run[3]                # between the runs of an axis
    int64_t position[3]           # between neighbours in a run


cdef inline int64_t positions_at_once(int64_t channel_stride, int64_t positions) noexcept nogil:
    """How many are copied before the next panel's turn: few where all panels' channels share the cache lines."""
    return min(positions, <int64_t>16) if channel_stride == 1 else positions


cdef int lay_out_strips(Strips *strips, object geometry, int64_t positions, bint whole_width) except -1
cdef void free_strips(Strips *strips) noexcept
cdef int64_t tap_place(const Strips *strips, const Place *place, int64_t tap) noexcept nogil
cdef bint reaches_padding(object geometry)
cdef int64_t list_offsets(const Strips *strips, const Place *place, const Chunk *chunk, int64_t *offset) noexcept nogil
cdef void find_chunk(const Strips *strips, int64_t index, Chunk *chunk) noexcept nogil
cdef void copy_input(const Strips *strips, const Chunk *chunk, const fc_kernels *kernel, int64_t item,
                     const char *source, const int64_t *stride, int64_t channels, char *to,
                     const Place *place) noexcept nogil
cdef void copy_block(const fc_kernels *kernel, int64_t item, const char *source, const int64_t *stride, char *to,
                     const int64_t *to_stride, const int64_t *size) noexcept nogil
cdef void pack_gradient(const Chunk *chunk, const fc_kernels *kernel, int64_t item, const char *source,
                        const int64_t *stride, int64_t channels, int64_t panels, int64_t width,
                        char *to) noexcept nogil
