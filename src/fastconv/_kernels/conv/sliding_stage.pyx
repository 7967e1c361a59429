"""The stage of the sliding algorithm: what a block of outputs needs of its source, beside each other in scratch memory.

Rows lie there with their padding, and split into phases where the stride is not 1, so that every tap of neighbouring
outputs is a run of neighbouring elements (the header of sliding.pyx has an example).
"""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.fc_api cimport FC_MAX_COLUMNS, fc_kernels


cdef void describe_stage(Stage *s, const Dense *dense, int64_t count) noexcept nogil:
    """The stage of some sub-convolutions; `s` is zeros."""
    cdef const Dense *d
    cdef int64_t axis, i, y, x
    for i in range(count):
        d = &dense[i]
        s.planes = max(s.planes, d.window.taps[0])
        for axis in range(3):
            s.outputs[axis] = max(s.outputs[axis], d.window.count[axis])
        for axis in range(2):
            s.step[axis] = d.window.step[axis + 1]
            s.first[axis] = min(s.first[axis] if i else lowest_tap(d, axis + 1), lowest_tap(d, axis + 1))
    for y in range(MOST_PHASES * MOST_PHASES):
        s.slot[y] = -1
    for i in range(count):
        d = &dense[i]
        for y in range(d.window.taps[1]):
            for x in range(d.window.taps[2]):
                use_phase(s, d.window.first[1] + y * d.window.delta[1] - s.first[0],
                          d.window.first[2] + x * d.window.delta[2] - s.first[1])


cdef inline int64_t lowest_tap(const Dense *d, int axis) noexcept nogil:
    """The lowest source offset of any tap along an axis."""
    return d.window.first[axis] + min(<int64_t>0, (d.window.taps[axis] - 1) * d.window.delta[axis])


cdef void use_phase(Stage *s, int64_t y, int64_t x) noexcept nogil:
    """Note that a tap reads position (y, x) of the stage."""
    cdef int64_t phase = y % s.step[0] * s.step[1] + x % s.step[1]
    if s.slot[phase] < 0:
        s.slot[phase] = s.slots
        s.slots += 1
    s.span[0] = max(s.span[0], y // s.step[0])
    s.span[1] = max(s.span[1], x // s.step[1])


cdef void set_steps(Staging *staging, int64_t rows, int64_t columns) noexcept nogil:
    """How the stage of a block of so many outputs lies in memory."""
    cdef const Stage *s = staging.stage
    cdef int64_t lanes = staging.kernel.lanes
    staging.row_step = columns + s.span[1]
    staging.plane_step = staging.row_step * (rows + s.span[0])
    # an odd number of vectors, so that channels do not meet in the same cache sets
    staging.channel_step = (divide_up(s.planes * s.slots * staging.plane_step, lanes) | 1) * lanes


cdef void stage_row(const Staging *staging, const char *source, int64_t y, int64_t phase, int64_t x0, int64_t positions,
                    int64_t channels, char *to) noexcept nogil:
    """One phase of source row y of all channels, zeros where it leaves the source. `source` is (channel, z, 0, 0)."""
    cdef const Stage *stage = staging.stage
    cdef const fc_kernels *kernel = staging.kernel
    cdef int64_t item = staging.itemsize, step = stage.step[1], width = staging.source_size[4]
    cdef int64_t x = x0 * step + stage.first[1] + phase
    cdef int64_t low = 0, high = 0
    if 0 <= y < staging.source_size[3]:
        low = min(positions, 0 if x >= 0 else divide_up(-x, step))
        high = max(low, min(positions, divide_up(width - x, step) if x < width else 0))
    if low > 0:
        kernel.copy.clear(to, staging.channel_step, low, channels)
    if high > low:
        kernel.copy.pack(to + low * item, staging.channel_step, high - low, channels,
                         source + (y * staging.source_stride[3] + (x + low * step) * staging.source_stride[4]) * item,
                         step * staging.source_stride[4], staging.source_stride[1])
    if high < positions:
        kernel.copy.clear(to + high * item, staging.channel_step, positions - high, channels)


cdef bint rows_as_they_lie(const Staging *staging, int64_t row, int64_t rows, int64_t column,
                           int64_t positions) noexcept nogil:
    """Whether the rows that a block needs are one run of the source, with no padding between or around them."""
    cdef const Stage *stage = staging.stage
    row += stage.first[0]
    return (stage.step[0] == 1 and stage.step[1] == 1 and column == 0 and stage.first[1] == 0
            and positions == staging.row_step == staging.source_size[4] and staging.source_stride[4] == 1
            and staging.source_stride[3] == staging.row_step
            and row >= 0 and row + rows + stage.span[0] <= staging.source_size[3])


cdef void fill_stage(const Staging *staging, const Dense *d, const char *source, int64_t od, int64_t row, int64_t rows,
                     int64_t column, int64_t columns, int64_t channels, char *to) noexcept nogil:
    """Stage what a block of outputs needs of some channels: [channel][plane of taps][phase][row][position].

    What only the unused lanes of a vector read is cleared too: the denormal numbers that old memory may hold take the
    multiplier a hundred times as long.
    """
    cdef const Stage *stage = staging.stage
    cdef const fc_kernels *kernel = staging.kernel
    cdef int64_t item = staging.itemsize, plane, z, py, px, slot, r, filled
    cdef int64_t positions = columns + stage.span[1]
    cdef bint whole = rows_as_they_lie(staging, row, rows, column, positions)
    cdef char *at
    filled = d.window.taps[0] * stage.slots * staging.plane_step
    kernel.copy.clear(to + filled * item, staging.channel_step, staging.channel_step - filled, channels)
    kernel.copy.clear(to + channels * staging.channel_step * item, FC_MAX_COLUMNS, FC_MAX_COLUMNS, 1)
    for plane in range(d.window.taps[0]):
        z = od * d.window.step[0] + d.window.first[0] + plane * d.window.delta[0]
        for py in range(stage.step[0]):
            for px in range(stage.step[1]):
                slot = stage.slot[py * stage.step[1] + px]
                if slot < 0:
                    continue
                at = to + (plane * stage.slots + slot) * staging.plane_step * item
                filled = (rows + stage.span[0]) * staging.row_step
                if filled < staging.plane_step:
                    kernel.copy.clear(at + filled * item, staging.channel_step, staging.plane_step - filled, channels)
                if whole and 0 <= z < staging.source_size[2]:
                    kernel.copy.pack(at, staging.channel_step, filled, channels,
                                     source + (z * staging.source_stride[2] + (row + stage.first[0]) * staging.row_step) * item,
                                     1, staging.source_stride[1])
                    continue
                for r in range(rows + stage.span[0]):
                    stage_row(staging, source + z * staging.source_stride[2] * item,
                              (row + r) * stage.step[0] + stage.first[0] + py if 0 <= z < staging.source_size[2] else -1,
                              px, column, positions, channels, at + r * staging.row_step * item)


cdef void fill_offsets(const Staging *staging, const Dense *d, int64_t channels, int64_t *offsets) noexcept nogil:
    """Where the windows of output (0, 0) of a block lie in its stage: channel by channel, tap by tap."""
    cdef const Stage *stage = staging.stage
    cdef int64_t kd, kh, kw, y, x, slot, channel, tap = 0
    for kd in range(d.window.taps[0]):
        for kh in range(d.window.taps[1]):
            y = d.window.first[1] + kh * d.window.delta[1] - stage.first[0]
            for kw in range(d.window.taps[2]):
                x = d.window.first[2] + kw * d.window.delta[2] - stage.first[1]
                slot = stage.slot[y % stage.step[0] * stage.step[1] + x % stage.step[1]]
                offsets[tap] = ((kd * stage.slots + slot) * staging.plane_step
                                + y // stage.step[0] * staging.row_step + x // stage.step[1])
                tap += 1
    for channel in range(1, channels):
        for tap in range(d.taps):
            offsets[channel * d.taps + tap] = offsets[tap] + channel * staging.channel_step
