"""Calls of `keras.ops`, and a model, on Keras' NumPy backend; results into a file.

Run as a program: `keras_cases.py FILE ours`, or `theirs`.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import fastconv.interop.keras


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


X1, X2, X3 = draw(2, 9, 4), draw(2, 9, 8, 4), draw(1, 5, 6, 5, 2)


def calls(ops: Any) -> dict[str, Any]:
    """What every backend must agree on."""
    found = {
        "1-D": ops.conv(X1, draw(3, 4, 5), padding="same"),
        "2-D, valid": ops.conv(X2, draw(3, 2, 4, 5), strides=2, padding="valid"),
        "2-D, strided same": ops.conv(X2, draw(3, 4, 4, 5), strides=(2, 1), padding="same"),
        "dilated": ops.conv(X2, draw(3, 3, 4, 5), dilation_rate=2, padding="same"),
        "groups": ops.conv(X2, draw(3, 3, 2, 6), padding="same"),
        "3-D": ops.conv(X3, draw(2, 3, 2, 2, 3), padding="valid"),
        "depthwise": ops.depthwise_conv(X2, draw(3, 3, 4, 2), strides=2, padding="same"),
        "separable": ops.separable_conv(X2, draw(3, 3, 4, 2), draw(1, 1, 8, 5), padding="same"),
        "half": ops.cast(ops.conv(X2.astype("float16"), draw(3, 3, 4, 5).astype("float16")), "float32"),
    }
    for padding in ("same", "valid"):
        for stride in (1, 2, 4):
            name = f"{padding}, stride {stride}"
            found[f"transposed, {name}"] = ops.conv_transpose(
                X2, draw(3, 2, 5, 4), strides=stride, padding=padding
            )
            found[f"max, {name}"] = ops.max_pool(X2, 3, strides=stride, padding=padding)
            found[f"average, {name}"] = ops.average_pool(X2, (3, 2), strides=stride, padding=padding)
    x, kernel = X2.transpose(0, 3, 1, 2), draw(3, 2, 4, 5)
    found["channels first"] = ops.conv(x, kernel, strides=2, data_format="channels_first")
    found["a Fourier transform"] = ops.fft((X1, X1[::-1]))[1]
    found["max, 1-D"] = ops.max_pool(X1, 2, 2)
    found["max, 3-D"] = ops.max_pool(X3, 2, 2, padding="same")
    return found


def model(keras: Any) -> Any:
    """Layers of all kinds, with weights that do not depend on the backend."""
    layers = keras.layers
    net = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.SeparableConv2D(12, 3, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, strides=2, padding="same"),
            layers.Conv2DTranspose(6, 3, strides=2, padding="same"),
            layers.AveragePooling2D(2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    net.set_weights([np.abs(draw(*weight.shape)) / 8 for weight in net.weights])
    return net.predict(draw(3, 16, 16, 3), verbose=0)


def main(path: str, whose: str) -> None:
    """All results into the file; ours as if JAX were not installed."""
    if whose == "ours":
        sys.modules["jax"] = None  # type: ignore[assignment]
        fastconv.interop.keras.install()
        fastconv.interop.keras.install()  # once more changes nothing
        assert sys.modules["jax"] is None
    import keras

    if whose == "ours":  # theirs cannot: no strides given, and integers
        whole = keras.ops.max_pool(np.arange(16).reshape(1, 4, 4, 1), 2)
        assert (whole.dtype.kind, whole.ravel().tolist()) == ("i", [5, 7, 13, 15])
    results = {name: keras.ops.convert_to_numpy(value) for name, value in calls(keras.ops).items()}
    np.savez(path, model=model(keras), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
