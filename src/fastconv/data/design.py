"""Which preprocessing data suggests, where nobody says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastconv.data import images
from fastconv.data.arrays import looked_at
from fastconv.data.errors import DataError
from fastconv.data.files import shown
from fastconv.data.images import ImagePreprocessing, white_of
from fastconv.data.npy import read_npy
from fastconv.data.preprocessing import Preprocessing
from fastconv.data.sound import SoundPreprocessing, spectrogram_shape
from fastconv.data.sources import ArraySource, FileSource, Source
from fastconv.data.table import TablePreprocessing
from fastconv.data.text import TextPreprocessing, text_shape
from fastconv.data.volumes import VolumePreprocessing
from fastconv.data.wav import read_wav
from fastconv.geometry import per_axis, whole_number
from fastconv.nn.arguments import real

#: The options of each kind.
OPTIONS: dict[str, tuple[str, ...]] = {
    "images": ("size", "colour", "fit"),
    "sound": ("sample_rate", "seconds", "n_fft", "hop", "mel", "loudness"),
    "text": ("words", "length", "layout", "cut", "encoding"),
    "table": (),
    "volumes": ("size",),
}

#: Files that are looked at, evenly spread.
LOOKED_AT = 1000

#: The longest side of a picture and of a volume, if nobody says; and the size if they differ.
LONGEST_SIDE, LONGEST_DEPTH = 64, 32
MIXED = (32, 32)

#: Samples per second, seconds, and positions of a text, at most, if nobody says.
FASTEST, LONGEST, LONGEST_TEXT = 16_000, 4.0, 64

#: The part of sounds and texts that is to be whole.
MOST = 0.9


def design(source: Source, columns: tuple[str, ...], options: dict[str, Any]) -> tuple[Source, Preprocessing]:
    """A preprocessing for data, without statistics; and the data without what was found to be bad.

    Raises
    ------
    TypeError, ValueError
        An option that this kind does not have, or a value that it cannot have.
    DataError
        Nothing can be read.
    """
    unknown = sorted(set(options) - set(OPTIONS[source.kind]))
    if unknown:
        known = ", ".join(OPTIONS[source.kind]) or "none"
        raise TypeError(
            f"{unknown[0]}=: {shown(source.path)} holds {source.kind}, whose options are: {known}"
        )
    made: tuple[Source, Preprocessing] = DESIGNS[source.kind](source, columns, options)
    return made


def _images(source: Source, _: Any, options: dict[str, Any]) -> tuple[Source, Preprocessing]:
    peak = 255.0
    if isinstance(source, ArraySource):
        rows = source.rows
        seen = [((rows.shape[1], rows.shape[2]), rows.ndim == 4 and rows.shape[3] > 1)]
        peak = white_of(looked_at(rows))
    else:
        source, seen = _examined(source, _measure_picture)
    colour = options.get("colour")
    if colour is None:
        colour = any(coloured for _, coloured in seen)
    size = _size(options, 2) or _common([size for size, _ in seen], LONGEST_SIDE) or MIXED
    fit = options.get("fit", "stretch")
    return source, ImagePreprocessing(shape=(3 if colour else 1, *size), fit=fit, peak=peak)


def _measure_picture(path: str) -> tuple[tuple[int, ...], bool]:
    if path.lower().endswith(".npy"):
        shape = np.shape(read_npy(path))
        return shape[:2], len(shape) == 3 and shape[2] > 1
    return images.measure(path)


def _sound(source: Source, _: Any, options: dict[str, Any]) -> tuple[Source, Preprocessing]:
    source, seen = _examined(_files(source), _measure_sound, 200)
    rate = options.get("sample_rate")
    if rate is None:
        rate = min(Counter(rate for _, rate in seen).most_common(1)[0][0], FASTEST)
    rate = whole_number("sample_rate", rate, 1)
    seconds = options.get("seconds")
    if seconds is None:
        seconds = min(float(np.quantile([seconds for seconds, _ in seen], MOST)), LONGEST)
    # windows of about 32 ms, half of each new
    n_fft = whole_number("n_fft", options.get("n_fft", 1 << max(3, round(np.log2(rate * 0.032)))), 2)
    hop = whole_number("hop", options.get("hop", max(1, n_fft // 2)), 1)
    mel = whole_number("mel", options.get("mel", 0), 0)
    samples = max(round(real("seconds", seconds, above=0) * rate), n_fft)
    return source, SoundPreprocessing(
        shape=spectrogram_shape(samples, n_fft, hop, mel),
        sample_rate=rate,
        samples=samples,
        n_fft=n_fft,
        hop=hop,
        mel=mel,
        loudness=options.get("loudness", "same"),
    )


def _measure_sound(path: str) -> tuple[float, int]:
    samples, rate = read_wav(path)
    return len(samples) / rate, rate


def _text(source: Source, _: Any, options: dict[str, Any]) -> tuple[Source, Preprocessing]:
    words = whole_number("words", options.get("words", 1000), 1)
    layout, cut = options.get("layout", "channels"), options.get("cut", "file")
    length = options.get("length")
    known = 1 if length is None else whole_number("length", length, 1)
    first = TextPreprocessing(
        shape=text_shape("indices", 0, known),
        length=known,
        words=words,
        layout="indices",
        cut=cut,
        encoding=options.get("encoding", "utf-8"),
    )
    source = _files(source).cut(first)
    if length is None:
        if cut == "file":
            source, lengths = _examined(source, lambda path: len(_words(first, path)))
        else:
            some = np.linspace(0, len(source.labels) - 1, min(len(source.labels), LOOKED_AT)).astype(int)
            lengths = [len(source.load(i, first)) for i in np.unique(some).tolist()]
        known = min(max(1, round(float(np.quantile(lengths, MOST)))), LONGEST_TEXT)
    return source, TextPreprocessing(
        shape=text_shape(layout, 0, known) if layout in ("channels", "grid", "indices") else (known,),
        length=known,
        words=words,
        layout=layout,
        cut=cut,
        encoding=first.encoding,
    )


def _words(preprocessing: TextPreprocessing, path: str) -> list[str]:
    found = preprocessing.decode(path)
    if not found:
        raise DataError(f"{shown(path)}: holds no word")
    return found


def _table(source: Source, columns: tuple[str, ...], _: Any) -> tuple[Source, Preprocessing]:
    if not isinstance(source, ArraySource):
        raise DataError(f"{shown(source.path)}: a table is a CSV or .npz file")
    return source, TablePreprocessing(shape=(1, source.rows.shape[1]), columns=columns)


def _volumes(source: Source, _: Any, options: dict[str, Any]) -> tuple[Source, Preprocessing]:
    if isinstance(source, ArraySource):
        seen = [source.rows.shape[1:]]
    else:
        source, seen = _examined(source, _measure_volume, 50)
    channels = Counter(shape[0] if len(shape) == 4 else 1 for shape in seen).most_common(1)[0][0]
    sizes = [shape[-3:] for shape in seen]
    size = _size(options, 3) or _common(sizes, LONGEST_DEPTH) or (LONGEST_DEPTH,) * 3
    return source, VolumePreprocessing(shape=(channels, *size))


def _measure_volume(path: str) -> tuple[int, ...]:
    shape = VolumePreprocessing(shape=(1, 1, 1, 1)).decode(path).shape
    if len(shape) not in (3, 4):
        raise DataError(f"{shown(path)}: shape {shape}, must be (D, H, W) or (C, D, H, W)")
    return shape


DESIGNS: dict[str, Callable[..., tuple[Source, Preprocessing]]] = {
    "images": _images,
    "sound": _sound,
    "text": _text,
    "table": _table,
    "volumes": _volumes,
}


# ---- what they share -------------------------------------------------------------------------------------


def _files(source: Source) -> FileSource:
    if not isinstance(source, FileSource):
        raise DataError(f"{shown(source.path)}: holds arrays, must be a folder with a folder per class")
    return source


def _examined(
    source: Source, look: Callable[[str], Any], most: int = LOOKED_AT
) -> tuple[FileSource, list[Any]]:
    """What a look at some of the files found; and the files without those that could not be read."""
    source = _files(source)
    places = np.unique(np.linspace(0, len(source.files) - 1, min(len(source.files), most)).astype(int))
    found, bad = [], {}
    for place in places.tolist():
        try:
            found.append(look(source.files[place]))
        except DataError as error:
            bad[place] = str(error).removeprefix(f"{source.file_of(place)}: ")
    if not found:
        place, why = next(iter(bad.items()))
        raise DataError(
            f"{shown(source.path)}: none of {len(bad)} files can be read; the first, "
            f"{source.names[place]}: {why}"
        )
    return source.without(bad), found


def _size(options: dict[str, Any], rank: int) -> tuple[int, ...] | None:
    size = options.get("size")
    return None if size is None else per_axis("size", size, rank, 1)


def _common(sizes: Sequence[tuple[int, ...]], longest: int) -> tuple[int, ...] | None:
    """The size that all have, made smaller if a side is longer than that; None if they differ."""
    if len(set(sizes)) != 1:
        return None
    factor = min(1.0, longest / max(sizes[0]))
    return tuple(max(1, round(size * factor)) for size in sizes[0])
