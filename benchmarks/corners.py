"""Calls off the beaten track of picture nets, each beside the line that one would write without fastconv.

They are here so that they stay mended: long signals, wide windows, thin arrays, large dilations, functions of
one value at a time. A corner is text, so that the page can show what was compared: the same arrays, a line of
Python for each engine, and what it needs beforehand. torch is given tensors on the memory of the arrays.

This module needs NumPy alone, and the package that a line names when that line is made ready.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType
from typing import Any

import numpy as np

#: Names in the lines of an engine, and the modules they stand for.
NAMESPACES = {
    "fastconv": {"fastconv": "fastconv", "nn": "fastconv.nn", "np": "numpy"},
    "scipy": {"np": "numpy", "ndimage": "scipy.ndimage", "signal": "scipy.signal"},
    "torch": {"torch": "torch", "F": "torch.nn.functional"},
}


@dataclass(frozen=True)
class CornerCase:
    """One computation, in the words of several engines."""

    id: str
    arrays: dict[str, tuple[int, ...]]  #: name to shape: normal numbers, float32
    lines: dict[str, str]  #: engine to expression; all give the same array
    before: dict[str, str] | None = None  #: engine to statements that are not timed

    def __hash__(self) -> int:
        return hash(self.id)


def _signal(n: int) -> dict[str, tuple[int, ...]]:
    return {"x": (1, 1, n), "w": (1, 1, n)}


def _pointwise(name: str, ours: str, torchs: str) -> CornerCase:
    return CornerCase(
        name, {"x": (1, 96, 112, 112)}, {"fastconv": f"fastconv.{ours}", "torch": f"F.{torchs}"}
    )


_CHANNELS = {"x": (1, 96, 112, 112), "m": (96,), "s": (96,), "b": (96,)}

CORNERS = (
    # a signal and a kernel of one length
    CornerCase("signal", _signal(192_000), {
        "fastconv": "fastconv.conv1d(x, w, padding=191_999)",
        "scipy": "signal.fftconvolve(x, w[..., ::-1])",
    }),
    CornerCase("signal-grad-input", {"w": (1, 1, 192_000), "g": (1, 1, 383_999)}, {
        "fastconv": "fastconv.grad.conv1d_input((1, 1, 192_000), w, g, padding=191_999)",
        "scipy": 'signal.fftconvolve(g, w, "valid")',
    }),
    CornerCase("signal-grad-weight", {"x": (1, 1, 192_000), "g": (1, 1, 383_999)}, {
        "fastconv": "fastconv.grad.conv1d_weight(x, (1, 1, 192_000), g, padding=191_999)",
        "scipy": 'signal.fftconvolve(x, g[..., ::-1], "valid")',
    }),
    # many taps, few channels
    CornerCase("taps-1025", {"x": (1, 1, 262_144), "w": (1, 1, 1025)}, {
        "fastconv": "fastconv.conv1d(x, w, padding=512)",
        "scipy": 'signal.oaconvolve(x, w[..., ::-1], "same")',
        "torch": "F.conv1d(x, w, padding=512)",
    }),
    CornerCase("template-63", {"x": (1, 1, 1024, 1024), "w": (1, 1, 63, 63)}, {
        "fastconv": "fastconv.conv2d(x, w, padding=31)",
        "scipy": 'signal.oaconvolve(x, w[..., ::-1, ::-1], "same", axes=(2, 3))',
    }),
    CornerCase("depthwise-15x15x15", {"x": (1, 16, 48, 48, 48), "w": (16, 1, 15, 15, 15)}, {
        "fastconv": "fastconv.conv3d(x, w, padding=7, groups=16)",
        "scipy": 'signal.fftconvolve(x, w.swapaxes(0, 1)[..., ::-1, ::-1, ::-1], "same", axes=(2, 3, 4))',
    }),
    CornerCase("whole-picture", {"x": (8, 16, 24, 24), "w": (32, 16, 24, 24)}, {
        "fastconv": "fastconv.conv2d(x, w, padding=12)",
        "torch": "F.conv2d(x, w, padding=12)",
    }),
    # thin arrays
    CornerCase("outer-product", {"x": (1, 1, 1000, 1), "w": (1, 1, 1, 1000)}, {
        "fastconv": "fastconv.conv2d(x, w, padding=(0, 999))",
        "scipy": "np.outer(x, w[..., ::-1])[None, None]",
    }),
    CornerCase("latent-to-picture", {"x": (64, 128, 1, 1), "w": (128, 256, 4, 4)}, {
        "fastconv": "fastconv.conv_transpose2d(x, w)",
        "scipy": "(x.reshape(64, 128) @ w.reshape(128, -1)).reshape(64, 256, 4, 4)",
        "torch": "F.conv_transpose2d(x, w)",
    }),
    # taps far apart
    CornerCase("dilation-1024", {"x": (1, 64, 65_536), "w": (64, 64, 2)}, {
        "fastconv": "fastconv.conv1d(x, w, dilation=1024)",
        "torch": "F.conv1d(x, w, dilation=1024)",
    }),
    CornerCase("depthwise-dilation-8", {"x": (1, 64, 128, 128), "w": (64, 1, 3, 3)}, {
        "fastconv": "fastconv.conv2d(x, w, padding=8, dilation=8, groups=64)",
        "torch": "F.conv2d(x, w, padding=8, dilation=8, groups=64)",
    }),
    # wide windows
    CornerCase("max-301", {"x": (1, 1, 1_000_000)}, {
        "fastconv": "fastconv.max_pool1d(x, 301, 1, 150)",
        "scipy": 'ndimage.maximum_filter1d(x, 301, mode="constant", cval=-np.inf)',
    }),
    CornerCase("max-101x101", {"x": (1, 1, 1024, 1024)}, {
        "fastconv": "fastconv.max_pool2d(x, 101, 1, 50)",
        "scipy": 'ndimage.maximum_filter(x, (1, 1, 101, 101), mode="constant", cval=-np.inf)',
    }),
    CornerCase("max-31x31-gradient", {"x": (1, 4, 256, 256)}, {
        "fastconv": "backprop(y)",
        "torch": "backward(y, x, [31, 31], [1, 1], [15, 15], [1, 1], False, i)",
    }, {
        "fastconv": "y, backprop = nn.MaxPool2d(31, 1, 15).vjp(x)",
        "torch": "y, i = F.max_pool2d(x, 31, 1, 15, return_indices=True)\n"
                 "backward = torch.ops.aten.max_pool2d_with_indices_backward",
    }),
    CornerCase("average-1001", {"x": (1, 1, 1_000_000)}, {
        "fastconv": "fastconv.avg_pool1d(x, 1001, 1, 500)",
        "scipy": 'ndimage.uniform_filter1d(x, 1001, mode="constant")',
    }),
    CornerCase("average-101x101", {"x": (1, 1, 1024, 1024)}, {
        "fastconv": "fastconv.avg_pool2d(x, 101, 1, 50)",
        "scipy": 'ndimage.uniform_filter(x, (1, 1, 101, 101), mode="constant")',
    }),
    CornerCase("average-31x31-gradient", {"g": (1, 1, 1024, 1024)}, {
        "fastconv": "fastconv.grad.avg_pool2d_input(g.shape, g, 31, 1, 15)",
        "scipy": 'ndimage.uniform_filter(g, (1, 1, 31, 31), mode="constant")',
    }),
    CornerCase("average-101x101-gradient", {"g": (1, 1, 1024, 1024)}, {
        "fastconv": "fastconv.grad.avg_pool2d_input(g.shape, g, 101, 1, 50)",
        "scipy": 'ndimage.uniform_filter(g, (1, 1, 101, 101), mode="constant")',
    }),
    # one value at a time, and norms
    _pointwise("relu", "relu(x)", "relu(x)"),
    _pointwise("leaky-relu", "leaky_relu(x)", "leaky_relu(x)"),
    _pointwise("relu6", "relu6(x)", "relu6(x)"),
    _pointwise("hardswish", "hardswish(x)", "hardswish(x)"),
    _pointwise("sigmoid", "sigmoid(x)", "sigmoid(x)"),
    _pointwise("silu", "silu(x)", "silu(x)"),
    _pointwise("gelu", "gelu(x)", "gelu(x)"),
    _pointwise("tanh", "tanh(x)", "tanh(x)"),
    _pointwise("elu", "elu(x)", "elu(x)"),
    _pointwise("softplus", "softplus(x)", "softplus(x)"),
    _pointwise("softmax", "softmax(x, 1)", "softmax(x, 1)"),
    _pointwise("layer-norm", "layer_norm(x, (112,))", "layer_norm(x, (112,))"),
    CornerCase("batch-norm", _CHANNELS, {
        "fastconv": "fastconv.batch_norm(x, m, v, s, b)",
        "torch": "F.batch_norm(x, m, v, s, b)",
    }, {"fastconv": "v = s * s", "torch": "v = s * s"}),
    CornerCase("batch-norm-training", _CHANNELS, {
        "fastconv": "fastconv.batch_norm(x, None, None, s, b, True)",
        "torch": "F.batch_norm(x, None, None, s, b, True)",
    }),
    CornerCase("batch-norm-gradient", _CHANNELS | {"g": (1, 96, 112, 112)}, {
        "fastconv": "backprop(g)",
        "torch": "backward(g, x, s, None, None, mean, scale, True, 1e-5, [True, True, True])[0]",
    }, {
        "fastconv": "layer = nn.BatchNorm2d(96, dtype=x.dtype)\n"
                    "layer.weight.value[...] = s\n"
                    "_, backprop = layer.vjp(x)",
        "torch": "_, mean, scale = torch.native_batch_norm(x, s, b, None, None, True, 0.1, 1e-5)\n"
                 "backward = torch.ops.aten.native_batch_norm_backward",
    }),
    CornerCase("batch-norm-channels-last", {"y": (8, 28, 28, 64), "m": (64,), "s": (64,), "b": (64,)}, {
        "fastconv": "fastconv.batch_norm(x, m, v, s, b)",
        "torch": "F.batch_norm(x, m, v, s, b)",
    }, {
        "fastconv": "v, x = s * s, y.transpose(0, 3, 1, 2)",
        "torch": "v, x = s * s, y.permute(0, 3, 1, 2)",
    }),
    CornerCase("layer-norm-gradient", {"x": (8, 128, 768), "g": (8, 128, 768), "w": (768,)}, {
        "fastconv": "backprop(g)",
        "torch": "backward(g, x, [768], mean, scale, w, None, [True, True, False])[0]",
    }, {
        "fastconv": "layer = nn.LayerNorm(768, bias=False, dtype=x.dtype)\n"
                    "layer.weight.value[...] = w\n"
                    "_, backprop = layer.vjp(x)",
        "torch": "_, mean, scale = torch.native_layer_norm(x, [768], w, None, 1e-5)\n"
                 "backward = torch.ops.aten.native_layer_norm_backward",
    }),
    CornerCase("gelu-gradient", {"x": (1, 96, 112, 112), "g": (1, 96, 112, 112)}, {
        "fastconv": "fastconv.grad.gelu_input(x, g)",
        "torch": "torch.ops.aten.gelu_backward(g, x)",
    }),
    # many classes
    CornerCase("smoothed-50257-classes", {"x": (64, 50_257)}, {
        "fastconv": "np.array([nn.CrossEntropyLoss(label_smoothing=0.1)(x, labels)])",
        "torch": "F.cross_entropy(x, labels, label_smoothing=0.1)[None]",
    }, {"fastconv": "labels = np.arange(64) * 700", "torch": "labels = torch.arange(64) * 700"}),
    CornerCase("smoothed-50257-classes-gradient", {"x": (64, 50_257)}, {
        "fastconv": "nn.CrossEntropyLoss(label_smoothing=0.1).vjp(x, labels)[1]",
        "torch": "torch.autograd.grad(F.cross_entropy(y, labels, label_smoothing=0.1), y)[0]",
    }, {
        "fastconv": "labels = np.arange(64) * 700",
        "torch": "labels, y = torch.arange(64) * 700, x.clone().requires_grad_()",
    }),
    CornerCase("segmentation-21-classes-gradient", {"x": (8, 21, 128, 128)}, {
        "fastconv": "nn.CrossEntropyLoss().vjp(x, labels)[1]",
        "torch": "torch.autograd.grad(F.cross_entropy(y, labels), y)[0]",
    }, {
        "fastconv": "labels = np.arange(8 * 128 * 128).reshape(8, 128, 128) % 21",
        "torch": "labels = torch.arange(8 * 128 * 128).reshape(8, 128, 128) % 21\n"
                 "y = x.clone().requires_grad_()",
    }),
    CornerCase("logistic-loss-gradient", {"x": (1000, 1000)}, {
        "fastconv": "nn.BCEWithLogitsLoss().vjp(x, t)[1]",
        "torch": "torch.autograd.grad(F.binary_cross_entropy_with_logits(y, t), y)[0]",
    }, {
        "fastconv": "t = (x > 0.5).astype(x.dtype)",
        "torch": "t, y = (x > 0.5).to(x.dtype), x.clone().requires_grad_()",
    }),
)  # fmt: skip


def corner_arrays(case: CornerCase, dtype: str = "float32") -> dict[str, np.ndarray]:
    """The same ones in every process."""
    return {
        name: np.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype)
        for seed, (name, shape) in enumerate(case.arrays.items(), 1)
    }


def corner_call(engine: str, case: CornerCase, arrays: dict[str, Any]) -> Callable[[], Any]:
    """The line of an engine, ready to run on these arrays; raises `KeyError` if it has none."""
    line: CodeType = compile(case.lines[engine], case.id, "eval")
    names = {name: importlib.import_module(module) for name, module in NAMESPACES[engine].items()} | arrays
    exec((case.before or {}).get(engine, ""), names)
    return lambda: eval(line, names)


def corner_exact(case: CornerCase) -> np.ndarray:
    """The same in float64, by the first engine other than fastconv."""
    engine = next(engine for engine in case.lines if engine != "fastconv")
    arrays: dict[str, Any] = corner_arrays(case, "float64")
    if engine == "torch":
        torch = importlib.import_module("torch")
        arrays = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return np.asarray(corner_call(engine, case, arrays)())
