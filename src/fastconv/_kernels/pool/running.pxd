"""Pooling at a cost that does not depend on the windows; see running.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.pool.walk cimport Operation, Pool


cdef struct RunningCall:
    const Pool *pool
    Operation operation       # SPREAD: source is grad_output and target grad_input
    bint channels_last        # channels lie side by side in source and target
    const View *source
    const View *target
    const View *indices      # NULL: not wanted
    bint count_padding
    double divisor            # 0: the elements of the window
    double norm               # 0: no Lp norm; else its p, finite
    const View *norm_input   # of the gradient of an Lp norm
    const View *norm_output
    const double *scale       # of an Lp norm, for each plane


cdef int run_running(const RunningCall *call) except -1 nogil
cdef bint running_serves(const Pool *pool, int dtype) noexcept nogil
