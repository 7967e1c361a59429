"""What one task of a Winograd convolution does; see tasks.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.conv.panels cimport Weights
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_MAX_ROWS
from fastconv._kernels.engine.order cimport WINOGRAD_DEPTH
from fastconv._kernels.winograd.tiles cimport Tiles, apart, taps_scratch

cdef enum:
    MOST_VECTORS = 6          # of tiles in a block


cdef struct WinogradCall:
    const Dense *dense
    Tiles tiles
    Weights weights
    const char *source
    const char *bias
    char *out
    char *u                   # transformed weights: per group, panel: [point][k][channel]; NULL if tasks make their own
    char *v                   # or transformed inputs of a block: per group, chunk: [point], panels of tiles
    char *finite              # per image: 0 if an output is infinite or NaN
    int64_t out_stride[5]
    int64_t depth             # source channels of a chunk ...
    int64_t cut               # ... whose products with all pieces of the kernel are added up in cuts of so many
    int64_t held              # ... and of the transformed inputs that a task holds: whole chunks (many tiles)
    int64_t channel_width, channel_panels
    int64_t tile_width        # of a panel of tiles
    int64_t block, blocks     # tiles of a block
    int64_t parts             # of the weight panels (many tiles)
    int64_t first             # tile of the block that is computed (few tiles)
    int64_t k_offset[WINOGRAD_DEPTH]   # of row k of a weight panel
    int64_t row_offset[FC_MAX_ROWS]   # of the sums of a product
    bint few_tiles
    bint tile_rows            # rows of a product are tiles, columns output channels; else the other way round
    int activation
    double slope
    bint out_of_memory


cdef inline int64_t weights_step(const WinogradCall *call) noexcept nogil:
    """From point to point of a panel of transformed weights."""
    return apart(&call.tiles, call.dense.depth * call.tiles.piece_count * call.channel_width)


cdef inline int64_t transformed_weights(const WinogradCall *call) noexcept nogil:
    """Elements of the transformed weights of a group."""
    return call.channel_panels * call.tiles.transform.points * weights_step(call)


cdef inline int64_t inputs_step(const WinogradCall *call) noexcept nogil:
    """From point to point of the transformed inputs that a task holds."""
    return apart(&call.tiles, call.held * call.tiles.piece_count * call.block)


cdef inline int64_t sums_step(const WinogradCall *call) noexcept nogil:
    """From point to point of a weight panel's sums."""
    return apart(&call.tiles, call.channel_width * call.block)


cdef inline int64_t tiles_scratch(const WinogradCall *call, int64_t channel_panels) noexcept nogil:
    """Elements of scratch of a `tiles_task`: transformed inputs, sums (of all panels, if they wait for more depth)."""
    return call.tiles.transform.points * (inputs_step(call) + sums_step(call)
                                          * (channel_panels if call.held < call.dense.depth else 1))


cdef inline int64_t chunk_step(const WinogradCall *call) noexcept nogil:
    """From point to point of a chunk of a block's transformed inputs."""
    return apart(&call.tiles, call.depth * call.tiles.piece_count * call.block)


cdef inline int64_t transformed_inputs(const WinogradCall *call) noexcept nogil:
    """Elements of the transformed inputs of a block and group."""
    return divide_up(call.dense.depth, call.depth) * call.tiles.transform.points * chunk_step(call)


cdef inline int64_t channels_scratch(const WinogradCall *call) noexcept nogil:
    """Elements of scratch of a `channels_task`: taps, transformed weights, sums, and those of a vector, turned."""
    cdef int64_t width = call.channel_width
    return (taps_scratch(&call.tiles, width)
            + call.tiles.transform.points * (apart(&call.tiles, call.depth * call.tiles.piece_count * width)
                                             + apart(&call.tiles, call.tiles.kernel.lanes * width) + sums_step(call)))


cdef void weights_task(void *context, int64_t index) noexcept nogil
cdef void tiles_task(void *context, int64_t index) noexcept nogil
cdef void inputs_task(void *context, int64_t index) noexcept nogil
cdef void channels_task(void *context, int64_t index) noexcept nogil
