"""Whole numbers of blocks."""

from libc.stdint cimport int64_t


cdef inline int64_t divide_up(int64_t a, int64_t b) noexcept nogil:
    return (a + b - 1) // b


cdef inline int64_t even_block(int64_t total, int64_t limit) noexcept nogil:
    """The block length that cuts `total` into equal blocks of at most `limit`."""
    return divide_up(total, divide_up(total, max(<int64_t>1, limit)))
