"""Convolution and its gradients as plain loop nests: every option, no tricks. Read this first.

This is what `algorithm="reference"` runs and what every other algorithm means. Arrays are seen as 3-D, (N, C, D, H,
W); sums run in double precision in the order of the loops.
"""

from libc.stdint cimport int64_t

import numpy as np

from cpython.exc cimport PyErr_CheckSignals

from fastconv._kernels.conv.dense cimport Subconvolutions
from fastconv._kernels.engine.arrays cimport Array
from fastconv._kernels.engine.fc_api cimport FC_LEAKY_RELU, FC_RELU, FC_RELU6

ctypedef fused real:
    float
    double


cdef struct Geometry:
    int64_t n, in_channels, out_channels, groups
    int64_t input_size[3]
    int64_t kernel[3]
    int64_t stride[3]
    int64_t before[3]
    int64_t dilation[3]
    int64_t output_size[3]


cdef Geometry unpack(geometry):
    cdef Geometry g
    cdef int axis
    g.n, g.groups = geometry.n, geometry.groups
    g.in_channels, g.out_channels = geometry.in_channels, geometry.out_channels
    for axis in range(3):
        g.input_size[axis] = geometry.input_size[axis]
        g.kernel[axis] = geometry.kernel[axis]
        g.stride[axis] = geometry.stride[axis]
        g.before[axis] = geometry.before[axis]
        g.dilation[axis] = geometry.dilation[axis]
        g.output_size[axis] = geometry.output_size[axis]
    return g


def as_3d(array, batched=True):
    """View (N, C, *spatial) or (C, *spatial) as (N, C, D, H, W)."""
    if not batched:
        array = array[None]
    missing = 5 - array.ndim
    return np.expand_dims(array, tuple(range(2, 2 + missing)))


cdef inline int64_t source(const Geometry *g, int axis, int64_t output, int64_t tap) noexcept nogil:
    """Where along `axis` the window of an output meets the input at a tap; negative if in the padding."""
    cdef int64_t position = output * g.stride[axis] + tap * g.dilation[axis] - g.before[axis]
    return position if position < g.input_size[axis] else -1


cdef double activated(double x, int activation) noexcept nogil:
    if activation == FC_RELU:
        return 0 if x < 0 else x
    if activation == FC_LEAKY_RELU:
        return 0.01 * x if x < 0 else x
    if activation == FC_RELU6:
        return 0 if x < 0 else 6 if x > 6 else x
    return x


def conv_forward(geometry, input, weight, bias, int activation, out):
    """output[n, k, o] = activation(bias[k] + sum over c, t of input[n, c, source(o, t)] * weight[k, c, t])."""
    if bias is None:
        bias = np.zeros(geometry.out_channels, input.dtype)
    args = (as_3d(input, geometry.batched), as_3d(weight), bias, as_3d(out, geometry.batched))
    if input.dtype == np.float32:
        forward[float](unpack(geometry), *args, activation)
    else:
        forward[double](unpack(geometry), *args, activation)
    return out


cdef int forward(Geometry g, const real[:, :, :, :, :] input, const real[:, :, :, :, :] weight, const real[:] bias,
                 real[:, :, :, :, :] out, int activation) except -1:
    cdef int64_t n, k, c, od, oh, ow, kd, kh, kw, z, y, x
    cdef int64_t depth = g.in_channels // g.groups, first
    cdef double total
    for n in range(g.n):
        for k in range(g.out_channels):
            PyErr_CheckSignals()
            first = k // (g.out_channels // g.groups) * depth
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    for ow in range(g.output_size[2]):
                        total = 0
                        for c in range(depth):
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
                                            total += <double>input[n, first + c, z, y, x] * weight[k, c, kd, kh, kw]
                        out[n, k, od, oh, ow] = <real>activated(total + bias[k], activation)
    return 0


def conv_input_gradient(geometry, weight, grad_output, bias, out):
    """grad_input[n, c, source(o, t)] += grad_output[n, k, o] * weight[k, c, t], over all n, k, c, o, t.

    With a bias (of the input's channels) it is a transposed convolution.
    """
    total = np.zeros(as_3d(out, geometry.batched).shape, np.float64)
    args = (as_3d(weight), as_3d(grad_output, geometry.batched), total)
    if weight.dtype == np.float32:
        input_gradient[float](unpack(geometry), *args)
    else:
        input_gradient[double](unpack(geometry), *args)
    if bias is not None:
        total += bias.reshape(-1, 1, 1, 1)
    out[...] = total.reshape(out.shape)
    return out


cdef int input_gradient(Geometry g, const real[:, :, :, :, :] weight, const real[:, :, :, :, :] grad_output,
                        double[:, :, :, :, :] total) except -1:
    cdef int64_t n, k, c, od, oh, ow, kd, kh, kw, z, y, x
    cdef int64_t depth = g.in_channels // g.groups, first
    for n in range(g.n):
        for k in range(g.out_channels):
            PyErr_CheckSignals()
            first = k // (g.out_channels // g.groups) * depth
            for od in range(g.output_size[0]):
                for oh in range(g.output_size[1]):
                    for ow in range(g.output_size[2]):
                        for c in range(depth):
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
                                            total[n, first + c, z, y, x] += (
                                                <double>grad_output[n, k, od, oh, ow] * weight[k, c, kd, kh, kw])
    return 0


cdef int weight_gradient(Geometry g, const real[:, :, :, :, :] input, const real[:, :, :, :, :] grad_output,
                         real[:, :, :, :, :] out) except -1:
    cdef int64_t n, k, c, od, oh, ow, kd, kh, kw, z, y, x
    cdef int64_t depth = g.in_channels // g.groups, first
    cdef double total
    for k in range(g.out_channels):
        first = k // (g.out_channels // g.groups) * depth
        for c in range(depth):
            PyErr_CheckSignals()
            for kd in range(g.kernel[0]):
                for kh in range(g.kernel[1]):
                    for kw in range(g.kernel[2]):
                        total = 0
                        for n in range(g.n):
                            for od in range(g.output_size[0]):
                                z = source(&g, 0, od, kd)
                                if z < 0:
                                    continue
                                for oh in range(g.output_size[1]):
                                    y = source(&g, 1, oh, kh)
                                    if y < 0:
                                        continue
                                    for ow in range(g.output_size[2]):
                                        x = source(&g, 2, ow, kw)
                                        if x >= 0:
                                            total += (<double>input[n, first + c, z, y, x]
                                                      * grad_output[n, k, od, oh, ow])
                        out[k, c, kd, kh, kw] = <real>total
    return 0


cdef class ReferencePlan(Subconvolutions):
    """One geometry by plain loops, in the shape that every algorithm's plan has."""

    cdef int run_arrays(self, object source, const Array *source_array, object weight, const Array *weight_array,
                        object bias, const char *bias_data, object out, const Array *out_array, int activation,
                        double slope) except -1:
        if self.forward:
            conv_forward(self.geometry, source, weight, bias, activation, out)
        else:
            conv_input_gradient(self.geometry, weight, source, bias, out)
        return 0

    def info(self, bint float64, bint channels_last):
        """What a call would use."""
        return {"algorithm": "reference", "isa": "none", "tile": (1, 1), "threads": 1, "tasks": 1,
                "packed_weight_bytes": 0, "workspace_bytes": 0}


class ReferenceWeightGradientPlan:
    """One geometry's weight gradient by plain loops."""

    def __init__(self, geometry):
        self.geometry = geometry

    def run(self, input, grad_output, out):
        """grad_weight[k, c, t] = sum over n, o of input[n, c, source(o, t)] * grad_output[n, k, o]."""
        batched = self.geometry.batched
        args = (as_3d(input, batched), as_3d(grad_output, batched), as_3d(out))
        if input.dtype == np.float32:
            weight_gradient[float](unpack(self.geometry), *args)
        else:
            weight_gradient[double](unpack(self.geometry), *args)
        return out
