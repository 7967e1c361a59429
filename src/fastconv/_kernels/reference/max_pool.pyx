"""Maxima, averages and norms of windows, and their gradients, as plain loop nests: every option, no tricks.

This is what `algorithm="reference"` of the poolings runs and what every other way means, as reference/conv.pyx is for
convolutions. Arrays are seen as 3-D, (N, C, D, H, W); sums run in double precision in the order of the loops.
"""

from libc.math cimport INFINITY, fabs, fmod, pow
from libc.stdint cimport int64_t

import math

import numpy as np

from cpython.exc cimport PyErr_CheckSignals

from fastconv._kernels.engine.arithmetic cimport divide_up
from fastconv._kernels.engine.arrays cimport real

from fastconv._kernels.engine.arrays import in_five_axes, new_output


cdef struct Geometry:
    int64_t n, channels
    bint adaptive
    int64_t input_size[3]
    int64_t kernel[3]
    int64_t stride[3]
    int64_t before[3]
    int64_t after[3]
    int64_t dilation[3]
    int64_t output_size[3]


cdef Geometry unpack(geometry):
    cdef Geometry g
    cdef int axis
    g.n, g.channels, g.adaptive = geometry.n, geometry.channels, geometry.adaptive
    for axis in range(3):
        g.input_size[axis] = geometry.input_size[axis]
        g.kernel[axis] = geometry.kernel[axis]
        g.stride[axis] = geometry.stride[axis]
        g.before[axis] = geometry.before[axis]
        g.after[axis] = geometry.after[axis]
        g.dilation[axis] = geometry.dilation[axis]
        g.output_size[axis] = geometry.output_size[axis]
    return g


# ---- windows -----------------------------------------------------------------------------------------


cdef inline int64_t source(const Geometry *g, int axis, int64_t output, int64_t tap) noexcept nogil:
    """Where along `axis` the window of an output meets the input at a tap; negative if in the padding.

    The windows of an adaptive pooling cut the input evenly: some are shorter than the kernel, and never meet it there.
    """
    cdef int64_t size = g.input_size[axis], outputs = g.output_size[axis], position
    if g.adaptive:
        position = output * size // outputs + tap
        return position if position < divide_up((output + 1) * size, outputs) else -1
    position = output * g.stride[axis] + tap * g.dilation[axis] - g.before[axis]
    return position if position < size else -1


cdef int64_t covered(const Geometry *g, int axis, int64_t output, bint padding) noexcept nogil:
    """Taps of a window that lie within the input, or within the padded input."""
    cdef int64_t tap, count = 0
    for tap in range(g.kernel[axis]):
        if source(g, axis, output, tap) >= 0:
            count += 1
        elif padding and not g.adaptive:
            # windows of ceil_mode may reach beyond even the padding, which is never counted
            if (output * g.stride[axis] + tap * g.dilation[axis] - g.before[axis]
                    < g.input_size[axis] + g.after[axis]):
                count += 1
    return count


cdef double divisor_of(const Geometry *g, int64_t od, int64_t oh, int64_t ow, bint count_padding,
                       double divisor) noexcept nogil:
    """What the sum of a window is divided by: `divisor` if it is not 0, else the taps that count."""
    if divisor != 0:
        return divisor
    return (<double>covered(g, 0, od, count_padding) * covered(g, 1, oh, count_padding)
            * covered(g, 2, ow, count_padding))


# ---- maxima ------------------------------------------------------------------------------------------


cdef int max_pool(Geometry g, const real[:, :, :, :, :] input, double norm, real[:, :, :, :, :] out,
                  int64_t[:, :, :, :, :] indices) except -1:
    """out[n, c, o] = max over t of input[n, c, source(o, t)]: of its size if `norm` is inf, the least if it is -inf.

    The first of equal maxima wins, and the first NaN over everything. Indices are flat positions in a plane.
    """
    cdef int64_t n, c, od, oh, ow, kd, kh, kw, z, y, x, index
    cdef real value, best
    for n in range(g.n):
        for c in range(g.channels):
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    PyErr_CheckSignals()
                    for ow in range(g.output_size[2]):
                        best, index = 0, -1
                        for kd in range(g.kernel[0]):
                            z = source(&g, 0, od, kd)
                            if z < 0:
                                continue
                            for kh in range(g.kernel[1]):
                                y = source(&g, 1, oh, kh)
                                if y < 0:
                                    continue
                                for kw in range(g.kernel[2]):
                                    x = source(&g, 2, ow, kw)
                                    if x < 0:
                                        continue
                                    value = input[n, c, z, y, x]
                                    if norm != 0:
                                        value = <real>(fabs(value) if norm > 0 else -fabs(value))
                                    if index < 0 or value > best or (value != value and best == best):
                                        best = value
                                        index = (z * g.input_size[1] + y) * g.input_size[2] + x
                        out[n, c, od, oh, ow] = -best if norm < 0 else best
                        indices[n, c, od, oh, ow] = index
    return 0


cdef bint max_gradient(const real[:, :, :, :, :] grad_output, const int64_t[:, :, :, :, :] indices,
                       double[:, :, :, :, :] total) except -1:
    """total[n, c, indices[n, c, o]] += grad_output[n, c, o], over all n, c, o; whether all indices are in the plane."""
    cdef int64_t n, c, od, oh, ow, index
    cdef int64_t depth = total.shape[2], height = total.shape[3], width = total.shape[4]
    for n in range(grad_output.shape[0]):
        for c in range(grad_output.shape[1]):
            for od in range(grad_output.shape[2]):
                for oh in range(grad_output.shape[3]):
                    PyErr_CheckSignals()
                    for ow in range(grad_output.shape[4]):
                        index = indices[n, c, od, oh, ow]
                        if not 0 <= index < depth * height * width:
                            return False
                        total[n, c, index // (height * width), index // width % height, index % width] += (
                            grad_output[n, c, od, oh, ow])
    return True


def max_pool_gradient(grad_output, indices, out, int spatial_rank, bint batched):
    """Every value of grad_output to the place that its index names, into `out`; None if one is not in the plane."""
    total = np.zeros(in_five_axes(out, batched).shape, np.float64)
    args = (in_five_axes(grad_output, batched), in_five_axes(indices, batched), total)
    if not (max_gradient[float](*args) if grad_output.dtype == np.float32 else max_gradient[double](*args)):
        return None
    out[...] = total.reshape(out.shape)
    return out


# ---- averages ----------------------------------------------------------------------------------------


cdef int avg_pool(Geometry g, const real[:, :, :, :, :] input, bint count_padding, double divisor,
                  real[:, :, :, :, :] out) except -1:
    """out[n, c, o] = sum over t of input[n, c, source(o, t)] / divisor_of(o)."""
    cdef int64_t n, c, od, oh, ow, kd, kh, kw, z, y, x
    cdef double total
    for n in range(g.n):
        for c in range(g.channels):
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    PyErr_CheckSignals()
                    for ow in range(g.output_size[2]):
                        total = 0
                        for kd in range(g.kernel[0]):
                            z = source(&g, 0, od, kd)
                            if z < 0:
                                continue
                            for kh in range(g.kernel[1]):
                                y = source(&g, 1, oh, kh)
                                if y < 0:
                                    continue
                                for kw in range(g.kernel[2]):
                                    x = source(&g, 2, ow, kw)
                                    if x >= 0:
                                        total += input[n, c, z, y, x]
                        out[n, c, od, oh, ow] = <real>(total / divisor_of(&g, od, oh, ow, count_padding, divisor))
    return 0


cdef int avg_gradient(Geometry g, const real[:, :, :, :, :] grad_output, bint count_padding, double divisor,
                      double[:, :, :, :, :] total) except -1:
    """total[n, c, source(o, t)] += grad_output[n, c, o] / divisor_of(o), over all n, c, o, t."""
    cdef int64_t n, c, od, oh, ow, kd, kh, kw, z, y, x
    cdef double share
    for n in range(g.n):
        for c in range(g.channels):
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    PyErr_CheckSignals()
                    for ow in range(g.output_size[2]):
                        share = grad_output[n, c, od, oh, ow] / divisor_of(&g, od, oh, ow, count_padding, divisor)
                        for kd in range(g.kernel[0]):
                            z = source(&g, 0, od, kd)
                            if z < 0:
                                continue
                            for kh in range(g.kernel[1]):
                                y = source(&g, 1, oh, kh)
                                if y < 0:
                                    continue
                                for kw in range(g.kernel[2]):
                                    x = source(&g, 2, ow, kw)
                                    if x >= 0:
                                        total[n, c, z, y, x] += share
    return 0


# ---- norms -------------------------------------------------------------------------------------------


cdef int lp_pool(Geometry g, const real[:, :, :, :, :] input, double norm, const double[:, :, :, :, :] scale,
                 double[:, :, :, :, :] total) except -1:
    """total[n, c, o] = sum over t of (input[n, c, source(o, t)] / scale[n, c, o]) ** norm."""
    cdef int64_t n, c, od, oh, ow, kd, kh, kw, z, y, x
    for n in range(g.n):
        for c in range(g.channels):
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    PyErr_CheckSignals()
                    for ow in range(g.output_size[2]):
                        total[n, c, od, oh, ow] = 0
                        for kd in range(g.kernel[0]):
                            z = source(&g, 0, od, kd)
                            if z < 0:
                                continue
                            for kh in range(g.kernel[1]):
                                y = source(&g, 1, oh, kh)
                                if y < 0:
                                    continue
                                for kw in range(g.kernel[2]):
                                    x = source(&g, 2, ow, kw)
                                    if x >= 0:
                                        # + 0.0: of -0.0, too, a negative power is +inf
                                        total[n, c, od, oh, ow] += pow(
                                            input[n, c, z, y, x] / scale[n, c, od, oh, ow] + <double>0.0, norm)
    return 0


cdef double slope(double element, double output, double power, double of_zeros) noexcept nogil:
    """(element / output) ** power, and what stands for it where the norm is 0."""
    if output == 0:
        return of_zeros if element == 0 else 0
    if power == 0:
        return 1
    return 0 if fabs(output) == INFINITY else pow(element / output, power)


cdef int lp_gradient(Geometry g, const real[:, :, :, :, :] input, const real[:, :, :, :, :] output,
                     const double[:, :, :, :, :] share, const double[:, :, :, :, :] of_zeros, double norm,
                     double[:, :, :, :, :] total) except -1:
    """total[n, c, s] += share[n, c, o] * slope(input[n, c, s], output[n, c, o]) where s = source(o, t), over all."""
    cdef int64_t n, c, od, oh, ow, kd, kh, kw, z, y, x
    for n in range(g.n):
        for c in range(g.channels):
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    PyErr_CheckSignals()
                    for ow in range(g.output_size[2]):
                        if share[n, c, od, oh, ow] == 0:
                            continue  # 0 times an infinite slope stays 0
                        for kd in range(g.kernel[0]):
                            z = source(&g, 0, od, kd)
                            if z < 0:
                                continue
                            for kh in range(g.kernel[1]):
                                y = source(&g, 1, oh, kh)
                                if y < 0:
                                    continue
                                for kw in range(g.kernel[2]):
                                    x = source(&g, 2, ow, kw)
                                    if x >= 0:
                                        total[n, c, z, y, x] += share[n, c, od, oh, ow] * slope(
                                            input[n, c, z, y, x], output[n, c, od, oh, ow], norm - 1,
                                            of_zeros[n, c, od, oh, ow])
    return 0


# ---- the plan ----------------------------------------------------------------------------------------


class ReferencePoolPlan:
    """One geometry by plain loops, with the methods that a `PoolPlan` has."""

    def __init__(self, geometry):
        self.geometry = geometry

    def _seen(self, *arrays):
        return [in_five_axes(array, self.geometry.batched) for array in arrays]

    def _new(self, shape, like, dtype=None):
        return new_output(shape, like.dtype if dtype is None else dtype, like, self.geometry.batched)

    def maximum(self, input, bint return_indices=False, double norm=0):
        """Maxima, and where they were found if wanted; of +|x| or -|x| if `norm` is infinite."""
        shape = self.geometry.output_shape
        out, indices = self._new(shape, input), self._new(shape, input, np.dtype(np.int64))
        seen, maxima, places = self._seen(input, out, indices)
        if input.dtype == np.float32:
            max_pool[float](unpack(self.geometry), seen, norm, maxima, places)
        else:
            max_pool[double](unpack(self.geometry), seen, norm, maxima, places)
        return (out, indices) if return_indices else out

    def average(self, input, bint count_padding=True, double divisor=0, double norm=0):
        """Averages; if `norm` is not 0, norms of that power."""
        if norm != 0:
            return self._norm(input, norm)
        out = self._new(self.geometry.output_shape, input)
        seen, averages = self._seen(input, out)
        if input.dtype == np.float32:
            avg_pool[float](unpack(self.geometry), seen, count_padding, divisor, averages)
        else:
            avg_pool[double](unpack(self.geometry), seen, count_padding, divisor, averages)
        return out

    def average_gradient(self, grad_output, bint count_padding=True, double divisor=0):
        """The gradient of `average` with respect to its input."""
        out = self._new(self.geometry.input_shape, grad_output)
        total = np.zeros(out.shape)
        given, sums = self._seen(grad_output, total)
        if grad_output.dtype == np.float32:
            avg_gradient[float](unpack(self.geometry), given, count_padding, divisor, sums)
        else:
            avg_gradient[double](unpack(self.geometry), given, count_padding, divisor, sums)
        out[...] = total
        return out

    def _norm(self, input, double norm):
        """output[n, c, o] = (sum over t of input[n, c, source(o, t)] ** norm * kernel / covered) ** (1 / norm).

        Elements are scaled by the one that weighs most in its window: its power is 1, whatever theirs would be.
        """
        scale = self.maximum(input, norm=math.copysign(math.inf, norm)).astype(np.float64)
        scale[~((scale > 0) & (scale < math.inf))] = 1
        total = np.empty(scale.shape)
        seen, scales, sums = self._seen(input, scale, total)
        if input.dtype == np.float32:
            lp_pool[float](unpack(self.geometry), seen, norm, scales, sums)
        else:
            lp_pool[double](unpack(self.geometry), seen, norm, scales, sums)
        out = self._new(scale.shape, input)
        with np.errstate(all="ignore"):
            out[...] = scale * (total * self._whole(scale)) ** (1 / norm)
        return out

    def _whole(self, like):
        """Per output, the taps of a whole window over those of its own: ceil_mode may leave it fewer."""
        ones = np.ones(self.geometry.input_shape)
        return math.prod(self.geometry.kernel) / self.average(ones, divisor=1)

    def norm_gradient(self, input, output, grad_output, double norm):
        """The gradient of a norm with respect to its input: whole / covered * (x / y)^(p - 1); `norm` is finite.

        For the zeros of a window whose norm is 0 this has a limit, if p is negative and not even. All of them have it.
        """
        whole = self._whole(output)
        share, of_zeros = grad_output * whole, np.zeros(output.shape)
        if norm < 0 and fmod(norm, 2) != 0:
            zeros = self.average((input == 0).astype(np.float64), divisor=1)
            found = zeros > 0
            of_zeros[found] = (whole * zeros)[found] ** ((1 - norm) / norm)
        out = self._new(input.shape, grad_output)
        total = np.zeros(out.shape)
        args = self._seen(input, output, share, of_zeros)
        if input.dtype == np.float32:
            lp_gradient[float](unpack(self.geometry), *args, norm, *self._seen(total))
        else:
            lp_gradient[double](unpack(self.geometry), *args, norm, *self._seen(total))
        out[...] = total
        return out
