"""Convolutions of stride 1 by Winograd; see plan.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Subconvolutions
from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.engine.packed cimport Form
from fastconv._kernels.winograd.tasks cimport WinogradCall


cdef class WinogradPlan(Subconvolutions):
    cdef int tile
    cdef int64_t chunk               # products of a point that are added up in one go
    cdef int64_t form                # of a weight packed for this plan: the tile, and whatever a subclass does to it
    cdef readonly DensePlan direct   # of one image: for those that are not finite

    cdef void lay_out(self, WinogradCall *call, const fc_kernels *kernel, bint channels_last) noexcept nogil
    cdef int run_winograd(self, const ConvCall *what, char *finite) except -1 nogil
    cdef int run_many_tiles(self, WinogradCall *call, const View *weight) except -1 nogil
    cdef Form form_of(self, const WinogradCall *call) noexcept nogil
    cdef int run_few_tiles(self, WinogradCall *call, const View *weight) except -1 nogil
    cdef int run_blocks(self, WinogradCall *call) except -1 nogil


cdef int run_images_again(DensePlan direct, const char *finite, const ConvCall *call) except -1 nogil
