"""Convolution and its gradients as plain loop nests: every option, no tricks. Read this first.

This is what `algorithm="reference"` runs and what every other algorithm means. Arrays are seen as 3-D, (N, C, D, H,
W); sums run in double precision in the order of the loops.
"""

from libc.stdint cimport int64_t

import numpy as np

from cpython.exc cimport PyErr_CheckSignals

from fastconv._kernels.engine.arrays cimport exported, real
from fastconv._kernels.engine.conv_pass cimport ConvCall, ConvPass, bias_array
from fastconv._kernels.engine.fc_api cimport FC_FLOAT32, FC_LEAKY_RELU, FC_RELU, FC_RELU6


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


cdef inline int64_t source(const Geometry *g, int axis, int64_t output, int64_t tap) noexcept nogil:
    """Where along `axis` the window of an output meets the input at a tap; negative if in the padding."""
    cdef int64_t position = output * g.stride[axis] + tap * g.dilation[axis] - g.before[axis]
    return position if position < g.input_size[axis] else -1


cdef double activated(double x, int activation, double slope) noexcept nogil:
    if activation == FC_RELU:
        return 0 if x < 0 else x
    if activation == FC_LEAKY_RELU:
        return slope * x if x < 0 else x
    if activation == FC_RELU6:
        return 0 if x < 0 else 6 if x > 6 else x
    return x


cdef int forward(Geometry g, const real[:, :, :, :, :] input, const real[:, :, :, :, :] weight, const real[:] bias,
                 real[:, :, :, :, :] out, int activation, double slope) except -1:
    """output[n, k, o] = activation(bias[k] + sum over c, t of input[n, c, source(o, t)] * weight[k, c, t])."""
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
                        out[n, k, od, oh, ow] = <real>activated(total + bias[k], activation, slope)
    return 0


cdef int input_gradient(Geometry g, const real[:, :, :, :, :] weight, const real[:, :, :, :, :] grad_output,
                        double[:, :, :, :, :] total) except -1:
    """total[n, c, source(o, t)] += grad_output[n, k, o] * weight[k, c, t], over all n, k, c, o, t."""
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
    """grad_weight[k, c, t] = sum over n, o of input[n, c, source(o, t)] * grad_output[n, k, o]."""
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


cdef int run(ConvPass plan, const ConvCall *call, const real[:] of_dtype) except -1:
    """A call in one dtype."""
    cdef const real[:, :, :, :, :] source = exported(call.source, False)
    cdef const real[:, :, :, :, :] factor = exported(call.factor, False)
    cdef real[:, :, :, :, :] out = exported(call.out, True)
    cdef Geometry g = unpack(plan.geometry)
    bias = bias_array(call)
    if plan.makes_weights:
        return weight_gradient[real](g, source, factor, out)
    if plan.forward:
        return forward[real](g, source, factor, np.zeros(g.out_channels, np.asarray(out).dtype) if bias is None else bias,
                             out, call.activation, call.slope)
    # with a bias, of the input's channels, it is a transposed convolution
    array = np.asarray(out)
    total = np.zeros(array.shape, np.float64)
    input_gradient[real](g, factor, source, total)
    array[...] = total if bias is None else total + bias.reshape(-1, 1, 1, 1)
    return 0


cdef class ReferencePlan(ConvPass):
    """One geometry by plain loops, in the shape that every algorithm's plan has."""

    def __cinit__(self, geometry, direction):
        self.needs_gil = True  # typed memoryviews are Python objects

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        with gil:
            if call.out.dtype == FC_FLOAT32:
                return run[float](self, call, None)
            return run[double](self, call, None)

    def info(self, dtype, bint channels_last):
        """What a call would use."""
        return {"algorithm": "reference", "way": "loops", "isa": "none", "tile": (1, 1), "threads": 1, "tasks": 1,
                "packed_weight_bytes": 0, "workspace_bytes": 0}
