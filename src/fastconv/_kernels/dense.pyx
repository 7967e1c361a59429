"""Forward pass and input gradient, seen as the same thing: dense sub-convolutions (`Dense`).

In a dense sub-convolution every output pixel takes a window of taps of its source; neighbouring pixels' windows
are a fixed step apart. A forward pass is one of them. An input gradient with stride s splits by the input position
modulo s ("parity"), each parity with the taps that can reach it: nothing is ever multiplied by inserted zeros.
A transposed convolution is an input gradient with a bias.
"""

from itertools import product
from math import prod

import numpy as np

from libc.stdint cimport INT64_MAX, int64_t
from libc.stdlib cimport calloc, free, malloc

cdef int64_t LARGEST_BYTES = INT64_MAX // 2
cdef object empty = np.empty


cdef class Subconvolutions:
    """The dense sub-convolutions of one geometry in one direction: "forward" or "input_gradient".

    Immutable once made, so that calls on several threads may share it.
    """

    def __cinit__(self, geometry, direction):
        self.geometry = geometry
        self.forward = direction == "forward"
        self.spatial_rank, self.batched = geometry.spatial_rank, geometry.batched
        self.out_shape = geometry.output_shape if self.forward else geometry.input_shape
        self.out_elements = prod(self.out_shape)
        per_axis = [_forward_taps(geometry, axis) if self.forward else _gradient_taps(geometry, axis)
                    for axis in range(3)]
        self.count = prod(map(len, per_axis))
        self.leaves_gaps = not self.forward and any(
            len(parities) < min(geometry.stride[axis], geometry.input_size[axis])
            for axis, parities in enumerate(per_axis))
        self.dense = <Dense *>calloc(max(1, self.count), sizeof(Dense))
        if self.dense == NULL:
            raise MemoryError("convolution plan")
        for i, parity in enumerate(product(*per_axis)):
            self.describe(&self.dense[<int64_t>i], [per_axis[axis][parity[axis]] for axis in range(3)], parity)

    def __dealloc__(self):
        cdef int64_t i
        if self.dense != NULL:
            for i in range(self.count):
                free(self.dense[i].shift)
                free(self.dense[i].weight)
            free(self.dense)

    cdef int describe(self, Dense *d, list taps, tuple parity) except -1:
        """Fill in one sub-convolution: `taps` per axis, for the input positions of this parity."""
        g = self.geometry
        cdef int axis
        cdef int64_t i = 0
        d.n, d.groups = g.n, g.groups
        d.channels = (g.out_channels if self.forward else g.in_channels) // g.groups
        d.depth = (g.in_channels if self.forward else g.out_channels) // g.groups
        d.pixels = g.n
        for axis in range(3):
            if self.forward:
                d.window.count[axis] = g.output_size[axis]
                d.window.step[axis] = g.stride[axis]
                d.window.extent[axis] = g.input_size[axis]
                d.begin[axis], d.out_step[axis] = 0, 1
            else:
                d.window.count[axis] = divide_up(g.input_size[axis] - parity[axis], g.stride[axis])
                d.window.step[axis] = 1
                d.window.extent[axis] = g.output_size[axis]
                d.begin[axis], d.out_step[axis] = parity[axis], g.stride[axis]
            d.pixels *= d.window.count[axis]
        d.taps = prod(map(len, taps))
        d.flops = 2.0 * d.pixels * d.groups * d.channels * d.depth * d.taps
        d.shift = <Triple *>malloc(d.taps * sizeof(Triple))
        d.weight = <Triple *>malloc(d.taps * sizeof(Triple))
        if d.shift == NULL or d.weight == NULL:
            raise MemoryError("convolution plan")
        d.window.shift = d.shift
        for tap in product(*taps):
            for axis in range(3):
                d.shift[i][axis], d.weight[i][axis] = tap[axis]
            i += 1
        return 0

    cdef object new_output(self, object source, const Array *array):
        """An uninitialised output in the memory order of the source."""
        cdef int64_t x = array.stride[4], y = array.stride[3]
        if self.out_elements > LARGEST_BYTES // (8 if array.float64 else 4):
            raise MemoryError(f"an output of shape {self.out_shape} cannot be allocated")
        if array.stride[1] == 1 and (x > 1 or x < -1 or (x == 0 and (y > 1 or y < -1))):
            channel = 1 if self.batched else 0
            shape = self.out_shape
            return np.moveaxis(
                np.empty((*shape[:channel], *shape[channel + 1:], shape[channel]), source.dtype), -1, channel)
        return empty(self.out_shape, source.dtype)

    cdef int fill_gaps(self, object out, object bias) except -1:
        """Give the outputs that no tap reaches (stride beyond the kernel) their value: the bias."""
        out[...] = 0 if bias is None else bias.reshape(-1, *[1] * self.spatial_rank)
        return 0


def _forward_taps(geometry, axis):
    """{0: [(source position for output 0, kernel index) of each tap]} along one axis."""
    return {0: [(t * geometry.dilation[axis] - geometry.before[axis], t) for t in range(geometry.kernel[axis])]}


def _gradient_taps(geometry, axis):
    """The same per parity of the input position, for the parities that any tap reaches.

    Input position q * stride + parity meets tap t of output q + (parity + before - t * dilation) / stride.
    """
    stride, before = geometry.stride[axis], geometry.before[axis]
    taps = {}
    for t in range(geometry.kernel[axis]):
        distance = t * geometry.dilation[axis]
        parity = (distance - before) % stride
        if parity < geometry.input_size[axis]:
            taps.setdefault(parity, []).append(((parity + before - distance) // stride, t))
    return dict(sorted(taps.items()))
