"""A training in one file: all that another process needs to go on as if nothing had happened.

Net, optimizer, schedule, the generators that shuffle and drop out, the record, and the best parameters so
far. Arrays and JSON as in the file of a net; nothing that could run.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastconv.geometry import whole_number
from fastconv.nn.archive import Archive, read_archive, write_archive
from fastconv.nn.arguments import real
from fastconv.nn.best import Best
from fastconv.nn.history import COLUMNS, History
from fastconv.nn.layers.base import Layer
from fastconv.nn.optimizer import Optimizer
from fastconv.nn.schedules import Schedule, load_schedule_state, schedule_state

KIND = "training"


def generators_of(net: Layer) -> dict[str, np.random.Generator]:
    """The generators that layers draw from in training, such as those of `Dropout`, by path: "2.rng"."""
    return {
        f"{path}{name}": generator
        for path, layer in net.walk()
        for name, generator in layer._own(np.random.Generator).items()
    }


@dataclass(frozen=True)
class Checkpoint:
    """The parts of a training that change, and the file they are kept in."""

    path: str | os.PathLike[str]
    net: Layer
    optimizer: Optimizer
    schedule: Schedule | None
    shuffling: np.random.Generator
    history: History
    best: Best | None

    def _generators(self) -> dict[str, np.random.Generator]:
        return {"fit": self.shuffling, **{f"net.{k}": v for k, v in generators_of(self.net).items()}}

    # ---- writing -------------------------------------------------------------------------------------

    def save(self, epoch: int, step: int) -> None:
        """Write the file, so many epochs and steps being done: whole, or not at all.

        Raises
        ------
        OSError
            The file cannot be written; one that was there before is still whole.
        """
        arrays = {f"net.{path}": buffer.value for path, buffer in self.net.named_buffers().items()}
        state = self.optimizer.state_dict()
        header: dict[str, Any] = {"epoch": epoch, "step": step, "optimizer": {}}
        for name, value in state.items():
            if isinstance(value, list):
                arrays.update({f"optimizer.{name}.{i}": array for i, array in enumerate(value)})
            else:
                header["optimizer"][name] = value
        header["schedule"] = _as_json("schedule", schedule_state(self.schedule))
        header["generators"] = {
            name: _encoded(rng.bit_generator.state) for name, rng in self._generators().items()
        }
        columns = {name: np.array(getattr(self.history, name), np.float64) for name in COLUMNS}
        arrays.update({f"history.{name}": column for name, column in columns.items()})
        header["history"] = {name: len(column) for name, column in columns.items()}
        header["best"] = None
        if self.best is not None:
            lowest = self.best.lowest if math.isfinite(self.best.lowest) else None
            header["best"] = {"epoch": self.best.epoch, "lowest": lowest}
            arrays.update({f"best.{path}": array for path, array in (self.best.state or {}).items()})
        write_archive(self.path, KIND, header, arrays)

    # ---- reading -------------------------------------------------------------------------------------

    def load(self) -> tuple[int, int]:
        """Put everything to what the file says; returns how many epochs and steps were done.

        Raises
        ------
        ValueError
            No such file of ours, a damaged one, or one of another net, optimizer or schedule; then nothing
            has changed.
        OSError
            The file cannot be read.
        """
        with read_archive(self.path, KIND) as archive:
            header = archive.header
            epoch, step = (whole_number(name, header.get(name), 0) for name in ("epoch", "step"))
            buffers = self.net.named_buffers()
            shapes = {path: (b.value.shape, b.value.dtype) for path, b in buffers.items()}
            net = {path: archive.take(f"net.{path}", *shapes[path]) for path in shapes}
            before = self.optimizer.state_dict()
            optimizer = _read_optimizer(archive, header["optimizer"], before)
            history = {name: _read_column(archive, header["history"], name) for name in COLUMNS}
            best = header.get("best")
            state = None
            if best is not None and best["epoch"] is not None:
                whole_number("best epoch", best["epoch"], 0)
                real("lowest loss", best["lowest"])
                state = {path: archive.take(f"best.{path}", *shapes[path]) for path in shapes}
            states = self._read_generators(header["generators"])
            archive.finish()
            load_schedule_state(copy.deepcopy(self.schedule), header["schedule"])
            self.optimizer.load_state_dict(optimizer)
            load_schedule_state(self.schedule, header["schedule"])
        self.net.load_state_dict(net)
        for rng, found in states:
            rng.bit_generator.state = found
        for name, column in history.items():
            getattr(self.history, name)[:] = column.tolist()
        if self.best is not None and best is not None and state is not None:
            self.best.note(best["epoch"], best["lowest"], state)
        return epoch, step

    def _read_generators(self, saved: Mapping[str, Any]) -> list[tuple[np.random.Generator, dict[str, Any]]]:
        """The generators with the states they are to have, each tried out on a copy."""
        mine = self._generators()
        if set(saved) != set(mine):
            raise ValueError(f"it has generators {sorted(saved)}, this training {sorted(mine)}")
        states = []
        for name, rng in mine.items():
            state = _decoded(saved[name])
            found = state.get("bit_generator") if isinstance(state, dict) else None
            if found != type(rng.bit_generator).__name__:
                raise ValueError(f"generator {name!r} is a {found}, not a {type(rng.bit_generator).__name__}")
            copy.deepcopy(rng.bit_generator).state = state
            states.append((rng, state))
        return states


def _read_optimizer(archive: Archive, saved: Mapping[str, Any], mine: Mapping[str, Any]) -> dict[str, Any]:
    """A state in the form of `mine`, from a file."""
    state: dict[str, Any] = dict(saved)
    if state.get("type") != mine["type"]:
        raise ValueError(f"it holds the state of {state.get('type')!r}, not of {mine['type']!r}")
    for name, value in mine.items():
        if isinstance(value, list):
            state[name] = [
                archive.take(f"optimizer.{name}.{i}", array.shape, array.dtype)
                for i, array in enumerate(value)
            ]
    return state


def _read_column(archive: Archive, lengths: Mapping[str, Any], name: str) -> np.ndarray:
    length = whole_number(f"length of history.{name}", lengths[name], 0)
    return archive.take(f"history.{name}", (length,), np.dtype(np.float64))


def _as_json(name: str, state: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(state)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: its state_dict cannot be kept in a checkpoint: {error}") from None
    return state


def _encoded(state: Any) -> Any:
    """A generator's state as JSON: some have arrays in it."""
    if isinstance(state, Mapping):
        return {name: _encoded(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return {"dtype": state.dtype.name, "values": state.tolist()}
    return state.item() if isinstance(state, np.generic) else state


def _decoded(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    if set(state) == {"dtype", "values"} and state["dtype"] in ("uint32", "uint64"):
        return np.array(state["values"], state["dtype"])
    return {name: _decoded(value) for name, value in state.items()}
