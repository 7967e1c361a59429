"""Arrays that a call has or has not, opened together."""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer


cdef inline int open_buffers(tuple objects, int first_written, Py_buffer *buffers, char **at) except -1:
    """Open those that are not None, from number `first_written` on to be written; `at` is NULL for the others.

    Pair with `close_buffers`, whatever happens: `at` says how far it came.
    """
    cdef int i
    for i in range(len(objects)):
        at[i] = NULL
    for i, array in enumerate(objects):
        if array is not None:
            PyObject_GetBuffer(array, &buffers[i], PyBUF_STRIDED_RO | (PyBUF_WRITABLE if i >= first_written else 0))
            at[i] = <char *>buffers[i].buf
    return 0


cdef inline void close_buffers(int count, Py_buffer *buffers, char **at) noexcept:
    cdef int i
    for i in range(count):
        if at[i] != NULL:
            PyBuffer_Release(&buffers[i])
            at[i] = NULL
