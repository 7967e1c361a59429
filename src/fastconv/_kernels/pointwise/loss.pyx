"""Losses of elements beside their targets, and their slopes: one pass over dense arrays of one memory order.

Tasks have a sum each, of elements that do not depend on the number of threads, and so the bits do not.
"""

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport Opened, close, dtype_of, open_dense, real
from fastconv._kernels.engine.fc_api cimport (
    FC_LOSS_ABSOLUTE, FC_LOSS_HUBER, FC_LOSS_LOGISTIC, FC_LOSS_SQUARE, fc_kernels, fc_loss,
)
from fastconv._kernels.engine.fastconv_native cimport give_scratch, kernels, parallel_with_gil, take_scratch

cdef int64_t CHUNK = 8192    # elements of one task

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef double LINEAR_FLOPS = 30
cdef double LOGISTIC_FLOPS = 150

FORMULAS = {
    "square": FC_LOSS_SQUARE, "absolute": FC_LOSS_ABSOLUTE, "huber": FC_LOSS_HUBER, "logistic": FC_LOSS_LOGISTIC,
}

cdef enum:
    PREDICTION, TARGET, WEIGHT, LOSSES, SLOPES, BUFFERS


cdef struct Losses:
    Opened opened
    int64_t item[BUFFERS]
    char *at[BUFFERS]        # NULL where there is none
    int64_t count
    int64_t run              # elements of one weight
    int64_t itemsize
    fc_loss how
    double *sums             # of each task
    const fc_kernels *kernel


cdef double run_of(const Losses *call, int64_t first, int64_t count) noexcept nogil:
    """Elements of one weight; one of 0 makes 0 of everything."""
    cdef fc_loss how = call.how
    cdef int64_t offset = first * call.itemsize
    cdef void *losses = call.at[LOSSES] + offset if call.at[LOSSES] else NULL
    cdef void *slopes = call.at[SLOPES] + offset if call.at[SLOPES] else NULL
    cdef double weight = (<const double *>call.at[WEIGHT])[first // call.run] if call.at[WEIGHT] else 1.0
    if weight == 0:
        if losses:
            memset(losses, 0, count * call.itemsize)
        if slopes:
            memset(slopes, 0, count * call.itemsize)
        return 0
    how.times *= weight
    how.slope_times *= weight
    return how.times * call.kernel.pointwise.loss_row(losses, slopes, call.at[PREDICTION] + offset,
                                                      call.at[TARGET] + offset, count, &how)


cdef void chunk_task(void *context, int64_t index) noexcept nogil:
    cdef const Losses *call = <const Losses *>context
    cdef int64_t first = index * CHUNK, end = min(call.count, (index + 1) * CHUNK), count
    cdef double total = 0
    while first < end:
        count = min(end, (first // call.run + 1) * call.run) - first
        total += run_of(call, first, count)
        first += count
    call.sums[index] = total


def losses_of(int formula, prediction, target, *, double a=0.0, double times=1.0, double scale=1.0, weight=None,
              losses=None, slopes=None):
    """The sum of the losses, each `times` that of the formula and its weight.

    Parameters
    ----------
    formula : int
        One of `FORMULAS`; `a` is its parameter, see enum fc_loss_formula.
    prediction, target : array
        Of one shape and dtype, dense in memory in one order, not empty.
    weight : array of float64 or None
        One number for every (size / its length) elements in memory.
    losses, slopes : arrays or None
        Like the prediction; are given every loss, and `scale` times the slopes of their sum.
    """
    cdef Losses call
    cdef int64_t tasks, k
    cdef int i
    cdef size_t sums_held
    cdef double total = 0
    objects = (prediction, target, weight, losses, slopes)
    call.how.formula, call.how.a, call.how.times, call.how.slope_times = formula, a, times, times * scale
    call.opened.count = 0
    try:
        for i in range(BUFFERS):
            call.at[i] = open_dense(&call.opened, objects[i], i >= LOSSES, &call.item[i])
        call.itemsize = call.item[PREDICTION]
        call.count = call.opened.array[0].buffer.len // call.itemsize
        call.run = call.count // len(weight) if weight is not None else call.count
        call.kernel = kernels(dtype_of(call.itemsize))
        tasks = divide_up(call.count, CHUNK)
        call.sums = <double *>take_scratch(tasks * sizeof(double), &sums_held)
        try:
            parallel_with_gil(chunk_task, &call, tasks, call.count * call.itemsize / 4
                     * (LOGISTIC_FLOPS if formula == FC_LOSS_LOGISTIC else LINEAR_FLOPS))
            for k in range(tasks):
                total += call.sums[k]
        finally:
            give_scratch(call.sums, sums_held)
    finally:
        close(&call.opened)
    return total
