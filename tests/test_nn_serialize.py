"""save and load: the same net again, one whole file or none, and nothing in a file is trusted."""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import struct
import threading
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from nn_cases import LAYERS, rng, small_net

from fastconv import nn


@pytest.mark.parametrize("case", LAYERS, ids=[case.name for case in LAYERS])
def test_every_layer_comes_back(case, tmp_path) -> None:
    """Same repr, same arrays, same outputs, both in inference and in training."""
    net = case.make()
    for name, buffer in net.named_buffers().items():
        buffer.value = abs(np.random.default_rng(len(name)).standard_normal(buffer.value.shape))
    nn.save(net, tmp_path / "net")
    again = nn.load(tmp_path / "net")
    assert type(again) is type(net)
    assert repr(again) == repr(net)
    assert list(again.state_dict()) == list(net.state_dict())
    for name, value in again.state_dict().items():
        np.testing.assert_array_equal(value, net.state_dict()[name])
    x = rng().standard_normal(case.shape)
    np.testing.assert_array_equal(again(x), net(x))
    assert vars(again).keys() == vars(net).keys()


def test_sharing_survives(tmp_path) -> None:
    """A layer that stands in two places is one layer afterwards."""
    shared = nn.Linear(3, 3, rng=0)
    net = nn.Sequential(shared, nn.Residual(nn.Tanh(), shared), nn.Concat(shared, nn.Identity()))
    nn.save(net, tmp_path / "net.npz")
    again = nn.load(tmp_path / "net.npz")
    assert again[0] is again[1][1] is again[2].branches[0]
    assert len(again.parameters()) == 2
    again.parameters()[0].value += 1
    x = np.ones((1, 3), np.float32)
    assert (again(x) != net(x)).any()


def test_a_loaded_net_learns_on(tmp_path) -> None:
    net = small_net(np.float32)
    nn.save(net, tmp_path / "net.npz")
    again = nn.load(tmp_path / "net.npz")
    x, y = rng().standard_normal((4, 1, 9, 9)).astype(np.float32), np.array([0, 1, 0, 1])
    for one in (net, again):
        nn.Adam(one.parameters()).learn(one, nn.CrossEntropyLoss(), x, y)
    for a, b in zip(net.parameters(), again.parameters()):
        np.testing.assert_array_equal(a.value, b.value)


def test_equal_nets_make_equal_files(tmp_path) -> None:
    for name in ("a", "b"):
        nn.save(small_net(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_an_npz(tmp_path) -> None:
    """Other programs can read the arrays, without pickle."""
    net = small_net()
    nn.save(net, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["0.weight"], net[0].weight.value)
        assert json.loads(file["__header__"].tobytes())["format"] == "fastconv"


def test_state_dict_refuses_what_does_not_fit() -> None:
    net = small_net()
    state = net.state_dict()
    before = net.state_dict()
    changed = {name: value + 1 for name, value in state.items()}
    for bad, error, message in [
        ({k: v for k, v in changed.items() if k != "5.bias"}, ValueError, "'5.bias' is missing"),
        ({**changed, "7.weight": np.ones(1)}, ValueError, "'7.weight' is unknown"),
        ({**changed, "5.bias": np.ones(3)}, ValueError, r"state\['5.bias'\]: shape \(3,\) must be \(2,\)"),
        ({**changed, "5.bias": np.ones(2, np.float32)}, TypeError, r"state\['5.bias'\]: dtype float32"),
        ({**changed, "5.bias": [1.0, 2.0]}, TypeError, r"state\['5.bias'\]: must be an array"),
    ]:
        with pytest.raises(error, match=message):
            net.load_state_dict(bad)
        for name, value in net.state_dict().items():
            np.testing.assert_array_equal(value, before[name])


# ---- writing -----------------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch) -> None:
    nn.save(small_net(), tmp_path / "net.npz")
    before = (tmp_path / "net.npz").read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        nn.save(nn.Linear(3, 2), tmp_path / "net.npz")
    assert (tmp_path / "net.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["net.npz"]


def test_places_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "missing" / "net.npz", tmp_path / "folder"):
        with pytest.raises(OSError, match=r"No such file|Is a directory"):
            nn.save(small_net(), path)
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_permissions_are_those_of_any_new_file(tmp_path) -> None:
    """Not the private ones of a temporary file."""
    (tmp_path / "plain").write_bytes(b"")
    nn.save(small_net(), tmp_path / "net.npz")
    assert (tmp_path / "net.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


class Forgetful(nn.ReLU):
    def __init__(self, size: int) -> None:
        self.width = size


class Holding(nn.ReLU):
    def __init__(self, thing: object) -> None:
        self.thing = thing


def test_nets_that_cannot_be_saved(tmp_path) -> None:
    deep: nn.Layer = nn.ReLU()
    for _ in range(70):
        deep = nn.Sequential(deep)
    for net, error, message in [
        ("net", TypeError, "net: must be a layer, not str"),
        (
            nn.Sequential(Forgetful(3)),
            TypeError,
            "Forgetful does not keep its argument 'size' under that name",
        ),
        (
            nn.Concat(Holding(2), type("Holding", (nn.ReLU,), {})()),
            TypeError,
            "two classes of layers are named Holding",
        ),
        (Holding(object()), TypeError, "Holding: argument thing: a object cannot be written to a file"),
        (type("ReLU", (nn.ReLU,), {})(), TypeError, "two classes of layers are named ReLU"),
        (deep, ValueError, "more than 64 deep"),
    ]:
        with pytest.raises(error, match=message):
            nn.save(net, tmp_path / "net.npz")
    assert os.listdir(tmp_path) == []


def test_numpy_numbers_are_plain_from_the_start(tmp_path) -> None:
    """Whatever the constructors accept: whole numbers, reals, truth, words; in tuples, lists, 0-d arrays."""
    i, f = np.int64, np.float32
    nets = [
        (nn.Linear(i(4), np.array([1, 2]).max() + 1), nn.Linear(4, 3)),
        (nn.Conv2d(i(2), i(4), i(3), (i(1), 2), [i(1), i(0)], i(1), i(2), np.True_),
         nn.Conv2d(2, 4, 3, (1, 2), (1, 0), 1, 2)),
        (nn.Conv2d(1, 1, np.array(3), padding=np.str_("same"), activation=np.str_("relu")),
         nn.Conv2d(1, 1, 3, padding="same", activation="relu")),
        (nn.ConvTranspose2d(1, 1, i(2), i(2), i(0), (i(1), 1)), nn.ConvTranspose2d(1, 1, 2, 2, 0, (1, 1))),
        (nn.MaxPool2d(i(2), i(2), i(1), (i(1), 1), np.True_), nn.MaxPool2d(2, 2, 1, (1, 1), True)),
        (nn.AvgPool2d(i(2), divisor_override=i(3), count_include_pad=np.False_),
         nn.AvgPool2d(2, divisor_override=3, count_include_pad=False)),
        (nn.LPPool2d(f(2), i(2)), nn.LPPool2d(2.0, 2)),
        (nn.AdaptiveAvgPool2d((i(2), None)), nn.AdaptiveAvgPool2d((2, None))),
        (nn.BatchNorm2d(i(2), f(0.5), f(0.25), np.True_), nn.BatchNorm2d(2, 0.5, 0.25)),
        (nn.LayerNorm((i(2), 3), f(0.5), np.True_, np.False_), nn.LayerNorm((2, 3), 0.5, bias=False)),
        (nn.LocalResponseNorm(i(3), f(0.5)), nn.LocalResponseNorm(3, 0.5)),
        (nn.GELU(np.str_("tanh")), nn.GELU("tanh")),
        (nn.Threshold(f(0.5), i(2)), nn.Threshold(0.5, 2.0)),
        (nn.PReLU(i(2), f(0.5)), nn.PReLU(2, 0.5)),
        (nn.Flatten(i(1), i(-1)), nn.Flatten()),
        (nn.Softmax(i(1)), nn.Softmax(1)),
        (nn.Dropout(f(0.25)), nn.Dropout(0.25)),
        (nn.Concat(nn.Identity(), dim=i(1)), nn.Concat(nn.Identity())),
    ]  # fmt: skip
    for given, plain in nets:
        assert repr(given) == repr(plain)
        nn.save(given, tmp_path / "net")
        assert repr(nn.load(tmp_path / "net")) == repr(plain)


def test_a_symbolic_link_is_followed(tmp_path) -> None:
    """What it names is replaced, also through a second link and where nothing is yet; the link stays."""
    (tmp_path / "store").mkdir()
    (tmp_path / "inner").symlink_to(Path("store") / "net.npz")
    (tmp_path / "link.npz").symlink_to(tmp_path / "inner")
    for bias in (True, False):
        nn.save(nn.Linear(2, 2, bias=bias), tmp_path / "link.npz")
        assert (tmp_path / "link.npz").is_symlink()
        assert (tmp_path / "inner").is_symlink()
        assert repr(nn.load(tmp_path / "store" / "net.npz")) == repr(nn.Linear(2, 2, bias=bias))
    assert os.listdir(tmp_path / "store") == ["net.npz"]
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(OSError, match="Too many levels"):
        nn.save(nn.ReLU(), tmp_path / "circle")
    assert sorted(os.listdir(tmp_path)) == ["circle", "inner", "link.npz", "store"]


def test_a_file_keeps_its_mode(tmp_path) -> None:
    """Also a private one, which is never readable for others while it is written; optimizers' files too."""
    learner = nn.Adam(small_net().parameters())
    for write_file in (lambda path: nn.save(small_net(), path), learner.save):
        path = tmp_path / "net.npz"
        path.write_bytes(b"old")
        path.chmod(0o640)
        write_file(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert path.read_bytes() != b"old"
        path.unlink()


def test_file_objects(tmp_path) -> None:
    """In memory, on disk, with something in front; the same bytes as by path; optimizers alike."""
    net = small_net()
    nn.save(net, tmp_path / "net.npz")
    memory = io.BytesIO()
    memory.write(b"in front")
    nn.save(net, memory)
    assert memory.getvalue() == b"in front" + (tmp_path / "net.npz").read_bytes()
    memory.seek(8)
    assert repr(nn.load(memory)) == repr(net)
    with open(tmp_path / "net.npz", "rb") as file:
        assert repr(nn.load(file)) == repr(net)
    with open(tmp_path / "unbuffered", "wb", buffering=0) as file:
        nn.save(net, file)
    assert (tmp_path / "unbuffered").read_bytes() == (tmp_path / "net.npz").read_bytes()
    learner, other = nn.Adam(net.parameters(), 0.25), nn.Adam(net.parameters())
    memory = io.BytesIO()
    learner.save(memory)
    memory.seek(0)
    other.load(memory)
    assert other.lr == 0.25
    with pytest.raises(ValueError, match="BytesIO: not a whole net file"):
        nn.load(io.BytesIO(memory.getvalue()))
    with (
        pytest.raises(ValueError, match=r"net\.npz: not a whole optimizer file"),
        open(tmp_path / "net.npz", "rb") as file,
    ):
        other.load(file)
    for text in (io.StringIO(), open(tmp_path / "text", "w+")):  # noqa: SIM115
        with pytest.raises(TypeError, match="binary mode"):
            nn.save(net, text)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="binary mode"):
            nn.load(text)  # type: ignore[arg-type]
        text.close()


def test_pipes(tmp_path) -> None:
    """Opened, and by name: a pipe is written to, not replaced."""
    net = small_net()
    os.mkfifo(tmp_path / "pipe")
    reader, writer = os.pipe()
    with open(reader, "rb") as source, open(writer, "wb") as target:
        thread = threading.Thread(target=lambda: (nn.save(net, target), target.close()))
        thread.start()
        assert repr(nn.load(source)) == repr(net)
        thread.join()
    thread = threading.Thread(target=nn.save, args=(net, tmp_path / "pipe"))
    thread.start()
    assert repr(nn.load(tmp_path / "pipe")) == repr(net)
    thread.join()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_nothing_is_written_to_a_file_object_if_the_net_cannot_be_saved() -> None:
    memory = io.BytesIO()
    with pytest.raises(TypeError, match="Forgetful"):
        nn.save(nn.Sequential(small_net(), Forgetful(3)), memory)
    assert memory.getvalue() == b""


# ---- reading -----------------------------------------------------------------------------------------


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, (1, 0), allow_pickle=allow_pickle)
    return buffer.getvalue()


def npy_claiming(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    """A .npy whose header promises another shape than its data have."""
    text = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(10 + len(text) + 1) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def header(layers, **changes) -> bytes:
    top = {"format": "fastconv", "kind": "net", "version": 1, "header": {"layers": layers}, **changes}
    return npy(np.frombuffer(json.dumps(top).encode(), np.uint8))


def write(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)


LINEAR = {
    "type": "Linear",
    "arguments": {"in_features": 3, "out_features": 2, "bias": True, "dtype": "float32"},
}
ARRAYS = {"0.weight.npy": npy(np.ones((2, 3), np.float32)), "0.bias.npy": npy(np.zeros(2, np.float32))}
RELU = {"type": "ReLU", "arguments": {}}


def linear(**arguments) -> dict:
    return {"type": "Linear", "arguments": {**LINEAR["arguments"], **arguments}}


def sequential(*layers) -> dict:
    return {"type": "Sequential", "arguments": {"layers": [{"layer": i} for i in layers]}}


def pickled() -> bytes:
    """What a pickle bomb looks like: an object array whose unpickling would create a file."""

    class Bomb:
        def __reduce__(self):
            return (open, ("exploded", "w"))

    return npy(np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)


BAD = {
    "no header": {**ARRAYS},
    "header of text": {"__header__.npy": b"hello", **ARRAYS},
    "header of floats": {"__header__.npy": npy(np.ones(3)), **ARRAYS},
    "header not json": {"__header__.npy": npy(np.frombuffer(b"{", np.uint8)), **ARRAYS},
    "header not utf-8": {"__header__.npy": npy(np.frombuffer(b'{"\xff\xfe": 1}', np.uint8)), **ARRAYS},
    "header nested without end": {"__header__.npy": npy(np.frombuffer(b"[" * 100_000, np.uint8)), **ARRAYS},
    "header an object array": {"__header__.npy": pickled(), **ARRAYS},
    "another program's": {"__header__.npy": header([LINEAR], format="other"), **ARRAYS},
    "another version": {"__header__.npy": header([LINEAR], version=2), **ARRAYS},
    "an optimizer": {"__header__.npy": header([LINEAR], kind="optimizer"), **ARRAYS},
    "no layers": {"__header__.npy": header([])},
    "layers no list": {"__header__.npy": header({"0": LINEAR}), **ARRAYS},
    "layer no object": {"__header__.npy": header([3])},
    "unknown layer": {"__header__.npy": header([{"type": "Evil", "arguments": {}}])},
    "a class that is no layer": {"__header__.npy": header([{"type": "Adam", "arguments": {}}])},
    "a base class": {"__header__.npy": header([{"type": "Layer", "arguments": {}}])},
    "type no text": {"__header__.npy": header([{"type": ["ReLU"], "arguments": {}}])},
    "missing argument": {
        "__header__.npy": header([{"type": "Linear", "arguments": {"in_features": 3}}]),
        **ARRAYS,
    },
    "unknown argument": {"__header__.npy": header([linear(evil=1)]), **ARRAYS},
    "argument rng": {"__header__.npy": header([linear(rng=1)]), **ARRAYS},
    "argument of another type": {"__header__.npy": header([linear(in_features="3")]), **ARRAYS},
    "argument out of range": {"__header__.npy": header([linear(in_features=0)]), **ARRAYS},
    "argument beyond int64": {"__header__.npy": header([linear(in_features=10**30)]), **ARRAYS},
    "dtype of objects": {"__header__.npy": header([linear(dtype="object")]), **ARRAYS},
    "huge layer": {"__header__.npy": header([linear(in_features=10**9, out_features=10**9)]), **ARRAYS},
    "huge norm": {
        "__header__.npy": header(
            [
                {
                    "type": "BatchNorm1d",
                    "arguments": {
                        "num_features": 10**12,
                        "eps": 1e-5,
                        "momentum": 0.1,
                        "affine": True,
                        "dtype": "float32",
                    },
                }
            ]
        )
    },
    "missing array": {"__header__.npy": header([LINEAR]), "0.bias.npy": ARRAYS["0.bias.npy"]},
    "array too many": {"__header__.npy": header([LINEAR]), **ARRAYS, "1.weight.npy": ARRAYS["0.bias.npy"]},
    "wrong name": {"__header__.npy": header([LINEAR]), "0.weights.npy": ARRAYS["0.weight.npy"]},
    "wrong shape": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": npy(np.ones((3, 2), np.float32)),
    },
    "wrong dtype": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": npy(np.ones((2, 3), np.int32)),
    },
    "wrong byte order": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": npy(np.ones((2, 3), ">f4")),
    },
    "fortran order": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": npy(np.asfortranarray(np.ones((2, 3), np.float32))),
    },
    "array cut short": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": ARRAYS["0.weight.npy"][:-4],
    },
    "array with more behind": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": ARRAYS["0.weight.npy"] + b"....",
    },
    "array claims the world": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": npy_claiming((10**9, 10**9), "<f4", b"\0" * 24),
    },
    "an object array": {"__header__.npy": header([LINEAR]), **ARRAYS, "0.bias.npy": pickled()},
    "an object array of the right size": {
        "__header__.npy": header([LINEAR]),
        **ARRAYS,
        "0.weight.npy": npy_claiming((2, 3), "|O", pickle.dumps(1) + b"\0" * 24),
    },
    "own layer of a name of ours": {"__header__.npy": header([{**RELU, "own": {}}])},
    "refers to itself": {"__header__.npy": header([sequential(0)])},
    "refers to a later layer": {"__header__.npy": header([sequential(1), RELU])},
    "refers to a layer before the first": {"__header__.npy": header([RELU, sequential(-1)])},
    "refers by truth": {"__header__.npy": header([RELU, sequential(False)])},
    "deep without end": {"__header__.npy": header([RELU, *(sequential(i) for i in range(5000))])},
    "nothing": {},
}


@pytest.mark.parametrize("members", BAD.values(), ids=BAD)
def test_bad_files(members, tmp_path, monkeypatch) -> None:
    """One ValueError that names the file; nothing is executed, nothing large is allocated."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "net.npz", members)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"net\.npz: not a whole net file of fastconv: "):
            nn.load(tmp_path / "net.npz")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert os.listdir(tmp_path) == ["net.npz"]


def test_the_good_file_that_the_bad_ones_are_made_from(tmp_path) -> None:
    write(tmp_path / "net.npz", {"__header__.npy": header([LINEAR]), **ARRAYS})
    assert (nn.load(tmp_path / "net.npz")(np.ones((1, 3), np.float32)) == 3).all()


def test_compressed_files_are_refused(tmp_path) -> None:
    """A small file cannot unfold into a large one."""
    members = {"__header__.npy": header([LINEAR]), **ARRAYS}
    write(tmp_path / "net.npz", members, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="is compressed"):
        nn.load(tmp_path / "net.npz")


def test_members_that_are_there_twice_are_refused(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as file:
        file.writestr("__header__.npy", header([RELU]))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("__header__.npy", header([RELU]))
    with pytest.raises(ValueError, match="there twice"):
        nn.load(tmp_path / "net.npz")


def test_foreign_files(tmp_path) -> None:
    np.savez(tmp_path / "plain.npz", a=np.ones(3))
    (tmp_path / "text.npz").write_text("no net")
    (tmp_path / "empty.npz").write_bytes(b"")
    with open(tmp_path / "pickle.npz", "wb") as file:
        pickle.dump({"a": 1}, file)
    nn.SGD([nn.Parameter(np.ones(2))], 0.1).save(tmp_path / "optimizer.npz")
    for name in ("plain", "text", "empty", "pickle", "optimizer"):
        with pytest.raises(ValueError, match=f"{name}.npz: not a whole net file"):
            nn.load(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        nn.load(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        nn.load(tmp_path)


def test_truncated_anywhere(tmp_path) -> None:
    nn.save(nn.Sequential(nn.Linear(3, 2, rng=0), nn.BatchNorm1d(2)), tmp_path / "net.npz")
    data = (tmp_path / "net.npz").read_bytes()
    for length in range(0, len(data), 41):
        (tmp_path / "cut.npz").write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"cut\.npz: not a whole net file"):
            nn.load(tmp_path / "cut.npz")


def test_a_flipped_bit_anywhere(tmp_path) -> None:
    """Either it is found, or it was in bytes that mean nothing (a date): never another net, never a crash."""
    net = nn.Linear(3, 2, rng=0)
    nn.save(net, tmp_path / "net.npz")
    data = bytearray((tmp_path / "net.npz").read_bytes())
    messages = []
    for position in range(0, len(data), 2):
        data[position] ^= 1 << position // 2 % 8
        (tmp_path / "flipped.npz").write_bytes(data)
        data[position] ^= 1 << position // 2 % 8
        try:
            again = nn.load(tmp_path / "flipped.npz")
        except ValueError as error:
            messages.append(str(error))
            continue
        assert repr(again) == repr(net)
        for name, value in again.state_dict().items():
            np.testing.assert_array_equal(value, net.state_dict()[name])
    assert all("flipped.npz: not a whole net file" in message for message in messages)
    assert len(messages) > len(data) * 0.4
