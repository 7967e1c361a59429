"""A small net for each example, and what it gets right of the samples held out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastconv
from fastconv import nn
from fastconv.data.augmentation import Augmentation
from fastconv.data.batches import Batches
from fastconv.data.dataset import Dataset
from fastconv.data.examples.brain import HALF
from fastconv.data.examples.spoken import DIGITS, LETTERS, RECORDED, SPEAKER
from fastconv.data.opening import open_dataset

#: How often each net sees its training samples.
EPOCHS = {
    "touch-tones": 30,
    "spoken-digits": 12,
    "spoken-letters": 14,
    "solids": 6,
    "sentences": 12,
    "faces": 40,
    "brain": 8,
}

#: How a word is heard.
SPOKEN = {"groups": SPEAKER, "sample_rate": 8000, "seconds": 0.8, "n_fft": 256, "hop": 128, "mel": 32}

#: How each example is opened.
OPTIONS: dict[str, dict[str, Any]] = {
    "touch-tones": {"hop": 256},
    "spoken-digits": SPOKEN,
    "spoken-letters": SPOKEN,
    "solids": {},
    "faces": {},
    "brain": {"groups": HALF},
}

#: Words come earlier or later, higher or lower, and in other noise.
OTHER_WORDS = Augmentation(translate=(0.06, 0.15), scale=0.1, contrast=0.2, noise=0.6)

#: How samples are changed while a net learns from them.
AUGMENTATIONS = {
    "spoken-digits": OTHER_WORDS,
    "spoken-letters": OTHER_WORDS,
    "solids": Augmentation(mirror=True),
    "faces": Augmentation(mirror=True, translate=0.08, scale=0.1, rotate=8, contrast=0.2),
    "brain": Augmentation(mirror=True, contrast=0.2, noise=0.2),
}

#: Samples that are learned from together.
BATCH = 32

#: Parts that faces are divided into, each held out once, and how often that is done anew.
FOLDS, REPEATS = 5, 2

#: How often a word is hidden while nets learn from sentences, so that none is all that tells a kind (Iyyer et
#: al., "Deep unordered composition rivals syntactic methods for text classification", ACL 2015).
HIDDEN = 0.3

#: What is done to a batch of samples before a net sees it.
Change = Callable[[np.ndarray], np.ndarray]


def learn(name: str, folder: str, seed: int = 0, recorded: str | None = None) -> Iterator[str]:
    """Lines about what nets learned from a folder that was written; an accuracy in each.

    Parameters
    ----------
    name : str
        Of the example: "touch-tones", "faces" and so on.
    folder : str
    seed : int
        Of split, nets and order.
    recorded : str, optional
        A folder with 0.wav to 9.wav, or a.wav to z.wav, that somebody spoke; without it where Debian has
        them, if it has.
    """
    if name == "sentences":
        dataset, train, held_out = _opened(folder, seed, kind="text", cut="line", length=24, words=800)
        yield from _sentences(dataset, train, held_out, seed)
        return
    if name in ("faces", "brain"):
        yield from (_faces if name == "faces" else _brain)(open_dataset(folder, **OPTIONS[name]), seed)
        return
    dataset, train, held_out = _opened(folder, seed, **OPTIONS[name])
    net = NETS[name](dataset.preprocessing.shape, len(dataset.classes), seed)
    accuracy, count = _score(name, net, dataset, (train, held_out), seed)
    yield _line(f"ConvNet on {'volumes' if name == 'solids' else 'spectrograms'}", accuracy, count)
    if name in RECORDINGS:
        yield from _heard(net, dataset, name, recorded)


def _tones_net(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    """Features of a few bands and frames; where a band is strongest at any time."""
    _, bands, frames = shape
    return nn.Sequential(
        nn.Conv2d(1, 8, (3, 5), rng=seed),
        nn.ReLU(),
        nn.MaxPool2d((2, frames - 4)),
        nn.Flatten(),
        nn.Dropout(0.2, rng=seed),
        nn.Linear(8 * ((bands - 2) // 2), classes, rng=seed),
    )


def _plain_net(windows: tuple[Any, ...]) -> Callable[[tuple[int, ...], int, int], nn.Sequential]:
    """Convolutions of 16, 32, ... features, each with a pool of its window; then votes."""

    def make(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
        layers: list[nn.Layer] = []
        channels = shape[0]
        for features, window in zip((16, 32, 64), windows):
            layers += [
                nn.Conv2d(channels, features, 3, padding=1, rng=seed),
                nn.BatchNorm2d(features),
                nn.ReLU(),
                nn.MaxPool2d(window),
            ]
            channels = features
        layers += [nn.Flatten(), nn.Dropout(0.5, rng=seed)]
        _, inputs = nn.Sequential(*layers).output_shape((1, *shape))
        return nn.Sequential(*layers, nn.Linear(inputs, classes, rng=seed))

    return make


#: Words are told over time at last: bands are pooled less than frames.
_words_net = _plain_net((2, 2, (1, 2)))


def _solids_net(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(shape[0], 8, 5, stride=2, padding=2, rng=seed),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.Conv3d(8, 16, 3, padding=1, rng=seed),
        nn.BatchNorm3d(16),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(16, 32, 3, padding=1, rng=seed),
        nn.BatchNorm3d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(32, classes, rng=seed),
    )


NETS = {
    "touch-tones": _tones_net,
    "spoken-digits": _words_net,
    "spoken-letters": _words_net,
    "faces": _plain_net((2, 2)),
    "solids": _solids_net,
    "brain": _solids_net,
}

#: The words that somebody recorded, and the folder of them in Debian's package.
RECORDINGS = {"spoken-digits": (tuple(DIGITS), "digits"), "spoken-letters": (tuple(LETTERS), "letters")}


def _heard(net: nn.Layer, dataset: Dataset, name: str, folder: str | None) -> Iterator[str]:
    """What the net takes recorded words for."""
    words, what = RECORDINGS[name]
    if folder is None:
        folder = os.path.join(RECORDED, what)
        if not os.path.isdir(folder):
            yield f"no recorded {what} here (Debian's asterisk-core-sounds-en-wav)"
            return
    right = 0
    for word in words:
        sound = dataset.preprocessing.read(os.path.join(folder, f"{word}.wav"))
        found = dataset.classes[int(net(sound[None]).argmax())]
        right += found == word
        yield f"  recorded {word}: heard {found}"
    yield f"recorded {what}, never learned from: {right} of {len(words)}"


def _faces(dataset: Dataset, seed: int) -> Iterator[str]:
    """There are few, so that each is held out in its turn, and all of it is done again."""
    scores = []
    for repeat in range(REPEATS):
        rng = np.random.default_rng((seed, repeat))
        part_of = np.empty(len(dataset), int)
        for label in range(len(dataset.classes)):
            own = np.flatnonzero(dataset.labels == label)
            part_of[rng.permutation(own)] = np.arange(len(own)) % FOLDS
        parts = [score for _, score in _crossed("faces", dataset, part_of, seed + repeat)]
        scores.append(_mean(parts))
        yield _line(f"ConvNet, each of {FOLDS} parts held out", *scores[-1])
    yield _line(f"mean of {REPEATS} such rounds", *_mean(scores))


def _brain(dataset: Dataset, seed: int) -> Iterator[str]:
    """Learned from one half of the brain, held out the other."""
    assert dataset.groups is not None
    yield f"always the most frequent region: {dataset.counts.max() / len(dataset):.1%}"
    scores = []
    for group, score in _crossed("brain", dataset, dataset.groups, seed):
        name = dataset.names[int(np.flatnonzero(dataset.groups == group)[0])]
        yield _line(f"the {os.path.basename(name).partition('_')[0]} half, learned from the other", *score)
        scores.append(score)
    yield _line("ConvNet on blocks, both halves", *_mean(scores))


def _crossed(
    name: str, dataset: Dataset, part_of: np.ndarray, seed: int
) -> Iterator[tuple[int, tuple[float, int]]]:
    """Each part, and the score on it of a net that has learned from all others."""
    for part in np.unique(part_of).tolist():
        train, held_out = np.flatnonzero(part_of != part), np.flatnonzero(part_of == part)
        fitted = dataset.fitted(train)
        net = NETS[name](fitted.preprocessing.shape, len(fitted.classes), seed)
        yield part, _score(name, net, fitted, (train, held_out), seed)


def _mean(scores: list[tuple[float, int]]) -> tuple[float, int]:
    """Of all samples together."""
    count = sum(each for _, each in scores)
    return sum(accuracy * each for accuracy, each in scores) / count, count


def _opened(folder: str, seed: int, **options: Any) -> tuple[Dataset, np.ndarray, np.ndarray]:
    dataset = open_dataset(folder, **options)
    train, held_out = dataset.split(0.25, seed)
    return dataset.fitted(train), train, held_out


def _sentences(dataset: Dataset, train: np.ndarray, held_out: np.ndarray, seed: int) -> Iterator[str]:
    """Windows of three words, on the grid and by a table; the order of words lost; and words without any."""
    words, length = dataset.preprocessing.shape
    numbers = dataset.laid_out("indices")
    rows = numbers.preprocessing.rows
    assert rows is not None
    most = max(np.bincount(dataset.labels[held_out])) / len(held_out)
    yield f"always the more frequent kind: {most:.1%}"

    def net(height: int, *front: nn.Layer) -> nn.Sequential:
        return nn.Sequential(
            *front,
            nn.Conv1d(height, 24, 3, padding=1, rng=seed),
            nn.ReLU(),
            nn.MaxPool1d(length),
            nn.Flatten(),
            nn.Dropout(0.5, rng=seed),
            nn.Linear(24, 2, rng=seed),
        )

    rng = np.random.default_rng(seed)
    table = nn.Embedding(rows, 16, 0, rng=seed)
    for what, made, data, change in (
        ("ConvNet, windows of 3 words", net(words), dataset, None),
        ("ConvNet, of learned embeddings", net(16, table), numbers, None),
        ("the first, positions shuffled", net(words), dataset, lambda x: _shuffled(x, rng)),
        ("bag of words", nn.Sequential(nn.Linear(words, 2, rng=seed)), dataset, lambda x: x.max(2)),
    ):
        yield _line(what, *_score("sentences", made, data, (train, held_out), seed, change, _hidden))
        found = _documents(made, data, held_out, change)
        yield _line("  documents, by the sum of their sentences", *found)


def _hidden(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Words left out here and there: of the grid whole columns, of numbers 0 in their place."""
    kept = rng.random((len(x), x.shape[-1])) >= HIDDEN
    left: np.ndarray = x * (kept if x.ndim == 2 else kept[:, None])
    return left


def _changed(x: Any, change: Change | None) -> Any:
    """A batch after a change; numbers of words stay a tuple of one."""
    if change is None:
        return x
    return (change(x[0]),) if isinstance(x, tuple) else change(x)


def _documents(
    net: nn.Layer, dataset: Dataset, held_out: np.ndarray, change: Change | None
) -> tuple[float, int]:
    """The same for documents: what the votes of their sentences add up to."""
    batches = dataset.batches(held_out, 256, shuffle=False)
    votes = list(nn.predict(net, (_changed(x, change) for x, _ in batches)))
    assert dataset.groups is not None
    documents, own = np.unique(dataset.groups[held_out], return_inverse=True)
    total = np.zeros((len(documents), len(dataset.classes)))
    np.add.at(total, own, fastconv.softmax(np.concatenate(votes)))
    labels = np.zeros(len(documents), int)
    labels[own] = dataset.labels[held_out]
    return float((total.argmax(1) == labels).mean()), len(documents)


def _shuffled(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The columns of every sample in an order of its own."""
    order = rng.permuted(np.broadcast_to(np.arange(x.shape[2]), (len(x), x.shape[2])), axis=1)
    return np.take_along_axis(x, order[:, None], 2)


def _score(
    name: str,
    net: nn.Layer,
    dataset: Dataset,
    split: tuple[np.ndarray, np.ndarray],
    seed: int,
    change: Change | None = None,
    vary: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
) -> tuple[float, int]:
    """The accuracy on samples held out, and how many they are.

    `change` is done to all samples, `vary` before it to those that are learned from.
    """
    rng = np.random.default_rng(seed)
    (train, held_out), epochs = split, EPOCHS[name]
    batches = dataset.batches(train, BATCH, rng=rng, augmentation=AUGMENTATIONS.get(name), drop_last=True)
    held = dataset.batches(held_out, shuffle=False)

    def changed(
        source: Batches, vary: Change | None = None
    ) -> Callable[[], Iterator[tuple[Any, np.ndarray]]]:
        return lambda: ((_changed(_changed(x, vary), change), y) for x, y in source)

    nn.fit(
        net,
        changed(batches, None if vary is None else lambda x: vary(x, rng)),
        loss=nn.CrossEntropyLoss(),
        optimizer=nn.Adam(net.parameters(), 0.003),
        schedule=nn.CosineLR(0.003, epochs),
        epochs=epochs,
        rng=rng,
        progress=False,
    )
    return nn.evaluate(net, changed(held), loss=nn.CrossEntropyLoss())[1] or 0.0, len(held_out)


def _line(what: str, accuracy: float, count: int) -> str:
    return f"{what}: {accuracy:.1%} of {count:,} held out"
