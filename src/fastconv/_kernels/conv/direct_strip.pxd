"""What the tasks of the blocked driver know of a call, and they themselves; see direct_strip.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.conv.panels cimport Weights
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_MAX_COLUMNS, FC_MAX_ROWS, fc_kernels, fc_window

cdef struct Chunks:
    int64_t channels          # of one chunk of the depth
    int64_t taps


cdef struct Place:
    int64_t out               # where a pixel panel begins in the output, and in the source, if it is one adjacent
    int64_t source            # run there; else NOWHERE


cdef struct Strip:
    int64_t group
    int64_t pixel             # the first of `pixels`, which take `count` panels
    int64_t pixels
    int64_t count
    int64_t depth             # of the chunk at hand
    bint accumulate
    bint final
    char *tile
    Place *place
    char *panels
    char *weight_panel


cdef struct DirectCall:
    const Dense *dense
    Chunks chunk
    const fc_kernels *kernel
    fc_window window
    Weights weights
    const char *source
    const char *bias
    char *packed              # weights: per group, per chunk, per panel; NULL: each task packs what it reads
    char *out
    int64_t out_stride[5]
    int64_t itemsize
    bint pixels_are_rows
    bint packs_late           # pixels are packed while they meet their first weight panel
    bint reads_pixels         # where they lie, if a task has them to itself
    bint keeps_weights        # packed ones, which later calls find there
    bint whole                # a window is all of an image, of which each channel is one run of memory
    bint adds                 # to what the output holds
    int64_t pixel_width       # columns of a pixel panel
    int64_t channel_width     # columns of a weight panel
    int64_t channel_panels
    int64_t strip             # pixels per strip
    int64_t strips
    int64_t parts             # parts of the channel panels that tasks are split into
    int activation
    double slope
    bint out_of_memory


cdef inline int64_t packed_weights(const DirectCall *call) noexcept nogil:
    """Elements of all weight panels of a call."""
    cdef const Dense *d = call.dense
    return d.groups * call.channel_panels * call.channel_width * d.depth * d.taps


cdef inline int64_t whole_lines(int64_t size_bytes) noexcept nogil:
    """Bytes of the cache lines that so many bytes take."""
    return (size_bytes + 63) // 64 * 64


cdef inline int64_t strip_scratch(const DirectCall *call, int64_t pixels) noexcept nogil:
    """Bytes of scratch of a strip: see `lay_out`."""
    cdef int64_t panels = divide_up(pixels, call.pixel_width), depth = call.chunk.channels * call.chunk.taps
    return (whole_lines(FC_MAX_ROWS * FC_MAX_COLUMNS * call.itemsize) + whole_lines(panels * sizeof(Place))
            + whole_lines(depth * panels * call.pixel_width * call.itemsize)
            + whole_lines(depth * call.channel_width * call.itemsize))


cdef void strip_task(void *context, int64_t index) noexcept nogil
cdef void pack_weights_task(void *context, int64_t index) noexcept nogil
cdef bint is_whole(const fc_window *w) noexcept nogil
