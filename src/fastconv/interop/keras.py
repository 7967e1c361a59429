"""Keras 3 on its NumPy backend, with the convolutions and pools of fastconv in place of JAX's.

The NumPy backend of Keras asks JAX for these functions alone. `install()` puts fastconv's there, so that
models predict with Keras and NumPy, JAX installed or not. That backend does not train, in Keras either.

Source: https://keras.io/api/ops/nn/ for what the functions mean.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from fastconv.interop import missing
from fastconv.interop.calls import AVG_POOL, CONV, CONV_TRANSPOSE, MAX_POOL

try:
    if find_spec("keras") is None:
        raise ModuleNotFoundError("No module named 'keras'", name="keras")
except (ValueError, ImportError) as error:  # keras itself is imported by `install`, when JAX has a stand-in
    raise missing("keras", ModuleNotFoundError("No module named 'keras'", name="keras")) from error

__all__ = ["install"]

_NN, _MATH = "keras.src.backend.numpy.nn", "keras.src.backend.numpy.math"
_Pairs = list[tuple[int, int]]


# ---- Keras' conventions ------------------------------------------------------------------------------


def _spread(value: Any, rank: int) -> tuple[int, ...]:
    """A size as one number per axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (int(value),) * rank


def _padding(padding: Any, sizes: Sequence[int], windows: Sequence[int], strides: Sequence[int]) -> _Pairs:
    """Zeros before and after each axis: "same" makes ceil(size / stride) places, most of them behind."""
    if not isinstance(padding, str):
        return [tuple(pair) for pair in padding]
    if padding.lower() not in ("same", "valid"):
        raise ValueError(f"padding={padding!r}: must be 'same' or 'valid'")
    if padding.lower() == "valid":
        return [(0, 0)] * len(sizes)
    pairs = []
    for size, window, stride in zip(sizes, windows, strides):
        total = max((-(-size // stride) - 1) * stride + window - size, 0)
        pairs.append((total // 2, total - total // 2))
    return pairs


def _tensor(value: Any) -> np.ndarray:
    """An array of NumPy, also out of a variable of Keras."""
    array: np.ndarray = import_module("keras.src.backend.numpy.core").convert_to_tensor(value)
    return array


def _channels_first(inputs: np.ndarray, data_format: Any) -> tuple[np.ndarray, Callable[..., np.ndarray]]:
    """A view (N, C, *spatial) of the inputs, and what brings an output into the order they came in."""
    rank = inputs.ndim - 2
    if rank not in CONV:
        raise ValueError(f"inputs: shape {inputs.shape} must have 3 to 5 axes, one to three of them spatial")
    config = import_module("keras.src.backend.config")
    if config.standardize_data_format(data_format) == "channels_first":
        return inputs, lambda output: output
    return np.moveaxis(inputs, -1, 1), lambda output: np.moveaxis(output, 1, -1)


def _computed(run: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """`run` in a dtype that fastconv has, its result in that of the arrays."""
    dtype = np.result_type(*arrays)
    exact = dtype.kind in "iub" and dtype.itemsize > 2
    wide = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float64 if exact else np.float32)
    output = run(*[array.astype(wide, copy=False) for array in arrays])
    return output.astype(dtype, copy=False)


# ---- Keras' functions --------------------------------------------------------------------------------


def _convolved(
    x: np.ndarray, weight: np.ndarray, strides: Any, padding: Any, dilation_rate: Any, groups: int
) -> np.ndarray:
    """A convolution of (N, C, *spatial) with (K, C / groups, *kernel)."""
    rank = x.ndim - 2
    stride, dilation = _spread(strides, rank), _spread(dilation_rate, rank)
    windows = [d * (k - 1) + 1 for k, d in zip(weight.shape[2:], dilation)]
    pads = _padding(padding, x.shape[2:], windows, stride)
    return _computed(lambda x, w: CONV[rank](x, w, None, stride, pads, dilation, groups), x, weight)


def _conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> np.ndarray:
    """`keras.ops.conv`: a kernel (*kernel, C / groups, K)."""
    x, back = _channels_first(_tensor(inputs), data_format)
    kernel = _tensor(kernel)
    if x.shape[1] % kernel.shape[-2]:
        raise ValueError(
            f"inputs: {x.shape[1]} channels must be a multiple of the kernel's {kernel.shape[-2]}"
        )
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    groups = x.shape[1] // kernel.shape[-2]
    return back(_convolved(x, weight, strides, padding, dilation_rate, groups))


def _depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> np.ndarray:
    """`keras.ops.depthwise_conv`: a kernel (*kernel, C, multiplier)."""
    x, back = _channels_first(_tensor(inputs), data_format)
    kernel = _tensor(kernel)
    channels = kernel.shape[-2]
    weight = np.moveaxis(kernel, (-2, -1), (0, 1)).reshape(-1, 1, *kernel.shape[:-2])
    return back(_convolved(x, weight, strides, padding, dilation_rate, channels))


def _separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> np.ndarray:
    """`keras.ops.separable_conv`: depthwise, then one number per pair of channels."""
    maps = _depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return _conv(maps, pointwise_kernel, 1, "valid", data_format)


def _conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: Any = "valid",
    output_padding: Any = None,
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> np.ndarray:
    """`keras.ops.conv_transpose`: a kernel (*kernel, K, C).

    Keras says how far the input, spread by the stride, is padded for a plain convolution. A window less one,
    minus that, is what is taken off here, or added where it is negative: nothing is painted there.
    """
    inputs, kernel = _tensor(inputs), _tensor(kernel)
    x, back = _channels_first(inputs, data_format)
    rank = x.ndim - 2
    stride, dilation = _spread(strides, rank), _spread(dilation_rate, rank)
    spread = import_module(
        "keras.src.backend.common.backend_utils"
    ).compute_conv_transpose_padding_args_for_jax(
        input_shape=inputs.shape,
        kernel_shape=kernel.shape,
        strides=stride,
        padding=padding,
        output_padding=output_padding,
        dilation_rate=dilation,
    )
    windows = [d * (k - 1) for k, d in zip(kernel.shape[:-2], dilation)]
    pads = [(window - before, window - after) for window, (before, after) in zip(windows, spread)]
    taken = [(max(before, 0), max(after, 0)) for before, after in pads]
    added = [(max(-before, 0), max(-after, 0)) for before, after in pads]
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))

    def run(x: np.ndarray, w: np.ndarray) -> Any:
        return CONV_TRANSPOSE[rank](x, w, None, stride, taken, 0, 1, dilation)

    output = _computed(run, x, weight)
    return back(np.pad(output, [(0, 0), (0, 0), *added]) if any(map(any, added)) else output)


def _pooled(
    pools: dict[int, Callable[..., Any]],
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    **options: Any,
) -> np.ndarray:
    x, back = _channels_first(_tensor(inputs), data_format)
    rank = x.ndim - 2
    kernel = _spread(pool_size, rank)
    stride = kernel if strides is None else _spread(strides, rank)
    pads = _padding(padding, x.shape[2:], kernel, stride)
    return back(_computed(lambda x: pools[rank](x, kernel, stride, pads, **options), x))


def _max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: Any = "valid", data_format: Any = None
) -> np.ndarray:
    """`keras.ops.max_pool`."""
    return _pooled(MAX_POOL, inputs, pool_size, strides, padding, data_format)


def _average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: Any = "valid", data_format: Any = None
) -> np.ndarray:
    """`keras.ops.average_pool`: padding does not count."""
    return _pooled(AVG_POOL, inputs, pool_size, strides, padding, data_format, count_include_pad=False)


_OURS: dict[str, Callable[..., np.ndarray]] = {
    "conv": _conv,
    "depthwise_conv": _depthwise_conv,
    "separable_conv": _separable_conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
}

# ---- where they go -----------------------------------------------------------------------------------


def _transformed(transform: Callable[[Any], np.ndarray]) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """A Fourier transform of (real, imaginary), as Keras hands complex numbers around."""

    def run(x: Any) -> tuple[np.ndarray, np.ndarray]:
        real, imaginary = map(_tensor, x)
        output = transform(real + 1j * imaginary)
        return output.real.astype(real.dtype), output.imag.astype(real.dtype)

    return run


def _stand_ins() -> dict[str, ModuleType]:
    """What the NumPy backend imports of JAX, and of Keras' backend for JAX, by the names of the modules."""
    names = ("jax", "jax.lax", "keras.src.backend.jax", "keras.src.backend.jax.math")
    modules = {name: ModuleType(name) for name in names}
    vars(modules["jax"])["lax"] = modules["jax.lax"]
    vars(modules["keras.src.backend.jax.math"]).update(
        fft=_transformed(np.fft.fft), fft2=_transformed(np.fft.fft2)
    )
    return modules


class _Loader(Loader):
    """Runs a module's file while the stand-ins answer for JAX; nobody else meets them."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader.exec_module`."""
        modules = _stand_ins()
        before = {name: sys.modules[name] for name in modules if name in sys.modules}
        sys.modules.update(modules)
        try:
            self._loader.exec_module(module)
        finally:
            for name in modules:
                sys.modules.pop(name, None)
            sys.modules.update(before)


class _Finder(MetaPathFinder):
    """Finds the two files of the NumPy backend that import JAX."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        spec = PathFinder.find_spec(fullname, path) if fullname in (_NN, _MATH) else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def _imported() -> Any:
    """Keras, imported without JAX if there is none."""
    blocked = "jax" in sys.modules and sys.modules["jax"] is None
    if not blocked and ("jax" in sys.modules or find_spec("jax") is not None):
        return import_module("keras")
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        return import_module("keras")
    finally:
        sys.meta_path.remove(finder)


def install() -> None:
    """Make Keras' NumPy backend convolve and pool by fastconv, for the rest of the process.

    Call it before anything imports Keras where JAX is not installed, and with ``KERAS_BACKEND=numpy`` in the
    environment. Functions of `keras.ops` and all layers then take fastconv's: convolutions of one to three
    axes, depthwise, separable and transposed ones, max and average pools. Half precision is computed in
    float32 and rounded, integers in float64. Further calls change nothing.

    Raises
    ------
    RuntimeError
        Keras runs on another backend.
    ImportError
        Keras cannot be imported for another reason than JAX.

    Notes
    -----
    Source: https://keras.io/getting_started/#configuring-your-backend.

    Examples
    --------
    >>> import os
    >>> os.environ["KERAS_BACKEND"] = "numpy"
    >>> import fastconv.interop.keras
    >>> fastconv.interop.keras.install()
    >>> import keras, numpy as np
    >>> keras.ops.max_pool(np.ones((1, 4, 4, 2), "float32"), 2).shape
    (1, 2, 2, 2)
    """
    keras = _imported()
    backend = keras.config.backend()
    if backend != "numpy":
        raise RuntimeError(
            f"keras runs on its {backend!r} backend: must be 'numpy'; "
            "set KERAS_BACKEND=numpy before anything imports keras"
        )
    theirs = {name: getattr(import_module(_NN), name) for name in _OURS}
    for path, module in list(sys.modules.items()):
        if path.startswith("keras.src.backend") and module is not None:
            for name, function in theirs.items():
                if vars(module).get(name) is function:
                    setattr(module, name, _OURS[name])
