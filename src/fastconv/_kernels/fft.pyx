"""Large kernels by FFT: a product per frequency instead of one per tap.

The plane of outputs is cut into blocks whose transforms, of the inputs that a block sees, are of one fast length
(overlap-save), and the output channels into parts, so that memory stays bounded:

    for each part of the output channels:
        transform its weights                                            W[k, c, frequency]
        for each image and block:
            transform what the block sees, channel by channel            X[c, frequency]
            for each output channel: the sum over c of W X, transformed back;
                of its outputs those whose window did not wrap around are the block's

Only axes on which the kernel has taps are transformed. The transforms are NumPy's, in float64 whatever the arrays are:
they round as much as a short sum does, so that a float32 result is the exact one, rounded. Of a sum of zeros something
of that rounding is left: an output whose window lies in the padding is therefore set to zero, and a float32 one also
where it is too small to be anything else. Small integers in float32 thus give exact results; in float64 they do not.

A transform spreads an infinity or NaN over its whole block. An image whose output is not finite everywhere is computed
again by the direct algorithm, as Winograd's are. Blocks and parts follow from the geometry of one image: the bits do
not depend on an image's neighbours. All of it runs on the calling thread, for NumPy's transforms gain nothing from a
second one: between the short calls both would wait for the GIL.

Cooley & Tukey, "An algorithm for the machine calculation of complex Fourier series", Math. Comp. 19 (1965);
Mathieu et al., "Fast training of convolutional networks through FFTs", arXiv:1312.5851.
"""

import dataclasses
from functools import lru_cache
from itertools import product
from math import inf, log2, prod, sqrt
from typing import NamedTuple

import numpy as np

from libc.stdint cimport int64_t

from fastconv._kernels.arrays cimport Array
from fastconv._kernels.conv cimport DensePlan
from fastconv._kernels.dense cimport Subconvolutions, divide_up
from fastconv._kernels.fc_api cimport FC_LEAKY_RELU, FC_RELU, FC_RELU6
from fastconv._kernels.native cimport kernels

MEMORY_BYTES = 6 << 20      # of the transformed weights of a part, of a block, and of what is on its way
CHUNK_POINTS = 1 << 14      # that are transformed in one go, if a block has fewer
FEWEST_TAPS = 9             # the sum of fewer products may round less than a transform does
LARGEST_LENGTH = 1 << 20

# What things cost, in FLOPs that the direct algorithms would have done meanwhile: the transform of a point per doubling
# of the length, the product of a complex number, a chunk's way through Python.
TRANSFORM_FLOPS, PRODUCT_FLOPS, CHUNK_FLOPS = 65.0, 250.0, 4e6

ROUNDING = 16 * 2.0**-52    # bounds what is left of a sum of zeros, relative to its factors and per doubling


class Axis(NamedTuple):
    """A convolution with stride 1 along one axis."""

    count: int       # outputs
    taps: int
    step: int        # inputs from tap to tap
    low: int         # where the first tap of output 0 lies
    extent: int      # inputs
    backwards: bool  # whether the kernel is numbered against the inputs

    @property
    def span(self):
        """Inputs from the first tap to the last."""
        return (self.taps - 1) * self.step + 1


class Blocks(NamedTuple):
    """How a convolution is cut."""

    size: tuple      # inputs of a block, per axis
    channels: int    # output channels of a part: all of several groups, or some of one
    flops: float     # that the direct algorithms could spend on an image instead


def axes_of(geometry, direction):
    """An `Axis` for each axis."""
    forward = direction != "input_gradient"
    return tuple([
        Axis(geometry.output_size[a], geometry.kernel[a], geometry.dilation[a], -geometry.before[a],
             geometry.input_size[a], False) if forward else
        Axis(geometry.input_size[a], geometry.kernel[a], geometry.dilation[a],
             geometry.before[a] - (geometry.kernel[a] - 1) * geometry.dilation[a], geometry.output_size[a], True)
        for a in range(3)])


def channels_of(geometry, direction):
    """Per group: (source channels, output channels)."""
    inputs, outputs = geometry.in_channels // geometry.groups, geometry.out_channels // geometry.groups
    return (outputs, inputs) if direction == "input_gradient" else (inputs, outputs)


# ---- how to cut it -----------------------------------------------------------------------------------


def lengths(axis, int most):
    """About so many transform lengths, or, without transform, block lengths."""
    if axis.taps == 1:
        found = sorted({divide_up(axis.count, 1 << p) for p in range(22)})
    else:
        needed = axis.span + axis.count - 1
        found = sorted(two * three * five for two, three, five in product(
            [1 << p for p in range(1, 21)], (1, 3, 9), (1, 5)) if axis.span < two * three * five <= LARGEST_LENGTH)
        found = found[:sum([length < needed for length in found]) + 1]
    return found[::-1][::divide_up(len(found), most)] if found else ()


@lru_cache(maxsize=512)
def cut(axes, depth, channels, groups, gradient):
    """The cheapest `Blocks` within the bound of memory, None if there are none.

    A weight gradient (`gradient`) keeps the blocks of its output channels, too.
    """
    axes_with_taps = sum([axis.taps > 1 for axis in axes])
    choices = [lengths(axis, {1: 40, 2: 14}.get(axes_with_taps, 7)) for axis in axes]
    best = None
    for size in product(*choices):
        points = prod(size)
        of_weight = 8 * depth * (prod([length for length, axis in zip(size, axes) if axis.taps > 1]) + 16)
        of_channel = of_weight + 8 * points * gradient
        left = MEMORY_BYTES - 32 * max(points, CHUNK_POINTS)
        at_once = min(channels, (left - 8 * depth * points) // of_channel)  # channels of a group
        if at_once < 1:
            continue
        parts = divide_up(channels, at_once)
        at_once = divide_up(channels, parts)
        if parts == 1:
            at_once *= min(groups, left // (8 * depth * points + channels * of_channel))
        blocks = prod([divide_up(axis.count, length - axis.span + 1) for length, axis in zip(size, axes)])
        transformed = blocks * (parts * depth + channels) * points + depth * channels * of_weight / (8 * depth)
        passes = 1 + (blocks * (depth + channels) * points + 0.0) / max(points, CHUNK_POINTS)
        flops = groups * (transformed * log2(points) * TRANSFORM_FLOPS + passes * CHUNK_FLOPS
                          + blocks * channels * depth * points / 2 * PRODUCT_FLOPS)
        if best is None or flops < best.flops:
            best = Blocks(size, at_once, flops)
    return best


def cut_of(geometry, direction):
    return cut(axes_of(geometry, direction), *channels_of(geometry, direction), geometry.groups,
               direction == "weight_gradient")


def served(geometry):
    """Whether a geometry is one for FFT at all: enough taps, stride 1."""
    return prod(geometry.kernel) >= FEWEST_TAPS and tuple(geometry.stride) == (1, 1, 1)


def blocks_of(geometry, direction):
    """The `Blocks` of a geometry; ValueError if the algorithm does not serve it."""
    if not served(geometry):
        raise ValueError(f"algorithm='fft': needs stride 1 and a kernel of at least {FEWEST_TAPS} taps, not kernel "
                         f"{geometry.kernel}, stride {geometry.stride} (D, H, W)")
    found = cut_of(geometry, direction)
    if found is None:
        raise ValueError(f"algorithm='fft': transforms for kernel {geometry.kernel}, dilation {geometry.dilation} "
                         f"(D, H, W) and so many channels per group need more than {MEMORY_BYTES >> 20} MiB")
    return found


def estimate(geometry, direction):
    """What an image costs, in FLOPs of the direct algorithms; infinite where FFT cannot serve."""
    if not served(geometry):
        return inf
    found = cut_of(geometry, direction)
    return inf if found is None else found.flops


def corners(axes, size):
    """First outputs of the blocks, per axis."""
    return list(product(*[range(0, axis.count, length - axis.span + 1) for axis, length in zip(axes, size)]))


def parts(groups, channels, at_once):
    """Ranges of output channels: of whole groups, or of one."""
    if at_once >= channels:
        return [range(k, min(k + at_once, groups * channels)) for k in range(0, groups * channels, at_once)]
    return [range(group * channels + k, group * channels + min(k + at_once, channels))
            for group in range(groups) for k in range(0, channels, at_once)]


def chunks(count, points):
    """Ranges of `count` channels that are transformed in one go."""
    at_once = max(1, CHUNK_POINTS // points)
    return [slice(first, min(first + at_once, count)) for first in range(0, count, at_once)]


# ---- transforms --------------------------------------------------------------------------------------


def transformed_axes(axes):
    """Those with taps."""
    return [a for a in range(3) if axes[a].taps > 1]


def spectrum_shape(axes, size):
    """Of a block."""
    *_, last = transformed_axes(axes)
    return tuple([size[a] // 2 + 1 if a == last else size[a] for a in range(3)])


def transform(values, axes, size):
    """The spectrum of (channels, D, H, W), continued with zeros up to `size`."""
    *others, last = transformed_axes(axes)
    spectrum = np.fft.rfft(values, size[last], axis=1 + last)
    for a in others:
        spectrum = np.fft.fft(spectrum, size[a], axis=1 + a)
    return spectrum


def transform_back(spectrum, axes, size, kept):
    """The values with that spectrum, of each axis what is kept."""
    *others, last = transformed_axes(axes)
    for a in others:
        spectrum = np.fft.ifft(spectrum, axis=1 + a)[(slice(None),) * (1 + a) + (kept[a],)]
    values = np.fft.irfft(spectrum, size[last], axis=1 + last)
    return values[(slice(None),) + tuple([kept[a] if a == last or axes[a].taps == 1 else slice(None) for a in range(3)])]


def read_block(source, begin, size, extents):
    """(channels, D, H, W) of a source from `begin` on, as float64, zeros around it; what lies behind is left out."""
    inside = [slice(min(max(b, 0), extent), min(max(b + length, 0), extent))
              for b, length, extent in zip(begin, size, extents)]
    if any([there.start == there.stop for there in inside]):
        return np.zeros((source.shape[0], 1, 1, 1))
    block = np.zeros((source.shape[0], *[there.stop - b for there, b in zip(inside, begin)]))
    block[(slice(None), *[slice(there.start - b, None) for there, b in zip(inside, begin)])] = source[
        (slice(None), *inside)]
    return block


def whole_block(spectrum, axes, size):
    """A spectrum with the axes that are not transformed continued, too."""
    missing = [(0, 0)] + [(0, 0 if axes[a].taps > 1 else size[a] - spectrum.shape[1 + a]) for a in range(3)]
    return np.pad(spectrum, missing) if any([after for _, after in missing]) else spectrum


def squared_norms(values):
    """Of the channels of (channels, D, H, W)."""
    return np.square(values).sum(axis=(1, 2, 3))


def meets(first, count, step, extent):
    """Where one of the positions first, first + step, ... (`count` of them) lies in 0 .. extent - 1."""
    skipped = np.maximum(0, -(first // step))
    return (skipped < count) & (first + skipped * step < extent)


def clear_rounding(values, bounds, seen):
    """Set to zero what can be nothing but rounding: below `bounds` if any, or where an axis sees no input."""
    if bounds is not None:
        values[np.abs(values) < bounds[:, None, None, None]] = 0
    for a in range(3):
        if not seen[a].all():
            values[(slice(None),) * (1 + a) + (~seen[a],)] = 0


def five_axes(array, int spatial_rank, bint batched):
    """As (N, C, D, H, W)."""
    array = np.asarray(array)
    if not batched:
        array = array[None]
    return array[(slice(None), slice(None), *(None,) * (3 - spatial_rank))]


# ---- a call ----------------------------------------------------------------------------------------


class Call:
    """Arrays of a call, and what is being worked on: a part of the output channels, a block of an image."""

    def __init__(self, plan, source, weight, bias, out, activation, slope):
        self.axes, self.size, self.source, self.out = plan.axes, plan.blocks.size, source, out
        self.weight, self.bias, self.activation, self.slope = weight, bias, activation, slope
        self.depth, self.channels = plan.depth, plan.channels
        self.points = prod(self.size)
        self.rounding = ROUNDING * log2(self.points) if source.dtype == np.float32 else None
        self.finite = np.ones(source.shape[0], bool)
        self.seen = [meets(axis.low + np.arange(axis.count), axis.taps, axis.step, axis.extent) for axis in self.axes]

    def begin_part(self, outputs):
        """Make room for a range of output channels."""
        self.weights = self.spectra = None  # the last part's make room
        first = outputs.start // self.channels
        self.outputs = outputs
        self.sources = range(first * self.depth, ((outputs.stop - 1) // self.channels + 1) * self.depth)
        shape = spectrum_shape(self.axes, self.size)
        of_weight = [length if axis.taps > 1 else 1 for length, axis in zip(shape, self.axes)]
        self.weights = np.empty((len(outputs), self.depth, *of_weight), complex)
        self.weight_norms = np.zeros(len(outputs))
        self.spectra = np.empty((len(self.sources), *shape), complex)
        self.norms = np.zeros(len(self.sources))

    def sources_of(self, index):
        """Where the source channels that an output channel of the part sums over lie in `spectra`."""
        first = self.outputs[index] // self.channels * self.depth - self.sources.start
        return slice(first, first + self.depth)

    def transform_weights(self):
        """Conjugated, for a convolution here does not flip its kernel."""
        order = tuple([slice(None, None, -1 if axis.backwards else 1) for axis in self.axes])
        places = tuple([slice(None, None, axis.step) for axis in self.axes])
        for index, channel in enumerate(self.outputs):
            group, k = divmod(channel, self.channels)
            for some in chunks(self.depth, self.points):
                taps = self.weight[(group, k, some, *order)]
                kernel = np.zeros((taps.shape[0], *[axis.span for axis in self.axes]))
                kernel[(slice(None), *places)] = taps
                self.weight_norms[index] += squared_norms(kernel).sum()
                np.conjugate(transform(kernel, self.axes, self.size), out=self.weights[index, some])

    def transform_inputs(self, n, corner):
        """What the block of image `n` at `corner` sees."""
        begin = [first + axis.low for first, axis in zip(corner, self.axes)]
        extents = [axis.extent for axis in self.axes]
        for some in chunks(len(self.sources), self.points):
            channels = slice(self.sources.start + some.start, self.sources.start + some.stop)
            values = read_block(self.source[n, channels], begin, self.size, extents)
            if self.rounding:
                self.norms[some] = squared_norms(values)
            self.spectra[some] = whole_block(transform(values, self.axes, self.size), self.axes, self.size)

    def write_outputs(self, n, corner):
        """Of the block of image `n` at `corner`."""
        counts = [min(length - axis.span + 1, axis.count - first)
                  for length, axis, first in zip(self.size, self.axes, corner)]
        places = [slice(first, first + count) for first, count in zip(corner, counts)]
        seen = [seen[place] for seen, place in zip(self.seen, places)]
        for some in chunks(len(self.outputs), self.points):
            sums, bounds = self.sums(some)
            values = transform_back(sums, self.axes, self.size, [slice(0, count) for count in counts])
            clear_rounding(values, bounds, seen)
            values = values.astype(self.out.dtype, copy=False)
            channels = slice(self.outputs.start + some.start, self.outputs.start + some.stop)
            if self.bias is not None:
                values += self.bias[channels, None, None, None]
            if np.isfinite(values).all():
                self.out[(n, channels, *places)] = activated(values, self.activation, self.slope)
            else:
                self.finite[n] = False

    def sums(self, some):
        """Over the source channels, of some output channels of a block; and bounds of their rounding."""
        shape = self.spectra.shape[1:]
        sums, product = np.empty((some.stop - some.start, *shape), complex), np.empty(shape, complex)
        norms = []
        for sum_, index in zip(sums, range(some.start, some.stop)):
            sources = self.sources_of(index)
            for c, (weight, spectrum) in enumerate(zip(self.weights[index], self.spectra[sources])):
                if c:
                    sum_ += np.multiply(weight, spectrum, out=product)
                else:
                    np.multiply(weight, spectrum, out=sum_)
            norms.append(sqrt(self.norms[sources].sum() * self.weight_norms[index]))
        return sums, self.rounding * np.array(norms) if self.rounding else None


def activated(values, int activation, double slope):
    if activation == FC_RELU:
        return np.maximum(values, 0)
    if activation == FC_LEAKY_RELU:
        return np.where(values < 0, slope * values, values)
    if activation == FC_RELU6:
        return np.clip(values, 0, 6)
    return values


cdef class FftPlan(Subconvolutions):
    """One geometry by FFT, in one direction. Raises ValueError if it is none that the algorithm serves."""

    cdef readonly DensePlan direct   # of one image: for those that are not finite
    cdef readonly tuple axes
    cdef readonly object blocks
    cdef readonly int64_t depth, channels

    def __cinit__(self, geometry, direction):
        self.blocks = blocks_of(geometry, direction)
        self.axes = axes_of(geometry, direction)
        self.depth, self.channels = channels_of(geometry, direction)
        self.direct = DensePlan(dataclasses.replace(geometry, n=1, batched=True), direction)

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        groups = self.geometry.groups
        source, out = [five_axes(array, self.spatial_rank, self.batched) for array in (source, out)]
        if not source.shape[0]:
            return 0
        weight = np.asarray(weight)
        taps = five_axes(weight, self.spatial_rank, True)
        taps = taps.reshape(groups, -1, *taps.shape[1:])
        call = Call(self, source, taps if self.forward else taps.swapaxes(1, 2), bias, out, activation, slope)
        with np.errstate(all="ignore"):
            for outputs in parts(groups, self.channels, self.blocks.channels):
                call.begin_part(outputs)
                call.transform_weights()
                for n, corner in product(range(len(source)), corners(self.axes, self.blocks.size)):
                    call.transform_inputs(n, corner)
                    call.write_outputs(n, corner)
        for n in np.flatnonzero(~call.finite):
            squeezed = (slice(n, n + 1), slice(None), *(0,) * (3 - self.spatial_rank))
            self.direct.run(source[squeezed], weight, bias, out[squeezed], activation, slope)
        return 0

    def info(self, bint float64, bint channels_last):
        """What a call would use: algorithm, tile, threads, tasks and bytes."""
        points = prod(self.blocks.size)
        transformed = prod([length for length, axis in zip(self.blocks.size, self.axes) if axis.taps > 1])
        sources = self.depth * divide_up(self.blocks.channels, self.channels)
        return {
            "algorithm": "fft",
            "isa": kernels(float64).isa.decode(),
            "tile": tuple([length - axis.span + 1 for length, axis in zip(self.blocks.size, self.axes)][1:]),
            "threads": 1,
            "tasks": 1,
            "packed_weight_bytes": 8 * self.depth * self.blocks.channels * transformed,
            "workspace_bytes": 8 * sources * points + 32 * max(points, CHUNK_POINTS),
        }
