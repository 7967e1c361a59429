"""Convolution, pooling and their gradients for Cython, over typed memoryviews and without the GIL; see kernels.pyx.

Arrays have five axes, (N, C, D, H, W) or, of weights, (K, C / groups, KD, KH, KW): a 2-D convolution's become so as
`x[:, :, None, :, :]`. They may have any strides; results are written through theirs.
"""

from libc.stdint cimport int64_t

ctypedef fused real:
    float
    double


cdef struct Sizes:
    int64_t input[5]
    int64_t weight[5]
    int64_t output[5]


cdef class ConvPlan:
    cdef Sizes sizes
    cdef object forward, input_gradient, weight_gradient   # `ConvPass`es, or None
    cdef int activation
    cdef readonly tuple output_shape
    cdef readonly bint needs_gil


cdef class PoolPlan:
    cdef Sizes sizes
    cdef object windows
    cdef bint count_include_pad
    cdef double divisor
    cdef readonly tuple output_shape


cdef int conv_forward(ConvPlan plan, const real[:, :, :, :, :] input, const real[:, :, :, :, :] weight,
                      const real[::1] bias, real[:, :, :, :, :] output) except -1 nogil
cdef int conv_input_gradient(ConvPlan plan, const real[:, :, :, :, :] weight, const real[:, :, :, :, :] grad_output,
                             real[:, :, :, :, :] grad_input) except -1 nogil
cdef int conv_weight_gradient(ConvPlan plan, const real[:, :, :, :, :] input, const real[:, :, :, :, :] grad_output,
                              real[:, :, :, :, :] grad_weight) except -1 nogil

cdef int max_pool(PoolPlan plan, const real[:, :, :, :, :] input, real[:, :, :, :, :] output,
                  int64_t[:, :, :, :, :] indices) except -1 nogil
cdef int max_pool_gradient(PoolPlan plan, const real[:, :, :, :, :] grad_output,
                           const int64_t[:, :, :, :, :] indices, real[:, :, :, :, :] grad_input) except -1 nogil
cdef int avg_pool(PoolPlan plan, const real[:, :, :, :, :] input, real[:, :, :, :, :] output) except -1 nogil
cdef int avg_pool_gradient(PoolPlan plan, const real[:, :, :, :, :] grad_output,
                           real[:, :, :, :, :] grad_input) except -1 nogil
