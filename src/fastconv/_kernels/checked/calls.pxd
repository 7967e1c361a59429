"""Checked calls of a plan on views; sizes are those that the plan was made for."""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View

cdef struct Sizes:
    int64_t input[5]
    int64_t weight[5]    # not of pooling
    int64_t output[5]


cdef int refuse(const char *name, const char *rule) except -1 with gil
cdef int check_pass(object pass_, const char *name) except -1 nogil
cdef int forward(object pass_, const Sizes *sizes, int activation, const View *x, const View *w,
                 const char *bias, const View *y) except -1 nogil
cdef int input_gradient(object pass_, const Sizes *sizes, const View *w, const View *g,
                        const View *x) except -1 nogil
cdef int weight_gradient(object pass_, const Sizes *sizes, const View *x, const View *g,
                         const View *w) except -1 nogil
cdef int maxima(object windows, const Sizes *sizes, const View *x, const View *y,
                const View *places) except -1 nogil
cdef int spread_maxima(object windows, const Sizes *sizes, const View *g, const View *places,
                       const View *x) except -1 nogil
cdef int averages(object windows, const Sizes *sizes, bint count_include_pad, double divisor,
                  const View *x, const View *y) except -1 nogil
cdef int spread_averages(object windows, const Sizes *sizes, bint count_include_pad, double divisor,
                         const View *g, const View *x) except -1 nogil
