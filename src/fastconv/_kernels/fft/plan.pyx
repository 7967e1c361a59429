"""Large kernels by FFT: a product per frequency instead of one per tap.

blocks.py turns strides and dilation into plain correlations and cuts them, walk.pyx walks over the blocks,
transform.pyx transforms one, csrc/tile/fft.h a vector of rows or columns of it.

All transforms are in float64 whatever the arrays are: they round as much as a short sum does, so that a float32 result is
the exact one, rounded. Of a sum of zeros something of that rounding is left: an output whose window lies in the padding
is therefore set to zero, and a float32 one also where it is too small to be anything else. Small integers in float32
thus give exact results; in float64 they do not.

A transform spreads an infinity or NaN over its whole block. An image whose output is not finite everywhere is computed
again, see non_finite.py. Blocks and parts follow from the geometry of one image: the bits do not depend on an
image's neighbours, nor on the number of threads.

Cooley & Tukey, "An algorithm for the machine calculation of complex Fourier series", Math. Comp. 19 (1965);
Mathieu et al., "Fast training of convolutional networks through FFTs", arXiv:1312.5851.
"""

from itertools import product
from math import prod

import numpy as np

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastconv._kernels.conv.dense cimport Subconvolutions
from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport View, dtype_number, exported, fill
from fastconv._kernels.engine.conv_pass cimport ConvCall, bias_array
from fastconv._kernels.engine.fc_api cimport FC_LEAKY_RELU, FC_RELU, FC_RELU6
from fastconv._kernels.engine.fastconv_native cimport kernels, worker_threads
from fastconv._kernels.fft.walk cimport Pass, walk

from fastconv._kernels.conv.direct import DensePlan
from fastconv._kernels.fft.blocks import PAD, PER_THREAD, blocks_of, channels_of, spectrum_points
from fastconv._kernels.fft.non_finite import finite_part, slices, sums_reached, with_reached


def activated(values, int activation, double slope):
    if activation == FC_RELU:
        return np.maximum(values, 0)
    if activation == FC_LEAKY_RELU:
        return np.where(values < 0, slope * values, values)
    if activation == FC_RELU6:
        return np.clip(values, 0, 6)
    return values


def spectra_info(plan, dtype):
    """What a call of a plan by FFT would use: algorithm, tile, threads, tasks and bytes."""
    cuts, blocks = plan.blocks.cuts, plan.blocks
    spectrum = 16 * spectrum_points([c.length for c in cuts]) + 8 * PAD
    pieces, terms = prod([c.pieces for c in cuts]), blocks.depth
    groups = max(1, blocks.rows // channels_of(plan.geometry, plan.direction)[1])
    parts = divide_up(plan.geometry.out_channels, blocks.rows)
    return {
        "algorithm": "fft",
        "way": "spectra",
        "isa": kernels(dtype_number(dtype)).isa.decode(),
        "tile": tuple([c.hop for c in cuts][1:]),
        "threads": worker_threads(blocks.flops * max(1, plan.geometry.n)),
        "tasks": parts * prod([c.blocks for c in cuts]) * max(1, plan.geometry.n) * divide_up(blocks.rows, 2),
        "packed_weight_bytes": blocks.rows * terms * pieces * spectrum,
        "workspace_bytes": max(blocks.bytes, groups * terms * pieces * spectrum) + PER_THREAD * spectrum,
    }


cdef class FftPlan(Subconvolutions):
    """One geometry by FFT, in one direction. Raises ValueError if it is none that the algorithm serves."""

    cdef readonly object blocks, lines

    def __cinit__(self, geometry, direction):
        self.blocks, self.lines = blocks_of(geometry, direction)
        self.needs_gil = True  # blocks are planned in Python, and so are the images that are not finite

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        with gil:
            return self.run_blocks(call)

    cdef int run_blocks(self, const ConvCall *call) except -1:
        cdef Pass what
        cdef const int64_t *source = &call.source.stride[0]
        cdef const int64_t *weight = &call.factor.stride[0]
        cdef const int64_t *out = &call.out.stride[0]
        memset(&what, 0, sizeof(Pass))
        if not call.source.size[0]:
            return 0
        what.groups = self.geometry.groups
        what.terms, what.rows = channels_of(self.geometry, self.direction)
        what.batch = call.source.size[0]
        what.source.array, what.kernel.array, what.out.array = call.source[0], call.factor[0], call.out[0]
        what.source.batch, what.source.term, what.source.group = source[0], source[1], what.terms * source[1]
        what.out.batch, what.out.row, what.out.group = out[0], out[1], what.rows * out[1]
        if self.forward:
            what.kernel.row, what.kernel.term, what.kernel.group = weight[0], weight[1], what.rows * weight[0]
        else:
            what.kernel.term, what.kernel.row, what.kernel.group = weight[0], weight[1], what.terms * weight[0]
        if self.leaves_gaps:
            fill(call.out, call.bias)
        finite = walk(self, &what, call.bias, call.activation, call.slope)
        if not finite.all():
            self.compute_some_again(np.flatnonzero(~finite), call)
        return 0

    cdef int compute_some_again(self, images, const ConvCall *call) except -1:
        """Images whose outputs are not finite."""
        bias = bias_array(call)
        source, out = np.asarray(exported(call.source, False)), np.asarray(exported(call.out, True))
        weight = np.asarray(exported(call.factor, False))
        for n in images:
            self.compute_again(source[n:n + 1], weight, bias, out[n:n + 1], call.activation, call.slope)
        return 0

    def compute_again(self, source, weight, bias, out, activation, slope):
        """An image whose output is not finite."""
        one = self.geometry._replace(n=1, batched=True, spatial_rank=3)
        if np.isfinite(source).all() and np.isfinite(weight).all():  # too large for a transform, maybe not for a sum
            DensePlan(one, self.direction).run(source, weight, bias, out, activation, slope)
            return
        plan = FftPlan(one, self.direction)
        with np.errstate(all="ignore"):
            values = plan.run(finite_part(source), finite_part(weight))
            values = with_reached(values, sums_reached(plan.run, source, weight, plan.weights_met))
            if bias is not None:
                values += bias.reshape(-1, 1, 1, 1)
            out[...] = activated(values, activation, slope)

    def weights_met(self, marks):
        """How many marked weights each output meets, be it in the padding."""
        depth, rows = channels_of(self.geometry, self.direction)
        order = (rows, depth) if self.forward else (depth, rows)
        counts = marks.reshape(self.geometry.groups, *order, *self.geometry.kernel).sum(axis=2 if self.forward else 1)
        counts = counts.reshape(-1, *self.geometry.kernel)
        size = self.geometry.output_size if self.forward else self.geometry.input_size
        met = np.zeros((len(counts), *size))
        for lines in product(*self.lines):
            total = sum([counts[(slice(None), *slices(taps))].sum(axis=(1, 2, 3))
                         for taps in product(*[line.taps for line in lines])])
            for turn in product(*[line.turns for line in lines]):
                met[(slice(None), *slices([place for _, place in turn]))] = total[:, None, None, None]
        return met.reshape(self.out_shape)

    def info(self, dtype, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        return spectra_info(self, dtype)
