"""`fastconv.interop.autograd`: derivatives of all orders, against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("autograd", reason="the door to HIPS autograd needs autograd")

import autograd.numpy as anp
from autograd import elementwise_grad, grad, hessian_vector_product
from autograd.test_util import check_grads

import fastconv
import fastconv.interop.autograd as door


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


CALLS: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    "conv1d": (lambda x, w, b: door.conv1d(x, w, b, 2, 1), (draw(2, 2, 7), draw(3, 2, 3), draw(3))),
    "conv2d": (
        lambda x, w, b: door.conv2d(x, w, b, (2, 1), 1, (1, 2), 2),
        (draw(2, 2, 6, 5), draw(4, 1, 3, 2), draw(4)),
    ),
    "conv3d, no batch": (lambda x, w: door.conv3d(x, w), (draw(2, 3, 4, 3), draw(2, 2, 2, 2, 2))),
    "conv_transpose2d": (
        lambda x, w, b: door.conv_transpose2d(x, w, b, 2, 1, 1, 2),
        (draw(2, 2, 3, 3), draw(2, 2, 3, 3), draw(4)),
    ),
    "max_pool2d": (lambda x: door.max_pool2d(x, 3, 2, 1), (draw(2, 2, 6, 5),)),
    "avg_pool2d": (lambda x: door.avg_pool2d(x, 3, 2, 1, True, False), (draw(2, 2, 6, 5),)),
    "a net": (
        lambda x, w: anp.tanh(door.max_pool2d(door.conv2d(x, w, padding="same") ** 2, 2)),
        (draw(1, 1, 4, 4), draw(2, 1, 3, 3)),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_and_their_gradients(name: str) -> None:
    """Reverse over reverse: what autograd's own checker asks."""
    function, inputs = CALLS[name]
    check_grads(function, modes=["rev"], order=2)(*inputs)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_values_are_fastconvs(rank: int) -> None:
    x, size = draw(2, 4, *(7, 6, 5)[:rank]), f"{rank}d"
    for name, how in (
        ("conv", (draw(6, 2, *[3] * rank), draw(6), 2, 1, 1, 2)),
        ("conv_transpose", (draw(4, 2, *[3] * rank), draw(4), 2, 1, 1, 2)),
        ("max_pool", (3, 2, 1, 1, True)),
        ("avg_pool", (3, 2, 1, True, False)),
    ):
        np.testing.assert_allclose(
            getattr(door, name + size)(x, *how), getattr(fastconv, name + size)(x, *how), atol=1e-12
        )


def test_third_derivatives() -> None:
    """Of the cube of a convolution by one number: 6 w^3 at every place."""
    w = np.array([[[2.0]]])
    cube = elementwise_grad(elementwise_grad(elementwise_grad(lambda x: door.conv1d(x, w) ** 3)))
    np.testing.assert_allclose(cube(draw(1, 1, 4)), np.full((1, 1, 4), 48.0))


def test_hessians_and_single_precision() -> None:
    """Gradients have the dtype of what they belong to."""
    x, w = draw(1, 1, 5, 5).astype(np.float32), draw(1, 1, 3, 3).astype(np.float32)

    def loss(weight: Any) -> Any:
        return anp.sum(door.conv2d(x, weight) ** 2)

    assert grad(loss)(w).dtype == np.float32
    product = hessian_vector_product(loss)(w, w)
    np.testing.assert_allclose(product, grad(loss)(w), rtol=1e-4)  # quadratic: H w is the gradient at w


def test_bad_calls_name_the_argument() -> None:
    """As raised before anything is traced."""
    with pytest.raises(ValueError, match="stride=0: must be at least 1"):
        grad(lambda x: anp.sum(door.conv2d(x, draw(1, 1, 2, 2), stride=0)))(draw(1, 1, 4, 4))
    with pytest.raises(ValueError, match=r"bias: shape \(2,\) must be \(1,\)"):
        door.conv2d(draw(1, 1, 4, 4), draw(1, 1, 2, 2), draw(2))
    with pytest.raises(TypeError, match="weight: dtype float32 does not match"):
        door.conv2d(draw(1, 1, 4, 4), draw(1, 1, 2, 2).astype(np.float32))
    with pytest.raises(TypeError, match="input: must be an array"):
        door.max_pool2d([[1.0]], 1)
