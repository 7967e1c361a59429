"""A strided convolution as one of stride 1, of an array's phases.

Along an axis of stride s, phase p has every s-th position from p on. A window of k taps meets ceil(k / s) neighbours of
each phase (the last taps of some are zeros that the kernel lacks), and the next window the neighbours one further on:
with the phases as channels that is a convolution of stride 1. Stride 4 and an 11 x 11 kernel over 3 channels:

    positions   0 1 2 3 | 4 5 6 7 | 8 9 10 .      phase 1: 1 5 9, phase 3: 3 7 and a zero
    taps       11 x 11 of 3 channels              3 x 3 of 48 channels

Channels of the parts are ordered group, phase (along D, H, W), channel of the group. Padding is part of the parts along
the axes that are split; the others are left as they are.
"""

from math import prod

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View, lay_axes
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.engine.fastconv_native cimport kernels, parallel

cdef double ELEMENT_FLOPS = 20.0  # the time it takes to move an element, as work


def unit_stride(geometry):
    """The geometry of the convolution of stride 1 over the phases of one with strides."""
    split_axes = [stride > 1 for stride in geometry.stride]

    def choose(split, whole):
        return tuple(a if is_split else b for is_split, a, b in zip(split_axes, split, whole))

    phases = prod(map(min, geometry.stride, geometry.kernel))
    kernel = tuple(-(-k // s) for k, s in zip(geometry.kernel, geometry.stride))
    size = tuple(o + k - 1 for o, k in zip(geometry.output_size, kernel))
    return geometry._replace(
        in_channels=geometry.in_channels * phases, kernel=kernel, stride=(1, 1, 1),
        input_size=choose(size, geometry.input_size), before=choose((0, 0, 0), geometry.before))


cdef void describe_phases(Phases *phases, object geometry):
    cdef int axis
    for axis in range(3):
        phases.step[axis] = geometry.stride[axis]
        phases.count[axis] = min(geometry.stride[axis], geometry.kernel[axis])
        phases.first[axis] = -geometry.before[axis] if geometry.stride[axis] > 1 else 0


cdef int64_t phase_count(const Phases *phases) noexcept nogil:
    return phases.count[0] * phases.count[1] * phases.count[2]


# ---- arrays of parts ---------------------------------------------------------------------------------


cdef void make_parts(View *parts, const View *whole, const int64_t *size, bint channels_last, char *data) noexcept nogil:
    """The array of parts (N, C, D, H, W) of `whole` in this memory."""
    parts.data, parts.dtype, parts.item, parts.packed = data, whole.dtype, whole.item, NULL
    lay_axes(parts, size, channels_last)


cdef void make_weight_parts(View *parts, const View *weight, const int64_t *size, char *data) noexcept nogil:
    """... of a weight, with the output channels side by side: long runs, however small the kernel."""
    make_parts(parts, weight, size, True, data)
    parts.stride[4] = size[0]
    parts.stride[3] = parts.stride[4] * size[4]
    parts.stride[2] = parts.stride[3] * size[3]
    parts.stride[1] = parts.stride[2] * size[2]
    parts.stride[0] = 1
    parts.packed = weight.packed


# ---- exchange ----------------------------------------------------------------------------------------


cdef struct PhasesCall:
    Phases phases
    const fc_kernels *kernel
    int64_t item
    View whole, parts
    int64_t channels                     # that whole and parts have in the same order: those of a group
    int64_t groups
    int64_t whole_group, part_group, part_phase  # elements between groups, and phases


cdef void describe_call(PhasesCall *call, const Phases *phases, const View *whole, const View *parts,
                        int64_t groups) noexcept nogil:
    call.phases, call.whole, call.parts, call.groups = phases[0], whole[0], parts[0], groups
    call.kernel = kernels(whole.dtype)
    call.item = whole.item
    call.channels = whole.size[1] // groups
    call.whole_group = call.channels * whole.stride[1]
    call.part_phase = call.channels * parts.stride[1]
    call.part_group = call.part_phase * phase_count(phases)


cdef inline void find_range(const PhasesCall *call, int axis, int64_t phase, int64_t *low,
                            int64_t *high) noexcept nogil:
    """Which positions of a phase lie inside the whole."""
    cdef int64_t first = call.phases.first[axis] + phase, step = call.phases.step[axis]
    cdef int64_t count = call.parts.size[axis + 2], size = call.whole.size[axis + 2]
    low[0] = 0 if first >= 0 else min(count, divide_up(-first, step))
    high[0] = 0 if first >= size else min(count, divide_up(size - first, step))
    high[0] = max(low[0], high[0])


cdef struct Phase:
    Triple index, low, high              # of each axis
    char *whole                          # position 0 of the phase (which may lie in the padding), channel 0
    char *part


cdef void find_phase(const PhasesCall *call, int64_t index, Phase *phase) noexcept nogil:
    """Number `index` of all images, groups and phases."""
    cdef const Phases *p = &call.phases
    cdef int64_t number = index % phase_count(p), group, whole = 0
    cdef int axis
    index //= phase_count(p)
    group = index % call.groups
    index //= call.groups
    phase.part = call.parts.data + (index * call.parts.stride[0] + group * call.part_group
                                    + number * call.part_phase) * call.item
    for axis in range(2, -1, -1):
        phase.index[axis] = number % p.count[axis]
        number //= p.count[axis]
        find_range(call, axis, phase.index[axis], &phase.low[axis], &phase.high[axis])
        whole += (p.first[axis] + phase.index[axis]) * call.whole.stride[axis + 2]
    phase.whole = call.whole.data + (index * call.whole.stride[0] + group * call.whole_group + whole) * call.item


cdef void split_pixels(const PhasesCall *call, const Phase *phase, int64_t z, int64_t y) noexcept nogil:
    """A row of a phase whose channels lie side by side; position (z, y) exists in the whole."""
    cdef const fc_kernels *kernel = call.kernel
    cdef const int64_t *to_stride = &call.parts.stride[0]
    cdef const int64_t *stride = &call.whole.stride[0]
    cdef int64_t low = phase.low[2], high = phase.high[2], columns = call.parts.size[4]
    cdef char *to = phase.part + (z * to_stride[2] + y * to_stride[3]) * call.item
    kernel.copy.clear(to, to_stride[4], call.channels, low)
    if low < high:
        kernel.copy.pack(to + low * to_stride[4] * call.item, to_stride[4], call.channels, high - low,
                         phase.whole + (z * call.phases.step[0] * stride[2] + y * call.phases.step[1] * stride[3]
                                   + low * call.phases.step[2] * stride[4]) * call.item,
                         stride[1], call.phases.step[2] * stride[4])
    kernel.copy.clear(to + high * to_stride[4] * call.item, to_stride[4], call.channels, columns - high)


cdef void split_plane(const PhasesCall *call, const Phase *phase, int64_t z, int64_t channel) noexcept nogil:
    """A plane of a phase whose rows are runs; plane z exists in the whole."""
    cdef const fc_kernels *kernel = call.kernel
    cdef const int64_t *stride = &call.whole.stride[0]
    cdef int64_t item = call.item, row = call.parts.stride[3], columns = call.parts.size[4], low = phase.low[2]
    cdef int64_t top = phase.low[1], rows = phase.high[1] - top, high = phase.high[2]
    cdef char *to = phase.part + (channel * call.parts.stride[1] + z * call.parts.stride[2]) * item
    kernel.copy.clear(to, row, columns, top)
    to += top * row * item
    if rows > 0 and low < high:
        kernel.copy.clear(to, row, low, rows)
        kernel.copy.pack(to + low * item, row, high - low, rows,
                         phase.whole + (channel * stride[1] + z * call.phases.step[0] * stride[2]
                                   + top * call.phases.step[1] * stride[3]
                                   + low * call.phases.step[2] * stride[4]) * item,
                         call.phases.step[2] * stride[4], call.phases.step[1] * stride[3])
        kernel.copy.clear(to + high * item, row, columns - high, rows)
    else:
        kernel.copy.clear(to, row, columns, rows)
    to += rows * row * item
    kernel.copy.clear(to, row, columns, call.parts.size[3] - top - rows)


cdef void split_task(void *context, int64_t index) noexcept nogil:
    """One phase of one group of one image."""
    cdef const PhasesCall *call = <const PhasesCall *>context
    cdef const int64_t *stride = &call.parts.stride[0]
    cdef int64_t z, y, channel
    cdef bint exists
    cdef Phase phase
    find_phase(call, index, &phase)
    for z in range(call.parts.size[2]):
        exists = phase.low[0] <= z < phase.high[0]
        if stride[1] == 1:
            for y in range(call.parts.size[3]):
                if exists and phase.low[1] <= y < phase.high[1]:
                    split_pixels(call, &phase, z, y)
                else:
                    call.kernel.copy.clear(phase.part + (z * stride[2] + y * stride[3]) * call.item, stride[4],
                                           call.channels, call.parts.size[4])
            continue
        for channel in range(call.channels):
            if exists:
                split_plane(call, &phase, z, channel)
            else:
                call.kernel.copy.clear(phase.part + (channel * stride[1] + z * stride[2]) * call.item, stride[3],
                                       call.parts.size[4], call.parts.size[3])


cdef void join_pixels_task(void *context, int64_t index) noexcept nogil:
    """One phase of one group of one image, into pixels whose channels lie side by side."""
    cdef const PhasesCall *call = <const PhasesCall *>context
    cdef const int64_t *stride = &call.parts.stride[0]
    cdef const int64_t *to_stride = &call.whole.stride[0]
    cdef const Phases *p = &call.phases
    cdef int64_t z, y, low
    cdef Phase phase
    find_phase(call, index, &phase)
    low = phase.low[2]
    if low == phase.high[2]:
        return
    for z in range(phase.low[0], phase.high[0]):
        for y in range(phase.low[1], phase.high[1]):
            call.kernel.copy.pack(phase.whole + (z * p.step[0] * to_stride[2] + y * p.step[1] * to_stride[3]
                                                 + low * p.step[2] * to_stride[4]) * call.item,
                             p.step[2] * to_stride[4], call.channels, phase.high[2] - low,
                             phase.part + (z * stride[2] + y * stride[3] + low * stride[4]) * call.item,
                             stride[1], stride[4])


cdef void join_some(const PhasesCall *call, char *to, const char *part, int64_t low, int64_t high) noexcept nogil:
    """Positions low .. high-1 of all phases of a row; those at the ends may lie outside the whole."""
    cdef int64_t item = call.item, step = call.phases.step[2] * call.whole.stride[4], phase_step = call.part_phase
    cdef int64_t phase, begin, end, at = call.phases.first[2] + low * call.phases.step[2]
    begin = min(call.phases.count[2], max(<int64_t>0, -at))
    end = min(call.phases.count[2], call.whole.size[4] - at - (high - 1 - low) * call.phases.step[2])
    if begin >= end:
        return
    to += low * step * item
    part += low * call.parts.stride[4] * item
    if call.whole.stride[4] == 1:
        call.kernel.copy.pack(to + begin * item, step, end - begin, high - low, part + begin * phase_step * item,
                              phase_step, call.parts.stride[4])
        return
    for phase in range(begin, end):
        call.kernel.copy.pack(to + phase * call.whole.stride[4] * item, step, 1, high - low,
                              part + phase * phase_step * item, phase_step, call.parts.stride[4])


cdef void join_row(const PhasesCall *call, char *to, const char *part) noexcept nogil:
    """A row of the whole from its phases; both from position 0 of the first of them on."""
    cdef const Phases *p = &call.phases
    cdef int64_t columns = call.parts.size[4], begin, end, x
    # where all phases lie inside the whole
    begin = min(columns, divide_up(-p.first[2], p.step[2]))
    end = call.whole.size[4] - p.first[2] - p.count[2]
    end = max(begin, min(columns, 0 if end < 0 else end // p.step[2] + 1))
    for x in range(begin):
        join_some(call, to, part, x, x + 1)
    if begin < end:
        join_some(call, to, part, begin, end)
    for x in range(end, columns):
        join_some(call, to, part, x, x + 1)


cdef void join_plane_task(void *context, int64_t index) noexcept nogil:
    """One plane of one channel of the whole, all phases of it."""
    cdef const PhasesCall *call = <const PhasesCall *>context
    cdef const Phases *p = &call.phases
    cdef const int64_t *stride = &call.parts.stride[0]
    cdef const int64_t *to_stride = &call.whole.stride[0]
    cdef int64_t plane = index % call.whole.size[2], z = plane - p.first[0], row, y, channel, n, number
    cdef char *to
    cdef const char *part
    index //= call.whole.size[2]
    channel = index % call.whole.size[1]
    n = index // call.whole.size[1]
    if z % p.step[0] >= p.count[0] or z // p.step[0] >= call.parts.size[2]:
        return
    to = call.whole.data + (n * to_stride[0] + channel * to_stride[1] + plane * to_stride[2]
                            + p.first[2] * to_stride[4]) * call.item
    part = call.parts.data + (n * stride[0] + channel // call.channels * call.part_group
                              + channel % call.channels * stride[1] + z // p.step[0] * stride[2]) * call.item
    for row in range(call.whole.size[3]):
        y = row - p.first[1]
        if y % p.step[1] < p.count[1] and y // p.step[1] < call.parts.size[3]:
            number = (z % p.step[0] * p.count[1] + y % p.step[1]) * p.count[2]
            join_row(call, to + row * to_stride[3] * call.item,
                     part + (number * call.part_phase + y // p.step[1] * stride[3]) * call.item)


cdef double work(const View *parts) noexcept nogil:
    cdef double elements = ELEMENT_FLOPS
    cdef int axis
    for axis in range(5):
        elements *= parts.size[axis]
    return elements


cdef int split(const Phases *phases, const View *whole, const View *parts, int64_t groups) except -1 nogil:
    """Fill `parts` from the whole, with zeros for positions outside it."""
    cdef PhasesCall call
    describe_call(&call, phases, whole, parts, groups)
    parallel(split_task, &call, whole.size[0] * groups * phase_count(phases), work(parts))
    return 0


cdef int split_weight(const Phases *phases, const View *weight, const View *parts) except -1 nogil:
    """`split` of a weight into `make_weight_parts`: its output channels are the channels, its others the images."""
    cdef PhasesCall call
    describe_call(&call, phases, weight, parts, 1)
    start_at_zero(&call.phases)
    exchange_channels(&call.whole)
    exchange_channels(&call.parts)
    call.channels = weight.size[0]
    parallel(split_task, &call, weight.size[1] * phase_count(phases), work(parts))
    return 0


cdef void start_at_zero(Phases *phases) noexcept nogil:
    """A kernel has no padding."""
    phases.first[0] = phases.first[1] = phases.first[2] = 0


cdef void exchange_channels(View *array) noexcept nogil:
    array.size[0], array.size[1] = array.size[1], array.size[0]
    array.stride[0], array.stride[1] = array.stride[1], array.stride[0]


cdef int join(const Phases *phases, const View *parts, const View *whole, int64_t groups) except -1 nogil:
    """Fill those positions of the whole that the parts have."""
    cdef PhasesCall call
    describe_call(&call, phases, whole, parts, groups)
    return run_join(&call)


cdef int join_weight(const Phases *phases, const View *parts, const View *weight) except -1 nogil:
    """`join` of a weight's gradient, from `make_parts`."""
    cdef PhasesCall call
    describe_call(&call, phases, weight, parts, 1)
    start_at_zero(&call.phases)
    return run_join(&call)


cdef int run_join(PhasesCall *call) except -1 nogil:
    cdef const View *whole = &call.whole
    if whole.stride[1] == 1 and call.parts.stride[1] == 1:
        parallel(join_pixels_task, call, whole.size[0] * call.groups * phase_count(&call.phases), work(&call.parts))
    else:
        parallel(join_plane_task, call, whole.size[0] * whole.size[1] * whole.size[2], work(&call.parts))
    return 0
