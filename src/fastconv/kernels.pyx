"""fastconv's kernels for other people's Cython: convolution, pooling and their gradients without the GIL.

A plan is made once, with the GIL, from shapes and parameters; it never changes, and threads may share it. A call takes
it and typed memoryviews of five axes, checks that they are what the plan was made for, makes no Python object, and runs
on fastconv's own threads if the work is worth it and they are free (calls from several threads at a time each run on
theirs). It raises as a function of Python does: declared `except -1 nogil`, it gets the GIL for that alone, as it does to
notice Ctrl-C in long calls. `fastconv.conv2d` and its like go through the same kernels.

    from fastconv.kernels cimport ConvPlan, conv_forward

    plan = ConvPlan((8, 3, 32, 32), (16, 3, 3, 3), padding=1)
    with nogil:
        conv_forward(plan, x[:, :, None, :, :], w[:, :, None, :, :], None, y[:, :, None, :, :])

C code reaches the same functions through `fastconv.h` (`fastconv.get_include()`): see c_api.pyx.

What a sum of products is, and which of them a NaN reaches, is as `fastconv.conv2d` says.
"""

from libc.stdint cimport int64_t

from fastconv._kernels.checked.calls cimport (
    Sizes as PlannedSizes, averages, check_pass, forward, input_gradient, maxima, refuse, spread_averages,
    spread_maxima, weight_gradient,
)
from fastconv._kernels.engine.arrays cimport View, view_of, view_of_indices
from fastconv._kernels.pool.plan cimport PoolPlan as Windows

from fastconv._kernels.conv.direct import ACTIVATIONS
from fastconv._kernels.engine.fastconv_native import level_of
from fastconv.algorithm import DIRECTIONS, check_activation, plan as find_plan
from fastconv.geometry import as_sizes, check_rank, conv_geometry, divisor, flag, pool_geometry
from fastconv.runtime import get_precision


# ---- plans -------------------------------------------------------------------------------------------


cdef void set_sizes(int64_t *sizes, tuple shape) noexcept:
    """A shape of two to five axes as one of five."""
    cdef int axis, missing = 5 - len(shape)
    for axis in range(5):
        sizes[axis] = 1
    for axis in range(len(shape)):
        sizes[axis if axis < 2 else axis + missing] = shape[axis]


cdef class ConvPlan:
    """How a convolution of these shapes is computed, forward and backward.

    Parameters
    ----------
    input_shape : tuple of int, (N, C, *spatial) with one to three spatial axes
    weight_shape : tuple of int, (K, C / groups, *kernel)
    stride, padding, dilation, groups
        As for `fastconv.conv2d`.
    activation : {None, "relu", "leaky_relu", "relu6"}
        What `conv_forward` applies as it stores.
    algorithm : str, default "auto"
        As for `fastconv.conv2d`, of each of `passes`.
    precision : {None, "highest", "high", "medium"}
        None is the precision in force here.
    passes : tuple of str, default ("forward", "input_gradient", "weight_gradient")
        What the plan is for.

    Attributes
    ----------
    output_shape : tuple of int, (N, K, *spatial)
    needs_gil : bool
        One of its passes works on Python objects: "fft" and "reference" do. It is refused without the GIL.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> from fastconv.kernels import ConvPlan
    >>> ConvPlan((8, 3, 32, 32), (16, 3, 3, 3), padding=1).output_shape
    (8, 16, 32, 32)
    """

    def __cinit__(self, input_shape, weight_shape, stride=1, padding=0, dilation=1, groups=1, *, activation=None,
                  algorithm="auto", precision=None, passes=DIRECTIONS):
        weight_shape = as_sizes("weight_shape", weight_shape, (3, 4, 5))
        spatial_rank = len(weight_shape) - 2
        input_shape = as_sizes("input_shape", input_shape, (spatial_rank + 2,))
        check_rank("input_shape", input_shape, spatial_rank)
        check_activation(activation)
        if precision is None:
            precision = get_precision()
        level_of(precision)
        if not isinstance(passes, (tuple, list)) or not all(one in DIRECTIONS for one in passes):
            raise ValueError(f"passes={passes!r}: must be a tuple of {', '.join(map(repr, DIRECTIONS))}")
        geometry = conv_geometry(input_shape, weight_shape, stride, padding, dilation, groups, spatial_rank)
        found = [find_plan(geometry, direction, algorithm, precision) if direction in passes else None
                 for direction in DIRECTIONS]
        self.forward, self.input_gradient, self.weight_gradient = found
        self.activation, self.output_shape = ACTIVATIONS[activation], geometry.output_shape
        self.needs_gil = any(one is not None and one.needs_gil for one in found)
        set_sizes(self.sizes.input, input_shape)
        set_sizes(self.sizes.weight, weight_shape)
        set_sizes(self.sizes.output, geometry.output_shape)


cdef class PoolPlan:
    """How a pooling of these shapes is computed, forward and backward.

    Parameters
    ----------
    input_shape : tuple of int, (N, C, *spatial) with one to three spatial axes
    kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override
        As for `fastconv.max_pool2d` and `fastconv.avg_pool2d`.

    Attributes
    ----------
    output_shape : tuple of int, (N, C, *spatial)

    Raises
    ------
    ValueError, TypeError
        Naming the argument, its value and the rule it breaks.

    Examples
    --------
    >>> from fastconv.kernels import PoolPlan
    >>> PoolPlan((8, 3, 32, 32), 2).output_shape
    (8, 3, 16, 16)
    """

    def __cinit__(self, input_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False,
                  count_include_pad=True, divisor_override=None):
        input_shape = as_sizes("input_shape", input_shape, (3, 4, 5))
        spatial_rank = len(input_shape) - 2
        check_rank("input_shape", input_shape, spatial_rank)
        geometry = pool_geometry(input_shape, kernel_size, stride, padding, dilation, flag("ceil_mode", ceil_mode),
                                 spatial_rank)
        self.windows, self.output_shape = Windows(geometry), geometry.output_shape
        self.count_include_pad = flag("count_include_pad", count_include_pad)
        self.divisor = divisor(divisor_override)
        set_sizes(self.sizes.input, input_shape)
        set_sizes(self.sizes.output, geometry.output_shape)


cdef inline int check_plan(object plan) except -1 nogil:
    """Whether there is one: an argument of a class may be None in Cython."""
    if plan is None:
        return refuse(b"plan", b"must not be None")
    return 0


cdef inline const PlannedSizes *sizes(const Sizes *planned) noexcept nogil:
    return <const PlannedSizes *>planned   # one and the same, which the public kernels.pxd spells out


# ---- convolution -------------------------------------------------------------------------------------


cdef int conv_forward(ConvPlan plan, const real[:, :, :, :, :] input, const real[:, :, :, :, :] weight,
                      const real[::1] bias, real[:, :, :, :, :] output) except -1 nogil:
    """output = the activation of input convolved with weight, plus bias (K elements, or None)."""
    cdef View x, w, y
    cdef const char *bias_data = NULL
    check_plan(plan)
    check_pass(plan.forward, b"forward")
    if input is None or weight is None or output is None:
        return refuse(b"input, weight, output", b"must not be None")
    x, w, y = view_of(input), view_of(weight), view_of(output)
    if bias is not None:
        if bias.shape[0] != plan.sizes.weight[0]:
            return refuse(b"bias", b"must have one element per output channel")
        bias_data = <const char *>&bias[0]
    return forward(plan.forward, sizes(&plan.sizes), plan.activation, &x, &w, bias_data, &y)


cdef int conv_input_gradient(ConvPlan plan, const real[:, :, :, :, :] weight, const real[:, :, :, :, :] grad_output,
                             real[:, :, :, :, :] grad_input) except -1 nogil:
    """The gradient of a convolution with respect to its input."""
    cdef View w, g, x
    check_plan(plan)
    check_pass(plan.input_gradient, b"input_gradient")
    if weight is None or grad_output is None or grad_input is None:
        return refuse(b"weight, grad_output, grad_input", b"must not be None")
    w, g, x = view_of(weight), view_of(grad_output), view_of(grad_input)
    return input_gradient(plan.input_gradient, sizes(&plan.sizes), &w, &g, &x)


cdef int conv_weight_gradient(ConvPlan plan, const real[:, :, :, :, :] input, const real[:, :, :, :, :] grad_output,
                              real[:, :, :, :, :] grad_weight) except -1 nogil:
    """The gradient of a convolution with respect to its weight, summed over the batch."""
    cdef View x, g, w
    check_plan(plan)
    check_pass(plan.weight_gradient, b"weight_gradient")
    if input is None or grad_output is None or grad_weight is None:
        return refuse(b"input, grad_output, grad_weight", b"must not be None")
    x, g, w = view_of(input), view_of(grad_output), view_of(grad_weight)
    return weight_gradient(plan.weight_gradient, sizes(&plan.sizes), &x, &g, &w)


# ---- pooling -----------------------------------------------------------------------------------------


cdef int max_pool(PoolPlan plan, const real[:, :, :, :, :] input, real[:, :, :, :, :] output,
                  int64_t[:, :, :, :, :] indices) except -1 nogil:
    """output = the maximum of each window, indices = where in its plane it is (or None, if nobody asks)."""
    cdef View x, y, places
    check_plan(plan)
    if input is None or output is None:
        return refuse(b"input, output", b"must not be None")
    x, y = view_of(input), view_of(output)
    if indices is None:
        return maxima(plan.windows, sizes(&plan.sizes), &x, &y, NULL)
    places = view_of_indices(indices)
    return maxima(plan.windows, sizes(&plan.sizes), &x, &y, &places)


cdef int max_pool_gradient(PoolPlan plan, const real[:, :, :, :, :] grad_output,
                           const int64_t[:, :, :, :, :] indices, real[:, :, :, :, :] grad_input) except -1 nogil:
    """The gradient of max_pool with respect to its input: grad_output added up where the indices say."""
    cdef View g, places, x
    check_plan(plan)
    if grad_output is None or indices is None or grad_input is None:
        return refuse(b"grad_output, indices, grad_input", b"must not be None")
    g, places, x = view_of(grad_output), view_of_indices(indices), view_of(grad_input)
    return spread_maxima(plan.windows, sizes(&plan.sizes), &g, &places, &x)


cdef int avg_pool(PoolPlan plan, const real[:, :, :, :, :] input, real[:, :, :, :, :] output) except -1 nogil:
    """output = the average of each window."""
    cdef View x, y
    check_plan(plan)
    if input is None or output is None:
        return refuse(b"input, output", b"must not be None")
    x, y = view_of(input), view_of(output)
    return averages(plan.windows, sizes(&plan.sizes), plan.count_include_pad, plan.divisor, &x, &y)


cdef int avg_pool_gradient(PoolPlan plan, const real[:, :, :, :, :] grad_output,
                           real[:, :, :, :, :] grad_input) except -1 nogil:
    """The gradient of avg_pool with respect to its input."""
    cdef View g, x
    check_plan(plan)
    if grad_output is None or grad_input is None:
        return refuse(b"grad_output, grad_input", b"must not be None")
    g, x = view_of(grad_output), view_of(grad_input)
    return spread_averages(plan.windows, sizes(&plan.sizes), plan.count_include_pad, plan.divisor, &g, &x)
