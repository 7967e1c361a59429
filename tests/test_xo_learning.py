"""Learning to tell an X from an O: the knobs, what is learned, and the file it is kept in."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn, xo
from fastconv.xo.training import training_pictures

SMALL = xo.Lesson(train=200, unseen=100, epochs=2)


def sides(knobs: xo.Knobs) -> list[tuple[str, int, int]]:
    return [(stage.kind, stage.channels, stage.side) for stage in knobs.plan()]


# ---- knobs -----------------------------------------------------------------------------------------


def test_network_of_the_example() -> None:
    """9x9 -> 7x7 -> 4x4 -> 2x2 with three features: twelve values vote."""
    knobs = xo.Knobs(features=(3,), layers=("conv", "relu", "pool", "pool"), hidden=())
    planned = [("picture", 1, 9), ("conv", 3, 7), ("relu", 3, 7), ("pool", 3, 4), ("pool", 3, 2)]
    assert sides(knobs) == planned
    net = xo.build_network(knobs, 0)
    assert net.output_shape((5, 1, 9, 9)) == (5, 2)
    assert sum(p.value.size for p in net.parameters()) == 3 * 10 + 12 * 2 + 2


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({}, xo.DEEP_STACK),
        ({"size": 40}, xo.DEEP_STACK),
        ({"size": 8}, xo.MIDDLE_STACK),
        ({"size": 5}, xo.MIDDLE_STACK),
        ({"feature_size": 7}, xo.SHORT_STACK),
    ],
)
def test_stack_that_fits(options: dict[str, Any], layers: tuple[str, ...]) -> None:
    """Without a choice of layers, the deepest of the stacks that the picture is large enough for."""
    assert xo.Knobs(**options).layers == layers


def test_every_knob_shows_in_the_network() -> None:
    """Each changes the shapes it is named for."""
    assert sides(xo.Knobs(size=12))[0][2] == 12
    assert [s[1] for s in sides(xo.Knobs(features=(4, 5))) if s[0] == "conv"] == [4, 5, 5]
    assert sides(xo.Knobs(feature_size=2))[1][2] == 8
    assert sides(xo.Knobs(layers=("conv", "pool"), pool=3, stride=1))[-1][2] == 5
    assert sides(xo.Knobs(layers=("conv", "pool"), pool=3, stride=3))[-1][2] == 3
    net = xo.build_network(xo.Knobs(hidden=(7, 6)))
    assert [p.value.shape[0] for p in net.parameters() if p.value.ndim == 2] == [7, 6, 2]


@pytest.mark.parametrize(
    ("options", "knob"),
    [
        ({"size": 4}, "size"),
        ({"size": 2**70}, "size"),
        ({"feature_size": 10}, "feature_size"),
        ({"feature_size": 0}, "feature_size"),
        ({"feature_size": 4, "layers": ("conv", "conv", "conv")}, "feature_size"),
        ({"pool": 0}, "pool"),
        ({"pool": 20}, "pool"),
        ({"pool": 5, "stride": 1, "layers": ("conv", "pool", "pool")}, "pool"),
        ({"stride": 0}, "stride"),
        ({"features": ()}, "features"),
        ({"features": (16, 0)}, "features"),
        ({"features": (1, 2, 3, 4)}, "features"),
        ({"features": (10**6,)}, "features"),
        ({"hidden": (0,)}, "hidden"),
        ({"hidden": (10**9,)}, "hidden"),
        ({"size": 4000}, "size"),
        ({"layers": ("conv", "tanh")}, "layers"),
        ({"layers": ("pool",)}, "layers"),
        ({"layers": ()}, "layers"),
    ],
)
def test_knobs_that_cannot_work(options: dict[str, Any], knob: str) -> None:
    """The error names the knob at fault."""
    with pytest.raises(xo.KnobError) as caught:
        xo.Knobs(**options)
    assert caught.value.knob == knob
    assert str(caught.value).startswith(f"{knob}=")


@pytest.mark.parametrize(
    "options", [{"size": 9.0}, {"features": 3}, {"features": ("3",)}, {"layers": "conv"}, {"pool": None}]
)
def test_knobs_of_the_wrong_type(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"^{next(iter(options))}="):
        xo.Knobs(**options)


@pytest.mark.parametrize(
    ("options", "knob"),
    [
        ({"train": 0}, "train"),
        ({"unseen": 0}, "unseen"),
        ({"epochs": 0}, "epochs"),
        ({"batch": 0}, "batch"),
        ({"seed": -1}, "seed"),
        ({"lr": 0.0}, "lr"),
        ({"lr": float("inf")}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"learn": "magic"}, "learn"),
    ],
)
def test_lessons_that_cannot_be(options: dict[str, Any], knob: str) -> None:
    with pytest.raises(xo.KnobError, match=f"^{knob}="):
        xo.Lesson(**options)


@pytest.mark.parametrize(
    ("knobs", "lesson", "knob"),
    [
        ({}, {"train": 10**9}, "train"),
        ({}, {"unseen": 10**9}, "unseen"),
        ({}, {"train": 10**6, "batch": 10**6}, "batch"),
        ({"size": 1000, "features": (1,), "hidden": ()}, {}, "size"),
    ],
)
def test_more_than_memory_holds(knobs: dict[str, Any], lesson: dict[str, Any], knob: str) -> None:
    """Refused before anything is allocated, naming the knob furthest beyond its default."""
    with pytest.raises(xo.KnobError, match=f"^{knob}=.* GiB of memory"):
        xo.learn(xo.Knobs(**knobs), xo.Lesson(**lesson))


# ---- learning --------------------------------------------------------------------------------------


def test_lesson_keeps_pictures_apart() -> None:
    """Neither the ten nor the unseen pictures are among those learned from."""
    lesson = xo.Lesson(train=3000, unseen=1000)
    for size in (5, 9):
        learned_from = {p.tobytes() for p in training_pictures(size, lesson)[0]}
        exam = xo.examine(xo.build_network(xo.Knobs(size=size)), size, lesson)
        assert not learned_from & {p.tobytes() for p in xo.deck_pictures(size)[0]}
        assert not learned_from & {p.tobytes() for p in exam.unseen}
        assert exam.unseen.shape == (1000, 1, size, size)


def test_a_seed_gives_the_same_network() -> None:
    """Bit by bit, at one thread and at two; another seed gives another."""
    fastconv.set_num_threads(1)
    one = xo.learn(xo.Knobs(), SMALL)
    fastconv.set_num_threads(2)
    two = xo.learn(xo.Knobs(), SMALL)
    np.testing.assert_array_equal(one.exam.votes, two.exam.votes)
    assert one.history.loss == two.history.loss
    other = xo.learn(xo.Knobs(), xo.Lesson(train=200, unseen=100, epochs=2, seed=1))
    assert (one.exam.deck_votes != other.exam.deck_votes).any()


@pytest.mark.parametrize("seed", [11])
def test_learns_all_ten_and_the_unseen(seed: int) -> None:
    """10 of 10, the thick X included, and 99 % of 2,000 unseen pictures, whatever the seed."""
    learned = xo.learn(xo.Knobs(), xo.Lesson(seed=seed))
    assert learned.exam.deck_right == 10
    assert len(learned.exam.right) == 2000
    assert learned.exam.accuracy >= 0.99
    assert learned.history.loss[-1] < 0.1 * learned.history.loss[0]


def test_learns_by_nudging() -> None:
    """The literal rule learns the example's network too, and says what it cost."""
    knobs = xo.Knobs(features=(3,), layers=xo.SHORT_STACK, hidden=())
    learned = xo.learn(knobs, xo.Lesson(learn="nudge", train=600, batch=50, epochs=5, unseen=500))
    assert learned.exam.accuracy > 0.8
    assert learned.exam.deck_right >= 8
    assert learned.cost is not None
    assert learned.cost.evaluations == 2 * 56
    assert xo.learn(knobs, SMALL).cost is None


@pytest.mark.parametrize(
    "options",
    [
        {"size": 5},
        {"size": 21, "features": (2, 3, 4)},
        {"feature_size": 1, "layers": ("conv",)},
        {"feature_size": 9},
        {"pool": 3, "stride": 1},
        {"pool": 1, "stride": 3},
        {"hidden": ()},
        {"hidden": (5, 4, 3)},
        {"layers": ("pool", "conv", "pool", "relu", "conv"), "feature_size": 2},
    ],
)
def test_any_knobs_that_fit_learn(options: dict[str, Any]) -> None:
    """Every combination that is not refused can be trained, judged and looked into."""
    knobs = xo.Knobs(**options)
    learned = xo.learn(knobs, xo.Lesson(train=60, unseen=40, epochs=1))
    assert np.isfinite(learned.exam.votes).all()
    maps = xo.maps_of(learned.network, learned.exam.unseen[0])
    assert [m.shape for m in maps] == [(s.channels, s.side, s.side) for s in knobs.plan()[1:]]


def test_maps_lead_to_the_votes() -> None:
    """The last maps, sent through the voting layers, give the network's votes."""
    net = xo.build_network(xo.Knobs(), 3)
    picture = xo.deck_pictures()[0][4]
    maps = xo.maps_of(net, picture)
    rest = nn.Sequential(*list(net)[len(maps) :])
    np.testing.assert_array_equal(rest(maps[-1][None]), net(picture[None]))


def test_judge_takes_any_number() -> None:
    """Judging in parts changes nothing; no picture gives no votes."""
    net = xo.build_network(xo.Knobs(), 3)
    pictures, _ = xo.generate(150, rng=0)
    np.testing.assert_array_equal(xo.judge(net, pictures), net(pictures))
    assert xo.judge(net, pictures[:0]).shape == (0, 2)


# ---- the file --------------------------------------------------------------------------------------


def test_model_file_keeps_everything(tmp_path: Path) -> None:
    """Network, knobs and lesson come back equal, so the same pictures are unseen."""
    knobs = xo.Knobs(size=11, features=(4, 5, 6), hidden=(8,))
    lesson = xo.Lesson(train=100, unseen=50, epochs=1, seed=5, variation=xo.Variation(noise=0.03))
    learned = xo.learn(knobs, lesson)
    xo.save_model(tmp_path / "net", learned.network, knobs, lesson)
    network, same_knobs, same_lesson = xo.load_model(tmp_path / "net")
    assert (same_knobs, same_lesson) == (knobs, lesson)
    exam = xo.examine(network, knobs.size, same_lesson)
    np.testing.assert_array_equal(exam.unseen, learned.exam.unseen)
    np.testing.assert_array_equal(exam.votes, learned.exam.votes)


def test_model_files_that_are_none(tmp_path: Path) -> None:
    """One error that names the file: damaged at any length, another kind, or no such file at all."""
    path = tmp_path / "net.npz"
    knobs = xo.Knobs(features=(2,), hidden=())
    xo.save_model(path, xo.build_network(knobs, 0), knobs, xo.Lesson())
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"net\.npz: not a whole xo network file"):
            xo.load_model(path)
    nn.save(xo.build_network(knobs, 0), path)
    with pytest.raises(ValueError, match=r"net\.npz"):
        xo.load_model(path)
    np.savez(path, a=np.ones(3))
    with pytest.raises(ValueError, match=r"net\.npz"):
        xo.load_model(path)
    with pytest.raises(FileNotFoundError):
        xo.load_model(tmp_path / "missing")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"size": 9', b'"size": 1'),
        (b'"features": [2]', b'"features": {1}'),
        (b'"features": [2]', b'"features": [3]'),
        (b'"pool": 2', b'"poll": 2'),
        (b'"lesson": {', b'"lessen": {'),
        (b'"noise": 0.01', b'"noise": "01"'),
    ],
)
def test_model_files_that_lie(tmp_path: Path, old: bytes, new: bytes) -> None:
    """A header that says something else than the arrays, or nonsense, is refused."""
    path, forged = tmp_path / "net.npz", tmp_path / "forged.npz"
    knobs = xo.Knobs(features=(2,), hidden=())
    xo.save_model(path, xo.build_network(knobs, 0), knobs, xo.Lesson())
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(forged, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "__header__.npy":
                assert old in content
                content = content.replace(old, new)
            target.writestr(name, content)
    with pytest.raises(ValueError, match=r"forged\.npz: not a whole xo network file"):
        xo.load_model(forged)
