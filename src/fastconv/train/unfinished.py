"""A training that may be cut short: a folder beside the model has all that is needed to go on.

`settings.json` is written once, before anything is learned; `checkpoint.npz` before the first epoch and after
each, whole at any time. Both are gone when the model is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import Any

from fastconv.data import Dataset
from fastconv.nn.archive import write_whole
from fastconv.train.errors import SettingError
from fastconv.train.settings import Settings

#: Version of the folder's contents.
VERSION = 1

#: Bytes of settings that are read at most.
LIMIT = 1 << 20


class Unfinished:
    """The folder `model.fcn.part` of a training that writes `model.fcn`."""

    def __init__(self, output: str | os.PathLike[str]) -> None:
        self.path = f"{os.fsdecode(output)}.part"
        self.checkpoint = os.path.join(self.path, "checkpoint.npz")
        self._settings = os.path.join(self.path, "settings.json")

    @property
    def exists(self) -> bool:
        """Whether there is a training to go on with."""
        return os.path.exists(self._settings)

    def begin(self, settings: Settings, dataset: Dataset) -> None:
        """Make the folder; `OSError` if it cannot be."""
        os.makedirs(self.path, exist_ok=True)
        told = {"version": VERSION, "settings": settings.to_json(), "data": fingerprint(dataset)}
        data = json.dumps(told, indent=1).encode()
        write_whole(os.path.realpath(self._settings), lambda file: file.write(data))

    def settings(self) -> Settings:
        """The settings that it was begun with.

        Raises
        ------
        SettingError
            There is none, or nothing that could be read.
        """
        return self._read()[0]

    def check(self, settings: Settings, dataset: Dataset) -> None:
        """Raise `SettingError` unless it was begun with these settings and this data."""
        begun, data = self._read()
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

    def _read(self) -> tuple[Settings, str]:
        try:
            with open(self._settings, "rb") as file:
                told: Any = json.loads(file.read(LIMIT))
            if told["version"] != VERSION:
                raise ValueError(f"it is of version {told['version']!r}, not {VERSION}")
            return Settings.from_json(told["settings"]), str(told["data"])
        except FileNotFoundError:
            raise SettingError("resume", True, f"nothing to go on with: there is no {self.path}") from None
        except OSError as error:
            raise SettingError("resume", True, f"{self._settings}: {error.strerror or error}") from None
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise SettingError(
                "resume", True, f"{self._settings} is damaged ({error}): restart, which forgets it"
            ) from None

    def forget(self) -> None:
        """Remove what is in the folder of ours, and it, if nothing else is there."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path):
                own = name in ("settings.json", "checkpoint.npz")
                cut = name.startswith((".settings.json.", ".checkpoint.npz.")) and name.endswith(".tmp")
                if own or cut:
                    os.unlink(os.path.join(self.path, name))
            os.rmdir(self.path)


def fingerprint(dataset: Dataset) -> str:
    """What tells one data set from another: classes, labels, names, and what is done to samples."""
    found = hashlib.sha256()
    told = [list(dataset.classes), list(dataset.names), dataset.preprocessing.to_json()]
    found.update(json.dumps(told, sort_keys=True).encode())
    found.update(dataset.labels.tobytes())
    return found.hexdigest()
