"""Products of matrices by the driver of the convolutions: the fully connected layer and its gradients."""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyObject_GetBuffer
from libc.stdint cimport int64_t

from fastconv._kernels.conv.dense cimport LEAKY_SLOPE
from fastconv._kernels.conv.direct cimport DensePlan
from fastconv._kernels.engine.arrays cimport Array, release
from fastconv._kernels.engine.packed cimport PackedWeight


cdef int open_matrix(Array *array, object owner, int row_axis, int column_axis, bint writable) except -1:
    """Open a matrix as an array whose rows lie along one axis of (N, C, D, H, W) and whose columns along another."""
    cdef int axis, shift
    PyObject_GetBuffer(owner, &array.buffer, PyBUF_STRIDED_RO | (PyBUF_WRITABLE if writable else 0))
    shift = 3 if array.buffer.itemsize == 8 else 2
    array.float64 = shift == 3
    array.data = <char *>array.buffer.buf
    array.packed = NULL
    for axis in range(5):
        array.size[axis] = 1
        array.stride[axis] = 0
    array.size[row_axis], array.size[column_axis] = array.buffer.shape[0], array.buffer.shape[1]
    if array.buffer.shape[0] > 1:
        array.stride[row_axis] = array.buffer.strides[0] >> shift
    if array.buffer.shape[1] > 1:
        array.stride[column_axis] = array.buffer.strides[1] >> shift
    return 0


def multiply(DensePlan plan, a, bint a_by_columns, b, bint b_by_columns, out, bint out_by_columns, bias=None,
             int activation=0, PackedWeight packed=None):
    """out[i, j] = sum over k of a[i, k] * b[k, j], + bias[i]; matrices `by_columns` are given transposed.

    What `packed` keeps belongs to `a`. The plan is that of a convolution by one kernel element, of k channels in a row of j pixels, with i output channels.
    """
    cdef Array array[4]
    cdef int held = 0
    try:
        open_matrix(&array[0], a, a_by_columns, not a_by_columns, False)
        held = 1
        array[0].packed = <void *>packed if packed is not None else NULL
        open_matrix(&array[1], b, 4 if b_by_columns else 1, 1 if b_by_columns else 4, False)
        held = 2
        open_matrix(&array[2], out, 4 if out_by_columns else 1, 1 if out_by_columns else 4, True)
        held = 3
        if bias is not None:
            PyObject_GetBuffer(bias, &array[3].buffer, PyBUF_STRIDED_RO)
            held = 4
        plan.run_arrays(b, &array[1], a, &array[0], bias, NULL if bias is None else <char *>array[3].buffer.buf, out,
                        &array[2], activation, LEAKY_SLOPE)
    finally:
        while held:
            held -= 1
            release(&array[held])
