"""Winograd's algorithm for strides: the convolution of stride 1 over the phases of the input (conv/phases.pyx).

Phases of the input and of the weight lie in scratch memory, where they are as large as the arrays themselves: a few
images at a time, if there are many. They are moved once; the products are those of stride 1, 2.25 or 4 times fewer than
the taps.
"""

from math import prod

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset

from fastconv._kernels.conv.dense cimport Subconvolutions
from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.conv.phases cimport (
    Phases, describe_phases, join, join_weight, make_parts, make_weight_parts, phase_count, split, split_weight,
)
from fastconv._kernels.engine.arrays cimport View, fill, some_images
from fastconv._kernels.engine.conv_pass cimport ConvCall
from fastconv._kernels.engine.fastconv_native cimport give_scratch, kernels, take_scratch
from fastconv._kernels.weight_gradient.operands cimport add_sums
from fastconv._kernels.weight_gradient.plan cimport WeightGradientPlan
from fastconv._kernels.winograd.plan cimport WinogradPlan, run_images_again
from fastconv._kernels.winograd.weight_gradient cimport WinogradWeightGradientPlan

from fastconv._kernels.conv.phases import unit_stride
from fastconv._kernels.winograd.plan import serves as serves_unit_stride

cdef int64_t ALIGNMENT = 16           # elements: each array in scratch begins with a cache line
cdef int64_t BLOCK_ELEMENTS = 8 << 20  # of the phases of some images


def serves(geometry):
    """Whether a geometry is one for Winograd: no dilation along axes with a stride, and a kernel that has, in strides,
    the size that stride 1 asks for."""
    return (max(geometry.stride) > 1
            and all(s == 1 or d == 1 for s, d in zip(geometry.stride, geometry.dilation))
            and serves_unit_stride(unit_stride(geometry)))


def check_served(geometry):
    if not serves(geometry):
        raise ValueError(
            f"algorithm='winograd': needs a kernel wider than its stride, and no dilation where that is not 1; not "
            f"kernel {geometry.kernel}, stride {geometry.stride}, dilation {geometry.dilation} (D, H, W)")


cdef int64_t set_sizes(int64_t *size, shape, int spatial_rank):
    """(N, C, D, H, W) of a shape with N; returns the elements in whole cache lines."""
    cdef int axis
    full = (*shape[:2], *(1,) * (3 - spatial_rank), *shape[2:])
    for axis in range(5):
        size[axis] = full[axis]
    return -(-prod(full) // ALIGNMENT) * ALIGNMENT


cdef struct Blocks:                      # the images of a batch whose phases are made at a time, and what they need
    Phases phases
    int64_t size[5]                      # of the phases of a block's inputs
    int64_t weight_size[5]
    int64_t elements, weight_elements
    int64_t n, groups, channels          # of the batch, and of the phases


cdef list describe_blocks(Blocks *b, object geometry):
    """Returns the geometries of stride 1: of a block, and of the last one if that is smaller."""
    check_served(geometry)
    unit = unit_stride(geometry)._replace(n=1, batched=True)
    describe_phases(&b.phases, geometry)
    b.n, b.groups, b.channels = geometry.n, geometry.groups, unit.in_channels
    most = max(1, min(geometry.n, BLOCK_ELEMENTS // prod(unit.input_shape)))
    geometries = [unit._replace(n=n) for n in (most, geometry.n % most) if n]
    b.elements = set_sizes(b.size, geometries[0].input_shape, unit.spatial_rank)
    b.weight_elements = set_sizes(b.weight_size, unit.weight_shape, unit.spatial_rank)
    return geometries


cdef void make_phases(const Blocks *b, View *phases, const View *like, bint channels_last, char *memory) noexcept nogil:
    """Of some images."""
    cdef int64_t size[5]
    memcpy(size, b.size, sizeof(size))
    size[0] = like.size[0]
    make_parts(phases, like, size, channels_last, memory)


cdef class StridedWinogradPlan(Subconvolutions):
    """One geometry with strides by F(`tile`, r), in one direction.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Blocks blocks
    cdef WinogradPlan unit, last_unit    # of stride 1: plans of a block, and of the last one, which may be smaller
    cdef DensePlan direct                # of one image: for those that are not finite
    cdef bint joins_all                  # the phases are all of grad_input
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction, int tile=2, int64_t chunk=128):
        cdef WinogradPlan unit
        cdef int axis
        units = [WinogradPlan(unit_geometry, direction, tile, chunk)
                 for unit_geometry in describe_blocks(&self.blocks, geometry)]
        self.unit, self.last_unit = units[0], units[len(units) - 1]
        for unit in units:
            for axis in range(3):  # the strides that the weight was split by
                unit.form = unit.form << 20 | self.blocks.phases.step[axis]
        self.direct = DensePlan(geometry._replace(n=1, batched=True), direction)
        self.joins_all = all(
            s == 1 or k >= s and s * (e + k_s - 1) - before >= size for s, k, k_s, e, before, size in
            zip(geometry.stride, geometry.kernel, unit_stride(geometry).kernel, geometry.output_size, geometry.before,
                geometry.input_size))

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef const Blocks *b = &self.blocks
        cdef int64_t item = call.source.item, first = 0
        cdef ConvCall part = call[0]
        cdef View weight, source, out
        cdef size_t held
        cdef char *memory
        cdef char *finite
        cdef char *bias
        if not b.n:
            return 0
        memory = <char *>take_scratch((b.elements + b.weight_elements + b.channels) * item + b.n, &held)
        bias = memory + (b.elements + b.weight_elements) * item
        finite = bias + b.channels * item
        memset(finite, 1, b.n)
        try:
            make_weight_parts(&weight, call.factor, b.weight_size, memory + b.elements * item)
            split_weight(&b.phases, call.factor, &weight)
            part.factor, part.source, part.out = &weight, &source, &out
            if not self.forward and not self.joins_all:
                fill(call.out, call.bias)
            if not self.forward and call.bias != NULL:
                self.repeat_bias(call.bias, bias, item)
                part.bias = bias
            while first < b.n:
                source = some_images(call.source, first, min(b.size[0], b.n - first))
                out = some_images(call.out, first, source.size[0])
                if source.size[0] == b.size[0]:
                    self.run_images(self.unit, &part, memory, finite + first)
                else:
                    self.run_images(self.last_unit, &part, memory, finite + first)
                first += source.size[0]
            run_images_again(self.direct, finite, call)
        finally:
            give_scratch(memory, held)
        return 0

    cdef int run_images(self, WinogradPlan unit, const ConvCall *call, char *memory, char *finite) except -1 nogil:
        """One block of images."""
        cdef const Blocks *b = &self.blocks
        cdef ConvCall part = call[0]
        cdef View phases
        make_phases(b, &phases, call.source, (call.out if self.forward else call.source).stride[1] == 1, memory)
        if self.forward:
            part.source = &phases
            split(&b.phases, call.source, &phases, b.groups)
            unit.run_winograd(&part, finite)
        else:
            part.out = &phases
            unit.run_winograd(&part, finite)
            join(&b.phases, &phases, call.out, b.groups)
        return 0

    cdef void repeat_bias(self, const char *bias, char *to, int64_t item) noexcept nogil:
        """The bias of every channel of the phases."""
        cdef int64_t count = phase_count(&self.blocks.phases), group, phase
        cdef int64_t bytes = self.blocks.channels // (self.blocks.groups * count) * item
        for group in range(self.blocks.groups):
            for phase in range(count):
                memcpy(to + (group * count + phase) * bytes, bias + group * bytes, bytes)

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef int64_t elements = self.blocks.elements + self.blocks.weight_elements + self.blocks.channels
        info = self.unit.info(dtype, channels_last)
        return {**info, "way": "phases", "workspace_bytes": info["workspace_bytes"] + elements * dtype.itemsize}


cdef class StridedWinogradWeightGradientPlan(WeightGradientPlan):
    """The weight gradient of one geometry with strides by F(r, `tile`), its products added up in chunks of at most
    `chunk`.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Blocks blocks
    cdef WinogradWeightGradientPlan unit, last_unit

    def __cinit__(self, geometry, direction, int tile=2, int64_t chunk=128):
        units = [WinogradWeightGradientPlan(unit_geometry, direction, tile, chunk)
                 for unit_geometry in describe_blocks(&self.blocks, geometry)]
        self.unit, self.last_unit = units[0], units[len(units) - 1]

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        cdef const Blocks *b = &self.blocks
        cdef int64_t item = call.source.item, first = 0
        cdef ConvCall part = call[0]
        cdef View weight, input, grad_output
        cdef bint finite = b.n > 0
        cdef size_t held
        cdef char *memory
        cdef char *sums
        if finite:
            memory = <char *>take_scratch((b.elements + 2 * b.weight_elements) * item, &held)
            sums = memory + b.elements * item
            part.source, part.factor, part.out = &input, &grad_output, &weight
            try:
                while finite and first < b.n:
                    make_parts(&weight, call.source, b.weight_size, False,
                               sums if first == 0 else sums + b.weight_elements * item)
                    input = some_images(call.source, first, min(b.size[0], b.n - first))
                    grad_output = some_images(call.factor, first, input.size[0])
                    if input.size[0] == b.size[0]:
                        finite = self.run_images(self.unit, &part, memory)
                    else:
                        finite = self.run_images(self.last_unit, &part, memory)
                    if finite and first > 0:
                        add_sums(kernels(call.source.dtype), b.weight_elements, weight.data, sums)
                    first += input.size[0]
                if finite:
                    weight.data = sums
                    join_weight(&b.phases, &weight, call.out)
            finally:
                give_scratch(memory, held)
        if not finite:
            WeightGradientPlan.run_views(self, call)
        return 0

    cdef bint run_images(self, WinogradWeightGradientPlan unit, const ConvCall *call, char *memory) except -1 nogil:
        """One block of images. False if the gradient is not finite everywhere."""
        cdef ConvCall part = call[0]
        cdef View phases
        part.source = &phases
        make_phases(&self.blocks, &phases, call.source, call.source.stride[1] == 1, memory)
        split(&self.blocks.phases, call.source, &phases, self.blocks.groups)
        return unit.run_winograd(&part)

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef int64_t elements = self.blocks.elements + 2 * self.blocks.weight_elements
        info = self.unit.info(dtype, channels_last)
        return {**info, "way": "phases", "workspace_bytes": info["workspace_bytes"] + elements * dtype.itemsize}
