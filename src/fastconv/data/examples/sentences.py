"""Sentences of two kinds that any Debian machine has: Python's own help, and licences."""

from __future__ import annotations

import os

from fastconv.data.errors import DataError
from fastconv.data.examples.folder import new_folder
from fastconv.data.files import shown
from fastconv.data.text import read_text

#: Where Debian keeps the texts of licences.
LICENCES = "/usr/share/common-licenses"


def write_sentences(folder: str | os.PathLike[str], licences: str | os.PathLike[str] = LICENCES) -> None:
    """A folder of documents for each kind; `open_dataset` with `cut="sentence"` makes sentences of them.

    Parameters
    ----------
    folder : str or path
        Must not be there yet.
    licences : str or path
        A folder of texts. Links are left out: most are another name of a text that is there, too.

    Raises
    ------
    FileExistsError
        The folder is there.
    DataError
        No licences on this machine.
    """
    from pydoc_data.topics import topics

    kinds = {"python": dict(topics), "licence": _texts(os.fsdecode(licences))}
    with new_folder(folder) as made:
        for kind, documents in kinds.items():
            os.mkdir(os.path.join(made, kind))
            for name, text in documents.items():
                with open(os.path.join(made, kind, f"{name}.txt"), "w", encoding="utf-8") as file:
                    file.write(text)


def _texts(folder: str) -> dict[str, str]:
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path):
            found[name] = read_text(path)
    if len(found) < 2:
        raise DataError(f"{shown(folder)}: holds {len(found)} texts, must be two licences or more")
    return found
