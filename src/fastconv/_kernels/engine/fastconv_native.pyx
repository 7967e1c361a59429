"""Links csrc and owns what is global: the instruction set in use, the number of threads and the precision.

Its name is that of a shared library: others know it by that (threadpoolctl, see `fastconv.limits`).

The precision is a number for the whole process, and over it one for a context (PEP 567), which is what a `with` block
sets: blocks of other threads and tasks do not see it.
"""

import operator
import os
from contextvars import ContextVar
from time import perf_counter

from cpython.contextvars cimport get_value
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t

from fastconv._kernels.engine.fc_api cimport (
    FC_DTYPES, FC_FLOAT32, FC_FLOAT64, FC_MOST_THREADS, fastconv_get_num_threads, fastconv_set_num_threads, fc_cpu_count,
    fc_isa_name, fc_isa_runs_here, fc_isa_table, fc_give_scratch, fc_kernels, fc_l2_bytes, fc_nanoseconds, fc_take_scratch, fc_task, fc_task_scratch,
    fc_workers_awake, fc_workers_run,
)

# Thresholds in FLOPs; a core does about 50-200 of them per nanosecond.
cdef double SERIAL_FLOPS = 2.5e6   # ~25 us: less work than this is not worth waking a thread for
cdef double KEEP_GIL_FLOPS = 1e6   # ~10 us: less work than this is not worth releasing the GIL for
cdef double SLICE_FLOPS = 1e8      # per thread before the first look for a pending Ctrl-C
cdef double SLICE_SECONDS = 0.1    # between the later ones

MOST_THREADS = FC_MOST_THREADS
PRECISIONS = ("highest", "high", "medium")

cdef const fc_kernels *tables[<int>FC_DTYPES]
cdef int process_precision = 0           # where no context has one of its own
context_precision = ContextVar("fastconv.precision")
cdef object local_precision = context_precision   # found without looking up a name in every call


cdef const fc_kernels *kernels(int dtype) noexcept nogil:
    return tables[dtype]


cdef int64_t cache_of_core() noexcept nogil:
    """See fc_l2_bytes."""
    return fc_l2_bytes()


cdef int precision_level() except -1:
    """Which of `PRECISIONS` is in force here."""
    level = get_value(local_precision)
    return process_precision if level is None else level


cdef int worker_threads(double flops) noexcept nogil:
    """Threads that a call of so much work is given."""
    return 1 if flops < SERIAL_FLOPS else fastconv_get_num_threads()


cdef bint lets_others_run(double flops) noexcept nogil:
    """Whether so much work is worth releasing the GIL for."""
    return flops >= KEEP_GIL_FLOPS


cdef int notice_signals() except -1 with gil:
    return PyErr_CheckSignals()


cdef int parallel(fc_task task, void *context, int64_t tasks, double flops) except -1 nogil:
    """Run tasks 0..tasks-1, together about `flops` of work.

    Long work is cut into slices of tasks, and a pending Ctrl-C noticed between them. The first slice is small by any
    instruction set's measure; the clock tells how many tasks the next ones take. Each has as many for every thread, or
    threads would wait at its end.
    """
    cdef int threads = worker_threads(flops)
    cdef int64_t begin = 0, end, slice_tasks = tasks, start
    cdef double elapsed
    if not lets_others_run(flops):
        fc_workers_run(task, context, 0, tasks, 1)
        return 0
    if threads == 1 and fc_workers_awake():
        threads = fastconv_get_num_threads()
    if flops > SLICE_FLOPS * threads:
        slice_tasks = threads * max(<int64_t>1, <int64_t>(tasks * (SLICE_FLOPS / flops)))
    while begin < tasks:
        end = begin + min(slice_tasks, tasks - begin)
        start = fc_nanoseconds()
        fc_workers_run(task, context, begin, end, threads)
        if end < tasks:
            notice_signals()
            elapsed = max(1e-6, 1e-9 * (fc_nanoseconds() - start))
            slice_tasks = threads * max(<int64_t>1, <int64_t>(min(<double>tasks, (end - begin) * SLICE_SECONDS / elapsed)
                                                              / threads))
        begin = end
    return 0


cdef int parallel_with_gil(fc_task task, void *context, int64_t tasks, double flops) except -1:
    """`parallel` for those who hold the GIL: others may have it meanwhile."""
    if not lets_others_run(flops):
        return parallel(task, context, tasks, flops)
    with nogil:
        return parallel(task, context, tasks, flops)


cdef int out_of_memory(const char *what, size_t size_bytes) except -1 with gil:
    """Raise MemoryError, from code without the GIL too."""
    raise MemoryError(f"{what.decode()} of {size_bytes} bytes" if size_bytes else what.decode())


cdef void *task_scratch(size_t size_bytes) noexcept nogil:
    """See fc_task_scratch."""
    return fc_task_scratch(size_bytes)


cdef void *take_scratch(size_t size_bytes, size_t *held) except NULL nogil:
    """See fc_take_scratch; pair with `give_scratch`."""
    cdef void *memory = fc_take_scratch(size_bytes, held)
    if memory == NULL:
        out_of_memory(b"workspace", size_bytes)
    return memory


cdef void give_scratch(void *memory, size_t held) noexcept nogil:
    fc_give_scratch(memory, held)


def isa_names():
    """Instruction sets compiled into this build, best first."""
    names = []
    while fc_isa_name(len(names)) != NULL:
        names.append(fc_isa_name(len(names)).decode())
    return tuple(names)


def runnable_isa_names():
    """Those of `isa_names()` that this machine runs."""
    return tuple(name for name in isa_names() if fc_isa_runs_here(name.encode()))


def isa():
    """The instruction set in use."""
    return tables[<int>FC_FLOAT32].isa.decode()


def set_isa(name, argument="name"):
    """Use the tables of one instruction set from now on."""
    if name not in isa_names():
        raise ValueError(f"{argument}={name!r}: not an instruction set of this build; it has {', '.join(isa_names())}")
    if name not in runnable_isa_names():
        raise ValueError(f"{argument}={name!r}: this machine cannot run it; it runs {', '.join(runnable_isa_names())}")
    tables[<int>FC_FLOAT32] = fc_isa_table(name.encode(), FC_FLOAT32)
    tables[<int>FC_FLOAT64] = fc_isa_table(name.encode(), FC_FLOAT64)


def cpu_count():
    """CPUs this process may use (affinity and cgroup quota)."""
    return fc_cpu_count()


def default_threads():
    """Threads where FASTCONV_NUM_THREADS says nothing: `cpu_count()`, or fewer by OpenMP's variables.

    joblib, Dask and batch systems set these for all libraries of a process. What OpenMP would not understand counts for
    nothing, as it does there.
    """
    most = min(cpu_count(), MOST_THREADS)
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT"):
        limit = os.environ.get(name, "").split(",")[0].strip()   # a list is one per level of nesting: ours is the first
        if limit.isdecimal() and len(limit) < 10 and int(limit) > 0:
            most = min(most, int(limit))
    return most


def num_threads():
    """Threads a large call uses."""
    return fastconv_get_num_threads()


def set_num_threads(count, argument="count"):
    """Set the number of threads a large call uses."""
    if isinstance(count, bool) or not hasattr(count, "__index__"):
        raise TypeError(f"{argument}={count!r}: must be an int")
    if not 1 <= operator.index(count) <= MOST_THREADS:
        raise ValueError(f"{argument}={count}: must be from 1 to {MOST_THREADS}")
    fastconv_set_num_threads(operator.index(count))


def precision():
    """The precision in force here, one of `PRECISIONS`."""
    return PRECISIONS[precision_level()]


def level_of(name):
    """What `context_precision` is set to for one of `PRECISIONS`."""
    if name not in PRECISIONS:
        raise ValueError(f"precision={name!r}: must be one of {', '.join(PRECISIONS)}")
    return PRECISIONS.index(name)


def set_precision(name):
    """Set the precision of the process."""
    global process_precision
    process_precision = level_of(name)


def fma_peak(dtype="float32", seconds=0.2):
    """FLOP/s of back-to-back fused multiply-adds on one thread: the best of many short runs."""
    cdef const fc_kernels *table = kernels(FC_FLOAT64 if dtype == "float64" else FC_FLOAT32)
    cdef double flops
    best = 0.0
    stop = perf_counter() + seconds
    while perf_counter() < stop:
        start = perf_counter()
        with nogil:
            flops = table.fma_peak(200_000)
        best = max(best, flops / (perf_counter() - start))
    return best


set_isa(os.environ.get("FASTCONV_ISA") or runnable_isa_names()[0], "FASTCONV_ISA")
_threads = os.environ.get("FASTCONV_NUM_THREADS")
if _threads:
    if not (_threads.isdecimal() and len(_threads) < 10):
        raise ValueError(f"FASTCONV_NUM_THREADS={_threads!r}: must be a whole number from 1 to {MOST_THREADS}")
    set_num_threads(int(_threads), "FASTCONV_NUM_THREADS")
else:
    set_num_threads(default_threads())
del _threads
