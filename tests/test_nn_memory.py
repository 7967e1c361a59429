"""What nets hold in memory: weights once, gradients only where somebody trains, packed forms beside them."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastconv import nn


def held(make: Callable[[], Any]) -> int:
    """Bytes that Python objects take for as long as what is made is there."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        found = tracemalloc.get_traced_memory()[0]
        del made
        return found
    finally:
        tracemalloc.stop()


def wide() -> nn.Layer:
    """More than 2 MiB of weights."""
    return nn.Sequential(
        nn.Conv2d(64, 128, 3, padding=1, rng=0),
        nn.ReLU(),
        nn.MaxPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 1024, rng=1),
        nn.ReLU(),
    )


WEIGHTS = 4 * (128 * 64 * 9 + 128 + 1024 * 512 + 1024)


def test_a_net_that_only_infers_holds_its_weights_once() -> None:
    """Gradients are made when somebody trains, and only then; copies and pickles do not make them."""

    def infer() -> nn.Layer:
        net = wide()
        net(np.zeros((1, 64, 8, 8), np.float32))
        net.zero_grad()
        return pickle.loads(pickle.dumps(copy.deepcopy(net)))

    assert WEIGHTS <= held(wide) < 1.05 * WEIGHTS
    assert WEIGHTS <= held(infer) < 1.05 * WEIGHTS

    def explain() -> nn.Layer:
        net = wide()
        _, backprop = net.vjp(np.zeros((1, 64, 8, 8), np.float32), training=False)
        backprop(np.zeros((1, 1024), np.float32))
        return net

    assert WEIGHTS <= held(explain) < 1.05 * WEIGHTS
    assert held(lambda: nn.SGD(wide().parameters(), 0.1)) > 1.9 * WEIGHTS


def test_a_frozen_part_has_no_gradients() -> None:
    def learn() -> Any:
        net = nn.Sequential(wide(), nn.Linear(1024, 2, rng=2))
        optimizer = nn.SGD(net[1].parameters(), 0.1)
        x = np.zeros((2, 64, 8, 8), np.float32)
        optimizer.learn(net, nn.MSELoss(), x, np.zeros((2, 2), np.float32))
        return net, optimizer

    assert held(learn) < 1.1 * WEIGHTS


def test_a_prepared_net_holds_its_weights_once_beside_what_is_packed() -> None:
    """Neither the net it was made from nor gradients; loaded from a pickle no more than that."""
    example = np.zeros((1, 64, 8, 8), np.float32)

    def trained() -> nn.Layer:
        net = wide()
        for parameter in net.parameters():
            parameter.grad += 1
        return net

    assert WEIGHTS <= held(lambda: trained().prepare(example)) < 1.05 * WEIGHTS
    data = pickle.dumps(trained().prepare(example))
    assert WEIGHTS <= len(data) < 1.05 * WEIGHTS
    assert held(lambda: pickle.loads(data)) < 1.05 * WEIGHTS


def test_gradients_are_made_once_by_threads_that_meet() -> None:
    """The first to ask makes the array; nothing that was added before or meanwhile is lost."""
    for _ in range(20):
        parameter = nn.Parameter(np.zeros((64, 64)))
        begin = threading.Barrier(4)
        seen: list[np.ndarray] = []

        def work(parameter: Any = parameter, begin: Any = begin, seen: Any = seen) -> None:
            begin.wait()
            seen.append(parameter.grad)
            parameter.add_grad(np.ones((64, 64)))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, seen))) == 1
        assert (parameter.grad == 4).all()


def test_numpy_sees_the_value_of_a_parameter() -> None:
    """`np.asarray(parameter)` is its value, where it lies; copies and other dtypes are asked for."""
    weight = nn.Parameter(np.arange(6, dtype=np.float32).reshape(2, 3), "weight")
    assert np.asarray(weight) is weight.value
    assert not np.shares_memory(np.array(weight), weight.value)
    assert np.asarray(weight, np.float64).dtype == np.float64
    np.testing.assert_array_equal(np.maximum(weight, 2), np.maximum(weight.value, 2))
    with pytest.raises(ValueError, match=r"copy=False: .*weight.* as float64 is a copy"):
        weight.__array__(np.float64, copy=False)
