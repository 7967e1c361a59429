"""Convolution whose tiles have pixels as rows; see sliding_rows.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport fc_kernels


cdef bint pixel_rows_serve(const Dense *d, const fc_kernels *kernel, bint channels_last) noexcept nogil
cdef int run_pixel_rows(const Dense *d, const fc_kernels *kernel, bint forward, const ConvCall *call,
                        int64_t chunk_channels) except -1 nogil
cdef dict pixel_rows_info(const Dense *d, const fc_kernels *kernel, int64_t chunk_channels)
