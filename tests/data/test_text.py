"""Text: words by positions."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from fastconv import nn
from fastconv.data import DataError, TextPreprocessing, open_dataset


def texts(folder: Path, files: dict[str, str], encoding: str = "utf-8") -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode(encoding)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder


SEA = {f"sea/{i}.txt": f"The sea, it is the sea. A wave {i}!\n\nBoat" for i in range(4)}
LAND = {f"land/{i}.txt": f"A hill is a hill: don't dig {i}." for i in range(4)}


def test_a_word_has_its_row_where_it_stands(tmp_path: Path) -> None:
    dataset = open_dataset(texts(tmp_path, SEA | LAND), words=5, length=6).fitted()
    made = dataset.preprocessing
    assert isinstance(made, TextPreprocessing)
    assert made.vocabulary == ("a", "is", "boat", "dig", "don't")  # in how many texts; then by the alphabet
    assert made.shape == (6, 6)
    x, y = dataset.batch([0])
    assert dataset.classes[y[0]] == "land"
    other, a, is_ = 0, 1, 2
    wanted = np.zeros((6, 6), np.float32)
    for position, row in enumerate([a, other, is_, a, other, 5]):  # a hill is a hill don't
        wanted[row, position] = 1
    np.testing.assert_array_equal(x[0], wanted)


def test_the_vocabulary_knows_nothing_of_held_out_texts(tmp_path: Path) -> None:
    dataset = open_dataset(texts(tmp_path, SEA | LAND))
    made = dataset.fitted(np.flatnonzero(dataset.labels == 0)).preprocessing
    assert isinstance(made, TextPreprocessing)
    assert "hill" in made.vocabulary
    assert "sea" not in made.vocabulary


def test_layouts_tell_the_same(tmp_path: Path) -> None:
    texts(tmp_path, SEA | LAND)
    made = {k: open_dataset(tmp_path, length=9, layout=k).fitted() for k in ("channels", "grid", "indices")}
    x = {k: v.batch(slice(None))[0] for k, v in made.items()}
    np.testing.assert_array_equal(x["grid"], x["channels"][:, None])
    assert x["indices"].dtype == np.int64
    for sample, numbers in enumerate(x["indices"]):
        for position, number in enumerate(numbers):
            column = x["channels"][sample, :, position]
            assert column.sum() == (number > 0)
            assert number == 0 or column.argmax() == number - 1
    vocabulary = made["indices"].preprocessing.vocabulary  # type: ignore[attr-defined]
    assert x["indices"].max() == len(vocabulary) + 1


@pytest.mark.parametrize(("cut", "count"), [("file", 8), ("line", 12), ("sentence", 16)])
def test_texts_are_cut_and_the_pieces_of_a_file_stay_together(cut: str, count: int, tmp_path: Path) -> None:
    dataset = open_dataset(texts(tmp_path, SEA | LAND), cut=cut)
    assert len(dataset) == count
    train, held_out = dataset.split(0.25, seed=3)
    files = [{dataset.names[i].split(":")[0] for i in part} for part in (train, held_out)]
    assert not files[0] & files[1]
    assert [len(part) for part in files] == [6, 2]
    if cut == "sentence":
        fitted = dataset.fitted()
        place = list(dataset.names).index("sea/2.txt:2")
        assert (fitted.batch([place])[0].sum((0, 1)) > 0).sum() == 3  # a wave 2


def test_files_without_an_ending_and_packed_ones_are_text(tmp_path: Path) -> None:
    texts(tmp_path, {"a/ONE": "one", "a/TWO": "two", "b/THREE": "three"})
    dataset = open_dataset(tmp_path)
    assert (dataset.kind, len(dataset)) == ("text", 3)
    texts(tmp_path / "z", {"a/1.txt.gz": "packed words", "b/1.txt": "others"})
    x, _ = open_dataset(tmp_path / "z").fitted().batch(slice(None))
    assert x.sum() == 3


def test_encodings(tmp_path: Path) -> None:
    word = "Größe"
    texts(tmp_path, {"a/1.txt": word, "b/1.txt": "x"})
    texts(tmp_path, {"a/2.txt": word}, "utf-16")
    texts(tmp_path, {"a/3.txt": word}, "utf-8-sig")
    texts(tmp_path, {"a/4.txt": word}, "latin-1")
    dataset = open_dataset(tmp_path).fitted()
    made = dataset.preprocessing
    assert isinstance(made, TextPreprocessing)
    assert made.vocabulary == ("größe", "x")
    (bad,) = dataset.skipped
    assert bad[0] == "a/4.txt"
    assert bad[1].startswith("no utf-8 text")
    texts(tmp_path, {"a/1.txt": word, "a/2.txt": word, "a/3.txt": word}, "latin-1")
    assert open_dataset(tmp_path, encoding="latin-1").fitted().preprocessing == TextPreprocessing(
        shape=made.shape, length=1, vocabulary=("größe", "x"), encoding="latin-1"
    )
    with pytest.raises(DataError, match="encoding='klingon': unknown"):
        open_dataset(tmp_path, encoding="klingon")


def test_no_words(tmp_path: Path) -> None:
    texts(tmp_path, {"a/1.txt": "...", "a/2.txt": "word", "b/1.txt": "other", "b/2.txt": "nul\0l"})
    dataset = open_dataset(tmp_path, kind="text").fitted()
    x, _ = dataset.batch(slice(None))
    assert len(x) == 2
    assert dict(dataset.skipped) == {
        "a/1.txt": "holds no word",
        "b/2.txt": "no text: holds null characters",
    }


def test_a_packed_text_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastconv.data.text.LARGEST_TEXT", 10_000)
    texts(tmp_path, {"a/1.txt.gz": "a " * 100_000, "a/2.txt": "b", "b/1.txt": "c"})
    dataset = open_dataset(tmp_path).fitted()
    assert dict(dataset.skipped) == {"a/1.txt.gz": "unpacks to more than 10,000 bytes"}


def test_a_net_learns_a_table_of_embeddings(tmp_path: Path) -> None:
    dataset = open_dataset(texts(tmp_path, SEA | LAND), layout="indices", length=8, cut="line").fitted()
    made = dataset.preprocessing
    assert isinstance(made, TextPreprocessing)
    net = nn.Sequential(
        nn.Embedding(len(made.vocabulary) + 2, 4, 0, rng=0),
        nn.Conv1d(4, 6, 3, rng=0),
        nn.ReLU(),
        nn.MaxPool1d(6),
        nn.Flatten(),
        nn.Linear(6, 2, rng=0),
    )
    rng = np.random.default_rng(0)
    history = nn.fit(
        net,
        dataset.batches(batch_size=4, rng=rng),
        loss=nn.CrossEntropyLoss(),
        optimizer=nn.Adam(net.parameters(), 0.03),
        epochs=15,
        rng=rng,
        progress=False,
    )
    assert history.accuracy[-1] == 1
