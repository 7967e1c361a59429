"""`fastconv.interop.jax`: compiled, mapped and differentiated calls agree with plain ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the door to JAX needs jax")

import jax.numpy as jnp  # noqa: E402
from jax.test_util import check_grads  # noqa: E402

import fastconv  # noqa: E402
import fastconv.interop.jax as door  # noqa: E402


@pytest.fixture(autouse=True)
def _double_precision() -> Iterator[None]:
    """Finite differences need it; JAX has it only when told so."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


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
        lambda x, w: jnp.tanh(door.max_pool2d(door.conv2d(x, w, padding="same") ** 2, 2)),
        (draw(1, 1, 4, 4), draw(2, 1, 3, 3)),
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_gradients_and_their_gradients(name: str) -> None:
    """Reverse over reverse: what JAX's own checker asks; compiled, too."""
    function, inputs = CALLS[name]
    check_grads(jax.jit(function), tuple(map(jnp.asarray, inputs)), order=2, modes=["rev"], eps=1e-5)


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


@pytest.mark.parametrize("name", ["conv1d", "conv2d", "conv3d, no batch", "conv_transpose2d", "max_pool2d"])
def test_vmap_over_inputs_weights_and_both(name: str) -> None:
    """Also of gradients, and one within the other."""
    function, inputs = CALLS[name]

    def value_and_gradient(*arguments: Any) -> Any:
        value, backward = jax.vjp(function, *arguments)
        return value, backward(jnp.ones_like(value))

    several = [jnp.stack([array, 2 * array, -array]) for array in inputs]
    for mapped in {
        (True,) * len(inputs),
        *[tuple(j == i for j in range(len(inputs))) for i in range(len(inputs))],
    }:
        axes = tuple(0 if yes else None for yes in mapped)
        arguments = [
            many if yes else one for many, one, yes in zip(several, map(jnp.asarray, inputs), mapped)
        ]
        ours = jax.tree.leaves(jax.vmap(value_and_gradient, axes)(*arguments))
        for i in range(3):
            chosen = [many[i] if yes else many for many, yes in zip(arguments, mapped)]
            for ours_all, one in zip(ours, jax.tree.leaves(value_and_gradient(*chosen))):
                np.testing.assert_allclose(ours_all[i], one, atol=1e-10)
    twice = jax.vmap(jax.vmap(function))(*[many[None] for many in several])
    np.testing.assert_allclose(twice[0], jax.vmap(function)(*several), atol=1e-12)


def test_a_mapped_batch_is_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """`vmap` over pictures makes them one batch for fastconv."""
    from fastconv.interop import calls

    shapes = []

    def counted(x: np.ndarray, *arguments: Any) -> np.ndarray:
        shapes.append(x.shape)
        return fastconv.conv2d(x, *arguments)

    monkeypatch.setitem(calls.CONV, 2, counted)
    weight = jnp.asarray(draw(3, 2, 3, 3))
    jax.vmap(lambda x: door.conv2d(x[None], weight)[0])(jnp.asarray(draw(5, 2, 8, 8))).block_until_ready()
    assert shapes == [(5, 2, 8, 8)]


def test_large_arrays_when_compiled() -> None:
    """Many times in a row, as in training: callbacks neither wait for each other nor mix up memory."""
    x, w = (
        jnp.asarray(draw(4, 16, 64, 64).astype(np.float32)),
        jnp.asarray(draw(16, 16, 3, 3).astype(np.float32)),
    )

    @jax.jit
    def step(w: Any) -> Any:
        return w - 1e-9 * jax.grad(lambda w: (door.conv2d(x, w, padding=1) ** 2).sum())(w)

    for _ in range(5):
        w = step(w)
    assert np.isfinite(w).all()
    assert w.dtype == np.float32


def test_bad_calls_raise_before_tracing() -> None:
    """The error is fastconv's own, also out of compiled code."""
    x, w = jnp.asarray(draw(1, 1, 4, 4)), jnp.asarray(draw(1, 1, 2, 2))
    with pytest.raises(ValueError, match="stride=0: must be at least 1"):
        jax.jit(lambda x: door.conv2d(x, w, stride=0))(x)
    with pytest.raises(TypeError, match="weight: dtype float32 does not match"):
        door.conv2d(x, w.astype(np.float32))
    with pytest.raises(TypeError, match="input: must be an array of JAX or NumPy, not list"):
        door.max_pool2d([[1.0]], 1)
    with pytest.raises(TypeError, match="input: dtype must be float32 or float64, not bfloat16"):
        door.conv2d(x.astype(jnp.bfloat16), w)
    with pytest.raises(ValueError, match=r"bias: shape \(2,\) must be \(1,\)"):
        door.conv2d(x, w, jnp.ones(2))
