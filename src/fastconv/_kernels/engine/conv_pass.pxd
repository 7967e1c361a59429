"""One pass of a convolution, whatever computes it; see conv_pass.pyx."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View

cdef double LEAKY_SLOPE       # of the fused activation


cdef struct ConvCall:
    const View *source        # input; in an input gradient, grad_output
    const View *factor        # weight; in a weight gradient, grad_output
    const View *out           # output, grad_input or grad_weight
    const char *bias          # one number per channel of `out`; NULL: none
    int activation
    double slope
    bint adds                 # to what `out` holds, before bias and activation; only if the pass `can_add`


cdef class ConvPass:
    cdef readonly object geometry
    cdef readonly str direction
    cdef readonly bint needs_gil  #: it works on Python objects
    cdef readonly bint can_add    #: to what its output holds
    cdef bint forward
    cdef bint makes_weights   # the weight gradient
    cdef int spatial_rank
    cdef bint batched
    cdef tuple out_shape
    cdef int64_t out_elements
    cdef double work          # of a call, in FLOPs

    cdef int run_views(self, const ConvCall *call) except -1 nogil
    cdef int start(self, const ConvCall *call) except -1
    cdef object run_open(self, ConvCall *call, object out)
    cdef object room(self, object dtype, bint channels_last)


cdef object bias_array(const ConvCall *call)
cdef int run_pass(ConvPass plan, const View *source, const View *factor, const char *bias, const View *out,
                  int activation, double slope) except -1 nogil
