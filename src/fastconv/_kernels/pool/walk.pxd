"""Pooling with windows of any kind; see walk.pyx."""

from libc.stdint cimport int64_t


cdef enum Operation:
    MAXIMUM
    TOTAL
    SPREAD


cdef struct Pool:
    int64_t n, channels
    int64_t input_size[3]
    int64_t kernel[3]
    int64_t stride[3]
    int64_t before[3]
    int64_t after[3]
    int64_t dilation[3]
    int64_t output_size[3]
    bint adaptive


cdef struct WalkCall:
    const Pool *pool
    Operation operation
    int dtype                 # fc_dtype
    char *input               # or grad_input, if spreading
    char *output              # or grad_output, if spreading
    int64_t *index            # where each maximum was found; NULL if nobody asks
    int64_t input_stride[5]
    int64_t output_stride[5]
    int64_t index_stride[5]
    double divisor            # 0: the elements of the window, padding included if count_padding
    bint count_padding
    double norm               # 0: no Lp norm; else its p, perhaps infinite
    const char *norm_input    # the forward pass's input and output, for the gradient of an Lp norm
    const char *norm_output
    int64_t norm_input_stride[5]
    int64_t norm_output_stride[5]
    bint channels_are_lanes
    bint rows
    int64_t block             # channels per task
    int64_t blocks
    int cut                   # the axis along which a block is cut ...
    int64_t parts             # ... into this many tasks ...
    int64_t part              # ... of this many outputs, or elements


cdef int walk(WalkCall *call) except -1 nogil
