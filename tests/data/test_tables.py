"""Samples that are rows: .npz, IDX and CSV files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from data.made import idx
from fastconv.data import DataError, TablePreprocessing, open_dataset, read_idx

RNG = np.random.default_rng(0)
DIGITS = RNG.integers(0, 256, (20, 6, 5), np.uint8)
LABELS = np.arange(20) % 3


@pytest.mark.parametrize(
    "names", [("x", "y"), ("images", "labels"), ("x_train", "y_train"), ("data", "target")]
)
@pytest.mark.parametrize("compressed", [False, True])
def test_npz(names: tuple[str, str], compressed: bool, tmp_path: Path) -> None:
    (np.savez_compressed if compressed else np.savez)(
        tmp_path / "d.npz", **dict(zip(names, (DIGITS, LABELS)))
    )
    dataset = open_dataset(tmp_path / "d.npz", normalise="unit")
    x, y = dataset.batch([3, 3, 17])
    np.testing.assert_allclose(x[:, 0], DIGITS[[3, 3, 17]] / 255, atol=1e-6)
    assert y.tolist() == LABELS[[3, 3, 17]].tolist()
    assert dataset.names[17] == "d.npz:17"


def test_npz_with_a_part_for_tests(tmp_path: Path) -> None:
    """As Keras has its data sets."""
    np.savez(
        tmp_path / "d.npz", x_train=DIGITS, y_train=LABELS[:, None], x_test=DIGITS[:4], y_test=LABELS[:4]
    )
    dataset = open_dataset(tmp_path / "d.npz").fitted()
    assert dataset.test is not None
    np.testing.assert_array_equal(dataset.test.batch([1, 2])[0], dataset.batch([1, 2])[0])
    assert dataset.test.names[1] == "d.npz:test:1"
    np.savez(tmp_path / "only.npz", x_test=DIGITS, y_test=LABELS)
    assert len(open_dataset(tmp_path / "only.npz")) == 20


@pytest.mark.parametrize("order", ["first", "last"])
def test_colours_may_be_the_first_or_the_last_axis(order: str, tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (4, 6, 5, 3), np.uint8)
    stored = pixels.transpose(0, 3, 1, 2) if order == "first" else pixels
    np.savez(tmp_path / "d.npz", x=np.asfortranarray(stored), y=[0, 0, 1, 1])
    dataset = open_dataset(tmp_path / "d.npz", normalise="unit")
    np.testing.assert_allclose(dataset.batch([2])[0], pixels[2:3].transpose(0, 3, 1, 2) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (DIGITS, 255),
        (DIGITS / 255, 1),
        (DIGITS % 17, 16),
        (DIGITS.astype(np.int64), 255),
        (DIGITS % 2 > 0, 1),
    ],
)
def test_white_is_1_whatever_stands_for_it(values: np.ndarray, white: float, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=values, y=LABELS)
    dataset = open_dataset(tmp_path / "d.npz", normalise="unit")
    np.testing.assert_allclose(dataset.batch(slice(None))[0][:, 0], values / white, atol=1e-6)


def test_names_of_classes_in_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=DIGITS, y=LABELS, class_names=["shirt", "bag", "coat"])
    dataset = open_dataset(tmp_path / "d.npz")
    assert [dataset.classes[i] for i in dataset.labels[:3]] == ["shirt", "bag", "coat"]
    np.savez(tmp_path / "d.npz", x=DIGITS, y=LABELS, class_names=["shirt", "bag"])
    with pytest.raises(DataError, match="label 2, must be 0 to 1, one of its class names"):
        open_dataset(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("arrays", "rule"),
    [
        ({"x": DIGITS}, "holds x; must hold x and y"),
        ({"x": DIGITS, "y": LABELS[:9]}, "20 samples and 9 labels"),
        ({"x": DIGITS, "y": np.zeros(20, int)}, "has one class, '0'"),
        ({"x": DIGITS, "y": np.arange(20)}, "20 different labels for 20 samples"),
        ({"x": DIGITS, "y": np.eye(20)}, r"labels of shape \(20, 20\)"),
        ({"x": DIGITS, "y": LABELS + 0.5}, "none of its 20 samples can be used; the first: label 0.5"),
        ({"x": DIGITS[:0], "y": LABELS[:0]}, r"samples of shape \(0, 6, 5\)"),
        ({"x": DIGITS[:, :0], "y": LABELS}, r"samples of shape \(20, 0, 5\) hold nothing"),
        ({"x": DIGITS.astype(complex), "y": LABELS}, "samples are complex128, must be real"),
        ({"x": np.array(["a"] * 20), "y": LABELS}, r"samples of shape \(20,\)"),
        ({"x": DIGITS, "y": LABELS.astype(complex)}, "labels are complex128"),
    ],
)
def test_npz_that_does_not_fit_together(arrays: dict, rule: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(DataError, match=rule) as caught:
        open_dataset(tmp_path / "d.npz")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "d.npz"))


def test_labels_that_a_net_does_not_know(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=DIGITS, y=LABELS)
    with pytest.raises(DataError, match=r"d\.npz:2: label '2', must be one of 0, 1"):
        open_dataset(tmp_path / "d.npz", classes=("0", "1"))
    assert open_dataset(tmp_path / "d.npz", classes=("2", "1", "0", "9")).counts.tolist() == [6, 7, 7, 0]


def test_numbers_that_are_not_finite_are_skipped_and_named(tmp_path: Path) -> None:
    x, y = DIGITS / 255, LABELS.astype(float)
    x[4, 1, 2], x[5, 0, 0], y[7] = np.nan, np.inf, np.nan
    np.savez(tmp_path / "d.npz", x=x, y=y)
    dataset = open_dataset(tmp_path / "d.npz").fitted()
    assert len(dataset) == 19  # of a label one knows at once
    found, labels = dataset.batch(slice(None))
    assert len(found) == len(labels) == 17
    assert np.isfinite(found).all()
    assert dict(dataset.skipped) == {
        "d.npz:4": "the value at (1, 2) is nan; all must be finite",
        "d.npz:5": "the value at (0, 0) is inf; all must be finite",
        "d.npz:7": "label nan, must be a whole number or a word",
    }


# ---- IDX -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_idx(packed: bool, tmp_path: Path) -> None:
    end = ".gz" if packed else ""
    idx(tmp_path / f"train-images-idx3-ubyte{end}", DIGITS, packed)
    idx(tmp_path / f"train-labels-idx1-ubyte{end}", LABELS, packed)
    idx(tmp_path / f"t10k-images-idx3-ubyte{end}", DIGITS[:5], packed)
    idx(tmp_path / f"t10k-labels-idx1-ubyte{end}", LABELS[:5], packed)
    np.testing.assert_array_equal(read_idx(tmp_path / f"train-images-idx3-ubyte{end}"), DIGITS)
    for path in (tmp_path, tmp_path / f"train-images-idx3-ubyte{end}"):
        dataset = open_dataset(path, normalise="unit")
        np.testing.assert_allclose(dataset.batch([9])[0][0, 0], DIGITS[9] / 255, atol=1e-6)
        assert dataset.labels.tolist() == LABELS.tolist()
    folder = open_dataset(tmp_path)
    assert folder.test is not None
    assert len(folder.test) == 5
    (tmp_path / f"t10k-labels-idx1-ubyte{end}").unlink()
    with pytest.raises(DataError, match=r"t10k-images.*: no labels beside it"):
        open_dataset(tmp_path / f"t10k-images-idx3-ubyte{end}")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda data: data[:100], "truncated: "),
        (lambda data: data[:7], "truncated: its header"),
        (lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:], "truncated: shape"),
        (lambda data: b"\0\0\7\3" + data[4:], "no IDX file: begins with 00 00 07 03"),
    ],
)
def test_idx_that_is_damaged(change: object, rule: str, packed: bool, tmp_path: Path) -> None:
    data = idx(tmp_path / "images", DIGITS).read_bytes()
    data = change(data)  # type: ignore[operator]
    (tmp_path / "images").write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(DataError, match=f"images: {rule}"):
        read_idx(tmp_path / "images")


# ---- CSV -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("head", [False, True])
@pytest.mark.parametrize("label", ["first", "last"])
def test_csv_of_pixels(label: str, head: bool, packed: bool, tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (20, 36))
    x[:, [0, 35]] = 0  # as the corners of digits are
    columns = [LABELS[:, None], x] if label == "first" else [x, LABELS[:, None]]
    lines = [",".join(map(str, row)) for row in np.hstack(columns)]
    if head:
        names = [f"pixel{i}" for i in range(36)]
        lines.insert(0, ",".join(["label", *names] if label == "first" else [*names, "label"]))
    data = "\n".join(lines).encode()
    path = tmp_path / ("d.csv.gz" if packed else "d.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    dataset = open_dataset(path, normalise="unit")
    assert (dataset.kind, dataset.preprocessing.shape) == ("images", (1, 6, 6))
    np.testing.assert_allclose(dataset.batch([5])[0][0, 0], x[5].reshape(6, 6) / 255, atol=1e-6)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.names[0] == f"{path.name}:{1 + head}"


WINE = "name;alcohol;ash;class\n" + "\n".join(
    f'"w{i}";{10 + i};{i / 7};{"red" if i % 3 else "white"}' for i in range(9)
)


def test_csv_of_numbers_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "wine.csv"
    path.write_text(WINE)
    with pytest.raises(DataError, match=r"wine.csv: name holds words; only the label may"):
        open_dataset(path)
    path.write_text(WINE.replace('"w', '"'))
    dataset = open_dataset(path, label="class").fitted()
    assert (dataset.kind, dataset.classes) == ("table", ("red", "white"))
    assert isinstance(dataset.preprocessing, TablePreprocessing)
    assert dataset.preprocessing.columns == ("name", "alcohol", "ash")
    x, y = dataset.batch(slice(None))
    assert x.shape == (9, 1, 3)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(0), 1, atol=1e-5)
    assert y.tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 0]
    row = tmp_path / "row.csv"
    row.write_text("3,13,0.5\n")
    np.testing.assert_allclose(
        dataset.preprocessing.read(row), dataset.preprocessing.apply(np.array([3, 13, 0.5])), atol=1e-6
    )


def test_the_label_is_found_in_a_file_that_is_sorted_by_it(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (600, 25))
    x[:, -1] = 0
    np.savetxt(tmp_path / "d.csv", np.column_stack([np.repeat([3, 8, 9], 200), x]), "%d", ",")
    assert open_dataset(tmp_path / "d.csv").counts.tolist() == [200, 200, 200]


def test_bad_lines_are_skipped_and_numbered_as_an_editor_does(tmp_path: Path) -> None:
    lines = [f"{i % 2},{i},{i * 0.5}" for i in range(12)]
    lines[3], lines[5], lines[7], lines[8] = "1,2", "1,nan,3", "1,abc,3", ""
    lines[9] = ",5,6"
    (tmp_path / "d.csv").write_text("label,a,b\n" + "\n".join(lines))
    dataset = open_dataset(tmp_path / "d.csv")
    assert dict(dataset.skipped) == {
        "d.csv:5": "has 2 cells, must have 3",
        "d.csv:7": "a is nan, must be a finite number",
        "d.csv:9": "a is abc, must be a finite number",
        "d.csv:11": "has no label",
    }
    assert len(dataset) == 7
    assert dataset.names[3] == "d.csv:6"


@pytest.mark.parametrize(
    ("text", "options", "rule"),
    [
        ("", {}, "the file is empty"),
        ("\n\n", {}, "holds no line of text"),
        ("1\n2\n", {}, "one cell in a line"),
        ("a,b\nc,d\n", {}, "hold"),
        ("0.5,1.5\n2.5,3.5\n", {}, "neither the first nor the last column looks like a label"),
        ("label,a\n1,2\n2,3\n", {"label": "lable"}, "label='lable': must be one of its columns, label, a"),
        ("label,a\n1,2\n2,3\n", {"label": 7}, "label=7: must be -2 to 1"),
        ("label,a\n1,x\n1,y\n2,3\n1,inf\n1,1e999\n", {}, "a holds words|has one class|only the label"),
        ("a\0b,c\n", {}, "holds null characters"),
    ],
)
def test_csv_that_is_no_table(text: str, options: dict, rule: str, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(text)
    with pytest.raises(DataError, match=rule) as caught:
        open_dataset(tmp_path / "d.csv", **options)
    assert str(caught.value).startswith(str(tmp_path / "d.csv"))
    assert "\n" not in str(caught.value)


def test_pixels_of_pictures_that_are_no_squares(tmp_path: Path) -> None:
    x = RNG.integers(0, 256, (12, 24), np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(12) % 2)
    assert open_dataset(tmp_path / "d.npz").kind == "table"
    with pytest.raises(DataError, match="rows of 24 pixels are no square; size="):
        open_dataset(tmp_path / "d.npz", kind="images")
    found = open_dataset(tmp_path / "d.npz", kind="images", size=(4, 6), normalise="unit").batch([1])[0]
    np.testing.assert_allclose(found[0, 0], x[1].reshape(4, 6) / 255, atol=1e-6)


def test_large_arrays_are_mapped_or_go_to_a_file_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes first, then a number that is none: what was kept is kept."""
    for module in ("csv_file", "files", "idx", "npy"):
        monkeypatch.setattr(f"fastconv.data.{module}.IN_MEMORY", 1000)
    x, y = RNG.integers(0, 256, (3000, 5)).astype(float), np.arange(3000) % 2
    x[2500, 3] = 0.25
    np.savetxt(tmp_path / "d.csv", np.column_stack([y, x]), "%g", ",")
    np.savez_compressed(tmp_path / "packed.npz", x=x, y=y)
    np.savez(tmp_path / "plain.npz", z=0, x=np.asfortranarray(x), y=y)
    for name in ("d.csv", "packed.npz", "plain.npz"):
        dataset = open_dataset(tmp_path / name, normalise="unit")
        np.testing.assert_allclose(dataset.batch(slice(None))[0][:, 0], x)
    for packed in (False, True):
        np.testing.assert_array_equal(read_idx(idx(tmp_path / "images", x, packed)), x.astype(np.uint8))
