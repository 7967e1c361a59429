"""A folder per class: what is in it, and of which kind."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fastconv.data import images
from fastconv.data.arrays import Wanted
from fastconv.data.errors import DataError
from fastconv.data.files import check_file, one_line, shown
from fastconv.data.labels import check_classes, in_order, listed
from fastconv.data.npy import npy_rank
from fastconv.data.sources import FileSource
from fastconv.terminal import printable

#: Endings of each kind's files; text may have any other, too, if it is asked for.
ENDINGS: dict[str, tuple[str, ...]] = {
    "images": images.ENDINGS,
    "sound": (".wav", ".wave"),
    "text": (".txt", ".text", ".md", ".rst", ".txt.gz"),
    "volumes": (".npy", ".nii", ".nii.gz"),
}

#: Folders that are parts of a data set rather than classes.
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")

#: Bytes of a file without a known ending that are looked at, to see whether it is text.
SNIFFED = 4096


def folder_source(path: str, wanted: Wanted) -> FileSource:
    """The files of a folder that has a folder per class; of one with train/ and test/, both.

    Hidden files are left out, and those that are of another kind. Folders within a class belong to it.

    Raises
    ------
    DataError
        No files of a kind that is read, fewer than two classes, or a class without a file that can be read.
    """
    parts = {name.lower(): name for name in _folders(path)}
    train = next((parts[name] for name in TRAIN if name in parts), None)
    test = next((parts[name] for name in TEST if name in parts), None)
    if train is None or set(parts.values()) - {parts[name] for name in (*TRAIN, *TEST) if name in parts}:
        return _class_folders(path, "", wanted)
    made = _class_folders(path, train, wanted)
    if test is not None:
        again = Wanted(made.kind, made.classes, wanted.groups)
        made.test = _class_folders(path, test, again)
    return made


def _class_folders(root: str, part: str, wanted: Wanted) -> FileSource:
    folder = os.path.join(root, part) if part else root
    classes = _folders(folder)
    if wanted.classes is None:
        check_classes(shown(folder), classes)
        known = in_order(classes)
    else:
        known = wanted.classes
        for name in classes:
            if name not in known:
                raise DataError(f"{shown(folder)}: folder {printable(name)}, must be one of {listed(known)}")
    found = {name: sorted(_files(os.path.join(folder, name))) for name in known if name in classes}
    kind = wanted.kind or _kind_of(folder, [path for files in found.values() for path in files])
    names: list[str] = []
    paths: list[str] = []
    labels: list[int] = []
    skipped: list[tuple[str, str]] = []
    for name, files in found.items():
        before, own = len(paths), [path for path in files if _is_of(path, kind)]
        for path in own:
            said = printable(os.path.relpath(path, root))
            try:
                check_file(path)
            except DataError as error:
                skipped.append((said, str(error).removeprefix(f"{shown(path)}: ")))
                continue
            names.append(said)
            paths.append(path)
            labels.append(known.index(name))
        if len(paths) == before and wanted.classes is None:
            why = f"none of its {len(own)} files can be read: {skipped[-1][1]}" if own else f"holds no {kind}"
            raise DataError(f"{shown(os.path.join(folder, name))}: {why}")
    if not paths:
        raise DataError(f"{shown(folder)}: holds no {kind}")
    groups = _groups(names, wanted.groups) if wanted.groups is not None else None
    return FileSource(
        root, kind, known, np.array(labels, np.int64), names, files=paths, groups=groups, skipped=skipped
    )


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise DataError(f"{shown(path)}: {one_line(error)}") from None


def _files(folder: str) -> list[str]:
    """All files below a folder, hidden ones aside; links to folders are not followed."""
    found = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(where, name) for name in files if not name.startswith(".")]
    return found


def _kind_of(folder: str, paths: Sequence[str]) -> str:
    """The kind that most files have."""
    counts: Counter[str] = Counter()
    for path in paths:
        lower = path.lower()
        counts.update(kind for kind, endings in ENDINGS.items() if lower.endswith(endings))
    if not counts and any(_looks_like_text(path) for path in paths[:10]):
        return "text"
    if not counts:
        raise DataError(
            f"{shown(folder)}: holds no pictures, .wav, text or volumes ({listed(sum(ENDINGS.values(), ()))})"
        )
    kind = counts.most_common(1)[0][0]
    first = next((path for path in paths if path.lower().endswith(".npy")), None)
    if kind == "volumes" and first is not None and npy_rank(first) == 2:
        return "images"
    return kind


def _is_of(path: str, kind: str) -> bool:
    lower = path.lower()
    if kind == "text":
        others = sum((ends for other, ends in ENDINGS.items() if other != "text"), ())
        return lower.endswith(ENDINGS["text"]) or (not lower.endswith(others) and _looks_like_text(path))
    return lower.endswith(ENDINGS.get(kind, ())) or (kind == "images" and lower.endswith(".npy"))


def _looks_like_text(path: str) -> bool:
    try:
        check_file(path)
        with open(path, "rb") as file:
            return b"\0" not in file.read(SNIFFED)
    except (DataError, OSError):
        return False


def _groups(names: Sequence[str], pattern: str) -> np.ndarray:
    """The number of each file's group: what the first group of a pattern finds in its name."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"groups={pattern!r}: {error}") from None
    if not compiled.groups:
        raise ValueError(f"groups={pattern!r}: must have a part in parentheses, which names the group")
    keys = []
    for name in names:
        match = compiled.search(name)
        if match is None:
            raise ValueError(f"groups={pattern!r}: does not match {name}")
        keys.append(match[1] or "")
    made: np.ndarray = np.unique(keys, return_inverse=True)[1].reshape(-1)
    return made
