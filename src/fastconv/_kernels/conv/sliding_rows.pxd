"""Convolution whose tiles have pixels as rows; see sliding_rows.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.arrays cimport Array
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef struct Pass:
    const Dense *dense
    const Array *source
    const Array *weight
    const char *bias
    const Array *out
    bint forward
    int activation
    double slope


cdef bint pixel_rows_serve(const Dense *d, const fc_kernels *kernel, bint channels_last) noexcept nogil
cdef int run_pixel_rows(const Pass *call, int64_t chunk_channels) except -1
cdef dict pixel_rows_info(const Dense *d, const fc_kernels *kernel, int64_t chunk_channels, bint float64)
