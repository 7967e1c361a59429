"""The functions of fastconv.h: kernels.pyx for C, by a table of function pointers in a capsule.

The header has the contract. What it hands out as a plan is a reference to one of kernels.pyx; an exception
becomes a code, and words that the thread keeps.
"""

from cpython.pycapsule cimport PyCapsule_New
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from libc.stdint cimport INT64_MAX, int64_t
from libc.string cimport strncpy

from fastconv._kernels.checked.calls cimport (
    Sizes, averages, check_pass, forward, input_gradient, maxima, refuse, spread_averages, spread_maxima,
    weight_gradient,
)
from fastconv._kernels.engine.arrays cimport View
from fastconv._kernels.engine.fastconv_native cimport worker_threads
from fastconv._kernels.engine.fc_api cimport FC_FLOAT32, FC_FLOAT64
from fastconv.kernels cimport ConvPlan, PoolPlan

from fastconv._kernels.engine.fastconv_native import set_num_threads
from fastconv.algorithm import DIRECTIONS

cdef extern from "Python.h" nogil:
    void *PyGILState_GetThisThreadState()

cdef extern from *:
    """
    #define FASTCONV_IMPLEMENTATION
    #include "fastconv.h"
    static _Thread_local char fastconv_error_text[512];  /* of the thread's last call from C that failed */
    """
    char fastconv_error_text[512]
    enum:
        FASTCONV_API_VERSION
        FASTCONV_OK, FASTCONV_INVALID, FASTCONV_NO_MEMORY, FASTCONV_INTERRUPTED, FASTCONV_FAILED
        FASTCONV_FLOAT32, FASTCONV_FLOAT64, FASTCONV_INT64

    ctypedef struct Array "fastconv_array":
        void *data
        int dtype
        int ndim
        int64_t shape[5]
        int64_t strides[5]

    ctypedef struct ConvHandle "fastconv_conv":   # a ConvPlan
        pass
    ctypedef struct PoolHandle "fastconv_pool":   # a PoolPlan
        pass

    ctypedef struct ConvOptions "fastconv_conv_options":
        int64_t stride[3]
        int64_t dilation[3]
        int64_t padding[3][2]
        int64_t groups
        const char *activation
        const char *algorithm
        const char *precision
        int passes

    ctypedef struct PoolOptions "fastconv_pool_options":
        int64_t stride[3]
        int64_t dilation[3]
        int64_t padding[3][2]
        int ceil_mode
        int exclude_pad
        int64_t divisor

    ctypedef struct Functions "fastconv_functions":
        int version
        const char *(*error)() noexcept nogil
        int (*get_num_threads)() noexcept nogil
        int (*set_num_threads)(int) noexcept nogil
        int (*conv_plan)(int, const int64_t *, const int64_t *, const ConvOptions *,
                         ConvHandle **) noexcept nogil
        int (*pool_plan)(int, const int64_t *, const int64_t *, const PoolOptions *,
                         PoolHandle **) noexcept nogil
        void (*conv_free)(ConvHandle *) noexcept nogil
        void (*pool_free)(PoolHandle *) noexcept nogil
        int (*conv_output_shape)(const ConvHandle *, int64_t *) noexcept nogil
        int (*pool_output_shape)(const PoolHandle *, int64_t *) noexcept nogil
        int (*conv_forward)(const ConvHandle *, const Array *, const Array *, const void *,
                            const Array *) noexcept nogil
        int (*conv_input_gradient)(const ConvHandle *, const Array *, const Array *,
                                   const Array *) noexcept nogil
        int (*conv_weight_gradient)(const ConvHandle *, const Array *, const Array *,
                                    const Array *) noexcept nogil
        int (*max_pool)(const PoolHandle *, const Array *, const Array *, const Array *) noexcept nogil
        int (*max_pool_gradient)(const PoolHandle *, const Array *, const Array *,
                                 const Array *) noexcept nogil
        int (*avg_pool)(const PoolHandle *, const Array *, const Array *) noexcept nogil
        int (*avg_pool_gradient)(const PoolHandle *, const Array *, const Array *) noexcept nogil


# ---- plans --------------------------------------------------------


cdef int raised() except -1:
    """What has been raised by code without the GIL, raised here."""
    return -1


cdef int keep(object error):
    """Keep the words of an error for the thread's `fastconv_error`; its code."""
    words = str(error).encode("utf-8", "replace")
    strncpy(fastconv_error_text, words, sizeof(fastconv_error_text) - 1)
    if isinstance(error, (ValueError, TypeError)):
        return FASTCONV_INVALID
    if isinstance(error, MemoryError):
        return FASTCONV_NO_MEMORY
    return FASTCONV_INTERRUPTED if isinstance(error, KeyboardInterrupt) else FASTCONV_FAILED


cdef int failed() noexcept with gil:
    try:
        raised()
    except BaseException as error:
        return keep(error)
    return FASTCONV_FAILED


cdef const char *c_error() noexcept nogil:
    return fastconv_error_text


cdef int c_get_num_threads() noexcept nogil:
    return worker_threads(1e30)


cdef int c_set_num_threads(int count) noexcept with gil:
    try:
        set_num_threads(count)
    except BaseException as error:
        return keep(error)
    return FASTCONV_OK


cdef tuple numbers(const char *name, const int64_t *values, int count, int64_t default=0):
    """An array of C's, in which zeros stand for a default."""
    if values == NULL:
        raise ValueError(f"{name.decode()}: must not be NULL")
    return tuple([values[axis] or default for axis in range(count)])


cdef object word(const char *text, object default):
    return default if text == NULL else text.decode("utf-8", "replace")


cdef int check_axes(int ndim) except -1:
    if not 3 <= ndim <= 5:
        raise ValueError(f"ndim={ndim}: must be 3, 4 or 5")
    return 0


cdef int hand_out(object plan, void **handle) except -1:
    """A reference to a plan, for C to own."""
    Py_INCREF(plan)
    handle[0] = <void *>plan
    return 0


cdef ConvPlan conv_plan_of(int ndim, const int64_t *input_shape, const int64_t *weight_shape,
                           const ConvOptions *options):
    cdef int spatial = ndim - 2
    check_axes(ndim)
    shapes = numbers(b"input_shape", input_shape, ndim), numbers(b"weight_shape", weight_shape, ndim)
    if options == NULL:
        return ConvPlan(*shapes)
    return ConvPlan(
        *shapes,
        stride=numbers(b"stride", options.stride, spatial, 1),
        padding=tuple([(options.padding[axis][0], options.padding[axis][1]) for axis in range(spatial)]),
        dilation=numbers(b"dilation", options.dilation, spatial, 1),
        groups=options.groups or 1,
        activation=word(options.activation, None),
        algorithm=word(options.algorithm, "auto"),
        precision=word(options.precision, None),
        passes=tuple([name for bit, name in enumerate(DIRECTIONS)
                      if not options.passes or options.passes >> bit & 1]),
    )


cdef PoolPlan pool_plan_of(int ndim, const int64_t *input_shape, const int64_t *kernel_size,
                           const PoolOptions *options):
    cdef int spatial = ndim - 2
    check_axes(ndim)
    what = numbers(b"input_shape", input_shape, ndim), numbers(b"kernel_size", kernel_size, spatial)
    if options == NULL:
        return PoolPlan(*what)
    return PoolPlan(
        *what,
        stride=tuple([options.stride[axis] or what[1][axis] for axis in range(spatial)]),
        padding=tuple([(options.padding[axis][0], options.padding[axis][1]) for axis in range(spatial)]),
        dilation=numbers(b"dilation", options.dilation, spatial, 1),
        ceil_mode=bool(options.ceil_mode),
        count_include_pad=not options.exclude_pad,
        divisor_override=options.divisor or None,
    )


cdef int c_conv_plan(int ndim, const int64_t *input_shape, const int64_t *weight_shape,
                     const ConvOptions *options, ConvHandle **plan) noexcept with gil:
    try:
        if plan == NULL:
            raise ValueError("plan: must not be NULL")
        plan[0] = NULL
        hand_out(conv_plan_of(ndim, input_shape, weight_shape, options), <void **>plan)
    except BaseException as error:
        return keep(error)
    return FASTCONV_OK


cdef int c_pool_plan(int ndim, const int64_t *input_shape, const int64_t *kernel_size,
                     const PoolOptions *options, PoolHandle **plan) noexcept with gil:
    try:
        if plan == NULL:
            raise ValueError("plan: must not be NULL")
        plan[0] = NULL
        hand_out(pool_plan_of(ndim, input_shape, kernel_size, options), <void **>plan)
    except BaseException as error:
        return keep(error)
    return FASTCONV_OK


cdef void c_conv_free(ConvHandle *plan) noexcept with gil:
    Py_XDECREF(<PyObject *>plan)


cdef void c_pool_free(PoolHandle *plan) noexcept with gil:
    Py_XDECREF(<PyObject *>plan)


cdef int tell_shape(const void *plan, tuple sizes, int64_t *shape) except -1:
    if shape == NULL:
        raise ValueError("shape: must not be NULL")
    for axis, size in enumerate(sizes):
        shape[<int>axis] = size
    return 0


cdef int c_conv_output_shape(const ConvHandle *plan, int64_t *shape) noexcept with gil:
    try:
        check_handle(plan)
        tell_shape(plan, (<ConvPlan>plan).output_shape, shape)
    except BaseException as error:
        return keep(error)
    return FASTCONV_OK


cdef int c_pool_output_shape(const PoolHandle *plan, int64_t *shape) noexcept with gil:
    try:
        check_handle(plan)
        tell_shape(plan, (<PoolPlan>plan).output_shape, shape)
    except BaseException as error:
        return keep(error)
    return FASTCONV_OK


# ---- calls -------------------------------------------------------------------------------------

#: A plan, three arrays and a bias, of which a call has what it needs; without a look at what it has raised.
ctypedef int (*Quiet)(const void *plan, const Array *first, const Array *second, const Array *third,
                      const void *bias) noexcept nogil


cdef inline int check_handle(const void *plan) except -1 nogil:
    return refuse(b"plan", b"must not be NULL") if plan == NULL else 0


cdef int open_view(const char *name, const Array *array, View *view) except -1 nogil:
    """The `View` of an array of C's; sizes are compared with the plan's later."""
    cdef int axis, place
    cdef int64_t size, stride
    if array == NULL:
        return refuse(name, b"must not be NULL")
    if not 3 <= array.ndim <= 5:
        return refuse(name, b"ndim must be 3, 4 or 5")
    if array.dtype != FASTCONV_FLOAT32 and array.dtype != FASTCONV_FLOAT64 and array.dtype != FASTCONV_INT64:
        return refuse(name, b"dtype must be one of fastconv_dtype")
    view.data, view.packed = <char *>array.data, NULL
    view.dtype, view.item = FC_FLOAT64, 8
    if array.dtype == FASTCONV_FLOAT32:
        view.dtype, view.item = FC_FLOAT32, 4
    for axis in range(5):
        view.size[axis], view.stride[axis] = 1, 0
    for axis in range(array.ndim):
        place = axis if axis < 2 else axis + 5 - array.ndim
        size, stride = array.shape[axis], array.strides[axis]
        view.size[place] = size
        if size > 1:
            if not -(INT64_MAX // 64 // size) <= stride <= INT64_MAX // 64 // size:
                return refuse(name, b"strides reach further than memory does")
            view.stride[place] = stride
    if array.data == NULL and view.size[0] != 0:
        return refuse(name, b"data must not be NULL")
    return 0


cdef int open_indices(const Array *array, View *view) except -1 nogil:
    open_view(b"indices", array, view)
    return refuse(b"indices", b"dtype must be FASTCONV_INT64") if array.dtype != FASTCONV_INT64 else 0


cdef int open_real(const char *name, const Array *array, const Array *like, View *view) except -1 nogil:
    """... of floats, those of another array."""
    open_view(name, array, view)
    if array.dtype == FASTCONV_INT64:
        return refuse(name, b"dtype must be FASTCONV_FLOAT32 or FASTCONV_FLOAT64")
    if array.dtype != like.dtype:
        return refuse(name, b"dtype must be that of the other arrays")
    return 0


cdef int run(Quiet call, const void *plan, const Array *first, const Array *second, const Array *third,
             const void *bias, bint needs_gil) noexcept nogil:
    """A call, and the code of what became of it."""
    if needs_gil or PyGILState_GetThisThreadState() == NULL:
        with gil:
            return run_known(call, plan, first, second, third, bias, needs_gil)
    return FASTCONV_OK if call(plan, first, second, third, bias) == 0 else failed()


cdef int run_known(Quiet call, const void *plan, const Array *first, const Array *second, const Array *third,
                   const void *bias, bint needs_gil) noexcept:
    """... on a thread that has the GIL: one that Python did not know has by it a place where errors are kept."""
    cdef int done
    if needs_gil:
        done = call(plan, first, second, third, bias)
    else:
        with nogil:
            done = call(plan, first, second, third, bias)
    return FASTCONV_OK if done == 0 else failed()


cdef inline const Sizes *of_conv(const void *plan) noexcept nogil:
    return <const Sizes *>&(<ConvPlan>plan).sizes   # which the public kernels.pxd spells out


cdef inline const Sizes *of_pool(const void *plan) noexcept nogil:
    return <const Sizes *>&(<PoolPlan>plan).sizes


cdef inline bint wants_gil(const ConvHandle *plan) noexcept nogil:
    return plan != NULL and (<ConvPlan>plan).needs_gil


cdef int forward_of(const void *plan, const Array *input, const Array *weight, const Array *output,
                    const void *bias) except -1 nogil:
    cdef View x, w, y
    check_handle(plan)
    check_pass((<ConvPlan>plan).forward, b"forward")
    open_real(b"input", input, input, &x)
    open_real(b"weight", weight, input, &w)
    open_real(b"output", output, input, &y)
    if <int64_t>bias & (x.item - 1):
        return refuse(b"bias", b"its elements must be aligned")
    return forward((<ConvPlan>plan).forward, of_conv(plan), (<ConvPlan>plan).activation,
                   &x, &w, <const char *>bias, &y)


cdef int input_gradient_of(const void *plan, const Array *weight, const Array *grad_output,
                           const Array *grad_input, const void *_bias) except -1 nogil:
    cdef View w, g, x
    check_handle(plan)
    check_pass((<ConvPlan>plan).input_gradient, b"input_gradient")
    open_real(b"weight", weight, weight, &w)
    open_real(b"grad_output", grad_output, weight, &g)
    open_real(b"grad_input", grad_input, weight, &x)
    return input_gradient((<ConvPlan>plan).input_gradient, of_conv(plan), &w, &g, &x)


cdef int weight_gradient_of(const void *plan, const Array *input, const Array *grad_output,
                            const Array *grad_weight, const void *_bias) except -1 nogil:
    cdef View x, g, w
    check_handle(plan)
    check_pass((<ConvPlan>plan).weight_gradient, b"weight_gradient")
    open_real(b"input", input, input, &x)
    open_real(b"grad_output", grad_output, input, &g)
    open_real(b"grad_weight", grad_weight, input, &w)
    return weight_gradient((<ConvPlan>plan).weight_gradient, of_conv(plan), &x, &g, &w)


cdef int maxima_of(const void *plan, const Array *input, const Array *output, const Array *indices,
                   const void *_bias) except -1 nogil:
    cdef View x, y, places
    check_handle(plan)
    open_real(b"input", input, input, &x)
    open_real(b"output", output, input, &y)
    if indices != NULL:
        open_indices(indices, &places)
        return maxima((<PoolPlan>plan).windows, of_pool(plan), &x, &y, &places)
    return maxima((<PoolPlan>plan).windows, of_pool(plan), &x, &y, NULL)


cdef int spread_maxima_of(const void *plan, const Array *grad_output, const Array *indices,
                          const Array *grad_input, const void *_bias) except -1 nogil:
    cdef View g, places, x
    check_handle(plan)
    open_real(b"grad_output", grad_output, grad_output, &g)
    open_indices(indices, &places)
    open_real(b"grad_input", grad_input, grad_output, &x)
    return spread_maxima((<PoolPlan>plan).windows, of_pool(plan), &g, &places, &x)


cdef int averages_of(const void *plan, const Array *input, const Array *output, const Array *_third,
                     const void *_bias) except -1 nogil:
    cdef View x, y
    check_handle(plan)
    open_real(b"input", input, input, &x)
    open_real(b"output", output, input, &y)
    return averages((<PoolPlan>plan).windows, of_pool(plan),
                   (<PoolPlan>plan).count_include_pad, (<PoolPlan>plan).divisor, &x, &y)


cdef int spread_averages_of(const void *plan, const Array *grad_output, const Array *grad_input,
                            const Array *_third, const void *_bias) except -1 nogil:
    cdef View g, x
    check_handle(plan)
    open_real(b"grad_output", grad_output, grad_output, &g)
    open_real(b"grad_input", grad_input, grad_output, &x)
    return spread_averages((<PoolPlan>plan).windows, of_pool(plan),
                          (<PoolPlan>plan).count_include_pad, (<PoolPlan>plan).divisor, &g, &x)


cdef int c_conv_forward(const ConvHandle *plan, const Array *input, const Array *weight, const void *bias,
                        const Array *output) noexcept nogil:
    return run(<Quiet>forward_of, plan, input, weight, output, bias, wants_gil(plan))


cdef int c_conv_input_gradient(const ConvHandle *plan, const Array *weight, const Array *grad_output,
                               const Array *grad_input) noexcept nogil:
    return run(<Quiet>input_gradient_of, plan, weight, grad_output, grad_input, NULL, wants_gil(plan))


cdef int c_conv_weight_gradient(const ConvHandle *plan, const Array *input, const Array *grad_output,
                                const Array *grad_weight) noexcept nogil:
    return run(<Quiet>weight_gradient_of, plan, input, grad_output, grad_weight, NULL, wants_gil(plan))


cdef int c_max_pool(const PoolHandle *plan, const Array *input, const Array *output,
                    const Array *indices) noexcept nogil:
    return run(<Quiet>maxima_of, plan, input, output, indices, NULL, False)


cdef int c_max_pool_gradient(const PoolHandle *plan, const Array *grad_output, const Array *indices,
                             const Array *grad_input) noexcept nogil:
    return run(<Quiet>spread_maxima_of, plan, grad_output, indices, grad_input, NULL, False)


cdef int c_avg_pool(const PoolHandle *plan, const Array *input, const Array *output) noexcept nogil:
    return run(<Quiet>averages_of, plan, input, output, NULL, NULL, False)


cdef int c_avg_pool_gradient(const PoolHandle *plan, const Array *grad_output,
                             const Array *grad_input) noexcept nogil:
    return run(<Quiet>spread_averages_of, plan, grad_output, grad_input, NULL, NULL, False)


cdef Functions table   # what C code finds, by `functions`

table.version = FASTCONV_API_VERSION
table.error = c_error
table.get_num_threads = c_get_num_threads
table.set_num_threads = c_set_num_threads
table.conv_plan, table.pool_plan = c_conv_plan, c_pool_plan
table.conv_free, table.pool_free = c_conv_free, c_pool_free
table.conv_output_shape, table.pool_output_shape = c_conv_output_shape, c_pool_output_shape
table.conv_forward = c_conv_forward
table.conv_input_gradient = c_conv_input_gradient
table.conv_weight_gradient = c_conv_weight_gradient
table.max_pool, table.max_pool_gradient = c_max_pool, c_max_pool_gradient
table.avg_pool, table.avg_pool_gradient = c_avg_pool, c_avg_pool_gradient

functions = PyCapsule_New(&table, "fastconv.c_api.functions", NULL)
