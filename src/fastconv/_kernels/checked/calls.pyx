"""Calls of a plan on views, checked: what the doors of Cython (kernels.pyx) and of C (c_api.pyx) have in common.

Nothing here needs the GIL but to refuse a call.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.engine.arrays cimport View, elements_apart, is_channels_last, lie_apart, lies_dense
from fastconv._kernels.engine.conv_pass cimport LEAKY_SLOPE, ConvPass, run_pass
from fastconv._kernels.pool.by_index cimport ADD, exchange
from fastconv._kernels.pool.plan cimport PoolPlan as Windows

cdef extern from "Python.h" nogil:
    bint PyGILState_Check()


# ---- what may be wrong with a call -------------------------------------------------------------------


cdef tuple shape_of(const int64_t *sizes):
    return sizes[0], sizes[1], sizes[2], sizes[3], sizes[4]


cdef int refuse_shape(const char *name, const View *view, const int64_t *expected) except -1 with gil:
    raise ValueError(f"{name.decode()}: shape {shape_of(view.size)} must be {shape_of(expected)}, as planned")


cdef int refuse(const char *name, const char *rule) except -1 with gil:
    raise ValueError(f"{name.decode()}: {rule.decode()}")


cdef int refuse_pass(object pass_, const char *name) except -1 with gil:
    if pass_ is None:
        raise ValueError(f"passes: the plan is none for {name.decode()}")
    raise RuntimeError(f"{name.decode()} by {type(pass_).__name__}: needs the GIL, as the plan's needs_gil says")


cdef inline int check(const char *name, const View *view, const int64_t *expected) except -1 nogil:
    """Whether an array is what the plan was made for, and aligned."""
    cdef int64_t misaligned = <int64_t>view.data
    cdef int axis
    for axis in range(5):
        if view.size[axis] != expected[axis]:
            return refuse_shape(name, view, expected)
    if misaligned & (view.item - 1):
        return refuse(name, b"its elements must be aligned")
    return 0


cdef inline int check_result(const char *name, const View *view, const int64_t *expected, const View *first,
                             const View *second) except -1 nogil:
    """... and may be written to."""
    check(name, view, expected)
    if expected[0] and not elements_apart(view):
        return refuse(name, b"its elements must not share memory, nor lie backwards")
    if expected[0] and not (lie_apart(view, first) and lie_apart(view, second)):
        return refuse(name, b"must not share memory with an input")
    return 0


cdef int check_pass(object pass_, const char *name) except -1 nogil:
    """Whether the plan has this pass, and may run it here."""
    if pass_ is None or ((<ConvPass>pass_).needs_gil and not PyGILState_Check()):
        return refuse_pass(pass_, name)
    return 0


cdef inline int check_order(const char *name, const View *view, const View *like) except -1 nogil:
    """Whether a result of pooling lies without gaps in the memory order of what it is made from."""
    if not lies_dense(view, is_channels_last(like)):
        return refuse(name, b"must be contiguous, or channels-last if the input is")
    return 0


# ---- convolution: `pass_` is a ConvPass ---------------------------------------------------------------


cdef int forward(object pass_, const Sizes *sizes, int activation, const View *x, const View *w,
                 const char *bias, const View *y) except -1 nogil:
    check(b"input", x, sizes.input)
    check(b"weight", w, sizes.weight)
    check_result(b"output", y, sizes.output, x, w)
    return run_pass(<ConvPass>pass_, x, w, bias, y, activation, LEAKY_SLOPE)


cdef int input_gradient(object pass_, const Sizes *sizes, const View *w, const View *g,
                        const View *x) except -1 nogil:
    check(b"weight", w, sizes.weight)
    check(b"grad_output", g, sizes.output)
    check_result(b"grad_input", x, sizes.input, w, g)
    return run_pass(<ConvPass>pass_, g, w, NULL, x, 0, 0)


cdef int weight_gradient(object pass_, const Sizes *sizes, const View *x, const View *g,
                         const View *w) except -1 nogil:
    check(b"input", x, sizes.input)
    check(b"grad_output", g, sizes.output)
    check_result(b"grad_weight", w, sizes.weight, x, g)
    return run_pass(<ConvPass>pass_, x, g, NULL, w, 0, 0)


# ---- pooling -----------------------------------------------------------------------------------------


cdef int maxima(object windows, const Sizes *sizes, const View *x, const View *y,
                const View *places) except -1 nogil:
    """`places` may be NULL."""
    check(b"input", x, sizes.input)
    check_result(b"output", y, sizes.output, x, x)
    check_order(b"output", y, x)
    if places != NULL:
        check_result(b"indices", places, sizes.output, x, y)
        check_order(b"indices", places, x)
    return (<Windows>windows).maxima(x, y, places, 0)


cdef int spread_maxima(object windows, const Sizes *sizes, const View *g, const View *places,
                       const View *x) except -1 nogil:
    check(b"grad_output", g, sizes.output)
    check(b"indices", places, sizes.output)
    check_result(b"grad_input", x, sizes.input, g, places)
    check_order(b"grad_input", x, g)
    if not exchange(ADD, g, places, x):
        return refuse(b"indices", b"must be places of a plane of the input")
    return 0


cdef int averages(object windows, const Sizes *sizes, bint count_include_pad, double divisor,
                  const View *x, const View *y) except -1 nogil:
    check(b"input", x, sizes.input)
    check_result(b"output", y, sizes.output, x, x)
    check_order(b"output", y, x)
    return (<Windows>windows).totals(x, y, count_include_pad, divisor, 0)


cdef int spread_averages(object windows, const Sizes *sizes, bint count_include_pad, double divisor,
                         const View *g, const View *x) except -1 nogil:
    check(b"grad_output", g, sizes.output)
    check_result(b"grad_input", x, sizes.input, g, g)
    check_order(b"grad_input", x, g)
    return (<Windows>windows).spread(g, x, count_include_pad, divisor)
