"""Data sets: what is learned from which samples, batches epoch after epoch, and JSON both ways."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from data.made import pictures, png
from fastconv import nn
from fastconv.data import (
    Augmentation,
    DataError,
    Dataset,
    ImagePreprocessing,
    Preprocessing,
    SoundPreprocessing,
    TablePreprocessing,
    TextPreprocessing,
    VolumePreprocessing,
    open_dataset,
    stratified_split,
)

EVERY_KIND = [
    ImagePreprocessing(shape=(3, 4, 5), mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0), fit="cover", peak=16.0),
    SoundPreprocessing(shape=(1, 20, 30), sample_rate=8000, samples=4000, n_fft=256, hop=128, mel=20),
    TextPreprocessing(shape=(1, 4, 7), length=7, vocabulary=("ä", "b", "c"), layout="grid", cut="line"),
    TablePreprocessing(shape=(1, 2), columns=("age", "place")),
    VolumePreprocessing(shape=(2, 3, 4, 5), mean=(1.0, 2.0)),
]


@pytest.fixture
def noise(tmp_path: Path) -> Dataset:
    """60 pictures of noise in three classes, of 10, 20 and 30."""
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6), np.uint8)
    np.savez(tmp_path / "noise.npz", x=x, y=np.repeat([0, 1, 2], [10, 20, 30]))
    return open_dataset(tmp_path / "noise.npz")


# ---- JSON ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", EVERY_KIND, ids=lambda made: made.kind)
def test_a_preprocessing_describes_itself(made: Preprocessing) -> None:
    again = Preprocessing.from_json(json.loads(json.dumps(made.to_json())))
    assert again == made
    assert type(again) is type(made)
    assert hash(again) == hash(made)


@pytest.mark.parametrize("made", EVERY_KIND, ids=lambda made: made.kind)
def test_what_describes_nothing_is_refused(made: Preprocessing) -> None:
    """Whatever stands in any field: an error that says so, or a value that is as good."""
    whole = made.to_json()
    for name in whole:
        cut = {k: v for k, v in whole.items() if k != name}
        with pytest.raises(DataError, match=f"preprocessing: .*{name}"):
            Preprocessing.from_json(cut)
        for value in (
            None,
            -1,
            0,
            1.5,
            "x",
            [],
            [-1],
            [0.5],
            ["x", "x"],
            {},
            [[1]],
            10**30,
            float("nan"),
            True,
        ):
            said = ""
            try:
                Preprocessing.from_json({**whole, name: value})
            except DataError as error:
                said = str(error)
            assert not said or (said.startswith("preprocessing: ") and "\n" not in said)
    with pytest.raises(DataError, match="preprocessing: more: unknown"):
        Preprocessing.from_json({**whole, "more": 1})
    for thing in (None, [], "images", {"kind": ["images"]}):
        with pytest.raises(DataError, match="preprocessing"):
            Preprocessing.from_json(thing)  # type: ignore[arg-type]


# ---- splits and statistics -------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.5, 0.99])
def test_a_split_has_the_same_part_of_every_class(fraction: float) -> None:
    labels = np.repeat([4, 7, 9], [2, 20, 300])
    train, held_out = stratified_split(labels, fraction, 0)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    for label, count in ((4, 2), (7, 20), (9, 300)):
        held = (labels[held_out] == label).sum()
        assert 1 <= held <= count - 1
        assert abs(held - fraction * count) <= 1
    again = stratified_split(labels, fraction, 0)
    np.testing.assert_array_equal(again[1], held_out)
    if fraction == 0.2:
        assert not np.array_equal(stratified_split(labels, fraction, 1)[1], held_out)


def test_groups_stay_together_and_classes_even() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 800)
    labels = rng.integers(0, 2, 800)
    train, held_out = stratified_split(labels, 0.25, 0, groups)
    assert not set(groups[train]) & set(groups[held_out])
    for label in (0, 1):
        assert 0.2 < (labels[held_out] == label).sum() / (labels == label).sum() < 0.3
    with pytest.raises(DataError, match="class 1 has 1 group of samples"):
        stratified_split([0, 0, 0, 1, 1], 0.5, 0, [0, 1, 2, 3, 3])


def test_a_class_with_one_sample_is_named(tmp_path: Path) -> None:
    pictures(tmp_path)
    png(tmp_path / "ant" / "0.png", np.zeros((8, 8)))
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"class 'ant' has 1 sample; it must have 2 or more"):
        dataset.split(0.2)
    with pytest.raises(DataError, match=r"class 2 has 1 sample"):
        stratified_split([0, 0, 2], 0.5, 0)


@pytest.mark.parametrize(
    ("labels", "fraction"),
    [([0, 1], 0), ([0, 1], 1), ([], 0.5), ([0.5], 0.5), ([[0, 1]], 0.5), ([0], np.nan)],
)
def test_splits_that_mean_nothing(labels: list, fraction: float) -> None:
    with pytest.raises((ValueError, TypeError), match=r"labels|fraction"):
        stratified_split(labels, fraction, 0)


def test_statistics_are_of_training_samples_alone(noise: Dataset) -> None:
    train, held_out = noise.split(0.3, seed=0)
    x, _ = noise.batch(train)
    made = noise.fitted(train).preprocessing
    np.testing.assert_allclose(made.mean, x.mean(), rtol=1e-5)
    np.testing.assert_allclose(made.std, x.std(), rtol=1e-5)
    fitted, _ = noise.fitted(train).batch(train)
    assert abs(fitted.mean()) < 1e-5
    assert abs(fitted.std() - 1) < 1e-5
    assert noise.fitted(held_out).preprocessing != made


def test_a_channel_that_never_varies_is_not_divided_by_nothing(tmp_path: Path) -> None:
    x = np.full((6, 5, 5, 3), 7, np.uint8)
    x[..., 0] = np.random.default_rng(0).integers(0, 256, (6, 5, 5))
    np.savez(tmp_path / "d.npz", x=x, y=[0, 1] * 3)
    found, _ = open_dataset(tmp_path / "d.npz").fitted().batch(slice(None))
    assert abs(found[:, 1:]).max() < 1e-6


def test_signed_pixels_are_paper_and_ink(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.tile([[0, 255], [255, 0]], (4, 1, 1)).astype(np.uint8), y=[0, 1] * 2)
    found, _ = open_dataset(tmp_path / "d.npz", normalise="signed").fitted().batch([0])
    assert found[0, 0].tolist() == [[-1, 1], [1, -1]]
    with pytest.raises(ValueError, match="normalise='x': must be one of standard"):
        open_dataset(tmp_path / "d.npz", normalise="x")


# ---- samples ---------------------------------------------------------------------------------------------


def test_reading_a_file_alone_gives_the_bits_of_the_batch(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path, size=13), size=9).fitted()
    x, _ = dataset.batch(slice(None))
    for place, name in enumerate(dataset.names):
        np.testing.assert_array_equal(dataset.preprocessing.read(tmp_path / name), x[place])
    np.testing.assert_array_equal(dataset.batch(slice(None))[0], x)  # from memory
    small = open_dataset(tmp_path, size=9, cache_bytes=3 * 81).fitted()
    for _ in range(2):
        np.testing.assert_array_equal(small.batch(slice(None))[0], x)


def test_samples_are_decoded_once_and_no_more_are_kept_than_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    decode = ImagePreprocessing.decode
    monkeypatch.setattr(
        ImagePreprocessing, "decode", lambda self, path: (decoded.append(path), decode(self, path))[1]
    )
    pictures(tmp_path)
    for kept, reads in ((1 << 20, 8), (3 * 64, 8 + 5), (0, 16)):
        dataset = open_dataset(tmp_path, cache_bytes=kept)
        decoded.clear()
        for _ in range(2):
            dataset.batch(slice(None))
        assert len(decoded) == reads


@pytest.mark.parametrize("indices", [[60], [-61], [0.5], [[0, 1]], "x"])
def test_indices_that_are_none(indices: object, noise: Dataset) -> None:
    with pytest.raises((IndexError, TypeError), match="indices"):
        noise.batch(indices)


def test_indices_may_be_masks_negative_or_none(noise: Dataset) -> None:
    np.testing.assert_array_equal(noise.batch(noise.labels == 0)[0], noise.batch(slice(0, 10))[0])
    np.testing.assert_array_equal(noise.batch([-1])[0], noise.batch([59])[0])
    x, y = noise.batch([])
    assert (x.shape, y.shape) == ((0, 1, 6, 6), (0,))


# ---- batches ---------------------------------------------------------------------------------------------


def test_an_epoch_shows_every_sample_once_in_another_order(noise: Dataset) -> None:
    batches = noise.batches(batch_size=16, rng=0)
    assert len(batches) == 4
    whole = noise.batch(slice(None))[0].reshape(60, -1)
    epochs = []
    for _ in range(2):
        parts = list(batches)
        assert [len(x) for x, _ in parts] == [16, 16, 16, 12]
        x = np.concatenate([x for x, _ in parts]).reshape(60, -1)
        y = np.concatenate([y for _, y in parts])
        order = [int(np.flatnonzero((whole == row).all(1))[0]) for row in x]
        assert sorted(order) == list(range(60))
        assert (noise.labels[order] == y).all()
        epochs.append(order)
    assert epochs[0] != epochs[1]
    again = [y.tolist() for _, y in noise.batches(batch_size=16, rng=0)]
    assert again == [noise.labels[epochs[0][i : i + 16]].tolist() for i in range(0, 60, 16)]
    plain = np.concatenate([x for x, _ in noise.batches(shuffle=False)]).reshape(60, -1)
    np.testing.assert_array_equal(plain, whole)
    assert [len(x) for x, _ in noise.batches(batch_size=16, drop_last=True)] == [16] * 3
    with pytest.raises(ValueError, match="indices: 3 samples fill no batch of 16"):
        noise.batches([0, 1, 2], batch_size=16, drop_last=True)


@pytest.mark.parametrize("augmentation", [None, Augmentation(translate=0.2, noise=0.1, mirror=True)])
def test_a_thread_ahead_or_a_full_memory_change_no_bit(
    augmentation: Augmentation | None, tmp_path: Path
) -> None:
    """What a resumed training needs: its first epoch decodes what the unbroken one had in memory."""
    pictures(tmp_path, count=20)
    (tmp_path / "cat" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"cut")
    (tmp_path / "dog" / "9.png").write_bytes((tmp_path / "dog" / "8.png").read_bytes()[:-40])
    epochs = []
    for prefetch, warm in ((0, False), (0, True), (2, False), (None, True)):
        dataset = open_dataset(tmp_path, size=8)
        if warm:
            dataset.batch(slice(None))
        batches = dataset.batches(
            batch_size=6, rng=np.random.default_rng(1), augmentation=augmentation, prefetch=prefetch
        )
        epochs.append([(x.copy(), y) for x, y in batches])
    for epoch in epochs[1:]:
        assert len(epoch) == len(epochs[0])
        for (x, y), (x0, y0) in zip(epoch, epochs[0]):
            np.testing.assert_array_equal(x, x0)
            np.testing.assert_array_equal(y, y0)


def test_training_goes_on_to_the_same_bits_after_a_break(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path / "data", count=12)).fitted()

    def train(epochs: int, checkpoint: Path) -> nn.Layer:
        rng = np.random.default_rng(5)
        net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(72, 2, rng=0))
        nn.fit(
            net,
            dataset.batches(batch_size=8, rng=rng, augmentation=Augmentation(translate=0.1, rotate=10)),
            loss=nn.CrossEntropyLoss(),
            optimizer=nn.Adam(net.parameters(), 0.01),
            epochs=epochs,
            checkpoint=checkpoint,
            resume=True,
            rng=rng,
            progress=False,
        )
        return net

    train(2, tmp_path / "run.npz")
    resumed, unbroken = train(4, tmp_path / "run.npz"), train(4, tmp_path / "whole.npz")
    for name, value in unbroken.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], value)


def test_a_net_learns_from_batches_that_do_not_fit_memory(tmp_path: Path) -> None:
    dataset = open_dataset(pictures(tmp_path, count=16), cache_bytes=0, size=8)
    train, held_out = dataset.split(0.25, seed=0)
    dataset = dataset.fitted(train)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, rng=0))
    rng = np.random.default_rng(0)
    optimizer = nn.Adam(net.parameters(), 0.01)
    held = dataset.batches(held_out, shuffle=False)
    history = nn.fit(
        net,
        dataset.batches(train, batch_size=8, rng=rng),
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        epochs=3,
        validation=held,
        rng=rng,
        progress=False,
    )
    assert history.validation_accuracy[-1] == 1
    assert nn.evaluate(net, held, loss=nn.CrossEntropyLoss())[1] == 1


def test_the_thread_ends_with_its_reader_and_hands_on_what_went_wrong(
    noise: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    epoch = iter(noise.batches(batch_size=4, prefetch=2))
    next(epoch)
    assert threading.active_count() == before + 1
    epoch.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before

    def fail(self: Dataset, indices: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(Dataset, "take", fail)
    with pytest.raises(MemoryError, match="no more"):
        list(noise.batches(batch_size=4, prefetch=2))
    assert threading.active_count() == before


def test_a_summary_tells_sizes_balance_and_what_was_skipped(tmp_path: Path) -> None:
    pictures(tmp_path, ("cat", "dog"))
    (tmp_path / "cat" / "0.png").write_bytes(b"")
    text = open_dataset(tmp_path).summary()
    assert "7 images in 2 classes, each (1, 8, 8)" in text
    assert "cat          3  42.9%" in text
    assert text.endswith("skipped: 1: cat/0.png: the file is empty")
