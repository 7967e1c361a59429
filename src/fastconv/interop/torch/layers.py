"""The layer of `fastconv.nn` that does what one module or function of torch does."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import fastconv.nn as fnn
from fastconv.interop.torch import takeover

_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
_CONV_TRANSPOSE = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "output_padding",
    "groups",
)
_MAX_POOL = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_AVG_POOL = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")

#: Classes of torch.nn that have a namesake here, and the arguments that the two have in common.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    **{f"Conv{rank}d": _CONV for rank in (1, 2, 3)},
    **{f"ConvTranspose{rank}d": _CONV_TRANSPOSE for rank in (1, 2, 3)},
    **{f"MaxPool{rank}d": _MAX_POOL for rank in (1, 2, 3)},
    **{f"AvgPool{rank}d": _AVG_POOL for rank in (1, 2, 3)},
    **{f"Adaptive{kind}Pool{rank}d": ("output_size",) for kind in ("Avg", "Max") for rank in (1, 2, 3)},
    **{f"BatchNorm{rank}d": ("num_features", "eps", "momentum", "affine") for rank in (1, 2, 3)},
    **dict.fromkeys(
        (
            "Identity", "ReLU", "ReLU6", "SELU", "SiLU", "Mish", "Hardswish", "Hardsigmoid", "Sigmoid",
            "Tanh", "LogSigmoid", "Softsign", "Tanhshrink",
        ),
        (),
    ),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "CELU": ("alpha",),
    "GELU": ("approximate",),
    "Hardtanh": ("min_val", "max_val"),
    "Softplus": ("beta", "threshold"),
    "Softshrink": ("lambd",),
    "Hardshrink": ("lambd",),
    "Softmax": ("dim",),
    "LogSoftmax": ("dim",),
    "PReLU": ("num_parameters",),
    "Linear": ("in_features", "out_features"),
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "LocalResponseNorm": ("size", "alpha", "beta", "k"),
    "Flatten": ("start_dim", "end_dim"),
    "Dropout": ("p",),
}  # fmt: skip

#: torch's modules as they are and as `accelerate` makes them: the name of the layer.
NAMES: dict[type, str] = {getattr(torch.nn, name): name for name in _ARGUMENTS}
NAMES |= {kind: name for name in _ARGUMENTS if (kind := getattr(takeover, name, None)) is not None}

_WINDOWS = ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")

#: Functions that do what a module does: its name, and their arguments behind the input.
_FUNCTIONS: dict[Any, tuple[str, tuple[str, ...]]] = {
    **{
        getattr(F, f"adaptive_{kind}_pool{rank}d"): (
            f"Adaptive{kind.capitalize()}Pool{rank}d",
            ("output_size",),
        )
        for kind in ("avg", "max")
        for rank in (1, 2, 3)
    },
    **{
        getattr(F, name): (
            f"{name[:3].capitalize()}Pool{name[-2:]}",
            _MAX_POOL if name.startswith("max") else _AVG_POOL,
        )
        for name in _WINDOWS
    },
    F.relu: ("ReLU", ()),
    torch.relu: ("ReLU", ()),
    F.relu6: ("ReLU6", ()),
    F.leaky_relu: ("LeakyReLU", ("negative_slope",)),
    F.elu: ("ELU", ("alpha",)),
    F.gelu: ("GELU", ()),
    F.silu: ("SiLU", ()),
    F.mish: ("Mish", ()),
    F.hardswish: ("Hardswish", ()),
    torch.sigmoid: ("Sigmoid", ()),
    F.sigmoid: ("Sigmoid", ()),
    torch.tanh: ("Tanh", ()),
    F.tanh: ("Tanh", ()),
    F.softmax: ("Softmax", ("dim",)),
    F.log_softmax: ("LogSoftmax", ("dim",)),
    F.dropout: ("Dropout", ("p",)),
    torch.flatten: ("Flatten", ("start_dim", "end_dim")),
    "relu": ("ReLU", ()),
    "relu_": ("ReLU", ()),
    "sigmoid": ("Sigmoid", ()),
    "tanh": ("Tanh", ()),
    "softmax": ("Softmax", ("dim",)),
    "flatten": ("Flatten", ("start_dim", "end_dim")),
}

#: Arguments that change nothing here: nothing works in place, and training is what `vjp` does.
_IDLE = {"inplace", "training", "return_indices", "dtype", "_stacklevel"}

ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
CONCATENATIONS = (torch.cat, torch.concat)


def _extras(name: str, module: Any) -> dict[str, Any]:
    """Arguments that torch's module keeps in another form, and what no layer here can do."""
    parameter = next(iter(module.parameters(recurse=False)), None)
    extras: dict[str, Any] = {}
    if parameter is not None:
        if parameter.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype {parameter.dtype} must be float32 or float64")
        extras["dtype"] = str(parameter.dtype).removeprefix("torch.")
    if name.startswith("Conv") or name in ("Linear", "LayerNorm"):
        extras["bias"] = module.bias is not None
    if name.startswith("Conv") and module.padding_mode != "zeros":
        raise ValueError(f"padding_mode={module.padding_mode!r} must be 'zeros'")
    if name.startswith("ConvTranspose"):
        extras["dilation"] = module.dilation
    if name.startswith("BatchNorm"):
        if not module.track_running_stats or module.momentum is None:
            raise ValueError("must track running statistics, with a momentum")
        if parameter is None:
            extras["dtype"] = str(module.running_mean.dtype).removeprefix("torch.")
    if getattr(module, "return_indices", False):
        raise ValueError("return_indices=True has no counterpart in a net of layers")
    return extras


def from_module(module: torch.nn.Module) -> tuple[fnn.Layer, list[tuple[fnn.Buffer, Tensor]]]:
    """The layer that does what a module does, and what it owns, beside the tensors of the module.

    The values are still the layer's own.

    Raises
    ------
    ValueError, TypeError
        No layer does that; the message says what, but not where.
    """
    name = NAMES.get(type(module))
    if name is None:
        raise ValueError("has no counterpart in fastconv.nn")
    arguments = [getattr(module, key, None) for key in _ARGUMENTS[name]]
    extras = _extras(name, module)
    if name.startswith(("Conv", "Linear")):
        extras["rng"] = 0  # the starting values are written over
    layer: fnn.Layer = getattr(fnn, name)(*arguments, **extras)
    tensors = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    owned = [(getattr(layer, key), tensor) for key, tensor in tensors.items() if hasattr(layer, key)]
    return layer, owned


def from_function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fnn.Layer:
    """The layer that does what a function, or a method of that name, does with these further arguments.

    Raises
    ------
    ValueError, TypeError
        No layer does that.
    """
    if function == "mean" or function is torch.mean:
        return _global_average(*args, **kwargs)
    if function in ("view", "reshape"):
        return _flattening(args)
    if function not in _FUNCTIONS:
        raise ValueError("has no counterpart in fastconv.nn")
    name, keys = _FUNCTIONS[function]
    given = dict(zip(keys, args)) | {key: value for key, value in kwargs.items() if key not in _IDLE}
    if kwargs.get("return_indices"):
        raise ValueError("return_indices=True has no counterpart in a net of layers")
    if name == "Flatten":
        given = {"start_dim": 0, **given}
    make: Callable[..., fnn.Layer] = getattr(fnn, name)
    return make(**given)


def _global_average(dim: Any = None, keepdim: bool = False) -> fnn.Layer:
    axes = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if axes not in ((2, 3), (-2, -1), (-1, -2), (2, 3, 4), (-3, -2, -1)):
        raise ValueError(f"a mean over dim={dim!r} has no counterpart: it must be all of the pixels")
    return fnn.GlobalAvgPool() if keepdim else fnn.Sequential(fnn.GlobalAvgPool(), fnn.Flatten())


def _flattening(args: tuple[Any, ...]) -> fnn.Layer:
    shape = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
    if len(shape) != 2 or shape[1] != -1 or isinstance(shape[0], int):
        raise ValueError(
            f"a view as {tuple(shape)} has no counterpart: it must be (N, -1), with N the input's"
        )
    return fnn.Flatten()
