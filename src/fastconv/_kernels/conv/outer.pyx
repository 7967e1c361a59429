"""Convolutions in which nothing slides, and their gradients, as the matrix products that they are.

Where an axis of the input, the kernel or the output is one element long, the other two meet one to one along it: every
element of a row kernel with every one of a column (an outer product), a latent vector with all places of a kernel, a
kernel with a picture of its size. Such an axis belongs to two of the three arrays, as the batch and the channels do:

    along an axis    of size 1    belongs to           like the
    places           kernel       input and output     batch
    places           input        weight and output    output channels
    taps             output       input and weight     input channels

If all axes are so, each pass is a product: it sums over the axes that its two operands share. To see it as a dense
convolution (direct.pyx), one operand is taken for the source (`choose_source`), with its own axes as pixels and the
common ones as channels and taps, and the other one for the weight, with its own axes, one of them at a time, as output
channels. So nothing is multiplied that does not meet, and nothing is packed more than once per strip of pixels.
"""

from math import gcd, prod
from typing import NamedTuple

from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport Dense, Subconvolutions
from fastconv._kernels.conv.direct cimport dense_info, run_dense
from fastconv._kernels.engine.arrays cimport View, dtype_number, fill
from fastconv._kernels.engine.conv_pass cimport ConvCall, ConvPass
from fastconv._kernels.engine.fc_api cimport fc_kernels
from fastconv._kernels.engine.fastconv_native cimport kernels

cdef enum:
    INPUT, WEIGHT, OUTPUT

cdef enum:                                # what axes there are, and how many
    BATCH, OUT_CHANNELS, IN_CHANNELS, DEPTH, HEIGHT, WIDTH, AXES

cdef int64_t OPERAND_ELEMENTS = 1 << 18   # of the one that is packed, at a time: it stays in L2
cdef int64_t LONG_SUM = 16                # taps
cdef int64_t LEAST_PIXELS = 16            # of a plane, that fill vectors


class Meeting(NamedTuple):
    """Along one axis: how two arrays meet, `count` times, in places that go up or down by steps."""

    alone: int             # the array that has one element
    count: int
    start: tuple[int, int, int]   # of input, weight and output
    step: tuple[int, int, int]


def meeting(geometry, axis):
    """The `Meeting` along a spatial axis; None if windows slide."""
    size, taps, outputs = geometry.input_size[axis], geometry.kernel[axis], geometry.output_size[axis]
    stride, before, dilation = geometry.stride[axis], geometry.before[axis], geometry.dilation[axis]
    if taps == 1:
        first, last = max(0, -(-before // stride)), min(outputs - 1, (size - 1 + before) // stride)
        return Meeting(WEIGHT, max(0, last - first + 1), (first * stride - before, 0, first), (stride, 0, 1))
    if size == 1:
        # output o meets tap (before - o * stride) / dilation, where that is one
        divisor = gcd(stride, dilation)
        step, tap_step = dilation // divisor, stride // divisor
        low = max(0, -(-(before - (taps - 1) * dilation) // stride))
        met = (o for o in range(low, min(low + step, outputs)) if (before - o * stride) % dilation == 0)
        first = next(met, None)
        if first is None:
            return Meeting(INPUT, 0, (0, 0, 0), (0, 0, 0))
        count = max(0, (min(outputs - 1, before // stride) - first) // step + 1)
        return Meeting(INPUT, count, (0, (before - first * stride) // dilation, first), (0, -tap_step, step))
    if outputs == 1:
        first, last = max(0, -(-before // dilation)), min(taps - 1, (size - 1 + before) // dilation)
        return Meeting(OUTPUT, max(0, last - first + 1), (first * dilation - before, first, 0), (dilation, 1, 0))
    return None


cdef struct Pass:
    int target, source, weight    # which arrays: the latter two are the operands
    int alone[AXES]               # the array that an axis does not belong to
    int64_t count[AXES]
    int64_t start[3][3]           # per array, then D, H, W
    int64_t step[3][3]
    int64_t groups


cdef bint takes_part(const Pass *p, int array, int axis) noexcept nogil:
    return p.alone[axis] != array


cdef inline int place(int array, int axis) noexcept nogil:
    """Where an axis lies in an array (N, C, D, H, W), or weight (K, C, D, H, W)."""
    if axis >= DEPTH:
        return axis - DEPTH + 2
    return 0 if axis == BATCH or (axis == OUT_CHANNELS and array == WEIGHT) else 1


cdef int64_t stride_of(const Pass *p, const View *arrays, int array, int axis) noexcept nogil:
    """From one meeting to the next; 0 if the array has no such axis."""
    if not takes_part(p, array, axis) or p.count[axis] == 1:
        return 0
    return arrays[array].stride[place(array, axis)] * (p.step[array][axis - DEPTH] if axis >= DEPTH else 1)


cdef char *first_element(const Pass *p, const View *arrays, int array, int64_t group) noexcept nogil:
    """That meets, of a group."""
    cdef const View *a = &arrays[array]
    cdef int64_t offset = group * a.stride[place(array, OUT_CHANNELS if array != INPUT else IN_CHANNELS)]
    cdef int axis
    offset *= p.count[OUT_CHANNELS if array != INPUT else IN_CHANNELS]
    for axis in range(3):
        offset += p.start[array][axis] * a.stride[axis + 2]
    return a.data + offset * a.item


cdef void describe(const Pass *p, Dense *d, int64_t channels) noexcept nogil:
    """The dense convolution of the source with so many output channels."""
    cdef int axis, spatial
    cdef bint pixel, tap
    d.n, d.groups, d.channels, d.depth, d.pixels, d.taps = 1, 1, channels, 1, 1, 1
    for axis in range(AXES):
        pixel = takes_part(p, p.source, axis) and takes_part(p, p.target, axis)
        tap = takes_part(p, p.source, axis) and takes_part(p, p.weight, axis)
        spatial = axis - DEPTH
        if spatial < 0:
            if pixel:
                d.n = p.count[axis]
            elif tap:
                d.depth = p.count[axis]
        else:
            d.window.count[spatial] = p.count[axis] if pixel else 1
            d.window.taps[spatial] = p.count[axis] if tap else 1
            d.window.extent[spatial] = p.count[axis] if pixel or tap else 1
            d.window.step[spatial] = d.window.delta[spatial] = d.out_step[spatial] = d.kernel_step[spatial] = 1
            d.window.first[spatial] = d.begin[spatial] = d.kernel_begin[spatial] = 0
            d.taps *= d.window.taps[spatial]
            d.pixels *= d.window.count[spatial]
    d.pixels *= d.n
    d.flops = 2.0 * d.pixels * d.channels * d.depth * d.taps


cdef void join_pixels(Dense *d, View *source, View *out) noexcept nogil:
    """See pixel axes that run on in both arrays as one row, that of the images too."""
    cdef int i, axis
    cdef int64_t count
    if d.window.taps[2] != 1:
        return
    for i in range(3):
        axis = 3 - i if i < 2 else 0
        if axis and d.window.taps[axis - 2] != 1:
            return
        count = d.window.count[axis - 2] if axis else d.n
        if count == 1:
            continue
        if d.window.count[2] == 1:
            source.stride[4], out.stride[4] = source.stride[axis], out.stride[axis]
        elif (source.stride[axis] != d.window.count[2] * source.stride[4]
              or out.stride[axis] != d.window.count[2] * out.stride[4]):
            return
        d.window.count[2] *= count
        d.window.extent[2] = d.window.count[2]
        if axis:
            d.window.count[axis - 2] = d.window.extent[axis - 2] = 1
        else:
            d.n = 1


cdef void exchange_operands(Pass *p) noexcept nogil:
    cdef int source = p.source
    p.source, p.weight = p.weight, source


cdef void choose_source(Pass *p, const View *arrays) noexcept nogil:
    """Which operand is the source: none of it decides a sum.

    Of long sums, that one which has fewer of the target's elements, if the other's sums are runs of memory: weights are
    packed along them. Else the one with the target's innermost axis, if that fills vectors, or the larger planes.
    """
    cdef int axis, array, innermost = p.source, summed = -1
    cdef int64_t own[3]
    cdef int64_t planes[3]
    cdef int64_t taps = 1
    for array in range(3):
        own[array] = planes[array] = 1
    for axis in range(AXES):
        if p.alone[axis] == p.target:
            if axis >= DEPTH and p.count[axis] > 1:
                taps *= p.count[axis]
                summed = axis
            continue
        array = p.weight if p.alone[axis] == p.source else p.source
        own[array] *= p.count[axis]
        if axis >= DEPTH and p.count[axis] > 1:
            planes[array] *= p.count[axis]
            innermost = array
    array = p.source if own[p.source] > own[p.weight] else p.weight
    if taps >= LONG_SUM and stride_of(p, arrays, array, summed) == 1:
        if array == p.source:
            exchange_operands(p)
    elif planes[innermost] >= LEAST_PIXELS:
        if innermost != p.source:
            exchange_operands(p)
    elif planes[p.weight] >= planes[p.source]:
        exchange_operands(p)


cdef struct Run:                  # neighbouring axes of the weight and the target that can be walked as one
    int64_t count, weight, target


cdef int list_runs(const Pass *p, const View *arrays, Run *runs) noexcept nogil:
    """The weight operand's own axes, the longest run first."""
    cdef int axis, found = 0, longest = 0, i
    cdef Run run
    for axis in range(AXES):
        if not takes_part(p, p.weight, axis) or not takes_part(p, p.target, axis) or p.count[axis] == 1:
            continue
        run.count = p.count[axis]
        run.weight, run.target = stride_of(p, arrays, p.weight, axis), stride_of(p, arrays, p.target, axis)
        if found and runs[found - 1].weight == run.count * run.weight \
                and runs[found - 1].target == run.count * run.target:
            run.count *= runs[found - 1].count
            found -= 1
        runs[found] = run
        found += 1
    if not found:
        runs[0].count, runs[0].weight, runs[0].target = 1, 0, 0
        return 1
    for i in range(found):
        if runs[i].count > runs[longest].count:
            longest = i
    run = runs[0]
    runs[0] = runs[longest]
    runs[longest] = run
    return found


cdef int multiply(const Pass *layout, const View *arrays, const ConvCall *asked, bint adds) except -1 nogil:
    """The product, group by group; the output channels of a dense convolution are a part of one run. Bias and
    activation are those `asked` for: the bias is there already, where the product `adds` to it."""
    cdef Pass chosen = layout[0]
    cdef Pass *p = &chosen
    cdef View source, weight, out
    cdef ConvCall call
    cdef Dense d
    cdef Run runs[4]
    cdef int axis, found, i
    cdef int64_t item = arrays[0].item, group, index, rest, calls = 1, channel, most
    cdef int64_t backwards = 0, out_backwards = 0
    cdef bint few
    cdef char *from_
    cdef char *to
    choose_source(p, arrays)
    found = list_runs(p, arrays, runs)
    for axis in range(5):
        source.size[axis] = weight.size[axis] = out.size[axis] = 1
        source.stride[axis] = weight.stride[axis] = out.stride[axis] = 0
    source.dtype = weight.dtype = out.dtype = arrays[0].dtype
    source.item = weight.item = out.item = item
    source.packed = weight.packed = out.packed = NULL
    call.source, call.factor, call.out, call.bias = &source, &weight, &out, NULL
    call.activation, call.slope, call.adds = asked.activation, asked.slope, adds
    describe(p, &d, 1)
    for axis in range(AXES):
        i = 1 if takes_part(p, p.source, axis) and takes_part(p, p.weight, axis) else 0
        i = axis - DEPTH + 2 if axis >= DEPTH else i
        if takes_part(p, p.source, axis):
            source.size[i], source.stride[i] = p.count[axis], stride_of(p, arrays, p.source, axis)
            if takes_part(p, p.weight, axis):
                weight.size[i], weight.stride[i] = p.count[axis], stride_of(p, arrays, p.weight, axis)
            else:
                out.size[i], out.stride[i] = p.count[axis], stride_of(p, arrays, p.target, axis)
    few = runs[0].count <= kernels(source.dtype).gemm.max_rows
    for axis in range(2, 5):  # pixels go upwards in the source, if they are read there, else in the output
        if out.size[axis] > 1 and (source.stride[axis] if few else out.stride[axis]) < 0:
            backwards += (source.size[axis] - 1) * source.stride[axis]
            out_backwards += (out.size[axis] - 1) * out.stride[axis]
            source.stride[axis], out.stride[axis] = -source.stride[axis], -out.stride[axis]
    weight.stride[0], out.stride[1] = runs[0].weight, runs[0].target
    most = max(kernels(source.dtype).gemm.max_rows, OPERAND_ELEMENTS // (d.depth * d.taps))
    for i in range(1, found):
        calls *= runs[i].count
    for group in range(p.groups):
        source.data = first_element(p, arrays, p.source, group)
        from_, to = first_element(p, arrays, p.weight, group), first_element(p, arrays, p.target, group)
        source.data += backwards * item
        to += out_backwards * item
        for index in range(calls):
            weight.data, out.data, rest = from_, to, index
            for i in range(1, found):
                weight.data += rest % runs[i].count * runs[i].weight * item
                out.data += rest % runs[i].count * runs[i].target * item
                rest //= runs[i].count
            channel = 0
            while channel < runs[0].count:
                describe(p, &d, min(most, runs[0].count - channel))
                weight.size[0] = out.size[1] = d.channels
                join_pixels(&d, &source, &out)
                run_dense(&d, 0, True, &call)
                weight.data += d.channels * runs[0].weight * item
                out.data += d.channels * runs[0].target * item
                channel += d.channels
    return 0


cdef int lay_out(Pass *p, object geometry, int target, int first, int second) except -1:
    """One pass: what it computes, and from which two."""
    cdef int axis, array
    cdef int64_t places = 1
    p.target, p.groups, p.source, p.weight = target, geometry.groups, first, second
    p.count[BATCH], p.alone[BATCH] = geometry.n, WEIGHT
    p.count[OUT_CHANNELS], p.alone[OUT_CHANNELS] = geometry.out_channels // geometry.groups, INPUT
    p.count[IN_CHANNELS], p.alone[IN_CHANNELS] = geometry.in_channels // geometry.groups, OUTPUT
    for axis in range(3):
        met = meeting(geometry, axis)
        p.alone[DEPTH + axis], p.count[DEPTH + axis] = met.alone, met.count
        if met.alone == WEIGHT:
            places *= met.count
        for array in range(3):
            p.start[array][axis], p.step[array][axis] = met.start[array], met.step[array]
    # taps run against outputs, and sums in the order of that operand which may be read where it lies
    if target == INPUT and places <= p.count[IN_CHANNELS]:
        for axis in range(3):
            if p.alone[DEPTH + axis] == INPUT:
                for array in range(3):
                    p.start[array][axis] += (p.count[DEPTH + axis] - 1) * p.step[array][axis]
                    p.step[array][axis] = -p.step[array][axis]
    return 0


def slides(geometry):
    """Whether windows slide along some axis, or meet nothing at all along one."""
    meetings = [meeting(geometry, axis) for axis in range(3)]
    return None in meetings or min(met.count for met in meetings) == 0


def serves(geometry, direction):
    """Whether nothing slides, each element of what is computed is met, and it is not simply a kernel of one element,
    or windows that are whole images."""
    if slides(geometry):
        return False
    met = [meeting(geometry, axis) for axis in range(3)]
    target = {"forward": OUTPUT, "input_gradient": INPUT, "weight_gradient": WEIGHT}[direction]
    spread = {met[axis].alone for axis in range(3) if met[axis].count > 1} - {target}
    if target == WEIGHT:
        return bool(spread)
    size = geometry.output_size if target == OUTPUT else geometry.input_size
    return bool(spread - {WEIGHT} or (spread and len({m.alone for m in met if m.count > 1}) > 1)) and all(
        met[axis].alone == target or met[axis].count == size[axis] for axis in range(3))


cdef dict product_info(const Pass *p, const fc_kernels *kernel, bint channels_last):
    """What `multiply` would use."""
    cdef Dense d
    cdef int64_t channels = 1
    cdef int axis
    for axis in range(AXES):
        if takes_part(p, p.weight, axis) and takes_part(p, p.target, axis):
            channels *= p.count[axis]
    describe(p, &d, channels)
    return {**dense_info(&d, kernel, channels_last), "way": "matrix product"}


cdef class OuterPlan(Subconvolutions):
    """The forward pass or input gradient of one geometry that `serves` holds for, as a product."""

    cdef Pass layout
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction):
        if self.forward:
            lay_out(&self.layout, geometry, OUTPUT, INPUT, WEIGHT)
        else:
            lay_out(&self.layout, geometry, INPUT, OUTPUT, WEIGHT)

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef View arrays[3]
        if not self.layout.count[BATCH]:
            return 0
        arrays[self.layout.target], arrays[WEIGHT] = call.out[0], call.factor[0]
        arrays[INPUT if self.forward else OUTPUT] = call.source[0]
        if call.bias != NULL:
            fill(call.out, call.bias)
        return multiply(&self.layout, arrays, call, call.bias != NULL)

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        return product_info(&self.layout, kernels(dtype_number(dtype)), channels_last)


cdef class OuterWeightGradientPlan(ConvPass):
    """The weight gradient of one geometry that `serves` holds for, as a product."""

    cdef Pass layout
    cdef bint leaves_gaps     # some weights meet nothing

    def __cinit__(self, geometry, direction):
        lay_out(&self.layout, geometry, WEIGHT, OUTPUT, INPUT)
        self.leaves_gaps = geometry.n == 0 or prod(geometry.kernel) > prod(
            self.layout.count[DEPTH + axis] for axis in range(3) if self.layout.alone[DEPTH + axis] != WEIGHT)

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef View arrays[3]
        arrays[INPUT], arrays[OUTPUT], arrays[WEIGHT] = call.source[0], call.factor[0], call.out[0]
        if self.leaves_gaps:
            fill(call.out, NULL)
        if not self.layout.count[BATCH]:
            return 0
        return multiply(&self.layout, arrays, call, False)

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        return product_info(&self.layout, kernels(dtype_number(dtype)), channels_last)
