"""The inner loops of pooling: one strip of elements meets the accumulators of several outputs, its lanes.

Accumulators are adjacent; elements lie `lane_step` apart for neighbouring lanes and `tap_step` apart within
one lane's window, so the same loop serves rows of pixels and channels of a channels-last array. A single lane
runs along its window instead, with the accumulator in a register.
"""

from libc.math cimport INFINITY, fabs, pow
from libc.stdint cimport int64_t

ctypedef fused real:
    float
    double


cdef struct Strip:
    int64_t first_lane
    int64_t lanes, lane_step   # lanes, and elements of memory from one to the next
    int64_t taps, tap_step     # elements of each lane's window, likewise
    int64_t index, tap_index   # flat position of lane 0's first element in its plane, and growth by taps


cdef inline bint better(real value, real best) noexcept nogil:
    """Whether a value replaces the maximum so far: the first of equals stays, and so does the first NaN."""
    return (not (value <= best)) & (best == best)


cdef inline void take_max(const Strip *strip, const real *source, real *best, int64_t *where) noexcept nogil:
    cdef int64_t lane, tap, found = -1
    cdef const real *from_tap
    cdef real value, top
    cdef int64_t index, held
    cdef bint replaces
    if strip.lanes == 1:
        top = best[0]
        for tap in range(strip.taps):
            value = source[tap * strip.tap_step]
            if better(value, top):
                top, found = value, tap
        if found >= 0:
            best[0] = top
            where[0] = (strip.index + found * strip.tap_index)
        return
    for tap in range(strip.taps):
        from_tap = source + tap * strip.tap_step
        index = (strip.index + tap * strip.tap_index)
        for lane in range(strip.lanes):
            value, top, held = from_tap[lane * strip.lane_step], best[lane], where[lane]
            replaces = better(value, top)
            best[lane] = value if replaces else top
            where[lane] = index if replaces else held


cdef inline void take_max_value(const Strip *strip, const real *source, real *best) noexcept nogil:
    cdef int64_t lane, tap
    cdef const real *from_tap
    cdef real value, top
    if strip.lanes == 1:
        top = best[0]
        for tap in range(strip.taps):
            value = source[tap * strip.tap_step]
            top = value if better(value, top) else top
        best[0] = top
        return
    for tap in range(strip.taps):
        from_tap = source + tap * strip.tap_step
        for lane in range(strip.lanes):
            value, top = from_tap[lane * strip.lane_step], best[lane]
            best[lane] = value if better(value, top) else top


cdef inline void take_max_size(const Strip *strip, const real *source, real sign, real *best,
                               int64_t *where) noexcept nogil:
    """As `take_max`, of sign * |element|: the infinite norms."""
    cdef int64_t lane, tap
    cdef real value
    for tap in range(strip.taps):
        for lane in range(strip.lanes):
            value = sign * <real>fabs(source[tap * strip.tap_step + lane * strip.lane_step])
            if better(value, best[lane]):
                best[lane] = value
                where[lane] = (strip.index + tap * strip.tap_index)


cdef inline void take_sum(const Strip *strip, const real *source, double *total) noexcept nogil:
    cdef int64_t lane, tap
    cdef const real *from_tap
    cdef double sum
    if strip.lanes == 1:
        sum = total[0]
        for tap in range(strip.taps):
            sum += source[tap * strip.tap_step]
        total[0] = sum
        return
    for tap in range(strip.taps):
        from_tap = source + tap * strip.tap_step
        for lane in range(strip.lanes):
            total[lane] += from_tap[lane * strip.lane_step]


cdef inline double raised(double x, double power) noexcept nogil:
    return x if power == 1 else x * x if power == 2 else 1 if power == 0 else pow(x, power)


cdef inline void take_powers(const Strip *strip, const real *source, double power,
                             double *total) noexcept nogil:
    cdef int64_t lane, tap
    for tap in range(strip.taps):
        for lane in range(strip.lanes):
            # + 0.0: of -0.0, too, a negative power is +inf
            total[lane] += raised(source[tap * strip.tap_step + lane * strip.lane_step] + <double>0.0, power)


cdef inline void give(const Strip *strip, real *target, const real *share) noexcept nogil:
    cdef int64_t lane, tap
    cdef real *to_tap
    for tap in range(strip.taps):
        to_tap = target + tap * strip.tap_step
        for lane in range(strip.lanes):
            to_tap[lane * strip.lane_step] += share[lane]


cdef inline void give_slopes(const Strip *strip, real *target, const double *share, const double *zero_share,
                             const real *input, int64_t input_lane_step, int64_t input_tap_step, const real *norm,
                             int64_t norm_step, double power) noexcept nogil:
    """As `give`, of share * (element / norm)^power: as a ratio, which neither overflows nor vanishes where powers do."""
    cdef int64_t lane, tap
    cdef double element, of
    cdef real *to_tap
    for tap in range(strip.taps):
        to_tap = target + tap * strip.tap_step
        for lane in range(strip.lanes):
            element, of = input[tap * input_tap_step + lane * input_lane_step], norm[lane * norm_step]
            if of == 0:
                if element == 0:
                    to_tap[lane * strip.lane_step] += <real>zero_share[lane]
            elif power == 0:
                to_tap[lane * strip.lane_step] += <real>share[lane]
            elif share[lane] != 0 and fabs(of) != INFINITY:  # 0 times an infinite slope stays 0
                to_tap[lane * strip.lane_step] += <real>(share[lane] * raised(element / of, power))
