"""Convolutions of stride 1 by Winograd; see plan.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Subconvolutions
from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.engine.arrays cimport Array
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.winograd.tasks cimport WinogradCall


cdef class WinogradPlan(Subconvolutions):
    cdef int tile
    cdef int64_t form                # of a weight packed for this plan: the tile, and whatever a subclass does to it
    cdef readonly DensePlan direct   # of one image: for those that are not finite

    cdef void lay_out(self, WinogradCall *call, const fc_kernels *kernel, int64_t itemsize,
                      bint channels_last) noexcept nogil
    cdef int run_winograd(self, const Array *source, const Array *weight, const char *bias, const Array *out,
                          char *finite, int activation, double slope) except -1
    cdef int run_many_tiles(self, WinogradCall *call, const Array *weight) except -1
    cdef int run_few_tiles(self, WinogradCall *call) except -1


cdef int run_images_again(DensePlan direct, finite, bint batched, source, weight, bias, out, int activation,
                          double slope) except -1
