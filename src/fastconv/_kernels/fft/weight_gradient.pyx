"""The weight gradient of large kernels by FFT: the same walk (walk.pyx), with batch and channels exchanged.

grad_weight[k, c] is the correlation of input channel c with channel k of grad_output, summed over the images: for the
walk, input channels are the batch, images the terms of a sum. Its spectra are held until the last image has been added.
"""


import numpy as np

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.engine.arrays cimport exported, fill
from fastconv._kernels.engine.conv_pass cimport ConvCall, ConvPass
from fastconv._kernels.engine.fc_api cimport FC_IDENTITY
from fastconv._kernels.fft.walk cimport Pass, walk

from fastconv._kernels.fft.blocks import blocks_of, channels_of
from fastconv._kernels.fft.plan import spectra_info
from fastconv._kernels.fft.non_finite import finite_part, sums_reached, with_reached
from fastconv._kernels.weight_gradient.plan import WeightGradientPlan


cdef class FftWeightGradientPlan(ConvPass):
    """How one geometry's weight gradient is computed. Raises ValueError if it is none that the algorithm serves."""

    cdef readonly object blocks, lines

    def __cinit__(self, geometry, direction):
        self.blocks, self.lines = blocks_of(geometry, direction)
        self.needs_gil = True  # as in plan.pyx

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        with gil:
            return self.run_blocks(call)

    cdef int run_blocks(self, const ConvCall *call) except -1:
        """Say what is batch, term and row, and walk."""
        cdef Pass what
        cdef const int64_t *input = &call.source.stride[0]
        cdef const int64_t *grad_output = &call.factor.stride[0]
        cdef const int64_t *out = &call.out.stride[0]
        memset(&what, 0, sizeof(Pass))
        if not self.geometry.n:
            fill(call.out, NULL)
            return 0
        what.source.array, what.kernel.array, what.out.array = call.source[0], call.factor[0], call.out[0]
        what.groups, what.terms = self.geometry.groups, self.geometry.n
        what.batch, what.rows = channels_of(self.geometry, self.direction)
        what.source.term, what.source.batch, what.source.group = input[0], input[1], what.batch * input[1]
        what.kernel.term, what.kernel.row, what.kernel.group = grad_output[0], grad_output[1], what.rows * grad_output[1]
        what.out.row, what.out.batch, what.out.group = out[0], out[1], what.rows * out[0]
        if not walk(self, &what, NULL, FC_IDENTITY, 0).all():
            self.compute_again(np.asarray(exported(call.source, False)), np.asarray(exported(call.factor, False)),
                               np.asarray(exported(call.out, True)))
        return 0

    def compute_again(self, input, grad_output, out):
        """What is not finite, counted image by image."""
        whole = self.geometry._replace(batched=True, spatial_rank=3)
        if np.isfinite(input).all() and np.isfinite(grad_output).all():  # too large for a transform, maybe not for a sum
            WeightGradientPlan(whole, self.direction).run(input, grad_output, None, out)
            return
        plan = FftWeightGradientPlan(whole._replace(n=1), self.direction)

        def convolve(input, grad_output):
            return plan.run(input, grad_output, None, np.empty(out.shape, np.float32))

        def met(marks):
            return marks.sum(axis=(0, *range(2, marks.ndim)), dtype=float).reshape(-1, *[1] * (out.ndim - 1))

        nan = above = below = np.zeros((), bool)
        with np.errstate(all="ignore"):
            for image, grad_image in zip(input, grad_output):
                if not (np.isfinite(image).all() and np.isfinite(grad_image).all()):
                    found = sums_reached(convolve, image[np.newaxis], grad_image[np.newaxis], met)
                    nan, above, below = nan | found[0], above | found[1], below | found[2]
            nan = nan | (above & below)
            values = out
            if not (np.isfinite(out) | nan | above | below).all():
                values = self.run(finite_part(input), finite_part(grad_output), None, np.empty(out.shape, out.dtype))
            out[...] = with_reached(values, (nan, above, below))

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        return spectra_info(self, dtype)
