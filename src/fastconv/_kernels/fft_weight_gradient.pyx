"""The weight gradient of large kernels by FFT: the blocks' products are added up before they are transformed back.

    for each part of the output channels:
        for each image and block:
            transform the inputs that the block sees, and the block of grad_output
            for each output channel k and input channel c: sums[k, c, frequency] += their product
        transform the sums back; the kernel's elements are among the first of them

A block of grad_output is shorter than its transform by as much as windows overhang it, so that no product of a window
wraps around. See fft.pyx for the rest: cuts, memory, precision, and what is not finite, which the direct algorithm
computes again.
"""

from itertools import product

import numpy as np

from libc.stdint cimport int64_t

from fastconv._kernels.fft import (
    Call, axes_of, blocks_of, channels_of, chunks, clear_rounding, corners, five_axes, meets, parts, read_block,
    squared_norms, transform, transform_back, whole_block,
)
from fastconv._kernels.weight_gradient import WeightGradientPlan


class GradientCall(Call):
    """Arrays of a call, and what is being worked on; `weights` are the sums."""

    def __init__(self, plan, input, grad_output, out):
        super().__init__(plan, input, None, None, out, 0, 0)
        self.grad_output = grad_output
        self.finite = True
        self.seen = [meets(axis.low + np.arange(axis.taps) * axis.step, axis.count, 1, axis.extent)
                     for axis in self.axes]
        self.summed_axes = tuple([a for a in range(3) if self.axes[a].taps == 1 and self.size[a] > 1])

    def begin_part(self, outputs):
        self.grads = None  # the last part's make room
        super().begin_part(outputs)
        self.weights[...] = 0
        self.grads = np.empty((len(outputs), *self.spectra.shape[1:]), complex)
        self.grad_norms = np.zeros(len(outputs))
        self.weight_norms = np.zeros((len(outputs), self.depth))

    def transform_grads(self, n, corner):
        """A block of grad_output; conjugated, for its place decides which tap an input meets."""
        counts = [length - axis.span + 1 for length, axis in zip(self.size, self.axes)]
        for some in chunks(len(self.outputs), self.points):
            channels = slice(self.outputs.start + some.start, self.outputs.start + some.stop)
            values = read_block(self.grad_output[n, channels], corner, counts, [axis.count for axis in self.axes])
            if self.rounding:
                self.grad_norms[some] = squared_norms(values)
            spectrum = transform(values, self.axes, self.size)
            np.conjugate(whole_block(spectrum, self.axes, self.size), out=self.grads[some])

    def add_products(self):
        """Of a block."""
        product = np.empty(self.spectra.shape[1:], complex)
        for index, grad in enumerate(self.grads):
            sources = self.sources_of(index)
            for sum_, spectrum in zip(self.weights[index], self.spectra[sources]):
                np.multiply(grad, spectrum, out=product)
                sum_ += product.sum(axis=self.summed_axes, keepdims=True) if self.summed_axes else product
            self.weight_norms[index] += np.sqrt(self.norms[sources] * self.grad_norms[index])

    def write_weights(self):
        """What the sums are transforms of."""
        kept = [slice(0, axis.span, axis.step) for axis in self.axes]
        for index, channel in enumerate(self.outputs):
            for some in chunks(self.depth, self.points):
                values = transform_back(self.weights[index, some], self.axes, self.size, kept)
                bounds = self.rounding * self.weight_norms[index, some] if self.rounding else None
                clear_rounding(values, bounds, self.seen)
                values = values.astype(self.out.dtype, copy=False)
                self.finite = self.finite and bool(np.isfinite(values).all())
                self.out[channel, some] = values


cdef class FftWeightGradientPlan:
    """How one geometry's weight gradient is computed. Raises ValueError if it is none that the algorithm serves."""

    cdef readonly object geometry, blocks, direct
    cdef readonly tuple axes
    cdef readonly int64_t depth, channels

    def __init__(self, geometry):
        self.geometry, self.blocks = geometry, blocks_of(geometry, "weight_gradient")
        self.axes = axes_of(geometry, "weight_gradient")
        self.depth, self.channels = channels_of(geometry, "weight_gradient")
        self.direct = WeightGradientPlan(geometry)

    def run(self, input, grad_output, out):
        """Write grad_weight to `out`."""
        rank, batched = self.geometry.spatial_rank, self.geometry.batched
        call = GradientCall(self, five_axes(input, rank, batched), five_axes(grad_output, rank, batched),
                            five_axes(out, rank, True))
        with np.errstate(all="ignore"):
            for outputs in parts(self.geometry.groups, self.channels, self.blocks.channels):
                call.begin_part(outputs)
                for n, corner in product(range(self.geometry.n), corners(self.axes, self.blocks.size)):
                    call.transform_inputs(n, corner)
                    call.transform_grads(n, corner)
                    call.add_products()
                call.write_weights()
        return out if call.finite else self.direct.run(input, grad_output, out)
