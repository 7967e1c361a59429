"""What layers refuse: when they are made, and when they run; always one error that names what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn

ONE = np.ones((1, 2, 5, 5), np.float32)

MAKING = [
    (lambda: nn.Conv2d(0, 3, 3), ValueError, "in_channels=0: must be at least 1"),
    (lambda: nn.Conv2d(1, 3.0, 3), TypeError, "out_channels=3.0: must be an integer"),
    (lambda: nn.Conv2d(1, 3, 0), ValueError, "kernel_size=0"),
    (lambda: nn.Conv2d(1, 3, (3, 3, 3)), ValueError, "kernel_size=.*must have 2 entries"),
    (lambda: nn.Conv2d(1, 3, 3, stride=0), ValueError, "stride=0"),
    (lambda: nn.Conv2d(1, 3, 3, padding=-1), ValueError, "padding=-1"),
    (lambda: nn.Conv2d(1, 3, 3, 2, padding="same"), ValueError, "padding='same' needs stride 1"),
    (lambda: nn.Conv2d(1, 3, 3, padding="full"), ValueError, "padding='full'"),
    (lambda: nn.Conv2d(1, 3, 3, dilation=0), ValueError, "dilation=0"),
    (lambda: nn.Conv2d(4, 6, 3, groups=3), ValueError, "groups=3: must divide in_channels=4"),
    (lambda: nn.Conv2d(4, 6, 3, groups=4), ValueError, "groups=4: must divide out_channels=6"),
    (lambda: nn.Conv2d(1, 3, 3, bias=1), TypeError, "bias=1: must be True or False"),
    (lambda: nn.Conv2d(1, 3, 3, activation="tanh"), ValueError, "activation='tanh'"),
    (lambda: nn.Conv2d(1, 3, 3, rng="seed"), TypeError, "rng='seed'"),
    (lambda: nn.Conv2d(1, 3, 3, rng=-3), ValueError, "rng=-3: a seed must be at least 0"),
    (lambda: nn.Conv2d(1, 3, 3, dtype=np.int32), TypeError, "dtype=.*: must be float32 or float64"),
    (lambda: nn.Conv2d(1, 3, 3, dtype="nonsense"), TypeError, "dtype='nonsense'"),
    (lambda: nn.Conv2d(2**40, 2**40, 3), MemoryError, "cannot be allocated"),
    (lambda: nn.ConvTranspose2d(2, 3, 3, output_padding=1), ValueError, "output_padding=1: must be smaller"),
    (lambda: nn.ConvTranspose2d(2, 3, 3, padding="same"), ValueError, "padding='same'"),
    (lambda: nn.ConvTranspose2d(2, 3, 3, groups=2), ValueError, "groups=2: must divide out_channels=3"),
    (lambda: nn.ConvTranspose2d(2, 3, 3, stride=0), ValueError, "stride=0"),
    (lambda: nn.Linear(3, 0), ValueError, "out_features=0"),
    (lambda: nn.Linear(True, 2), TypeError, "in_features=True"),
    (lambda: nn.MaxPool2d(0), ValueError, "kernel_size=0"),
    (lambda: nn.MaxPool2d(2, padding=2), ValueError, "padding=2: must be at most half"),
    (lambda: nn.MaxPool2d(2, ceil_mode="yes"), TypeError, "ceil_mode='yes'"),
    (lambda: nn.AvgPool2d(2, stride=(1, 0)), ValueError, r"stride=0|stride=\(1, 0\)"),
    (lambda: nn.AvgPool2d(2, divisor_override=0), ValueError, "divisor_override=0"),
    (lambda: nn.AvgPool2d(2, count_include_pad=1), TypeError, "count_include_pad=1"),
    (lambda: nn.LPPool2d(0, 2), ValueError, "norm_type=0"),
    (lambda: nn.LPPool2d("2", 2), TypeError, "norm_type='2'"),
    (lambda: nn.AdaptiveAvgPool2d((1, 2, 3)), ValueError, "output_size"),
    (lambda: nn.AdaptiveMaxPool1d(0), ValueError, "output_size=0"),
    (lambda: nn.MaxUnpool2d(0), ValueError, "kernel_size=0"),
    (lambda: nn.LeakyReLU(float("nan")), ValueError, "negative_slope=nan"),
    (lambda: nn.PReLU(0), ValueError, "num_parameters=0"),
    (lambda: nn.CELU(0), ValueError, "alpha=0: must not be zero"),
    (lambda: nn.ELU("1"), TypeError, "alpha='1'"),
    (lambda: nn.GELU("fast"), ValueError, "approximate='fast'"),
    (lambda: nn.Hardtanh(1, -1), ValueError, "min_val=1"),
    (lambda: nn.Softplus(0), ValueError, "beta=0"),
    (lambda: nn.Softshrink(-1), ValueError, "lambd=-1"),
    (lambda: nn.Threshold("a", 1), TypeError, "threshold='a'"),
    (lambda: nn.Softmax(0.5), TypeError, "dim=0.5"),
    (lambda: nn.BatchNorm2d(0), ValueError, "num_features=0"),
    (lambda: nn.BatchNorm2d(2, eps=0), ValueError, "eps=0: must be above 0"),
    (lambda: nn.BatchNorm2d(2, momentum=1.5), ValueError, "momentum=1.5: must be at most 1"),
    (lambda: nn.BatchNorm2d(2, affine=None), TypeError, "affine=None"),
    (lambda: nn.LayerNorm(()), ValueError, r"normalized_shape=\(\)"),
    (lambda: nn.LayerNorm((3, 0)), ValueError, "normalized_shape=0"),
    (lambda: nn.LocalResponseNorm(0), ValueError, "size=0"),
    (lambda: nn.Dropout(1.0), ValueError, "p=1.0: must be below 1"),
    (lambda: nn.Dropout(-0.1), ValueError, "p=-0.1: must be at least 0"),
    (lambda: nn.Flatten(start_dim="1"), TypeError, "start_dim='1'"),
    (lambda: nn.Sequential(nn.ReLU(), 3), TypeError, r"layers\[1\]: must be a layer, not 3"),
    (lambda: nn.Sequential(nn.ReLU), TypeError, r"layers\[0\]: must be a layer"),
    (lambda: nn.Residual(), ValueError, "layers: needs at least 1"),
    (lambda: nn.Residual(nn.ReLU(), shortcut=3), TypeError, "shortcut"),
    (lambda: nn.Concat(), ValueError, "branches: needs at least 1"),
    (lambda: nn.Concat(nn.ReLU(), dim=None), TypeError, "dim=None"),
    (lambda: nn.Parameter([1.0]), TypeError, "value: must be an array"),
    (lambda: nn.Parameter(np.ones(3, np.int64)), TypeError, "value: dtype must be float32 or float64"),
    (lambda: nn.init.he_normal(np.ones(3)), ValueError, r"target: shape \(3,\) must have at least two axes"),
    (lambda: nn.init.he_normal([1.0]), TypeError, "target: must be a Parameter or a NumPy array"),
    (lambda: nn.init.glorot_uniform(np.ones((2, 2)), gain=0), ValueError, "gain=0: must be above 0"),
    (lambda: nn.ReLU().astype(np.float16), TypeError, "dtype=.*: must be float32 or float64"),
]


@pytest.mark.parametrize(("make", "error", "message"), MAKING)
def test_making(make, error, message) -> None:
    with pytest.raises(error, match=message):
        make()


RUNNING = [
    (nn.Conv2d(3, 1, 3), ONE, ValueError, "input: 2 channels"),
    (nn.Conv2d(2, 1, 3), ONE.astype(np.float64), TypeError, "dtype float32 does not match"),
    (nn.Conv2d(2, 1, 3), ONE[0, 0], ValueError, r"input: shape \(5, 5\) must have"),
    (nn.Conv2d(2, 1, 7), ONE, ValueError, "larger than the padded input"),
    (nn.ConvTranspose2d(3, 1, 3), ONE, ValueError, "input: 2 channels"),
    (nn.Linear(3, 2), ONE, ValueError, "input: shape"),
    (nn.MaxPool2d(6), ONE, ValueError, "kernel_size=6"),
    (nn.AvgPool1d(2), ONE, ValueError, "input: shape"),
    (nn.AdaptiveAvgPool3d(2), ONE[0], ValueError, "input: shape"),
    (nn.GlobalMaxPool(), ONE[0, 0], ValueError, "input: shape"),
    (nn.GlobalAvgPool(), ONE[0, 0], ValueError, "input: shape|batch"),
    (nn.BatchNorm1d(2), ONE, ValueError, "input: shape .* must have 2 axes or 3 axes, num_features=2"),
    (nn.BatchNorm2d(3), ONE, ValueError, "num_features=3 along axis 1"),
    (nn.LayerNorm(4), ONE, ValueError, "normalized_shape"),
    (nn.LocalResponseNorm(2), ONE[0, 0], ValueError, "input: shape"),
    (nn.PReLU(3), ONE, ValueError, r"shape \(3,\)"),
    (nn.ReLU(), [1.0], TypeError, "input: must be an array"),
    (nn.ReLU(), np.ones(3, np.int32), TypeError, "input: dtype"),
    (nn.Dropout(), [1.0], TypeError, "input: must be an array"),
    (nn.Softmax(4), ONE, ValueError, "dim=4"),
    (nn.Flatten(4), ONE, ValueError, "start_dim=4"),
    (nn.Flatten(2, 1), ONE, ValueError, "has no axes from start_dim=2 to end_dim=1"),
    (nn.Residual(nn.Conv2d(2, 3, 3)), ONE, ValueError, r"layers end in shape \(1, 3, 3, 3\), the way around"),
    (nn.Concat(nn.Identity(), nn.Flatten()), ONE, ValueError, "Concat: branches end in shapes"),
    (nn.Concat(nn.Identity(), nn.MaxPool2d(2)), ONE, ValueError, "Concat: branches end in shapes"),
    (nn.Concat(nn.Identity(), dim=4), ONE, ValueError, "dim=4"),
    (
        nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(7, 2))),
        ONE,
        ValueError,
        r"layer 1, Sequential\(ReLU\(\), Linear.*: layer 1, Linear\(in_features=7, .*\): input: shape",
    ),
]


@pytest.mark.parametrize(("layer", "x", "error", "message"), RUNNING)
def test_running(layer, x, error, message) -> None:
    """Inference, training and training without the data's gradient refuse alike."""
    for call in (layer, layer.vjp, layer.vjp_parameters):
        with pytest.raises(error, match=message):
            call(x)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(layer, x.shape) for layer, x, error, _ in RUNNING if error is ValueError],
)
def test_shapes_that_are_refused_are_refused_without_computing_too(layer, shape) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        layer.output_shape(shape)


def test_a_gradient_of_the_wrong_shape_is_refused_before_anything_is_added() -> None:
    for layer in (nn.Conv2d(2, 3, 3), nn.Linear(5, 2), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 3, 3)):
        _, backprop = layer.vjp(ONE)
        with pytest.raises((ValueError, TypeError), match="grad_output"):
            backprop(np.ones((1, 1, 1, 1), np.float32))
        assert not any(parameter.grad.any() for parameter in layer.parameters())


def test_batch_norm_refuses_a_batch_of_one_value() -> None:
    """One value per channel has no variance to learn from; the running statistics stay."""
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="one value per channel"):
        layer.vjp(np.ones((1, 3), np.float32))
    assert not layer.running_mean.value.any()
    assert layer(np.ones((1, 3), np.float32)).shape == (1, 3)
