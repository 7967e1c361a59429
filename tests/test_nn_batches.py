"""Data of any iterable of batches, larger than memory: in training, validation, evaluation and prediction."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fastconv import nn

BATCH = 1 << 16  # numbers in a batch: 256 KiB


def small_net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(1024, 2, rng=0))


class Loader:
    """Batches made when they are asked for; can be read again. Counts how often it was opened."""

    def __init__(self, count: int, with_targets: bool = True) -> None:
        self.count, self.with_targets, self.opened = count, with_targets, 0

    def __iter__(self) -> Iterator[Any]:
        self.opened += 1
        for number in range(self.count):
            x = np.random.default_rng(number).standard_normal((BATCH // 1024, 1024), np.float32)
            yield (x, (x[:, 0] > 0).astype(np.int64)) if self.with_targets else x


class Unsized(Loader):
    """Has a length that it cannot tell, as loaders over streams do."""

    def __len__(self) -> int:
        raise TypeError("has no length")


def fit(net: nn.Layer, x: Any, **changes: Any) -> nn.History:
    optimizer = changes.pop("optimizer", None) or nn.SGD(net.parameters(), 0.01)
    options = {"loss": nn.CrossEntropyLoss(), "epochs": 2, "progress": False, **changes}
    return nn.fit(net, x, optimizer=optimizer, **options)


def peak(run: Callable[[], Any]) -> int:
    """The most bytes that were held at once while something ran."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", ["fit", "validation", "evaluate", "predict"])
def test_memory_does_not_grow_with_the_number_of_batches(what: str) -> None:
    """Not by as much as one batch, of fifty more."""
    net, loss = small_net(), nn.CrossEntropyLoss()
    optimizer = nn.SGD(net.parameters(), 0.01)  # made once: it touches more than many batches

    def run(count: int) -> None:
        if what == "predict":
            for _ in nn.predict(net, Loader(count, with_targets=False)):
                pass
        elif what == "evaluate":
            nn.evaluate(net, Loader(count), loss=loss)
        else:
            counts = (count, 1) if what == "fit" else (1, count)
            fit(net, Loader(counts[0]), validation=Loader(counts[1]), optimizer=optimizer)

    run(2)  # what is made once
    few, many = peak(lambda: run(4)), peak(lambda: run(54))
    assert many - few < 4 * BATCH


@pytest.mark.parametrize("kind", [Loader, Unsized])
def test_what_can_be_read_again_is_opened_once_an_epoch(kind: Any, capsys) -> None:
    """Not for a look at it, which would start a loader's workers; its length need not be known."""
    data, held_out = kind(3), kind(2)
    history = fit(small_net(), data, validation=held_out, epochs=4, progress=None)
    assert (data.opened, held_out.opened) == (4, 4)
    assert len(history) == len(history.validation_loss) == 4
    assert "epoch 4/4" in capsys.readouterr().err


def test_a_function_is_called_once_an_epoch() -> None:
    calls: list[int] = []

    def batches() -> Iterator[Any]:
        calls.append(len(calls))
        return iter(Loader(2))

    fit(small_net(), batches, epochs=3)
    assert len(calls) == 3


@pytest.mark.parametrize("name", ["x", "validation"])
def test_a_generator_is_for_one_epoch(name: str) -> None:
    """More are refused before the first step, for training and for validation; nothing is read."""
    generator, net = iter(Loader(2)), small_net()
    before = net.state_dict()
    with pytest.raises(
        ValueError, match=rf"^{name}: an iterator gives its batches only once, not in 3 epochs"
    ):
        fit(net, **{"x": Loader(2), name: generator, "epochs": 3})
    assert len(list(generator)) == 2
    assert all((value == before[key]).all() for key, value in net.state_dict().items())
    assert len(fit(net, **{"x": Loader(2), name: iter(Loader(2)), "epochs": 1})) == 1


def test_a_generator_that_hides_is_found_when_it_is_exhausted() -> None:
    """A function that gives the same one again: the epochs before stand in the record."""
    generator = iter(Loader(2))
    with pytest.raises(
        ValueError, match="x: gave no batch; an iterator gives its batches only once"
    ) as caught:
        fit(small_net(), lambda: generator, epochs=2)
    assert len(caught.value.history) == 1


# ---- predict -------------------------------------------------------------------------------------------


def test_predictions_come_batch_by_batch() -> None:
    """When they are asked for: the bits that the net gives, for batches of any size."""
    net, seen = small_net(), []
    whole = np.concatenate(list(Loader(3, with_targets=False)))

    def batches() -> Iterator[np.ndarray]:
        for start, stop in ((0, 5), (5, 100), (100, len(whole))):
            seen.append(start)
            yield whole[start:stop]

    for source in (batches, batches(), list(batches())):
        seen.clear()
        found = nn.predict(net, source)
        assert not seen
        first = next(found)
        assert len(first) == 5
        np.testing.assert_array_equal(np.concatenate([first, *found]), net(whole))
    for prepared in nn.predict(net.prepare(), [whole]):
        np.testing.assert_array_equal(prepared, net(whole))


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        (
            [np.ones((2, 1024), np.float32), np.ones(3, np.float32)],
            ValueError,
            r"x: batch 2: shape \(3,\) must",
        ),
        (iter(["a"]), TypeError, "x: batch 1: must be an array"),
        ([], ValueError, "x: gave no batch"),
        (lambda: 3, TypeError, "x: the function must return an iterable, not int"),
    ],
)
def test_bad_batches_are_named(batches: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        list(nn.predict(small_net(), batches))
