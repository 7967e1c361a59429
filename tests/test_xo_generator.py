"""The generator of X and O pictures: the same for a seed, and varying in what it says it varies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fastconv import xo

#: A letter in the middle, upright, of one size and pen: every test adds the one variation it is about.
STILL = xo.Variation(translation=0.0, scale=(0.8, 0.8), rotation=0.0, weight=(0.3, 0.3), noise=0.0)


def ink(pictures: np.ndarray) -> np.ndarray:
    """Number of inked pixels of each picture."""
    return np.count_nonzero(pictures > 0, axis=(1, 2, 3))


def box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """First and last row, first and last column with ink."""
    rows, columns = np.nonzero(picture[0] > 0)
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


def has_hole(picture: np.ndarray) -> bool:
    """Whether some paper cannot be reached from outside without crossing ink (by steps along the axes)."""
    paper = np.pad(picture[0] < 0, 1, constant_values=True)
    reached = np.zeros_like(paper)
    reached[0, 0] = True
    while True:
        spread = reached.copy()
        spread[1:] |= reached[:-1]
        spread[:-1] |= reached[1:]
        spread[:, 1:] |= reached[:, :-1]
        spread[:, :-1] |= reached[:, 1:]
        spread &= paper
        if (spread == reached).all():
            return bool((paper & ~reached).any())
        reached = spread


def test_a_seed_gives_the_same_pictures() -> None:
    """As an int or as a Generator; another seed gives others."""
    pictures, labels = xo.generate(200, rng=7)
    again, labels_again = xo.generate(200, rng=np.random.default_rng(7))
    np.testing.assert_array_equal(pictures, again)
    np.testing.assert_array_equal(labels, labels_again)
    assert (xo.generate(200, rng=8)[0] != pictures).any()


@pytest.mark.parametrize("size", [5, 9, 16, 33])
@pytest.mark.parametrize("count", [1, 2, 101, 500])
def test_what_is_drawn(size: int, count: int) -> None:
    """Pixels of +1 and -1, float32; half of the pictures each letter, in mixed order."""
    pictures, labels = xo.generate(count, size, rng=0)
    assert pictures.shape == (count, 1, size, size)
    assert pictures.dtype == np.float32
    assert labels.dtype == np.int64
    assert set(np.unique(pictures)) == {-1.0, 1.0}
    assert labels.sum() == count // 2
    if count > 100:
        assert 0.3 * count < np.count_nonzero(np.diff(labels)) < 0.7 * count


@pytest.mark.parametrize("size", [5, 6, 7, 9, 14, 31])
def test_an_x_is_never_an_o(size: int) -> None:
    """Whatever the variation, before noise an O encloses paper and an X does not."""
    variation = xo.Variation(scale=(0.0, 1.0), rotation=30.0, weight=(0.0, 0.7), noise=0.0)
    pictures, labels = xo.generate(600, size, variation=variation, rng=size)
    for picture, label in zip(pictures, labels):
        assert has_hole(picture) == (xo.LETTERS[label] == "O")


def test_with_noise_they_still_differ() -> None:
    pictures, labels = xo.generate(4000, rng=3)
    letters = [{p.tobytes() for p in pictures[labels == label]} for label in (0, 1)]
    assert not letters[0] & letters[1]


@pytest.mark.parametrize(("name", "label"), [("X", 0), ("O", 1), ("X scaled", 0), ("O scaled", 1)])
def test_draws_the_originals(name: str, label: int) -> None:
    """A thin upright letter in the middle is, pixel by pixel, the clean one of the ten, or the small one."""
    original = next(picture for picture in xo.DECK if picture.name == name)
    reach = 0.5 if "scaled" in name else 0.75
    variation = replace(STILL, scale=(reach, reach), weight=(0.1, 0.1))
    pictures, labels = xo.generate(200, variation=variation, rng=0)
    drawn = pictures[labels == label]
    assert any((picture[0] == original.pixels).all() for picture in drawn)


def test_weight_is_ink() -> None:
    """With a thicker pen every picture has at least as much ink, and together much more."""
    thin, _ = xo.generate(300, 16, variation=replace(STILL, weight=(0.2, 0.2)), rng=1)
    thick, _ = xo.generate(300, 16, variation=replace(STILL, weight=(0.6, 0.6)), rng=1)
    assert (ink(thick) >= ink(thin)).all()
    assert ink(thick).mean() > 1.8 * ink(thin).mean()


def test_scale_is_size() -> None:
    """The longer side of a letter is the part of the picture that was asked for, to a pixel."""
    for part in (0.5, 0.75, 1.0):
        pictures, _ = xo.generate(200, 33, variation=replace(STILL, scale=(part, part)), rng=2)
        sides = [max(box(p)[1] - box(p)[0], box(p)[3] - box(p)[2]) for p in pictures]
        assert abs(np.array(sides) - 32 * part).max() <= 2


def test_translation_is_place() -> None:
    """Without it letters are in the middle; with it anywhere, up to all four borders, but never cut off."""
    small = replace(STILL, scale=(0.5, 0.5))
    middles = [np.array(box(p)) for p in xo.generate(200, variation=small, rng=3)[0]]
    assert all(abs(m[0] + m[1] - 8) <= 1 and abs(m[2] + m[3] - 8) <= 1 for m in middles)
    moved = np.array([box(p) for p in xo.generate(400, variation=replace(small, translation=1.0), rng=3)[0]])
    assert (moved[:, [0, 2]].min(axis=0) == 0).all()
    assert (moved[:, [1, 3]].max(axis=0) == 8).all()
    assert (moved[:, 1] - moved[:, 0] >= 2).all()
    assert len({(m[0] + m[1], m[2] + m[3]) for m in moved}) > 30


def test_rotation_breaks_symmetry() -> None:
    """An upright letter in the middle is its own mirror image; a turned one is not, but drawn as large."""
    upright, _ = xo.generate(200, 17, variation=STILL, rng=4)
    np.testing.assert_array_equal(upright, upright[..., ::-1])
    turned, _ = xo.generate(200, 17, variation=replace(STILL, rotation=25.0), rng=4)
    lopsided = (turned != turned[..., ::-1]).any(axis=(1, 2, 3))
    assert lopsided.mean() > 0.8
    assert max(max(box(p)) for p in turned) <= 16


def test_noise_flips_pixels() -> None:
    """So many of them as asked for, ink and paper alike, and no other."""
    clean, _ = xo.generate(500, variation=STILL, rng=5)
    noisy, _ = xo.generate(500, variation=replace(STILL, noise=0.1), rng=5)
    flipped = clean != noisy
    assert 0.09 < flipped.mean() < 0.11
    assert 0.08 < flipped[clean > 0].mean() < 0.12


def test_pictures_to_avoid() -> None:
    """What must not be drawn is not, and the rest stays as it was."""
    pictures, labels = xo.generate(100, rng=6)
    others, same_labels = xo.generate(100, rng=6, avoid=[pictures[:10]])
    assert not {p.tobytes() for p in pictures[:10]} & {p.tobytes() for p in others}
    np.testing.assert_array_equal(labels, same_labels)
    kept = (pictures == others).all(axis=(1, 2, 3))
    assert kept[10:].sum() >= 80


def test_nothing_else_to_draw() -> None:
    """Without variation there are few pictures; if they are all to be avoided, that is said."""
    fixed = replace(STILL, scale=(1.0, 1.0))
    every, _ = xo.generate(500, 5, variation=fixed, rng=0)
    with pytest.raises(ValueError, match="avoid: "):
        xo.generate(10, 5, variation=fixed, rng=1, avoid=[every])


def test_many_are_drawn_in_parts() -> None:
    """Large requests are cut into parts that are as random as one."""
    pictures, labels = xo.generate(40, 257, rng=0)
    assert len({p.tobytes() for p in pictures}) == 40
    assert all(has_hole(p) for p in pictures[labels == 1][:2])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count=0"),
        ({"count": 2.5}, TypeError, "count=2.5"),
        ({"count": 1, "size": 4}, ValueError, "size=4"),
        ({"count": 1, "size": "9"}, TypeError, "size='9'"),
    ],
)
def test_bad_requests(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        xo.generate(**arguments)


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("noise", 0.6, xo.KnobError),
        ("noise", float("nan"), xo.KnobError),
        ("noise", "much", TypeError),
        ("rotation", 45, xo.KnobError),
        ("translation", -0.1, xo.KnobError),
        ("scale", (1.0, 0.5), xo.KnobError),
        ("scale", (0.5, 1.5), xo.KnobError),
        ("scale", 0.5, TypeError),
        ("weight", (0.1, 0.2, 0.3), TypeError),
        ("weight", (0.0, 0.9), xo.KnobError),
    ],
)
def test_bad_variation(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{field}="):
        xo.Variation(**{field: value})
