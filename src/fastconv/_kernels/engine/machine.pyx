"""The machine that schedules follow: cache sizes, read once, or told by FASTCONV_L2_BYTES.

None of it decides a bit: sums are cut by order.pxd, whatever the machine. Blocks that shall stay in a core's L2 are written
for one of 512 KiB, and grow or shrink with it (`in_l2`), by at most a factor of two. Blocks for L1 stay as they are.
"""

import os

from libc.stdint cimport int64_t

from fastconv._kernels.engine.fastconv_native cimport cache_of_core

cdef enum:
    WRITTEN_FOR = 512 * 1024

cdef int64_t l2_bytes = cache_of_core()
_told = os.environ.get("FASTCONV_L2_BYTES")
if _told:
    if not (_told.isdecimal() and 0 < len(_told) < 12 and int(_told)):
        raise ValueError(f"FASTCONV_L2_BYTES={_told!r}: must be a whole number of bytes, 1 or more")
    l2_bytes = int(_told)
del _told


cdef int64_t in_l2(int64_t size_bytes) noexcept:
    """How large a block is here that takes so many bytes of an L2 of 512 KiB."""
    if l2_bytes <= 0:  # nobody knows
        return size_bytes
    return size_bytes * min(max(l2_bytes, <int64_t>WRITTEN_FOR // 2), <int64_t>WRITTEN_FOR * 2) // WRITTEN_FOR


def cache_bytes():
    """Bytes of a core's L2, 0 if unknown."""
    return max(0, l2_bytes)
