"""The machine that schedules follow; see machine.pyx."""

from libc.stdint cimport int64_t

cdef int64_t in_l2(int64_t size_bytes) noexcept
