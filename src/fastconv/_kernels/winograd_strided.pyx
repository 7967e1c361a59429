"""Winograd's algorithm for strides: the convolution of stride 1 over the phases of the input (phases.pyx).

Phases of the input and of the weight lie in scratch memory for the length of a call. They are as large as the arrays
themselves, and are moved once; the products are those of stride 1, 2.25 or 4 times fewer than the taps.
"""

import dataclasses
from math import prod

from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.conv cimport DensePlan
from fastconv._kernels.dense cimport Subconvolutions
from fastconv._kernels.native cimport give_scratch, take_scratch
from fastconv._kernels.phases cimport (
    Phases, describe_phases, join, join_weight, make_parts, make_weight_parts, phase_count, split, split_weight,
)
from fastconv._kernels.weight_gradient cimport WeightGradientPlan
from fastconv._kernels.winograd cimport WinogradPlan, run_images_again
from fastconv._kernels.winograd_weight_gradient cimport WinogradWeightGradientPlan

from fastconv._kernels.phases import unit_stride
from fastconv._kernels.winograd import serves as serves_unit_stride

cdef int64_t ALIGNMENT = 16    # elements: each array in scratch begins with a cache line


def serves(geometry):
    """Whether a geometry is one for Winograd: no dilation along axes with a stride, and a kernel that has, in strides,
    the size that stride 1 asks for."""
    return (max(geometry.stride) > 1
            and all(s == 1 or d == 1 for s, d in zip(geometry.stride, geometry.dilation))
            and serves_unit_stride(unit_stride(geometry)))


def check_served(geometry):
    if not serves(geometry):
        raise ValueError(
            f"algorithm='winograd': needs a kernel wider than its stride, and no dilation where the stride is not 1; not kernel {geometry.kernel}, stride {geometry.stride}, dilation "
            f"{geometry.dilation} (D, H, W)")


cdef int64_t set_sizes(int64_t *size, shape, int spatial_rank, bint batched):
    """(N, C, D, H, W) of a shape; returns the elements in whole cache lines."""
    cdef int axis
    full = ((1,) * (1 - batched) + tuple(shape[:1 + batched]) + (1,) * (3 - spatial_rank) + tuple(shape[1 + batched:]))
    for axis in range(5):
        size[axis] = full[axis]
    return -(-prod(full) // ALIGNMENT) * ALIGNMENT


cdef class StridedWinogradPlan(Subconvolutions):
    """One geometry with strides by F(`tile`, r), in one direction.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Phases phases
    cdef WinogradPlan unit               # of stride 1
    cdef DensePlan direct                # of one image: for those that are not finite
    cdef int64_t part_size[5]            # of the input's phases
    cdef int64_t weight_size[5]
    cdef int64_t part_elements, weight_elements
    cdef bint joins_all                  # the phases are all of grad_input
    serves = staticmethod(serves)

    def __cinit__(self, geometry, direction, int tile=2):
        cdef int axis
        check_served(geometry)
        unit = unit_stride(geometry)
        describe_phases(&self.phases, geometry)
        self.unit = WinogradPlan(unit, direction, tile)
        for axis in range(3):  # which strides the weight was split by
            self.unit.form = self.unit.form << 16 | self.phases.step[axis]
        self.direct = DensePlan(dataclasses.replace(geometry, n=1, batched=True), direction)
        self.part_elements = set_sizes(self.part_size, unit.input_shape, unit.spatial_rank, unit.batched)
        self.weight_elements = set_sizes(self.weight_size, unit.weight_shape, unit.spatial_rank, True)
        self.joins_all = all(
            s == 1 or k >= s and s * e - before >= size for s, k, e, before, size in
            zip(geometry.stride, geometry.kernel, unit.input_size, geometry.before, geometry.input_size))

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        cdef int64_t item = 8 if source_array.float64 else 4, channels = self.part_size[1]
        cdef Array parts, weight_parts
        cdef bint channels_last = source_array.stride[1] == 1 and out_array.stride[1] == 1
        cdef size_t held
        cdef char *memory
        if not self.unit.dense.pixels:
            return 0
        if self.forward:  # an input of one channel is as good as channels-last
            channels_last = out_array.stride[1] == 1
        finite = bytearray(b"\1") * self.unit.dense.n
        memory = <char *>take_scratch((self.part_elements + self.weight_elements + channels) * item, &held)
        try:
            make_parts(&parts, source_array, self.part_size, channels_last, memory)
            make_weight_parts(&weight_parts, weight_array, self.weight_size, memory + self.part_elements * item)
            split_weight(&self.phases, weight_array, &weight_parts)
            if self.forward:
                split(&self.phases, source_array, &parts, self.unit.dense.groups)
                self.unit.run_winograd(&parts, &weight_parts, bias_data, out_array, finite, activation, slope)
            else:
                if not self.joins_all:
                    self.fill_gaps(out, bias)
                if bias_data != NULL:
                    bias_data = self.repeat_bias(bias_data, memory + (self.part_elements + self.weight_elements) * item,
                                                 item)
                self.unit.run_winograd(source_array, &weight_parts, bias_data, &parts, finite, activation, slope)
                join(&self.phases, &parts, out_array, self.unit.dense.groups)
        finally:
            give_scratch(memory, held)
        run_images_again(self.direct, finite, self.batched, source, weight, bias, out, activation, slope)
        return 0

    cdef const char *repeat_bias(self, const char *bias, char *to, int64_t item) noexcept:
        """The bias of every channel of the phases."""
        cdef int64_t count = phase_count(&self.phases), bytes = self.unit.dense.channels // count * item, group, phase
        for group in range(self.unit.dense.groups):
            for phase in range(count):
                memcpy(to + (group * count + phase) * bytes, bias + group * bytes, bytes)
        return to

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        cdef int64_t elements = self.part_elements + self.weight_elements + self.part_size[1]
        info = self.unit.info(float64, channels_last)
        return {**info, "workspace_bytes": info["workspace_bytes"] + elements * (8 if float64 else 4)}


cdef class StridedWinogradWeightGradientPlan(WeightGradientPlan):
    """The weight gradient of one geometry with strides by F(r, `tile`), its products added up in chunks of at most
    `chunk`.

    Raises ValueError if the geometry is none that the algorithm serves.
    """

    cdef Phases phases
    cdef WinogradWeightGradientPlan unit
    cdef int64_t part_size[5]
    cdef int64_t weight_size[5]
    cdef int64_t part_elements, weight_elements

    def __cinit__(self, geometry, int tile=2, int64_t chunk=128):
        check_served(geometry)
        unit = unit_stride(geometry)
        describe_phases(&self.phases, geometry)
        self.unit = WinogradWeightGradientPlan(unit, tile, chunk)
        self.part_elements = set_sizes(self.part_size, unit.input_shape, unit.spatial_rank, unit.batched)
        self.weight_elements = set_sizes(self.weight_size, unit.weight_shape, unit.spatial_rank, True)

    cdef int run_arrays(self, const Array *input, const Array *grad_output, const Array *out) except -1:
        cdef int64_t item = 8 if input.float64 else 4
        cdef Array parts, weight_parts
        cdef bint finite = False
        cdef size_t held
        cdef char *memory
        if self.unit.forward.dense.pixels:
            memory = <char *>take_scratch((self.part_elements + self.weight_elements) * item, &held)
            try:
                make_parts(&parts, input, self.part_size, input.stride[1] == 1, memory)
                make_parts(&weight_parts, input, self.weight_size, False, memory + self.part_elements * item)
                split(&self.phases, input, &parts, self.unit.forward.dense.groups)
                finite = self.unit.run_winograd(&parts, grad_output, &weight_parts)
                if finite:
                    join_weight(&self.phases, &weight_parts, out)
            finally:
                give_scratch(memory, held)
        if not finite:
            WeightGradientPlan.run_arrays(self, input, grad_output, out)
        return 0
