"""The trickier cases, each compared with what it says it does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fastconv.data import Augmentation


def blob(size: int = 21, at: tuple[float, float] = (10, 10), width: float = 2.0) -> np.ndarray:
    """A soft spot at a place, (1, 1, size, size)."""
    y, x = np.mgrid[:size, :size]
    spot = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * width**2))
    return spot[None, None].astype(np.float32)


def middle(pictures: np.ndarray) -> np.ndarray:
    """Where the weight of each picture lies, (n, 2)."""
    y, x = np.mgrid[: pictures.shape[2], : pictures.shape[3]]
    weight = pictures[:, 0] / pictures[:, 0].sum((1, 2), keepdims=True)
    return np.stack([(weight * y).sum((1, 2)), (weight * x).sum((1, 2))], 1)


def many(x: np.ndarray, count: int = 200) -> np.ndarray:
    return np.repeat(x, count, 0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_nothing_is_changed_if_nothing_is_asked_for() -> None:
    x = blob()
    assert Augmentation()(x, rng()) is not None
    np.testing.assert_array_equal(Augmentation()(x, rng()), x)


def test_translate_moves_up_to_its_part_of_the_size() -> None:
    moved = middle(Augmentation(translate=(0.0, 0.2))(many(blob()), rng())) - 10
    assert abs(moved[:, 0]).max() < 0.01
    assert 3.8 < moved[:, 1].max() < 4.25
    assert -4.25 < moved[:, 1].min() < -3.8
    both = middle(Augmentation(translate=0.1)(many(blob()), rng())) - 10
    assert 1.9 < abs(both).max(0).min() <= abs(both).max() < 2.15


def test_rotate_turns_up_to_its_angle_either_way() -> None:
    turned = middle(Augmentation(rotate=30)(many(blob(31, (15, 25))), rng())) - 15
    angle = np.degrees(np.arctan2(turned[:, 0], turned[:, 1]))
    assert 28 < angle.max() < 31
    assert -31 < angle.min() < -28
    np.testing.assert_allclose(np.hypot(*turned.T), 10, atol=0.15)


def test_scale_grows_and_shrinks_by_the_same_factor() -> None:
    away = (middle(Augmentation(scale=0.25)(many(blob(31, (15, 21))), rng())) - 15)[:, 1] / 6
    assert 1.22 < away.max() < 1.26
    assert 1 / 1.26 < away.min() < 1 / 1.22


def test_mirror_exchanges_left_and_right_of_every_other() -> None:
    x = many(blob(at=(10, 5)))
    mirrored = middle(Augmentation(mirror=True)(x, rng()))[:, 1] > 10
    assert 0.4 < mirrored.mean() < 0.6
    y = Augmentation(mirror=True)(x, rng())
    np.testing.assert_allclose(y[mirrored], x[mirrored][..., ::-1], atol=1e-6)
    np.testing.assert_allclose(y[~mirrored], x[~mirrored], atol=1e-6)


def test_weight_makes_lines_thicker_and_thinner_by_so_many_pixels() -> None:
    x = np.full((1, 1, 21, 21), -1, np.float32)
    x[..., 8:13, :] = 1
    drawn = Augmentation(weight=2)(many(x), rng())[:, 0, :, 10]
    thickness = ((drawn + 1) / 2).sum(1)
    assert 8.8 < thickness.max() <= 9.001
    assert 0.999 <= thickness.min() < 1.2
    assert 4.5 < thickness.mean() < 5.5
    assert abs(drawn).max() <= 1


def test_contrast_keeps_the_mean() -> None:
    x = many(np.random.default_rng(1).normal(3, 2, (1, 3, 8, 8)).astype(np.float32))
    y = Augmentation(contrast=0.5)(x, rng())
    np.testing.assert_allclose(y.mean((1, 2, 3)), x.mean((1, 2, 3)), rtol=1e-4)
    factor = y.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.5 <= factor.min() < 0.52
    assert 1.48 < factor.max() <= 1.5


def test_noise_is_of_a_deviation_of_its_own_for_each() -> None:
    y = Augmentation(noise=0.5)(np.zeros((300, 1, 16, 16), np.float32), rng())
    deviation = y.std((1, 2, 3))
    assert deviation.min() < 0.02
    assert 0.45 < deviation.max() < 0.56
    assert abs(y.mean()) < 0.01


EVERYTHING = Augmentation((0.1, 0.2), 0.2, 15, 0.3, 1.5, 0.2, True)


@pytest.mark.parametrize("shape", [(5, 1, 9, 9), (5, 3, 9, 12), (5, 2, 3, 6, 8)])
def test_everything_at_once_is_seeded_and_leaves_its_argument(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    before = x.copy()
    y = EVERYTHING(x, np.random.default_rng(3))
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert np.isfinite(y).all()
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(EVERYTHING(x, np.random.default_rng(3)), y)
    assert abs(EVERYTHING(x, np.random.default_rng(4)) - y).max() > 0.1
    assert EVERYTHING(x[:0], np.random.default_rng(3)).shape == (0, *shape[1:])


def test_channels_and_slices_are_moved_alike() -> None:
    x = np.repeat(np.random.default_rng(0).normal(size=(4, 1, 9, 9)), 6, 1).astype(np.float32)
    y = Augmentation(translate=0.3, rotate=20, scale=0.2, mirror=True)(x, rng())
    np.testing.assert_array_equal(y, np.repeat(y[:, :1], 6, 1))
    volume = Augmentation(translate=0.3, rotate=20, scale=0.2, mirror=True)(x.reshape(4, 2, 3, 9, 9), rng())
    np.testing.assert_array_equal(volume.reshape(x.shape), y)


def test_a_net_of_rows_can_be_moved_but_not_turned() -> None:
    x = np.zeros((50, 2, 20), np.float32)
    x[:, :, 10] = 1
    y = Augmentation(translate=0.25)(x, rng())
    np.testing.assert_allclose(y.sum(2), 1, atol=1e-5)
    assert abs((y[:, 0] * np.arange(20)).sum(1) - 10).max() > 4
    with pytest.raises(ValueError, match=r"rotate=5.0: samples of shape \(2, 20\) are no pictures"):
        Augmentation(rotate=5)(x, rng())


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"translate": 1.5}, "translate=1.5: must be"),
        ({"translate": (0.1, 0.2, 0.3)}, "translate"),
        ({"scale": -0.1}, "scale=-0.1"),
        ({"rotate": np.nan}, "rotate=nan"),
        ({"weight": "thick"}, "weight='thick'"),
        ({"mirror": 1}, "mirror=1"),
    ],
)
def test_what_cannot_be(options: dict, rule: str) -> None:
    with pytest.raises((TypeError, ValueError), match=rule):
        Augmentation(**options)


def test_json_both_ways() -> None:
    assert Augmentation.from_json(json.loads(json.dumps(EVERYTHING.to_json()))) == EVERYTHING
    with pytest.raises(ValueError, match="augmentation: shear: unknown"):
        Augmentation.from_json({"shear": 1})
