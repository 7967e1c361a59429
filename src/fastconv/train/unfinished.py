"""What may be cut short: a folder beside the model has all that is needed to go on.

Of a training, `settings.json` is written once, before anything is learned; `checkpoint.npz` before the first
epoch and after each, whole at any time. The folder is gone when the model is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from fastconv.data import Dataset
from fastconv.nn.archive import write_whole
from fastconv.train.errors import SettingError
from fastconv.train.settings import Settings

#: Version of the folders' contents.
VERSION = 1

#: Bytes of what was asked for that are read at most.
LIMIT = 1 << 24


class Folder:
    """The folder beside an output that has what is needed to go on.

    Parameters
    ----------
    output : path
    ending : str
        What the folder's name has behind that of the output.
    what : str
        What is gone on with: "training".
    files : str
        Patterns of the names of what is kept there; the first is of what was asked for, as JSON.
    """

    def __init__(self, output: str | os.PathLike[str], ending: str, what: str, *files: str) -> None:
        self.output = os.fsdecode(output)
        self.path = f"{self.output}{ending}"
        self._what, self._files = what, files
        self._asked = os.path.join(self.path, files[0])

    @property
    def exists(self) -> bool:
        """Whether there is something to go on with."""
        return os.path.exists(self._asked)

    def check_begin(self, resume: bool, restart: bool) -> None:
        """Raise `SettingError` unless it is clear what is to become of what is there."""
        if resume and restart:
            raise SettingError("restart", True, "contradicts resume")
        if self.exists and not (resume or restart):
            rule = f"{self.path} has a {self._what} that was not finished: resume goes on, restart forgets it"
            raise SettingError("output", self.output, rule)
        if resume and not self.exists:
            raise SettingError("resume", True, f"nothing to go on with: there is no {self.path}")

    def write(self, told: dict[str, Any]) -> None:
        """Forget what was there, and begin anew with what is asked for; `OSError` if that cannot be."""
        self.forget()
        os.makedirs(self.path, exist_ok=True)
        data = json.dumps({"version": VERSION, **told}, indent=1).encode()
        try:
            write_whole(os.path.realpath(self._asked), lambda file: file.write(data))
        except OSError:
            self.forget()
            raise

    @contextlib.contextmanager
    def read(self) -> Iterator[dict[str, Any]]:
        """What was asked for.

        Raises
        ------
        SettingError
            There is none, or nothing that could be read or made sense of; also if the body raises so.
        """
        try:
            with open(self._asked, "rb") as file:
                told: Any = json.loads(file.read(LIMIT))
            if told["version"] != VERSION:
                raise ValueError(f"it is of version {told['version']!r}, not {VERSION}")
            yield told
        except SettingError:
            raise
        except FileNotFoundError:
            raise SettingError("resume", True, f"nothing to go on with: there is no {self.path}") from None
        except OSError as error:
            raise SettingError("resume", True, f"{self._asked}: {error.strerror or error}") from None
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            rule = f"{self._asked} is damaged ({error}): restart, which forgets it"
            raise SettingError("resume", True, rule) from None

    def forget(self) -> None:
        """Remove what is in the folder of ours, and it, if nothing else is there."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path):
                # what was being written when somebody pulled the plug is called .NAME.….tmp
                if any(fnmatchcase(name, own) or fnmatchcase(name, f".{own}.*.tmp") for own in self._files):
                    os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)


class Unfinished(Folder):
    """The folder `model.fcn.part` of a training that writes `model.fcn`."""

    def __init__(self, output: str | os.PathLike[str]) -> None:
        super().__init__(output, ".part", "training", "settings.json", "checkpoint.npz")
        self.checkpoint = os.path.join(self.path, "checkpoint.npz")

    def begin(self, settings: Settings, dataset: Dataset) -> None:
        """Make the folder; `OSError` if it cannot be."""
        self.write({"settings": settings.to_json(), "data": fingerprint(dataset)})

    def settings(self) -> Settings:
        """The settings that it was begun with.

        Raises
        ------
        SettingError
            There is none, or nothing that could be read.
        """
        return self._begun()[0]

    def check(self, settings: Settings, dataset: Dataset) -> None:
        """Raise `SettingError` unless it was begun with these settings and this data."""
        begun, data = self._begun()
        mine, theirs = settings.to_json(), begun.to_json()
        for name in mine:
            if mine[name] != theirs[name]:
                raise SettingError(
                    name, mine[name], f"the training to go on with was begun with {theirs[name]!r}"
                )
        if data != fingerprint(dataset):
            raise SettingError(
                "resume",
                True,
                f"{dataset.path} or its options are not those that the training was begun with",
            )

    def _begun(self) -> tuple[Settings, str]:
        with self.read() as told:
            try:
                return Settings.from_json(told["settings"]), str(told["data"])
            except SettingError as error:
                raise ValueError(str(error)) from None


def fingerprint(dataset: Dataset) -> str:
    """What tells one data set from another: classes, labels, names, and what is done to samples."""
    found = hashlib.sha256()
    told = [list(dataset.classes), list(dataset.names), dataset.preprocessing.to_json()]
    found.update(json.dumps(told, sort_keys=True).encode())
    found.update(dataset.labels.tobytes())
    return found.hexdigest()
