"""Pooling by the C tiles; see tiles.pyx."""

from libc.stdint cimport int64_t, uint8_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fc_api cimport fc_pool, fc_pool_part


cdef enum Pass:
    MAX_PASS
    AVG_PASS
    GRADIENT_PASS


cdef struct TileCall:
    fc_pool pool
    Pass kind
    int dtype                 # fc_dtype
    bint channels_last        # lanes are channels, which lie side by side in `target` (and in what is pooled)
    int64_t n, channels
    const View *source
    const View *target
    const View *indices      # NULL: not wanted
    uint8_t *positions        # see `position_bytes`; NULL: none


cdef int run_tiles(const TileCall *call) except -1 nogil
cdef int64_t position_bytes(const fc_pool *pool, int64_t n, int64_t channels, bint channels_last) noexcept nogil
cdef bint tiles_serve(const fc_pool *pool) noexcept
