"""Arrays as the kernels see them: address, sizes and strides of a batch, always as 3-D.

A `View` comes from a typed memoryview (`view_of`), or from the buffer of a Python object, which an `Opened` holds for
as long as the call takes: there the buffer protocol is spoken directly, because a typed memoryview makes an object per
array and call, and wants the array reshaped to five axes first, 1.5 us for the three arrays of a call.
"""

cimport cython
from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t

from fastconv._kernels.engine.fc_api cimport FC_FLOAT32, FC_FLOAT64

ctypedef fused real:
    float
    double


cdef struct View:
    char *data
    int64_t size[5]      # N, C, D, H, W
    int64_t stride[5]    # in elements; 0 along axes of size 1
    int dtype            # fc_dtype; of indices, whatever has their size
    int64_t item         # bytes of an element
    void *packed         # of a weight: its PackedWeight, or NULL


cdef struct Held:
    View view
    Py_buffer buffer


cdef enum:
    MOST_OPENED = 8


cdef struct Opened:      # the arrays of a call, in the order in which they were opened
    Held array[MOST_OPENED]
    int count


cdef inline int dtype_of(int64_t item) noexcept nogil:
    """The `fc_dtype` of so many bytes."""
    return FC_FLOAT64 if item == 8 else FC_FLOAT32


cdef inline int dtype_number(object dtype):
    """The `fc_dtype` of a NumPy dtype."""
    return dtype_of(dtype.itemsize)


# ---- from Python objects -----------------------------------------------------------------------------


cdef inline void place_axes(Held *held, int spatial_rank, bint batched) noexcept nogil:
    """Sizes and strides of an open buffer of shape (N, C, *spatial), or (C, *spatial) if not `batched`."""
    cdef View *view = &held.view
    cdef const Py_buffer *buffer = &held.buffer
    cdef Py_ssize_t item = buffer.itemsize
    cdef int axis, position, shift = 3 if item == 8 else 2 if item == 4 else item - 1  # no division
    view.dtype, view.item = dtype_of(item), item
    view.data = <char *>buffer.buf
    view.packed = NULL
    for axis in range(5):
        view.size[axis] = 1
        view.stride[axis] = 0
    for axis in range(buffer.ndim):
        # 0 and 1 are batch and channels; spatial axes lean to the right end
        position = axis + 1 - batched
        if position > 1:
            position += 3 - spatial_rank
        view.size[position] = buffer.shape[axis]
        if buffer.shape[axis] > 1:
            view.stride[position] = buffer.strides[axis] >> shift


cdef inline Held *open_buffer(Opened *opened, object owner, bint writable) except NULL:
    """Open an array of any rank, whose `View` the caller fills in. Pair with `close`."""
    cdef Held *held = &opened.array[opened.count]
    PyObject_GetBuffer(owner, &held.buffer, PyBUF_STRIDED_RO | (PyBUF_WRITABLE if writable else 0))
    opened.count += 1
    return held


cdef View *open_array(Opened *opened, object owner, int spatial_rank, bint batched, bint writable) except NULL


cdef inline char *open_dense(Opened *opened, object owner, bint writable, int64_t *item) except? NULL:
    """The first element of an array whose elements lie side by side, and the bytes of one; NULL of None."""
    cdef Py_buffer *buffer
    if owner is None:
        return NULL
    buffer = &open_buffer(opened, owner, writable).buffer
    item[0] = buffer.itemsize
    return <char *>buffer.buf


cdef inline void close(Opened *opened) noexcept:
    while opened.count:
        opened.count -= 1
        PyBuffer_Release(&opened.array[opened.count].buffer)


# ---- from memoryviews, and back ----------------------------------------------------------------------


@cython.boundscheck(False)
cdef inline View view_of(const real[:, :, :, :, :] array) noexcept nogil:
    cdef View view
    cdef int axis
    view.data = <char *>&array[0, 0, 0, 0, 0]
    view.dtype, view.item = FC_FLOAT32 if real is float else FC_FLOAT64, sizeof(real)
    view.packed = NULL
    for axis in range(5):
        view.size[axis] = array.shape[axis]
        view.stride[axis] = array.strides[axis] // <Py_ssize_t>sizeof(real) if array.shape[axis] > 1 else 0
    return view


@cython.boundscheck(False)
cdef inline View view_of_indices(const int64_t[:, :, :, :, :] array) noexcept nogil:
    cdef View view
    cdef int axis
    view.data, view.dtype, view.item, view.packed = <char *>&array[0, 0, 0, 0, 0], FC_FLOAT64, 8, NULL
    for axis in range(5):
        view.size[axis] = array.shape[axis]
        view.stride[axis] = array.strides[axis] // 8 if array.shape[axis] > 1 else 0
    return view


cdef class Exported:
    """A view for those who work on Python objects: `np.asarray` makes a 5-D array of it, and typed memoryviews."""

    cdef View view
    cdef bint writable
    cdef Py_ssize_t shape[5]
    cdef Py_ssize_t strides[5]


cdef Exported exported(const View *view, bint writable)


# ---- what their strides tell --------------------------------------------------------------------------


cdef inline bint is_channels_last(const View *view) noexcept nogil:
    """Whether neighbouring channels are neighbours in memory and no pixels are: the NHWC order, told by strides."""
    cdef bint found = False
    cdef int axis
    if view.size[1] == 1 or view.stride[1] != 1:
        return False
    for axis in range(2, 5):
        if view.size[axis] > 1:
            if -1 <= view.stride[axis] <= 1:
                return False
            found = True
    return found


cdef inline void lay_axes(View *view, const int64_t *size, bint channels_last) noexcept nogil:
    """Sizes and strides of an array without gaps."""
    cdef int axis
    cdef int64_t step = size[1] if channels_last else 1
    for axis in range(5):
        view.size[axis] = size[axis]
    for axis in range(4, 1, -1):
        view.stride[axis] = step
        step *= size[axis]
    view.stride[1] = 1 if channels_last else step
    view.stride[0] = step if channels_last else step * size[1]


cdef inline bint lies_dense(const View *view, bint channels_last) noexcept nogil:
    """Whether an array has no gaps, and this memory order."""
    cdef View dense
    cdef int axis
    lay_axes(&dense, view.size, channels_last)
    for axis in range(5):
        if view.size[axis] > 1 and view.stride[axis] != dense.stride[axis]:
            return False
    return True


cdef inline View some_images(const View *view, int64_t first, int64_t count) noexcept nogil:
    """`count` images of an array, from `first` on."""
    cdef View some = view[0]
    some.data += first * some.stride[0] * some.item
    some.size[0] = count
    return some


cdef void fill(const View *view, const char *channel_values) noexcept nogil
cdef bint lie_apart(const View *a, const View *b) noexcept nogil
cdef bint elements_apart(const View *view) noexcept nogil
cdef object make_output(tuple shape, object dtype, bint channels_last, int channel)
