"""Forward pass and input gradient, seen as the same thing: dense sub-convolutions (`Dense`).

In a dense sub-convolution every output pixel takes a window of taps of its source; neighbouring pixels' windows
are a fixed step apart. A forward pass is one of them. An input gradient with stride s splits by the input position
modulo s ("parity"), each parity with the taps that can reach it: nothing is ever multiplied by inserted zeros.
A transposed convolution is an input gradient with a bias.
"""

from itertools import product
from math import gcd, prod
from typing import NamedTuple

import numpy as np

from libc.stdint cimport INT64_MAX, int64_t
from libc.stdlib cimport calloc, free

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport acquire, channels_adjacent, make_output, release

cdef int64_t LARGEST_BYTES = INT64_MAX // 2
cdef double LEAKY_SLOPE = 0.01
cdef object float32 = np.dtype(np.float32)
cdef object float64 = np.dtype(np.float64)


cdef class Subconvolutions:
    """The dense sub-convolutions of one geometry in one direction: "forward" or "input_gradient".

    Immutable once made, so that calls on several threads may share it.
    """

    def __cinit__(self, geometry, direction, *_options_of_subclasses):
        self.geometry = geometry
        self.forward = direction == "forward"
        self.spatial_rank, self.batched = geometry.spatial_rank, geometry.batched
        self.out_shape = geometry.output_shape if self.forward else geometry.input_shape
        self.out_elements = prod(self.out_shape)
        per_axis = [{0: _forward_taps(geometry, axis)} if self.forward else _gradient_taps(geometry, axis)
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
        free(self.dense)

    cdef int describe(self, Dense *d, list axes, tuple parity) except -1:
        """Fill in one sub-convolution from the `Taps` of each axis, for the input positions of this parity."""
        g = self.geometry
        cdef int axis
        d.n, d.groups = g.n, g.groups
        d.channels = (g.out_channels if self.forward else g.in_channels) // g.groups
        d.depth = (g.in_channels if self.forward else g.out_channels) // g.groups
        d.pixels, d.taps = g.n, 1
        for axis in range(3):
            taps = axes[axis]
            d.window.taps[axis], d.window.first[axis], d.window.delta[axis] = taps.count, taps.first, taps.delta
            d.kernel_begin[axis], d.kernel_step[axis] = taps.kernel_begin, taps.kernel_step
            d.taps *= taps.count
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
        d.flops = 2.0 * d.pixels * d.groups * d.channels * d.depth * d.taps
        return 0

    def run(self, source, weight, bias=None, out=None, int activation=0, double slope=LEAKY_SLOPE):
        """Convolve `source` (input, or grad_output) into `out` (output, or grad_input), made here if None."""
        cdef Array array[3]
        cdef int held = 0
        try:
            acquire(&array[0], source, self.spatial_rank, self.batched, False)
            held = 1
            acquire(&array[1], weight, self.spatial_rank, True, False)
            held = 2
            if bias is None:
                return self.run_open(source, &array[0], weight, &array[1], None, NULL, out, activation, slope)
            acquire(&array[2], bias, 0, False, False)
            held = 3
            return self.run_open(source, &array[0], weight, &array[1], bias, array[2].data, out, activation, slope)
        finally:
            while held:
                held -= 1
                release(&array[held])

    cdef object run_open(self, object source, const Array *source_array, object weight, const Array *weight_array,
                         object bias, const char *bias_data, object out, int activation, double slope):
        """`run` of arrays that are open already, all but `out`."""
        cdef Array out_array
        if out is None:
            if self.out_elements > LARGEST_BYTES // (8 if source_array.float64 else 4):
                raise MemoryError(f"an output of shape {self.out_shape} cannot be allocated")
            out = make_output(self.out_shape, float64 if source_array.float64 else float32, channels_adjacent(
                &source_array.buffer, self.batched), self.batched)
        acquire(&out_array, out, self.spatial_rank, self.batched, True)
        try:
            self.run_arrays(source, source_array, weight, weight_array, bias, bias_data, out, &out_array, activation,
                            slope)
        finally:
            release(&out_array)
        return out

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        """The algorithm; arrays come both as objects and opened."""
        raise NotImplementedError

    cdef int fill_gaps(self, object out, object bias) except -1:
        """Give the outputs that no tap reaches (stride beyond the kernel) their value: the bias."""
        out[...] = 0 if bias is None else bias.reshape(-1, *[1] * self.spatial_rank)
        return 0


class Taps(NamedTuple):
    """The taps of one axis that one sub-convolution has."""

    count: int
    first: int         # source position of tap 0 for output 0
    delta: int         # source positions between taps
    kernel_begin: int  # the kernel element that tap 0 is
    kernel_step: int   # kernel elements between taps


def _forward_taps(geometry, axis):
    return Taps(geometry.kernel[axis], -geometry.before[axis], geometry.dilation[axis], 0, 1)


def _gradient_taps(geometry, axis):
    """{parity of the input position: its Taps}, for the parities that any tap reaches.

    Input position q * stride + parity meets kernel element t of output q + (parity + before - t * dilation) / stride,
    where that is a whole number: at every (stride / gcd(stride, dilation))-th t.
    """
    stride, before, dilation = geometry.stride[axis], geometry.before[axis], geometry.dilation[axis]
    kernel = geometry.kernel[axis]
    divisor = gcd(stride, dilation)
    step = stride // divisor
    taps = {}
    for t in range(min(step, kernel)):
        parity = (t * dilation - before) % stride
        if parity < geometry.input_size[axis]:
            first = (parity + before - t * dilation) // stride
            taps[parity] = Taps((kernel - t + step - 1) // step, first, -(dilation // divisor), t, step)
    return dict(sorted(taps.items()))
