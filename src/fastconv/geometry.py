"""Every question about shapes, and whether a call is allowed, is answered here and only here.

A call's arguments are checked once, before anything is allocated; the kernels trust what passed. Everything
below this floor is 3-D: a `ConvGeometry` or `PoolGeometry` holds one number per axis (D, H, W), with size-1
axes in front for 1-D and 2-D calls.

Every refusal is a `ValueError` (a value breaks a rule) or `TypeError` (not the right kind of thing) that
names the argument, its value and the rule; a size that cannot exist in memory is a `MemoryError`.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

Triple = tuple[int, int, int]

#: Largest number of elements, and largest size, stride or padding, that shape arithmetic may meet. A quarter
#: of the int64 range, so that sums of two products that passed cannot wrap in the kernels.
LIMIT = 2**61

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


# ---- arrays ----------------------------------------------------------------------------------------


def as_array(name: str, value: Any, dtype: np.dtype | None = None) -> np.ndarray:
    """View `value` as a float32 or float64 array without copying it.

    Parameters
    ----------
    name : str
        The argument's name, for the error.
    value : numpy.ndarray or any object that speaks DLPack on the CPU or the buffer protocol
        Lists and numbers are refused: building an array from them would be a copy behind the caller's back.
    dtype : numpy.dtype, optional
        The dtype the other arguments have already settled on.

    Raises
    ------
    TypeError
        Not an array, not float32/float64 in native byte order, or another dtype than `dtype`.
    ValueError
        Address or strides that are no multiples of the element size: every kernel reads whole elements.
    """
    if type(value) is np.ndarray and value.dtype in _DTYPES and value.flags.aligned:
        if dtype is None or value.dtype == dtype:
            return value
        raise TypeError(f"{name}: dtype {value.dtype} does not match the other arguments' {dtype}")
    if not isinstance(value, np.ndarray):
        return as_array(name, _imported(name, value), dtype)
    if value.dtype not in _DTYPES:
        raise TypeError(
            f"{name}: dtype must be float32 or float64 in native byte order, not {value.dtype.str}"
        )
    _check_aligned(name, value)
    return as_array(name, value.view(np.ndarray), dtype)  # a subclass


def _check_aligned(name: str, array: np.ndarray) -> None:
    if not array.flags.aligned:
        raise ValueError(
            f"{name}: address and strides {array.strides} must be multiples "
            f"of the element size {array.itemsize}"
        )


def _imported(name: str, value: Any) -> np.ndarray:
    """A foreign array as an ndarray on the same memory."""
    if hasattr(value, "__dlpack__"):
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name}: DLPack object cannot be read on the CPU: {error}") from None
    try:
        return np.asarray(memoryview(value))
    except (TypeError, ValueError):
        raise TypeError(
            f"{name}: must be an array (NumPy, buffer protocol or DLPack on the CPU), "
            f"not {type(value).__name__}"
        ) from None


def check_rank(name: str, shape: tuple[int, ...], spatial_rank: int) -> bool:
    """Whether `shape` is batched, (N, C, *spatial), rather than (C, *spatial); no empty axis but the batch.

    Raises
    ------
    ValueError
        Any other number of axes, or an empty axis that is not the batch.
    """
    if len(shape) not in (spatial_rank + 1, spatial_rank + 2):
        raise ValueError(
            f"{name}: shape {shape} must have {spatial_rank + 2} axes (N, C, {spatial_rank} spatial) "
            f"or {spatial_rank + 1} without a batch"
        )
    batched = len(shape) == spatial_rank + 2
    if 0 in shape[batched:]:
        raise ValueError(f"{name}: shape {shape} has an empty axis; only the batch may be empty")
    return batched


def check_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise `ValueError` unless `array` has exactly this shape."""
    if array.shape != shape:
        raise ValueError(f"{name}: shape {array.shape} must be {shape}")


def check_out(
    out: Any, shape: tuple[int, ...], dtype: np.dtype, inputs: dict[str, np.ndarray], name: str = "out"
) -> np.ndarray:
    """Check an array to be written to: an ndarray of this shape and dtype, writable, apart from every input.

    Raises
    ------
    TypeError
        Not an ndarray, or of another dtype.
    ValueError
        Another shape, read-only, elements that share memory with each other or with an input.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name}: must be a NumPy array, not {type(out).__name__}")
    as_array(name, out, dtype)
    check_shape(name, out, shape)
    if not out.flags.writeable:
        raise ValueError(f"{name}: must be writable")
    if _shares_elements(out):
        raise ValueError(f"{name}: strides {out.strides} let elements share memory")
    for other, array in inputs.items():
        if np.may_share_memory(out, array) and _overlap(out, array):
            raise ValueError(f"{name}: overlaps {other} in memory")
    return out


def _shares_elements(array: np.ndarray) -> bool:
    """Whether two elements may lie at one address: some axis steps over less than the axes inside it span.

    Slicing, reversing, transposing and taking diagonals never lead there; broadcasting and sliding windows
    do.
    """
    spanned = 0
    for step, size in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if size > 1 and step <= spanned:
            return True
        spanned += step * (size - 1)
    return False


def _overlap(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)
    except np.exceptions.TooHardError:  # interleaved beyond what is worth solving: refuse, to be safe
        return True


def is_channels_last(array: np.ndarray, batched: bool = True) -> bool:
    """Whether channels are adjacent in memory and width is not: the NHWC order, told by strides alone."""
    channel = 1 if batched else 0
    strides, shape = array.strides, array.shape
    if shape[channel] == 1 or strides[channel] != array.itemsize:
        return False
    spatial = [abs(step) for step, size in zip(strides[channel + 1 :], shape[channel + 1 :]) if size > 1]
    return bool(spatial) and min(spatial) > strides[channel]


def new_output(shape: tuple[int, ...], dtype: np.dtype, like: np.ndarray, batched: bool = True) -> np.ndarray:
    """An uninitialised array of `shape`, channels-last in memory if `like` is.

    Raises
    ------
    MemoryError
        The array cannot exist or be allocated.
    """
    check_allocation(shape, dtype)
    if not is_channels_last(like, batched):
        return np.empty(shape, dtype)
    channel = 1 if batched else 0
    memory_shape = (*shape[:channel], *shape[channel + 1 :], shape[channel])
    return np.moveaxis(np.empty(memory_shape, dtype), -1, channel)


def check_allocation(shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raise `MemoryError` for a shape whose bytes no address space holds."""
    count = dtype.itemsize
    for size in shape:
        count *= size
    if count > LIMIT:
        raise MemoryError(f"an array of shape {shape} and dtype {dtype} cannot be allocated")


def as_indices(name: str, value: Any, shape: tuple[int, ...], places: int) -> np.ndarray:
    """View `value` as an int64 array of this shape whose values all lie in [0, places), without copying it.

    Raises
    ------
    TypeError
        Not an array, or not int64 in native byte order.
    ValueError
        Another shape, a value that names no place, or elements not aligned to their size.
    """
    array = value.view(np.ndarray) if isinstance(value, np.ndarray) else _imported(name, value)
    if array.dtype != np.int64:
        raise TypeError(f"{name}: dtype must be int64 in native byte order, not {array.dtype.str}")
    check_shape(name, array, shape)
    _check_aligned(name, array)
    # as unsigned numbers the negative ones are the largest: one look at the array tells of both
    if array.size and int(array.view(np.uint64).max()) >= places:
        bad = array.min() if array.min() < 0 else array.max()
        raise ValueError(f"{name}: {bad} is outside [0, {places}), the places of one plane")
    return array


def as_sizes(name: str, value: Any, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """`value` as a shape of any meaning: a tuple or list of whole numbers, as many as one of `lengths`."""
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name}={value!r}: must be a shape, a tuple of integers")
    if len(value) not in lengths:
        raise ValueError(f"{name}={value!r}: must have {' or '.join(map(str, lengths))} entries")
    return tuple(whole_number(name, size, 0) for size in value)


def as_shape(name: str, value: Any, spatial_rank: int, batched: bool) -> tuple[int, ...]:
    """A shape given as an argument: (N, C, *spatial), or (C, *spatial) without a batch.

    Raises
    ------
    TypeError, ValueError
        Not a sequence of whole numbers, not as many as that, or an empty axis that is not the batch.
    """
    shape = as_sizes(name, value, (spatial_rank + 1 + batched,))
    check_rank(name, shape, spatial_rank)
    _checked_product(name, *(max(size, 1) for size in shape))
    return shape


# ---- numbers per axis ------------------------------------------------------------------------------


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: must be an integer")
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r}: must be an integer") from None


def whole_number(name: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`."""
    number = _integer(name, value)
    if number < minimum:
        raise ValueError(f"{name}={value!r}: must be at least {minimum}")
    if number > LIMIT:
        raise ValueError(f"{name}={value!r}: must be at most {LIMIT}")
    return number


def flag(name: str, value: Any) -> bool:
    """`value`, which must be True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r}: must be True or False")
    return bool(value)


def hashable(name: str, value: Any) -> Any:
    """A parameter (number, word, nested sequence of numbers) as a key: whole numbers as int, lists as tuples."""
    if isinstance(value, (tuple, list)):
        return tuple(hashable(name, entry) for entry in value)
    return value if isinstance(value, str) else _integer(name, value)


def per_axis(name: str, value: Any, spatial_rank: int, minimum: int) -> tuple[int, ...]:
    """One int for all axes, or one per axis, as one per axis."""
    if isinstance(value, (tuple, list)):
        if len(value) != spatial_rank:
            raise ValueError(f"{name}={value!r}: must have {spatial_rank} entries, one per spatial axis")
        return tuple(whole_number(name, v, minimum) for v in value)
    return (whole_number(name, value, minimum),) * spatial_rank


def padding_pairs(
    value: Any, spatial_rank: int, dilated_kernel: tuple[int, ...], stride: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """`padding` in any of its forms as one (before, after) pair per axis.

    Parameters
    ----------
    value : int, one int per axis, one (before, after) pair per axis, "valid" or "same"
        "same" keeps the size (stride 1 only); where the total is odd, the extra element goes after.
    dilated_kernel : tuple of int
        dilation * (kernel - 1) + 1 per axis.
    """
    if isinstance(value, str):
        if value == "valid":
            return ((0, 0),) * spatial_rank
        if value != "same":
            raise ValueError(f"padding={value!r}: the words allowed are 'valid' and 'same'")
        if any(s != 1 for s in stride):
            raise ValueError(f"padding='same' needs stride 1, not {stride}")
        return tuple(((k - 1) // 2, (k - 1) - (k - 1) // 2) for k in dilated_kernel)
    if not isinstance(value, (tuple, list)):
        value = (value,) * spatial_rank
    if len(value) != spatial_rank:
        raise ValueError(f"padding={value!r}: must have {spatial_rank} entries, one per spatial axis")
    pairs = []
    for entry in value:
        if isinstance(entry, (tuple, list)):
            if len(entry) != 2:
                raise ValueError(f"padding={value!r}: each pair must be (before, after)")
            pairs.append((whole_number("padding", entry[0], 0), whole_number("padding", entry[1], 0)))
        else:
            pairs.append((whole_number("padding", entry, 0),) * 2)
    return tuple(pairs)


def axis_number(name: str, value: Any, rank: int) -> int:
    """An axis of an array with `rank` axes, counted from 0; negative ones count from the end.

    As in torch, an array without axes is taken for one with a single axis.
    """
    axis, axes = _integer(name, value), max(rank, 1)
    if not -axes <= axis < axes:
        raise ValueError(f"{name}={value!r}: must be from {-axes} to {axes - 1}, an axis of {rank}")
    return axis % axes


def real_number(
    name: str, value: Any, *, at_least: float | None = None, nonzero: bool = False, finite: bool = True
) -> float:
    """`value` as a float: not NaN, finite unless told otherwise, at least `at_least`.

    Raises
    ------
    TypeError
        Not a real number (a bool, an array and a string are none).
    ValueError
        A number that breaks a rule.
    """
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}={value!r}: must be a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name}={value!r}: must fit a float") from None
    if finite and not math.isfinite(number):
        raise ValueError(f"{name}={value!r}: must be finite")
    if math.isnan(number):
        raise ValueError(f"{name}={value!r}: must not be NaN")
    if at_least is not None and number < at_least:
        raise ValueError(f"{name}={value!r}: must be at least {at_least:g}")
    if nonzero and number == 0:
        raise ValueError(f"{name}={value!r}: must not be zero")
    return number


def _triple(values: tuple[int, ...], fill: int) -> Triple:
    """One number per spatial axis as (D, H, W), `fill` for the axes in front that the call does not have."""
    return (fill,) * (3 - len(values)) + tuple(values)  # type: ignore[return-value]


def _checked_product(name: str, *factors: int) -> int:
    product = 1
    for factor in factors:
        product *= factor
    if product > LIMIT:
        raise ValueError(f"{name}: {' * '.join(map(str, factors))} is beyond what shape arithmetic can hold")
    return product


# ---- convolution -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """A convolution in numbers. Channels are totals over all groups; triples are (D, H, W)."""

    spatial_rank: int
    batched: bool
    n: int
    in_channels: int
    out_channels: int
    groups: int
    input_size: Triple
    kernel: Triple
    stride: Triple
    before: Triple  #: zeros in front of each axis; those behind follow from output_size
    dilation: Triple
    output_size: Triple

    def _shape(self, channels: int, size: Triple) -> tuple[int, ...]:
        spatial = size[3 - self.spatial_rank :]
        return (self.n, channels, *spatial) if self.batched else (channels, *spatial)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of input and grad_input, as the caller sees it."""
        return self._shape(self.in_channels, self.input_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of output and grad_output, as the caller sees it."""
        return self._shape(self.out_channels, self.output_size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of weight and grad_weight: (out channels, in channels per group, *kernel)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel[3 - self.spatial_rank :])

    @property
    def flops(self) -> int:
        """Multiplications and additions, windows that overhang the edge counted whole."""
        multiply_adds = self.n * self.out_channels * (self.in_channels // self.groups)
        for k, o in zip(self.kernel, self.output_size):
            multiply_adds *= k * o
        return 2 * multiply_adds


def _check_weight_shape(weight_shape: tuple[int, ...], spatial_rank: int) -> None:
    if len(weight_shape) != spatial_rank + 2:
        raise ValueError(
            f"weight: shape {weight_shape} must have {spatial_rank + 2} axes "
            f"(two of channels, {spatial_rank} spatial)"
        )
    if 0 in weight_shape:
        raise ValueError(f"weight: shape {weight_shape} has an empty axis")
    # packed weights are padded to whole tiles: at most 64 times as many elements
    check_allocation((64, *weight_shape), _DTYPES[1])


def _dilated(kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_checked_product("dilation", d, k - 1) + 1 for k, d in zip(kernel, dilation))


def conv_geometry(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: Any,
    spatial_rank: int,
) -> ConvGeometry:
    """Check a convolution's shapes and parameters and work out its output.

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, *spatial), or (C, *spatial) without a batch; `check_rank` has seen the array.
    weight_shape : tuple of int
        (K, C / groups, *kernel).

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    _check_weight_shape(weight_shape, spatial_rank)
    groups = whole_number("groups", groups, 1)
    strides = per_axis("stride", stride, spatial_rank, 1)
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    batched = len(input_shape) == spatial_rank + 2
    n, in_channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    out_channels, group_channels = weight_shape[:2]
    kernel = weight_shape[2:]
    if in_channels != group_channels * groups:
        raise ValueError(
            f"input: {in_channels} channels, but weight of shape {weight_shape} with groups={groups} "
            f"needs {group_channels * groups}"
        )
    if out_channels % groups:
        raise ValueError(f"groups={groups}: must divide the {out_channels} output channels of weight")
    window = _dilated(kernel, dilations)
    pads = padding_pairs(padding, spatial_rank, window, strides)
    output_size = []
    for i in range(spatial_rank):
        padded = size[i] + pads[i][0] + pads[i][1]
        if padded > LIMIT:
            raise ValueError(f"padding={padding!r}: padded input is beyond what shape arithmetic can hold")
        if window[i] > padded:
            raise ValueError(
                f"weight: kernel {kernel} (with dilation={dilation!r} it spans {window[i]}) is larger than "
                f"the padded input's {padded} along spatial axis {i}"
            )
        output_size.append((padded - window[i]) // strides[i] + 1)
    _checked_product("input", n, in_channels, *(s + sum(p) for s, p in zip(size, pads)))
    _checked_product("output", max(n, 1), out_channels, *output_size)
    return ConvGeometry(
        spatial_rank,
        batched,
        n,
        in_channels,
        out_channels,
        groups,
        _triple(size, 1),
        _triple(kernel, 1),
        _triple(strides, 1),
        _triple(tuple(p[0] for p in pads), 0),
        _triple(dilations, 1),
        _triple(tuple(output_size), 1),
    )


def conv_transpose_geometry(
    input_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    output_padding: Any,
    groups: Any,
    dilation: Any,
    spatial_rank: int,
) -> ConvGeometry:
    """The convolution whose input gradient a transposed convolution is.

    In the geometry returned, `output` is the transposed convolution's input and `input` its output.

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, *spatial) or (C, *spatial) of the transposed convolution's input.
    weight_shape : tuple of int
        (C, K / groups, *kernel).
    """
    _check_weight_shape(weight_shape, spatial_rank)
    groups = whole_number("groups", groups, 1)
    strides = per_axis("stride", stride, spatial_rank, 1)
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    extra = per_axis("output_padding", output_padding, spatial_rank, 0)
    batched = len(input_shape) == spatial_rank + 2
    n, in_channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    kernel = weight_shape[2:]
    if in_channels != weight_shape[0]:
        raise ValueError(
            f"input: {in_channels} channels, but weight of shape {weight_shape} needs {weight_shape[0]}"
        )
    if in_channels % groups:
        raise ValueError(f"groups={groups}: must divide the {in_channels} input channels")
    if isinstance(padding, str):
        raise ValueError(f"padding={padding!r}: a transposed convolution takes numbers")
    window = _dilated(kernel, dilations)
    pads = padding_pairs(padding, spatial_rank, window, strides)
    output_size = []
    for i in range(spatial_rank):
        if extra[i] >= max(strides[i], dilations[i]):
            raise ValueError(
                f"output_padding={output_padding!r}: must be smaller than stride or dilation "
                f"({max(strides[i], dilations[i])} along spatial axis {i})"
            )
        full = _checked_product("stride", size[i] - 1, strides[i]) + window[i] + extra[i]
        if full <= sum(pads[i]):
            raise ValueError(
                f"padding={padding!r}: leaves no output of the {full} elements along spatial axis {i}"
            )
        output_size.append(full - sum(pads[i]))
    out_channels = _checked_product("weight", weight_shape[1], groups)
    _checked_product("output", max(n, 1), out_channels, *output_size)
    return ConvGeometry(
        spatial_rank,
        batched,
        n,
        out_channels,
        in_channels,
        groups,
        _triple(tuple(output_size), 1),
        _triple(kernel, 1),
        _triple(strides, 1),
        _triple(tuple(p[0] for p in pads), 0),
        _triple(dilations, 1),
        _triple(size, 1),
    )


# ---- pooling ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PoolGeometry:
    """A pooling in numbers; triples are (D, H, W)."""

    spatial_rank: int
    batched: bool
    n: int
    channels: int
    input_size: Triple
    kernel: Triple
    stride: Triple
    before: Triple  #: padding in front of each axis
    after: Triple  #: padding behind each axis, as asked for (ceil_mode windows may reach further)
    dilation: Triple
    output_size: Triple
    adaptive: bool = False  #: windows cut the input evenly; kernel is the widest window, stride says nothing

    def _shape(self, size: Triple) -> tuple[int, ...]:
        spatial = size[3 - self.spatial_rank :]
        return (self.n, self.channels, *spatial) if self.batched else (self.channels, *spatial)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of input and grad_input, as the caller sees it."""
        return self._shape(self.input_size)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of output, indices and grad_output, as the caller sees it."""
        return self._shape(self.output_size)


def pool_geometry(
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    spatial_rank: int,
) -> PoolGeometry:
    """Check a pooling's shape and parameters and work out its output.

    `stride=None` means `kernel_size`. With `ceil_mode` windows that hang over the end are kept, unless they
    would start in the padding behind the input. Padding may be at most half the (dilated) window, and every
    window must cover at least one element: one that is dilated more widely than the input is long may
    straddle it.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    kernel = per_axis("kernel_size", kernel_size, spatial_rank, 1)
    strides = kernel if stride is None else per_axis("stride", stride, spatial_rank, 1)
    dilations = per_axis("dilation", dilation, spatial_rank, 1)
    ceil_mode = flag("ceil_mode", ceil_mode)
    batched = len(input_shape) == spatial_rank + 2
    n, channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    window = _dilated(kernel, dilations)
    pads = padding_pairs(padding, spatial_rank, window, strides)
    output_size = []
    for i in range(spatial_rank):
        if max(pads[i]) > window[i] // 2:
            raise ValueError(f"padding={padding!r}: must be at most half the window, which spans {window[i]}")
        padded = size[i] + sum(pads[i])
        if window[i] > padded and not ceil_mode:
            raise ValueError(
                f"kernel_size={kernel_size!r}: spans {window[i]}, larger than the padded input's {padded} "
                f"along spatial axis {i}"
            )
        count = (padded - window[i] + (strides[i] - 1 if ceil_mode else 0)) // strides[i] + 1
        if ceil_mode and (count - 1) * strides[i] >= size[i] + pads[i][0]:
            count -= 1
        if count < 1:
            raise ValueError(
                f"kernel_size={kernel_size!r}: no window fits the input's {size[i]} along spatial axis {i}"
            )
        if _straddles(size[i], count, strides[i], pads[i][0], dilations[i]):
            raise ValueError(
                f"dilation={dilation!r}: with padding={padding!r} a window covers no element of the input's "
                f"{size[i]} along spatial axis {i}"
            )
        output_size.append(count)
    _checked_product("output", max(n, 1), channels, *output_size)
    return PoolGeometry(
        spatial_rank,
        batched,
        n,
        channels,
        _triple(size, 1),
        _triple(kernel, 1),
        _triple(strides, 1),
        _triple(tuple(p[0] for p in pads), 0),
        _triple(tuple(p[1] for p in pads), 0),
        _triple(dilations, 1),
        _triple(tuple(output_size), 1),
    )


def _straddles(size: int, count: int, stride: int, before: int, dilation: int) -> bool:
    """Whether some window's taps all miss the input: one lies in front of it and the next behind it."""
    if before == 0 or size >= dilation:
        return False
    starts = np.arange(count) * stride - before  # few: windows lie within the padded input
    return bool(np.any((starts < 0) & (starts % dilation >= size)))


def adaptive_pool_geometry(input_shape: tuple[int, ...], output_size: Any, spatial_rank: int) -> PoolGeometry:
    """The pooling that cuts every axis evenly into the windows wanted.

    Output o, of O along an axis of size I, covers the elements from floor(o I / O) to ceil((o + 1) I / O).

    Parameters
    ----------
    input_shape : tuple of int
        (N, C, *spatial), or (C, *spatial) without a batch.
    output_size : int, or one int or None per axis
        None keeps the input's size.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    batched = len(input_shape) == spatial_rank + 2
    n, channels = (input_shape[0], input_shape[1]) if batched else (1, input_shape[0])
    size = input_shape[-spatial_rank:]
    given = output_size
    if isinstance(given, (tuple, list)) and len(given) == spatial_rank:
        given = tuple(s if wanted is None else wanted for s, wanted in zip(size, given))
    counts = per_axis("output_size", given, spatial_rank, 1)
    _checked_product("output_size", max(n, 1), channels, *counts)
    for i in range(spatial_rank):
        _checked_product("output_size", size[i], counts[i])
    even = all(s % count == 0 for s, count in zip(size, counts))  # then it is a plain pooling
    kernel = tuple(s // count if even else -(-s // count) + 1 for s, count in zip(size, counts))
    return PoolGeometry(
        spatial_rank,
        batched,
        n,
        channels,
        _triple(size, 1),
        _triple(kernel, 1),
        _triple(kernel, 1),
        (0, 0, 0),
        (0, 0, 0),
        (1, 1, 1),
        _triple(counts, 1),
        not even,
    )


def unpool_shape(
    input_shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
    spatial_rank: int,
) -> tuple[int, ...]:
    """The shape of what a max-unpooling of `input_shape` gives.

    Parameters
    ----------
    output_size : None, one int per axis, or the whole shape
        None takes the smallest size that a max-pooling with these parameters pools to `input_shape`; others
        may differ from it by less than a stride.

    Raises
    ------
    ValueError, TypeError
        Naming the argument that breaks a rule.
    """
    kernel = per_axis("kernel_size", kernel_size, spatial_rank, 1)
    strides = kernel if stride is None else per_axis("stride", stride, spatial_rank, 1)
    pads = padding_pairs(padding, spatial_rank, kernel, strides)
    leading = input_shape[:-spatial_rank]
    usual = []
    for i, size in enumerate(input_shape[-spatial_rank:]):
        usual.append(_checked_product("stride", size - 1, strides[i]) + kernel[i] - sum(pads[i]))
        if output_size is None and usual[i] < 1:
            raise ValueError(f"padding={padding!r}: leaves no output along spatial axis {i}")
    sizes: tuple[int, ...] = tuple(usual)
    if output_size is not None:
        rank = len(input_shape)
        if not isinstance(output_size, (tuple, list)) or len(output_size) not in (spatial_rank, rank):
            raise ValueError(
                f"output_size={output_size!r}: must have {spatial_rank} entries, one per spatial axis, "
                f"or {rank}, the whole shape"
            )
        if len(output_size) > spatial_rank and tuple(output_size[:-spatial_rank]) != leading:
            raise ValueError(f"output_size={output_size!r}: must begin with the input's {leading}")
        sizes = per_axis("output_size", output_size[-spatial_rank:], spatial_rank, 1)
        for i in range(spatial_rank):
            if not usual[i] - strides[i] < sizes[i] < usual[i] + strides[i]:
                raise ValueError(
                    f"output_size={output_size!r}: must differ from {tuple(usual)} by less than the stride, "
                    f"{strides[i]} along spatial axis {i}"
                )
    _checked_product("output", *(max(s, 1) for s in leading), *sizes)
    return (*leading, *sizes)


def divisor(value: Any) -> int:
    """`divisor_override`: None, as 0, or a whole number that is not 0."""
    if value is None:
        return 0
    number = _integer("divisor_override", value)
    if number == 0 or abs(number) > LIMIT:
        raise ValueError(f"divisor_override={value!r}: must not be 0, nor beyond {LIMIT}")
    return number


def norm_power(value: Any) -> float:
    """`norm_type`: a real number, perhaps infinite, but neither 0 nor NaN."""
    return real_number("norm_type", value, nonzero=True, finite=False)
