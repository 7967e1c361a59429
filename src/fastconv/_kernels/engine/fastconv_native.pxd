"""The one module that links csrc; the other kernels reach tiles and threads through these functions."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.fc_api cimport fc_kernels, fc_task

cdef const fc_kernels *kernels(int dtype) noexcept nogil
cdef int64_t cache_of_core() noexcept nogil
cdef int precision_level() except -1
cdef int worker_threads(double flops) noexcept nogil
cdef int parallel(fc_task task, void *context, int64_t tasks, double flops) except -1 nogil
cdef int parallel_with_gil(fc_task task, void *context, int64_t tasks, double flops) except -1
cdef int notice_signals() except -1 with gil
cdef bint lets_others_run(double flops) noexcept nogil
cdef int out_of_memory(const char *what, size_t size_bytes) except -1 with gil
cdef void *task_scratch(size_t size_bytes) noexcept nogil
cdef void *take_scratch(size_t size_bytes, size_t *held) except NULL nogil
cdef void give_scratch(void *memory, size_t held) noexcept nogil
