"""Folded numbers, which groups and rows are mapped by.

(x * unit - shift) * scale + offset is one multiplication and one addition if the numbers are multiplied out
first. In double precision that costs a float32 result nothing, unless the mean is millions of deviations away: `fold`.
"""

from libc.math cimport fabs, isfinite

from fastconv._kernels.engine.fc_api cimport fc_norm

# From the mean to zero, in deviations, as far as numbers are folded. What is lost is 2^-52 of it at most, 2^-30 where a
# float32 result of 1 is itself rounded by 2^-25.
cdef enum:
    FOLDED = 1 << 22

# Work per element in the FLOPs that `parallel` counts, of which a core does about 100 per nanosecond.
cdef enum:
    PASS_FLOPS = 50


cdef inline void fold(fc_norm *n, double weight, double deviations) noexcept nogil:
    """Multiply scale by `weight`; then, near enough to zero, have no scale and no offset, but in unit and shift."""
    cdef double shift
    n.scale *= weight
    shift = n.shift * n.scale - n.offset
    if fabs(deviations) <= FOLDED and isfinite(n.unit * n.scale) and isfinite(shift):
        n.unit, n.shift, n.scale, n.offset = n.unit * n.scale, shift, 1, -0.0  # whatever it is added to stays as it is
