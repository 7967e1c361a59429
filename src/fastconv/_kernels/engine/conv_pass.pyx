"""One pass of a convolution (forward, input gradient or weight gradient) of one geometry, whatever computes it.

Every algorithm is a subclass with `run_views`, which sees its arrays as `View`s and needs no GIL, unless it says so. Calls
come from typed memoryviews (kernels.pyx, and `run` for Python) or from the door of tiny calls, which has opened
its arrays already (`run_open`).
"""

from math import prod

import numpy as np

from libc.stdint cimport INT64_MAX, int64_t

from fastconv._kernels.engine.arrays cimport (
    Opened, View, close, exported, is_channels_last, lay_axes, make_output, open_array, real, view_of,
)
from fastconv._kernels.engine.fc_api cimport FC_FLOAT64
from fastconv._kernels.engine.fastconv_native cimport lets_others_run

from fastconv._kernels.engine.arrays import in_five_axes, new_output

cdef double LEAKY_SLOPE = 0.01
cdef int64_t LARGEST_BYTES = INT64_MAX // 2
cdef object float32 = np.dtype(np.float32)
cdef object float64 = np.dtype(np.float64)


cdef class ConvPass:
    """One geometry in one direction: "forward", "input_gradient" or "weight_gradient".

    Immutable once made, so that calls on several threads may share it.
    """

    def __cinit__(self, geometry, direction, *_options_of_subclasses):
        self.geometry, self.direction = geometry, direction
        self.forward, self.makes_weights = direction == "forward", direction == "weight_gradient"
        self.spatial_rank, self.batched = geometry.spatial_rank, geometry.batched
        self.out_shape = {"forward": geometry.output_shape, "input_gradient": geometry.input_shape,
                          "weight_gradient": geometry.weight_shape}[direction]
        self.out_elements = prod(self.out_shape)
        self.work = geometry.flops

    def run(self, source, factor, bias=None, out=None, int activation=0, double slope=LEAKY_SLOPE):
        """The pass from `source` (input, or grad_output) and `factor` (weight; in a weight gradient, grad_output) into
        `out`, made here if None. Arrays have the axes of the geometry, or all five."""
        if out is None:
            out = self.room(source.dtype, False)
            if not self.makes_weights:
                out = new_output(self.out_shape, source.dtype, source, self.batched)
        arrays = (in_five_axes(source, self.batched), in_five_axes(factor, self.batched or not self.makes_weights), bias,
                  in_five_axes(out, self.batched or self.makes_weights))
        if source.dtype == float32:
            run_typed[float](self, *arrays, activation, slope)
        else:
            run_typed[double](self, *arrays, activation, slope)
        return out

    cdef int run_views(self, const ConvCall *call) except -1 nogil:
        """The algorithm."""
        with gil:
            raise NotImplementedError

    cdef int start(self, const ConvCall *call) except -1:
        """`run_views` for those who hold the GIL, which others may have meanwhile."""
        if self.needs_gil or not lets_others_run(self.work):
            return self.run_views(call)
        with nogil:
            return self.run_views(call)

    cdef object run_open(self, ConvCall *call, object out):
        """Run a call whose arrays are open; if `call.out` is NULL, open `out` for it, made here if None."""
        cdef Opened opened
        if call.out != NULL:
            self.start(call)
            return out
        if out is None:
            out = self.room(float64 if call.source.dtype == FC_FLOAT64 else float32,
                            not self.makes_weights and is_channels_last(call.source))
        opened.count = 0
        try:
            call.out = open_array(&opened, out, self.spatial_rank, self.batched or self.makes_weights, True)
            self.start(call)
        finally:
            close(&opened)
        return out

    cdef object room(self, object dtype, bint channels_last):
        """An uninitialised array for the result."""
        if self.out_elements > LARGEST_BYTES // <int64_t>dtype.itemsize:
            raise MemoryError(f"an array of shape {self.out_shape} cannot be allocated")
        return make_output(self.out_shape, dtype, channels_last, self.batched or self.makes_weights)


cdef object bias_array(const ConvCall *call):
    """The bias of a call as a 1-D array, or None: for those who work on Python objects."""
    cdef View view = call.out[0]
    cdef int64_t size[5]
    if call.bias == NULL:
        return None
    size[0], size[1], size[2], size[3], size[4] = 1, call.out.size[1], 1, 1, 1
    view.data = <char *>call.bias
    lay_axes(&view, size, False)
    return np.asarray(exported(&view, False)).reshape(-1)


cdef int run_pass(ConvPass plan, const View *source, const View *factor, const char *bias, const View *out,
                  int activation, double slope) except -1 nogil:
    """`run_views` of what `ConvCall` says."""
    cdef ConvCall call
    call.source, call.factor, call.bias, call.out = source, factor, bias, out
    call.activation, call.slope, call.adds = activation, slope, False
    return plan.run_views(&call)


cdef int run_typed(ConvPass plan, const real[:, :, :, :, :] source, const real[:, :, :, :, :] factor,
                   const real[::1] bias, real[:, :, :, :, :] out, int activation, double slope) except -1:
    """A pass on typed memoryviews, for those who hold the GIL, which others may have meanwhile; `bias` may be None."""
    cdef View views[3]
    cdef const char *bias_data = NULL
    if bias is not None:
        bias_data = <const char *>&bias[0]
    views[0], views[1], views[2] = view_of(source), view_of(factor), view_of(out)
    if plan.needs_gil or not lets_others_run(plan.work):
        return run_pass(plan, &views[0], &views[1], bias_data, &views[2], activation, slope)
    with nogil:
        return run_pass(plan, &views[0], &views[1], bias_data, &views[2], activation, slope)
