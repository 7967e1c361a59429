"""Sentences of two kinds that any Debian machine has: Python's own help, and licences."""

from __future__ import annotations

import os

from fastconv.data.errors import DataError
from fastconv.data.examples.folder import new_folder
from fastconv.data.files import shown
from fastconv.data.text import pieces, read_text

#: Where Debian keeps the texts of licences.
LICENCES = "/usr/share/common-licenses"

#: Words that a sentence has at least; what is shorter are headings, and scraps of programs.
SHORTEST = 5


def write_sentences(folder: str | os.PathLike[str], licences: str | os.PathLike[str] = LICENCES) -> None:
    """A folder of documents for each kind, a sentence a line: `open_dataset` with `cut="line"` makes samples.

    A sentence that several documents have, as topics of the help and versions of a licence do, is in the
    first of them alone: else some that are held out would have been learned from.

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

    seen: set[str] = set()
    kinds = {"python": dict(topics), "licence": _texts(os.fsdecode(licences))}
    with new_folder(folder) as made:
        for kind, documents in kinds.items():
            os.mkdir(os.path.join(made, kind))
            for name, text in sorted(documents.items()):
                found = [words for words in pieces(text, "sentence") if len(words) >= SHORTEST]
                lines = dict.fromkeys(" ".join(words) + "\n" for words in found)
                fresh = [line for line in lines if line not in seen]
                seen.update(fresh)
                if fresh:
                    with open(os.path.join(made, kind, f"{name}.txt"), "w", encoding="utf-8") as file:
                        file.writelines(fresh)


def _texts(folder: str) -> dict[str, str]:
    found = {}
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path):
            found[name] = read_text(path)
    if len(found) < 2:
        raise DataError(f"{shown(folder)}: holds {len(found)} texts, must be two licences or more")
    return found
