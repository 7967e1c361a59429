"""Products of matrices by the driver of the convolutions: the fully connected layer and its gradients."""

from libc.stdint cimport int64_t

from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.engine.arrays cimport Held, Opened, View, close, open_buffer, place_axes
from fastconv._kernels.engine.conv_pass cimport ConvCall, LEAKY_SLOPE
from fastconv._kernels.engine.packed cimport PackedWeight


cdef View *open_matrix(Opened *opened, object owner, int row_axis, int column_axis, bint writable) except NULL:
    """Open a matrix as an array whose rows lie along one axis of (N, C, D, H, W) and whose columns along another."""
    cdef Held *held = open_buffer(opened, owner, writable)
    cdef View *view = &held.view
    cdef int64_t size[2]
    cdef int64_t stride[2]
    place_axes(held, 0, True)
    size[0], size[1], stride[0], stride[1] = view.size[0], view.size[1], view.stride[0], view.stride[1]
    view.size[0] = view.size[1] = 1
    view.stride[0] = view.stride[1] = 0
    view.size[row_axis], view.size[column_axis] = size[0], size[1]
    view.stride[row_axis], view.stride[column_axis] = stride[0], stride[1]
    return view


def multiply(DensePlan plan, a, bint a_by_columns, b, bint b_by_columns, out, bint out_by_columns, bias=None,
             int activation=0, PackedWeight packed=None):
    """out[i, j] = sum over k of a[i, k] * b[k, j], + bias[i]; matrices `by_columns` are given transposed.

    What `packed` keeps belongs to `a`. The plan is that of a convolution by one kernel element, of k channels in a row
    of j pixels, with i output channels.
    """
    cdef Opened opened
    cdef ConvCall call
    cdef View *weight
    opened.count = 0
    try:
        weight = open_matrix(&opened, a, a_by_columns, not a_by_columns, False)
        weight.packed = <void *>packed if packed is not None else NULL
        call.factor = weight
        call.source = open_matrix(&opened, b, 4 if b_by_columns else 1, 1 if b_by_columns else 4, False)
        call.out = open_matrix(&opened, out, 4 if out_by_columns else 1, 1 if out_by_columns else 4, True)
        call.bias = NULL
        if bias is not None:
            call.bias = <const char *>open_buffer(&opened, bias, False).buffer.buf
        call.activation, call.slope, call.adds = activation, LEAKY_SLOPE, False
        plan.start(&call)
    finally:
        close(&opened)
