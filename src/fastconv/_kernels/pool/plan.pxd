"""Plans of poolings; see plan.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport Opened, View
from fastconv._kernels.engine.fc_api cimport fc_pool
from fastconv._kernels.pool.running cimport RunningCall
from fastconv._kernels.pool.tiles cimport Pass, TileCall
from fastconv._kernels.pool.walk cimport Operation, Pool, WalkCall


cdef struct PoolCall:
    Operation operation       # SPREAD is the gradient of averages: from grad_output to grad_input
    const View *source
    const View *target
    const View *places        # of maxima: where they were found, or NULL
    bint count_padding        # of averages and their gradient ...
    double divisor            # ... 0: the elements of the window
    double norm               # 0: no Lp norm; else its p


cdef class PoolPlan:
    cdef Pool pool
    cdef fc_pool tile
    cdef int spatial_rank
    cdef bint batched
    cdef bint tiles                  # serve these windows
    cdef bint whole                  # one window covers its plane
    cdef readonly bint keeps_positions  #: a byte tells where in a window its maximum is
    cdef readonly object geometry
    cdef tuple input_shape, output_shape
    cdef int64_t elements            # of the larger of both
    cdef double work                 # of a call, at least, in FLOPs

    cdef object room(self, tuple shape, object dtype, bint channels_last)
    cdef View *open(self, Opened *opened, object owner, bint writable) except NULL
    cdef bint served(self, bint channels_last) noexcept nogil
    cdef bint runs(self, Operation operation, const View *source) noexcept nogil
    cdef int run_tile(self, TileCall *call, const View *source, const View *target, bint channels_last) except -1 nogil
    cdef int run_average(self, Pass kind, const View *source, const View *target, bint channels_last,
                         bint count_padding, double divisor) except -1 nogil
    cdef int run_walk(self, WalkCall *call, const View *input, const View *output) except -1 nogil
    cdef int run_running(self, RunningCall *call, const View *source, const View *target,
                         bint channels_last) except -1 nogil
    cdef int maxima(self, const View *source, const View *target, const View *places, double norm) except -1 nogil
    cdef int totals(self, const View *source, const View *target, bint count_padding, double divisor,
                    double norm) except -1 nogil
    cdef int spread(self, const View *source, const View *target, bint count_padding, double divisor) except -1 nogil
    cdef int run_views(self, const PoolCall *call) except -1 nogil
    cdef int start(self, const PoolCall *call) except -1
    cdef object run(self, PoolCall *call, object source, tuple shape, bint with_places, object out=?)
    cdef int start_tile(self, TileCall *call, const View *source, const View *target, bint channels_last) except -1
