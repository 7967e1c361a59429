"""Forward pass and input gradient, seen as the same thing: dense sub-convolutions (`Dense`).

In a dense sub-convolution every output pixel takes a window of taps of its source; neighbouring pixels' windows
are a fixed step apart. A forward pass is one of them. An input gradient with stride s splits by the input position
modulo s ("parity"), each parity with the taps that can reach it: nothing is ever multiplied by inserted zeros.
A transposed convolution is an input gradient with a bias.
"""

from itertools import product
from math import gcd, prod
from typing import NamedTuple

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.conv_pass cimport ConvPass


cdef class Subconvolutions(ConvPass):
    """The dense sub-convolutions of one geometry in one direction: "forward" or "input_gradient"."""

    def __cinit__(self, geometry, direction, *_options_of_subclasses):
        cdef int64_t i
        per_axis = [{0: _forward_taps(geometry, axis)} if self.forward else _gradient_taps(geometry, axis)
                    for axis in range(3)]
        self.count = prod(map(len, per_axis))
        self.leaves_gaps = not self.forward and any(
            len(parities) < min(geometry.stride[axis], geometry.input_size[axis])
            for axis, parities in enumerate(per_axis))
        self.dense = <Dense *>calloc(max(1, self.count), sizeof(Dense))
        if self.dense == NULL:
            raise MemoryError("convolution plan")
        self.work = 0
        for i, parity in enumerate(product(*per_axis)):
            self.describe(&self.dense[i], [per_axis[axis][parity[axis]] for axis in range(3)], parity)
            self.work += self.dense[i].flops

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


cdef void join_rows(fc_window *w, const int64_t *out_stride) noexcept nogil:
    """See a plane that is read as it is (one tap, no padding, stride 1) and lies in one piece as one long row; with
    `out_stride`, only what adjoins in the output, too."""
    cdef int axis
    for axis in range(3):
        if w.taps[axis] != 1 or w.step[axis] != 1 or w.first[axis] != 0 or w.count[axis] != w.extent[axis]:
            return
    for axis in range(1, -1, -1):
        if w.count[axis] > 1 and (w.stride[axis + 2] != w.extent[2] * w.stride[4] or (
                out_stride != NULL and out_stride[axis + 2] != w.extent[2] * out_stride[4])):
            return
        w.count[2] *= w.count[axis]
        w.extent[2] = w.count[2]
        w.count[axis] = w.extent[axis] = 1
