"""The model file: the same model comes back; whatever else is in it is refused in one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastconv.train import Model, ModelError, Trained, load_model, save_model

safetensors = pytest.importorskip("safetensors.numpy")


def test_the_same_comes_back(trained: Trained, model_file: str) -> None:
    again = load_model(model_file)
    x = np.random.default_rng(0).standard_normal((7, 1, 8, 8), np.float32)
    np.testing.assert_array_equal(again.votes(x), trained.model.votes(x))
    assert again.classes == trained.model.classes == ("0", "1", "2")
    assert again.preprocessing == trained.model.preprocessing
    assert again.spec == trained.model.spec
    assert again.record == trained.model.record
    assert set(again.versions) == {"fastconv", "numpy"}
    assert again.record["held_out"]["count"] == 18


def test_any_reader_of_safetensors_reads_it(trained: Trained, model_file: str) -> None:
    arrays = safetensors.load_file(model_file)
    state = trained.model.net.state_dict()
    assert set(arrays) == set(state)
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, state[name])


def test_votes_do_not_depend_on_the_batch(trained: Trained) -> None:
    x = np.random.default_rng(0).standard_normal((300, 1, 8, 8), np.float32)
    votes = trained.model.votes(x)
    np.testing.assert_array_equal(votes[123:124], trained.model.votes(x[123:124]))
    np.testing.assert_allclose(trained.model.probabilities(x).sum(1), 1, rtol=1e-6)
    assert trained.model.votes(x[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "kind"), [(np.zeros((1, 1, 8, 9), np.float32), ValueError), (np.zeros((1, 1, 8, 8)), TypeError)]
)
def test_inputs_of_another_kind(x: np.ndarray, kind: type[Exception], trained: Trained) -> None:
    with pytest.raises(kind, match=r"^x: "):
        trained.model.votes(x)


def test_equal_models_make_equal_files(trained: Trained, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(tmp_path / name, trained.model)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_full_disk_leaves_the_old_file(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.fcn").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space"):
            save_model(tmp_path / "m.fcn", trained.model)
    assert os.listdir(tmp_path) == ["m.fcn"]
    assert (tmp_path / "m.fcn").read_bytes() == b"old"


# ---- hostile files -------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_cut_anywhere(model_file: str, tmp_path: Path) -> None:
    whole = Path(model_file).read_bytes()
    path = tmp_path / "cut.fcn"
    for length in (0, 1, 8, 9, 100, len(whole) // 2, len(whole) - 4, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)


def test_altered_anywhere(model_file: str, tmp_path: Path) -> None:
    """A bit in the weights, in the header, or in the record."""
    whole = bytearray(Path(model_file).read_bytes())
    path = tmp_path / "altered.fcn"
    places = [*np.random.default_rng(3).integers(0, len(whole), 150).tolist(), 0, 7, 8, 9, len(whole) - 1]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 7)
        path.write_bytes(changed)
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path)


def rewritten(
    model_file: str, path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]
) -> None:
    """The file with its header changed, or its arrays."""
    whole = Path(model_file).read_bytes()
    length = int.from_bytes(whole[:8], "little")
    document = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["fastconv model"])
    arrays = dict(safetensors.load(whole))
    change(document, arrays)
    path.write_bytes(safetensors.save(arrays, {"fastconv model": json.dumps(document)}))


CHANGES: dict[str, tuple[Callable[[dict[str, Any], dict[str, np.ndarray]], Any], str]] = {
    "newer": (
        lambda d, a: d.update(version=2, versions={"fastconv": "9.0"}),
        "version 2, by fastconv 9.0; this",
    ),
    "no version": (lambda d, a: d.pop("version"), "no version"),
    "huge net": (lambda d, a: d.update(spec="fc 9999999, fc"), "parameters allowed"),
    "huge input": (lambda d, a: d["preprocessing"].update(shape=[1, 60000, 60000]), "preprocessing"),
    "bad spec": (lambda d, a: d.update(spec="import os"), "no such word"),
    "spec of a number": (lambda d, a: d.update(spec=3), "spec"),
    "classes": (lambda d, a: d.update(classes=["a", 3, "b"]), "classes"),
    "no classes": (lambda d, a: d.update(classes=[]), "classes"),
    "more classes": (lambda d, a: d.update(classes=list("abcd")), "array"),
    "preprocessing": (lambda d, a: d["preprocessing"].update(kind="os.system"), "kind 'os.system'"),
    "preprocessing field": (lambda d, a: d["preprocessing"].update(run="rm"), "run"),
    "record": (lambda d, a: d.update(record=[]), "record"),
    "another record": (lambda d, a: d["record"].update(seconds=0), "checksum"),
    "missing array": (lambda d, a: a.pop("0.weight"), "'0.weight' is missing"),
    "further array": (lambda d, a: a.update(x=np.zeros(3, np.float32)), "'x'"),
    "float64": (lambda d, a: a.update({"0.weight": a["0.weight"].astype(float)}), "F64"),
    "another shape": (lambda d, a: a.update({"0.weight": a["0.weight"][:2]}), "'0.weight' has shape"),
    "other numbers": (lambda d, a: a.update({"0.weight": a["0.weight"] + 1}), "checksum"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_on_purpose(name: str, model_file: str, tmp_path: Path) -> None:
    change, words = CHANGES[name]
    rewritten(model_file, tmp_path / "changed.fcn", change)
    assert words in refused(tmp_path / "changed.fcn")


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    safetensors.save_file({"a": np.zeros(3, np.float32)}, path)
    assert "safetensors file, but no model of fastconv" in refused(path)
    np.save(tmp_path / "file", np.zeros(3))
    (tmp_path / "file.npy").replace(path)
    refused(path)
    path.write_bytes(b"\xff" * 100)
    refused(path)
    deep = b'{"a":' + b"[" * 100_000
    path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    refused(path)
    path.write_bytes((1 << 63).to_bytes(8, "little") + b"{}")
    refused(path)
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe")


def test_a_record_must_be_json(trained: Trained, tmp_path: Path) -> None:
    model = trained.model
    odd = Model(model.net, model.spec, model.classes, model.preprocessing, {"loss": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        save_model(tmp_path / "m.fcn", odd)
    assert os.listdir(tmp_path) == []
