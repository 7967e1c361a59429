"""Whole nets as ONNX models with random weights: what people run, in a few lines each.

Weights are He's, and batch normalisation has statistics of its own, as a trained net has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A model that is being written, node by node; values are their names."""

    def __init__(self, channels: int = 3, size: int = 224, batch: int = 1) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"x": channels}
        self.shape = (batch, channels, size, size)
        self.draw = np.random.default_rng(0)

    def constant(self, array: np.ndarray) -> str:
        """An initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, *inputs: str, channels: int | None = None, **attributes: Any) -> str:
        """A node; it has the channels of its first input unless others are named."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        self.channels[name] = self.channels.get(inputs[0], 0) if channels is None else channels
        return name

    def conv(
        self, x: str, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = False
    ) -> str:
        """A convolution whose padding keeps the size, but for its stride."""
        depth = self.channels[x] // groups
        weight = self.draw.normal(0, (2 / (depth * kernel**2)) ** 0.5, (channels, depth, kernel, kernel))
        inputs = [x, self.constant(weight.astype(np.float32))]
        if bias:
            inputs.append(self.constant(self.draw.normal(0, 0.1, channels).astype(np.float32)))
        pads = [kernel // 2] * 4
        return self.node(
            "Conv",
            *inputs,
            channels=channels,
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=pads,
            group=groups,
        )

    def norm(self, x: str) -> str:
        """Batch normalisation."""
        count = self.channels[x]
        draws = ((1, 0.1), (0, 0.1), (0, 0.2), (1, 0.1))
        return self.node(
            "BatchNormalization",
            x,
            *(self.constant(np.abs(self.draw.normal(*d, count)).astype(np.float32)) for d in draws),
        )

    def conv_norm(self, x: str, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> str:
        """A convolution and the normalisation behind it."""
        return self.norm(self.conv(x, channels, kernel, stride, groups))

    def relu(self, x: str) -> str:
        """A rectified linear unit."""
        return self.node("Relu", x)

    def clip(self, x: str) -> str:
        """Relu6."""
        return self.node("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(6)))

    def swish(self, x: str) -> str:
        """x * sigmoid(x), in the two nodes that exporters write."""
        return self.node("Mul", x, self.node("Sigmoid", x))

    def pool(self, x: str, kernel: int = 3, stride: int = 2, pad: int = 1, mean: bool = False) -> str:
        """A pooling."""
        operator = "AveragePool" if mean else "MaxPool"
        return self.node(operator, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def join(self, *parts: str) -> str:
        """Channels side by side."""
        return self.node("Concat", *parts, axis=1, channels=sum(self.channels[part] for part in parts))

    def head(self, x: str, classes: int = 1000) -> str:
        """Global average, and a fully connected layer."""
        count = self.channels[x]
        flat = self.node("Flatten", self.node("GlobalAveragePool", x), axis=1)
        weight = self.draw.normal(0, count**-0.5, (classes, count)).astype(np.float32)
        return self.node(
            "Gemm", flat, self.constant(weight), self.constant(np.zeros(classes, np.float32)), transB=1
        )

    def model(self, output: str) -> onnx.ModelProto:
        """The model, with a batch of any size."""
        told = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *self.shape[1:]])
        made = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "net", [told], [made], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def resnet50() -> onnx.ModelProto:
    """He et al., "Deep residual learning for image recognition", arXiv:1512.03385; strides at the 3x3."""
    net = Net()
    x = net.pool(net.relu(net.conv_norm("x", 64, 7, 2)))
    for stage, (count, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512))):
        for i in range(count):
            stride = 2 if i == 0 and stage else 1
            y = net.relu(net.conv_norm(x, width))
            y = net.relu(net.conv_norm(y, width, 3, stride))
            y = net.conv_norm(y, 4 * width)
            around = x if i else net.conv_norm(x, 4 * width, 1, stride)
            x = net.relu(net.node("Add", y, around))
    return net.model(net.head(x))


def mobilenet_v2() -> onnx.ModelProto:
    """Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", arXiv:1801.04381."""
    net = Net()
    x = net.clip(net.conv_norm("x", 32, 3, 2))
    rows = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )
    for wider, channels, count, first in rows:
        for i in range(count):
            inner = net.channels[x] * wider
            y = net.clip(net.conv_norm(x, inner)) if wider > 1 else x
            y = net.clip(net.conv_norm(y, inner, 3, first if i == 0 else 1, inner))
            y = net.conv_norm(y, channels)
            x = net.node("Add", x, y) if i else y
    return net.model(net.head(net.clip(net.conv_norm(x, 1280))))


def efficientnet_b0() -> onnx.ModelProto:
    """Tan & Le, "EfficientNet: rethinking model scaling", arXiv:1905.11946."""
    net = Net()
    x = net.swish(net.conv_norm("x", 32, 3, 2))
    rows = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3),
            (6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1))  # fmt: skip
    for wider, kernel, first, channels, count in rows:
        for i in range(count):
            inner = net.channels[x] * wider
            y = net.swish(net.conv_norm(x, inner)) if wider > 1 else x
            y = net.swish(net.conv_norm(y, inner, kernel, first if i == 0 else 1, inner))
            gate = net.swish(
                net.conv(net.node("GlobalAveragePool", y), max(1, net.channels[x] // 4), bias=True)
            )
            y = net.node("Mul", y, net.node("Sigmoid", net.conv(gate, inner, bias=True)))
            y = net.conv_norm(y, channels)
            x = net.node("Add", x, y) if i else y
    return net.model(net.head(net.swish(net.conv_norm(x, 1280))))


def densenet121() -> onnx.ModelProto:
    """Huang et al., "Densely connected convolutional networks", arXiv:1608.06993."""
    net = Net()
    x = net.pool(net.relu(net.conv_norm("x", 64, 7, 2)))
    for stage, count in enumerate((6, 12, 24, 16)):
        parts = [x]
        for _ in range(count):
            joined = net.join(*parts) if len(parts) > 1 else parts[0]
            y = net.conv(net.relu(net.norm(joined)), 128)
            parts.append(net.conv(net.relu(net.norm(y)), 32, 3))
        x = net.join(*parts)
        if stage < 3:
            x = net.pool(net.conv(net.relu(net.norm(x)), net.channels[x] // 2), 2, 2, 0, mean=True)
    return net.model(net.head(net.relu(net.norm(x))))


def squeezenet() -> onnx.ModelProto:
    """Iandola et al., "SqueezeNet", arXiv:1602.07360; version 1.1."""
    net = Net()
    x = net.pool(net.relu(net.conv("x", 64, 3, 2, bias=True)), pad=0)
    for i, (narrow, wide) in enumerate(
        ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    ):
        if i in (2, 4):
            x = net.pool(x, pad=0)
        squeezed = net.relu(net.conv(x, narrow, bias=True))
        x = net.join(
            net.relu(net.conv(squeezed, wide, bias=True)), net.relu(net.conv(squeezed, wide, 3, bias=True))
        )
    x = net.node("GlobalAveragePool", net.relu(net.conv(x, 1000, bias=True)))
    return net.model(net.node("Flatten", x, axis=1))


def unet() -> onnx.ModelProto:
    """Ronneberger et al., "U-Net", arXiv:1505.04597; padded, half as wide, on a picture of 256x256."""
    net = Net(1, 256)

    def twice(x: str, channels: int) -> str:
        for _ in range(2):
            x = net.relu(net.conv_norm(x, channels, 3))
        return x

    x, kept = "x", []
    for channels in (32, 64, 128, 256):
        kept.append(twice(x, channels))
        x = net.pool(kept[-1], 2, 2, 0)
    x = twice(x, 512)
    for around in reversed(kept):
        channels = net.channels[around]
        weight = net.draw.normal(0, (2 / net.channels[x]) ** 0.5, (net.channels[x], channels, 2, 2))
        up = net.node(
            "ConvTranspose", x, net.constant(weight.astype(np.float32)), channels=channels,
            kernel_shape=[2, 2], strides=[2, 2],
        )  # fmt: skip
        x = twice(net.join(around, up), channels)
    return net.model(net.conv(x, 2, bias=True))


NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    "resnet50": resnet50,
    "mobilenet_v2": mobilenet_v2,
    "efficientnet_b0": efficientnet_b0,
    "densenet121": densenet121,
    "squeezenet": squeezenet,
    "unet": unet,
}
