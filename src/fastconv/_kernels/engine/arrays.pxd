"""Arrays at the door of the kernels: address, sizes and strides of a batch, always as 3-D.

The buffer protocol is spoken directly, once per array, into a C struct: a typed memoryview of a fixed rank
would need the array reshaped first, and makes an object per array and call.
"""

from cpython.buffer cimport (
    PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int64_t


cdef struct Array:
    char *data
    int64_t size[5]      # N, C, D, H, W
    int64_t stride[5]    # in elements; 0 along axes of size 1
    bint float64
    void *packed         # of a weight: its PackedWeight, or NULL
    Py_buffer buffer


cdef inline void place_axes(Array *array, int spatial_rank, bint batched) noexcept nogil:
    """Sizes and strides of an open buffer of shape (N, C, *spatial), or (C, *spatial) if not `batched`."""
    cdef Py_ssize_t itemsize = array.buffer.itemsize
    cdef int axis, position, shift = 3 if itemsize == 8 else 2 if itemsize == 4 else itemsize - 1  # no division
    array.float64 = itemsize == 8
    array.data = <char *>array.buffer.buf
    array.packed = NULL
    for axis in range(5):
        array.size[axis] = 1
        array.stride[axis] = 0
    for axis in range(array.buffer.ndim):
        # 0 and 1 are batch and channels; spatial axes lean to the right end
        position = axis + 1 - batched
        if position > 1:
            position += 3 - spatial_rank
        array.size[position] = array.buffer.shape[axis]
        if array.buffer.shape[axis] > 1:
            array.stride[position] = array.buffer.strides[axis] >> shift


cdef inline int acquire(Array *array, object owner, int spatial_rank, bint batched, bint writable) except -1:
    """Open `owner` of shape (N, C, *spatial), or (C, *spatial) if not `batched`. Pair with `release`."""
    cdef int rank = spatial_rank + 1 + batched
    PyObject_GetBuffer(owner, &array.buffer, PyBUF_STRIDED_RO | (PyBUF_WRITABLE if writable else 0))
    if array.buffer.ndim != rank:
        PyBuffer_Release(&array.buffer)
        raise ValueError(f"array has {array.buffer.ndim} axes, the plan wants {rank}")
    place_axes(array, spatial_rank, batched)
    return 0


cdef inline void release(Array *array) noexcept:
    PyBuffer_Release(&array.buffer)


cdef bint channels_adjacent(const Py_buffer *buffer, int channel) noexcept nogil
cdef object make_output(tuple shape, object dtype, bint channels_last, int channel)
