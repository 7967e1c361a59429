"""The X-or-O example made by hand: every table that is printed for it, as exact ninths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastconv
from fastconv import nn, xo

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "deck.json").read_text())
NAMES = {name.replace("_", " "): rows for name, rows in GOLDEN["pictures"].items()}


def ninths(values: np.ndarray) -> np.ndarray:
    """The integers that values are ninths of; each must be the double nearest to its ninth."""
    whole = np.rint(values * 9)
    np.testing.assert_array_equal(values, whole / 9)
    return whole


# ---- pictures and features -------------------------------------------------------------------------


def test_the_ten_pictures() -> None:
    """Same drawings under the same names, X first; two-valued pixels."""
    assert {picture.name: list(picture.rows) for picture in xo.DECK} == NAMES
    pictures, labels = xo.deck_pictures()
    assert pictures.shape == (10, 1, 9, 9)
    assert pictures.dtype == np.float32
    assert set(np.unique(pictures)) == {-1.0, 1.0}
    assert [picture.name[0] for picture in xo.DECK] == [xo.LETTERS[label] for label in labels]


def test_rotated_x_differs_in_16_pixels() -> None:
    """Why literal comparison fails: X and rotated X differ in 16 of 81 pixels."""
    pixels = {picture.name: picture.pixels for picture in xo.DECK}
    assert np.count_nonzero(pixels["X"] != pixels["X rotated"]) == 16


def test_the_three_features() -> None:
    np.testing.assert_array_equal(xo.deck_features()[:, 0], GOLDEN["features"])


@pytest.mark.parametrize("rows", [[], [""], ["#.", "#"], ["#x"], ["# "]])
def test_drawings_that_are_none(rows: list[str]) -> None:
    with pytest.raises(ValueError, match="rows="):
        xo.picture_from_rows(rows)


@pytest.mark.parametrize("size", [5, 6, 9, 13, 40])
def test_ten_pictures_at_any_size(size: int) -> None:
    """Scaled pictures stay letters: no X equals an O, all have ink, and paper around it."""
    pictures, labels = xo.deck_pictures(size)
    assert pictures.shape == (10, 1, size, size)
    letters = [{picture.tobytes() for picture in pictures[labels == label]} for label in (0, 1)]
    assert not letters[0] & letters[1]
    ink = (pictures > 0).mean(axis=(1, 2, 3))
    assert ((ink > 0.05) & (ink < 0.65)).all()


# ---- the network made by hand ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def trace() -> xo.HandMadeTrace:
    return xo.hand_made(xo.deck_pictures()[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_filtering_with_conv2d(dtype: type) -> None:
    """Nine times the match is what conv2d sums, in either precision, on every algorithm."""
    pictures, features = xo.deck_pictures()[0].astype(dtype), xo.deck_features().astype(dtype)
    for algorithm in ("auto", "direct", "reference"):
        sums = fastconv.conv2d(pictures[:1], features, algorithm=algorithm)
        np.testing.assert_array_equal(sums[0], GOLDEN["filtered_X_ninths"])


@pytest.mark.parametrize(
    ("step", "table"),
    [
        ("filtered", "filtered_X_ninths"),
        ("rectified", "relu_X_ninths"),
        ("pooled", "pooled_X_ninths"),
        ("pooled_twice", "pooled_twice_X_ninths"),
    ],
)
def test_printed_maps(trace: xo.HandMadeTrace, step: str, table: str) -> None:
    np.testing.assert_array_equal(ninths(getattr(trace, step)[0]), GOLDEN[table])


def test_vote_sums_of_all_ten(trace: xo.HandMadeTrace) -> None:
    """X votes are sums of five ninths over 45, O votes of four over 36."""
    assert [list(xo.X_VOTERS), list(xo.O_VOTERS)] == [GOLDEN["x_voters"], GOLDEN["o_voters"]]
    for picture, votes in zip(xo.DECK, trace.votes):
        sums = votes * [45, 36]
        np.testing.assert_allclose(
            sums, GOLDEN["vote_sums_ninths"][picture.name.replace(" ", "_")], atol=1e-13
        )


def test_right_on_nine_wrong_on_the_thick_x(trace: xo.HandMadeTrace) -> None:
    wrong = trace.votes.argmax(axis=1) != xo.deck_pictures()[1]
    assert [xo.DECK[i].name for i in np.flatnonzero(wrong)] == ["X weight"]


def test_future_values() -> None:
    """The votes printed as .92 and .51 are 0.912 and 0.5175."""
    votes = xo.count_votes(np.array([GOLDEN["slide_future_values"]]))
    np.testing.assert_allclose(votes[0], GOLDEN["slide_future_votes_exact"], rtol=0, atol=1e-15)


def test_error_of_the_printed_votes() -> None:
    """|1 - 0.92| + |0 - 0.51| is 0.59 (printed as 0.57)."""
    assert nn.TotalAbsoluteError()(np.array([[0.92, 0.51]]), np.array([0])) == pytest.approx(0.59, abs=1e-15)
    assert nn.TotalAbsoluteError()(np.array([[0.0, 0.51]]), np.array([[0.0, 0.0]])) == pytest.approx(0.51)


def test_patch_matches() -> None:
    """A patch equal to its feature matches 9/9; the printed products average to 5/9."""
    first, second = GOLDEN["patch_examples"]
    features = xo.deck_features().astype(np.float64)
    patch = np.array(first["patch"], np.float64)[None]
    assert xo.match(patch, features)[first["feature"]].item() == 1.0
    assert xo.two_decimals(np.mean(second["products"])) == "0.55"
    other = np.array(second["products"]) * features[second["feature"]]
    assert xo.match(other, features)[second["feature"]].item() == 5 / 9


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (7 / 9, "0.77"),
        (5 / 9, "0.55"),
        (-1 / 9, "-0.11"),
        (1.0, "1.00"),
        (-1.0, "-1.00"),
        (0.0, "0.00"),
        (-0.001, "0.00"),
        (12.345, "12.34"),
        (sum([1 / 9] * 9), "1.00"),
        (np.float32(0.29), "0.29"),
    ],
)
def test_printed_like_the_slides(value: float, printed: str) -> None:
    """Cut off after two decimals, towards zero; sums a rounding error short of 1 are 1."""
    assert xo.two_decimals(value) == printed


def test_features_are_not_flipped() -> None:
    """All three features look the same turned by 180 degrees; an asymmetric one tells a flipped kernel."""
    corner = xo.picture_from_rows(["##.", "#..", "..."])[None, None]
    picture = np.full((1, 1, 9, 9), -1, np.float32)
    picture[0, 0, 2:5, 4:7] = corner
    matches = xo.match(picture, corner)[0, 0]
    assert np.argwhere(matches == 1).tolist() == [[2, 4]]
    assert xo.match(picture, corner[:, :, ::-1, ::-1])[0, 0].max() < 1
    assert xo.match(picture, corner[:, :, :, ::-1])[0, 0].max() < 1


def test_pooling_and_relu_commute() -> None:
    """conv -> pool -> ReLU gives what conv -> ReLU -> pool gives, for windows and strides of all kinds."""
    filtered = xo.match(xo.deck_pictures()[0], xo.deck_features())
    for window, stride in ((2, 2), (3, 2), (2, 1), (3, 3)):
        one = fastconv.max_pool2d(fastconv.relu(filtered), window, stride, ceil_mode=True)
        other = fastconv.relu(fastconv.max_pool2d(filtered, window, stride, ceil_mode=True))
        np.testing.assert_array_equal(one, other)


def test_hand_made_as_layers(trace: xo.HandMadeTrace) -> None:
    """The trainable network, given the three features and listed votes as weights, is the same network."""
    knobs = xo.Knobs(features=(3,), layers=xo.SHORT_STACK, hidden=())
    net = xo.build_network(knobs, 0).astype(np.float64)
    weights = net.state_dict()
    weights["0.weight"] = xo.deck_features().astype(np.float64) / 9
    votes = np.zeros((2, 12))
    votes[0, list(xo.X_VOTERS)] = 1 / 5
    votes[1, list(xo.O_VOTERS)] = 1 / 4
    weights["5.weight"] = votes
    net.load_state_dict(weights)
    np.testing.assert_allclose(net(xo.deck_pictures()[0].astype(np.float64)), trace.votes, rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", [(1, 9, 9), (1, 1, 9, 8), (2, 3, 9, 9), (9, 9)])
def test_hand_made_takes_nine_by_nine(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="pictures: shape"):
        xo.hand_made(np.ones(shape))


def test_hand_made_takes_no_lists() -> None:
    with pytest.raises(TypeError, match="pictures"):
        xo.hand_made([[1.0]])
    with pytest.raises(ValueError, match="values: shape"):
        xo.count_votes(np.ones((2, 11)))
