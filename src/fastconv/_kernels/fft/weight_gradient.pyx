"""The weight gradient of large kernels by FFT: the same walk (walk.pyx), with batch and channels exchanged.

grad_weight[k, c] is the correlation of input channel c with channel k of grad_output, summed over the images: for the
walk, input channels are the batch, images the terms of a sum. Its spectra are held until the last image has been added.
"""

import dataclasses

import numpy as np

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arrays cimport Array, acquire, release
from fastconv._kernels.engine.fc_api cimport FC_IDENTITY
from fastconv._kernels.fft.walk cimport Pass, walk

from fastconv._kernels.fft.blocks import blocks_of, channels_of
from fastconv._kernels.fft.non_finite import finite_part, sums_reached, with_reached
from fastconv._kernels.weight_gradient.plan import WeightGradientPlan


cdef class FftWeightGradientPlan:
    """How one geometry's weight gradient is computed. Raises ValueError if it is none that the algorithm serves."""

    cdef readonly object geometry, blocks, lines
    cdef readonly str direction

    def __init__(self, geometry):
        self.geometry, self.direction = geometry, "weight_gradient"
        self.blocks, self.lines = blocks_of(geometry, self.direction)

    def run(self, input, grad_output, out):
        """Write grad_weight to `out`."""
        cdef Pass what
        cdef int rank = self.geometry.spatial_rank, held = 0
        cdef bint batched = self.geometry.batched, finite = True
        memset(&what, 0, sizeof(Pass))
        if not self.geometry.n:
            out[...] = 0
            return out
        try:
            acquire(&what.source.array, input, rank, batched, False)
            held = 1
            acquire(&what.kernel.array, grad_output, rank, batched, False)
            held = 2
            acquire(&what.out.array, out, rank, True, True)
            held = 3
            self.run_arrays(&what)
            finite = walk(self, &what, NULL, FC_IDENTITY, 0).all()
        finally:
            if held > 2:
                release(&what.out.array)
            if held > 1:
                release(&what.kernel.array)
            if held > 0:
                release(&what.source.array)
        if not finite:
            self.compute_again(np.asarray(input), np.asarray(grad_output), np.asarray(out))
        return out

    cdef int run_arrays(self, Pass *what) except -1:
        """Say what is batch, term and row."""
        cdef const int64_t *strides
        what.groups, what.terms = self.geometry.groups, self.geometry.n
        what.batch, what.rows = channels_of(self.geometry, self.direction)
        strides = what.source.array.stride
        what.source.term, what.source.batch, what.source.group = strides[0], strides[1], what.batch * strides[1]
        strides = what.kernel.array.stride
        what.kernel.term, what.kernel.row, what.kernel.group = strides[0], strides[1], what.rows * strides[1]
        strides = what.out.array.stride
        what.out.row, what.out.batch, what.out.group = strides[0], strides[1], what.rows * strides[0]
        return 0

    def compute_again(self, input, grad_output, out):
        """What is not finite, counted image by image."""
        if np.isfinite(input).all() and np.isfinite(grad_output).all():  # too large for a transform, maybe not for a sum
            WeightGradientPlan(self.geometry).run(input, grad_output, out)
            return
        plan = FftWeightGradientPlan(dataclasses.replace(self.geometry, n=1, batched=True))

        def convolve(input, grad_output):
            return plan.run(input, grad_output, np.empty(out.shape, np.float32))

        def met(marks):
            return marks.sum(axis=(0, *range(2, marks.ndim)), dtype=float).reshape(-1, *[1] * (out.ndim - 1))

        nan = above = below = np.zeros((), bool)
        with np.errstate(all="ignore"):
            for image, grad_image in zip(input, grad_output) if self.geometry.batched else [(input, grad_output)]:
                if not (np.isfinite(image).all() and np.isfinite(grad_image).all()):
                    found = sums_reached(convolve, image[np.newaxis], grad_image[np.newaxis], met)
                    nan, above, below = nan | found[0], above | found[1], below | found[2]
            nan = nan | (above & below)
            values = out
            if not (np.isfinite(out) | nan | above | below).all():
                values = self.run(finite_part(input), finite_part(grad_output), np.empty(out.shape, out.dtype))
            out[...] = with_reached(values, (nan, above, below))
