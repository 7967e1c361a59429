"""A strided convolution as one of stride 1; see phases.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Triple
from fastconv._kernels.engine.arrays cimport View


cdef struct Phases:
    Triple count                # along each axis
    Triple step                 # positions of the whole between neighbours of a phase
    Triple first                # position of the whole where phase 0 begins, 0 or less


cdef void describe_phases(Phases *phases, object geometry)
cdef int64_t phase_count(const Phases *phases) noexcept nogil
cdef void make_parts(View *parts, const View *whole, const int64_t *size, bint channels_last, char *data) noexcept nogil
cdef void make_weight_parts(View *parts, const View *weight, const int64_t *size, char *data) noexcept nogil
cdef int split(const Phases *phases, const View *whole, const View *parts, int64_t groups) except -1 nogil
cdef int split_weight(const Phases *phases, const View *weight, const View *parts) except -1 nogil
cdef int join(const Phases *phases, const View *parts, const View *whole, int64_t groups) except -1 nogil
cdef int join_weight(const Phases *phases, const View *parts, const View *weight) except -1 nogil
