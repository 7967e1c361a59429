"""Winograd's algorithm for strides: the convolution of stride 1 over the phases of the input (conv/phases.pyx).

Phases of the input and of the weight lie in scratch memory, where they are as large as the arrays themselves: a few
images at a time, if there are many. They are moved once; the products are those of stride 1, 2.25 or 4 times fewer than
the taps.
"""

import dataclasses
from math import prod

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastconv._kernels.conv.dense cimport Subconvolutions
from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.conv.phases cimport (
    Phases, describe_phases, join, join_weight, make_parts, make_weight_parts, phase_count, split, split_weight,
)
from fastconv._kernels.engine.arrays cimport Array
from fastconv._kernels.engine.native cimport give_scratch, kernels, take_scratch
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


cdef Array images(const Array *array, int64_t first, int64_t count) noexcept:
    """Some images of a batch."""
    cdef Array some = array[0]
    some.data += first * array.stride[0] * (8 if array.float64 else 4)
    some.size[0] = count
    return some


cdef class Blocks:
    """The images of a batch whose phases are made at a time, and what they need."""

    cdef Phases phases
    cdef int64_t size[5]                 # of the phases of a block's inputs
    cdef int64_t weight_size[5]
    cdef int64_t elements, weight_elements
    cdef int64_t n, groups, channels     # of the batch, and of the phases
    cdef list geometries                 # of a block, and of the last one if that is smaller

    def __cinit__(self, geometry):
        check_served(geometry)
        unit = dataclasses.replace(unit_stride(geometry), n=1, batched=True)
        describe_phases(&self.phases, geometry)
        self.n, self.groups, self.channels = geometry.n, geometry.groups, unit.in_channels
        most = max(1, min(geometry.n, BLOCK_ELEMENTS // prod(unit.input_shape)))
        counts = [most, geometry.n % most] if geometry.n % most else [most]
        self.geometries = [dataclasses.replace(unit, n=n) for n in counts]
        self.elements = set_sizes(self.size, self.geometries[0].input_shape, unit.spatial_rank)
        self.weight_elements = set_sizes(self.weight_size, unit.weight_shape, unit.spatial_rank)

    cdef int make(self, Array *parts, const Array *like, int64_t n, bint channels_last, char *memory) except -1:
        """Phases of `n` images."""
        cdef int64_t size[5]
        memcpy(size, self.size, sizeof(size))
        size[0] = n
        make_parts(parts, like, size, channels_last, memory)
        return 0


cdef class StridedWinogradPlan(Subconvolutions):
    """One geometry with strides by F(`tile`, r), in one direction.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Blocks blocks
    cdef list units                      # plans of stride 1: of a block, and of the last one if that is smaller
    cdef DensePlan direct                # of one image: for those that are not finite
    cdef bint joins_all                  # the phases are all of grad_input
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction, int tile=2):
        cdef WinogradPlan unit
        cdef int axis
        self.blocks = Blocks(geometry)
        self.units = [WinogradPlan(unit_geometry, direction, tile) for unit_geometry in self.blocks.geometries]
        for unit in self.units:
            for axis in range(3):  # the strides that the weight was split by
                unit.form = unit.form << 20 | self.blocks.phases.step[axis]
        self.direct = DensePlan(dataclasses.replace(geometry, n=1, batched=True), direction)
        self.joins_all = all(
            s == 1 or k >= s and s * (e + k_s - 1) - before >= size for s, k, k_s, e, before, size in
            zip(geometry.stride, geometry.kernel, unit_stride(geometry).kernel, geometry.output_size, geometry.before,
                geometry.input_size))

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        cdef Blocks b = self.blocks
        cdef int64_t item = 8 if source_array.float64 else 4, first = 0
        cdef WinogradPlan unit
        cdef Array weight_parts, source_images, out_images
        cdef size_t held
        cdef char *memory
        cdef char *repeated
        if not b.n:
            return 0
        finite = bytearray(b"\1") * b.n
        memory = <char *>take_scratch((b.elements + b.weight_elements + b.channels) * item, &held)
        try:
            make_weight_parts(&weight_parts, weight_array, b.weight_size, memory + b.elements * item)
            split_weight(&b.phases, weight_array, &weight_parts)
            if not self.forward and not self.joins_all:
                self.fill_gaps(out, bias)
            if not self.forward and bias_data != NULL:
                repeated = memory + (b.elements + b.weight_elements) * item
                self.repeat_bias(bias_data, repeated, item)
                bias_data = repeated
            while first < b.n:
                unit = self.units[0 if first + b.size[0] <= b.n else 1]
                source_images = images(source_array, first, unit.dense.n)
                out_images = images(out_array, first, unit.dense.n)
                self.run_images(unit, &source_images, &weight_parts, bias_data, &out_images, memory,
                                <char *>finite + first, activation, slope)
                first += unit.dense.n
        finally:
            give_scratch(memory, held)
        run_images_again(self.direct, finite, self.batched, source, weight, bias, out, activation, slope)
        return 0

    cdef int run_images(self, WinogradPlan unit, const Array *source, const Array *weight, const char *bias,
                        const Array *out, char *memory, char *finite, int activation, double slope) except -1:
        """One block of images."""
        cdef Blocks b = self.blocks
        cdef Array parts
        b.make(&parts, source, unit.dense.n, (out if self.forward else source).stride[1] == 1, memory)
        if self.forward:
            split(&b.phases, source, &parts, b.groups)
            unit.run_winograd(&parts, weight, bias, out, finite, activation, slope)
        else:
            unit.run_winograd(source, weight, bias, &parts, finite, activation, slope)
            join(&b.phases, &parts, out, b.groups)
        return 0

    cdef void repeat_bias(self, const char *bias, char *to, int64_t item) noexcept:
        """The bias of every channel of the phases."""
        cdef int64_t count = phase_count(&self.blocks.phases), group, phase
        cdef int64_t bytes = self.blocks.channels // (self.blocks.groups * count) * item
        for group in range(self.blocks.groups):
            for phase in range(count):
                memcpy(to + (group * count + phase) * bytes, bias + group * bytes, bytes)

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef int64_t elements = self.blocks.elements + self.blocks.weight_elements + self.blocks.channels
        info = self.units[0].info(float64, channels_last)
        return {**info, "workspace_bytes": info["workspace_bytes"] + elements * (8 if float64 else 4)}


cdef class StridedWinogradWeightGradientPlan(WeightGradientPlan):
    """The weight gradient of one geometry with strides by F(r, `tile`), its products added up in chunks of at most
    `chunk`.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Blocks blocks
    cdef list units

    def __cinit__(self, geometry, int tile=2, int64_t chunk=128):
        self.blocks = Blocks(geometry)
        self.units = [WinogradWeightGradientPlan(unit_geometry, tile, chunk)
                      for unit_geometry in self.blocks.geometries]

    cdef int run_arrays(self, const Array *input, const Array *grad_output, const Array *out) except -1:
        cdef Blocks b = self.blocks
        cdef int64_t item = 8 if input.float64 else 4, first = 0
        cdef WinogradWeightGradientPlan unit
        cdef Array weight_parts, input_images, grad_images
        cdef bint finite = b.n > 0
        cdef size_t held
        cdef char *memory
        cdef char *sums
        if finite:
            memory = <char *>take_scratch((b.elements + 2 * b.weight_elements) * item, &held)
            sums = memory + b.elements * item
            try:
                while finite and first < b.n:
                    unit = self.units[0 if first + b.size[0] <= b.n else 1]
                    make_parts(&weight_parts, input, b.weight_size, False,
                               sums if first == 0 else sums + b.weight_elements * item)
                    input_images = images(input, first, unit.forward.dense.n)
                    grad_images = images(grad_output, first, unit.forward.dense.n)
                    finite = self.run_images(unit, &input_images, &grad_images, &weight_parts, memory)
                    if finite and first > 0:
                        add_sums(kernels(input.float64), b.weight_elements, weight_parts.data, sums)
                    first += unit.forward.dense.n
                if finite:
                    weight_parts.data = sums
                    join_weight(&b.phases, &weight_parts, out)
            finally:
                give_scratch(memory, held)
        if not finite:
            WeightGradientPlan.run_arrays(self, input, grad_output, out)
        return 0

    cdef bint run_images(self, WinogradWeightGradientPlan unit, const Array *input, const Array *grad_output,
                         const Array *out, char *memory) except -1:
        """The gradient of one block of images, phase by phase; False if it is not finite everywhere."""
        cdef Array parts
        self.blocks.make(&parts, input, unit.forward.dense.n, input.stride[1] == 1, memory)
        split(&self.blocks.phases, input, &parts, self.blocks.groups)
        return unit.run_winograd(&parts, grad_output, out)
