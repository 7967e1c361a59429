"""Nets trained on people's own data: what is learned from, what is measured, and the file that is kept.

`fastconv train`, `predict`, `evaluate`, `show` and `search` are this from the command line. From Python:

>>> import numpy as np
>>> from fastconv.data import open_dataset
>>> from fastconv.train import Settings, train
>>> y = np.arange(200) % 2
>>> x = np.random.default_rng(0).integers(0, 150, (200, 8, 8)).astype(np.uint8)
>>> x[y == 1, :, :4] += 100
>>> np.savez("halves.npz", x=x, y=y)
>>> trained = train(open_dataset("halves.npz"), Settings(net="conv 4 3, relu, pool 2, fc", epochs=10))
>>> trained.held_out.accuracy > 0.8
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastconv.train.build import parse_net, spec_of
    from fastconv.train.errors import ModelError, SettingError, SpecError
    from fastconv.train.evaluation import Evaluation, evaluate, wilson
    from fastconv.train.halving import Found, Plan, Row, search
    from fastconv.train.model import Model
    from fastconv.train.model_file import load_model, save_model
    from fastconv.train.settings import Settings
    from fastconv.train.space import Candidate, Space
    from fastconv.train.training import Lesson, Trained, train

__all__ = [
    "Candidate",
    "Evaluation",
    "Found",
    "Lesson",
    "Model",
    "ModelError",
    "Plan",
    "Row",
    "SettingError",
    "Settings",
    "Space",
    "SpecError",
    "Trained",
    "evaluate",
    "load_model",
    "parse_net",
    "save_model",
    "search",
    "spec_of",
    "train",
    "wilson",
]

#: Where the names are at home: imported when they are asked for, as `fastconv --help` passes by here.
_HOMES = {
    "Candidate": "space",
    "Evaluation": "evaluation",
    "Found": "halving",
    "Lesson": "training",
    "Model": "model",
    "ModelError": "errors",
    "Plan": "halving",
    "Row": "halving",
    "SettingError": "errors",
    "Settings": "settings",
    "Space": "space",
    "SpecError": "errors",
    "Trained": "training",
    "evaluate": "evaluation",
    "load_model": "model_file",
    "parse_net": "build",
    "save_model": "model_file",
    "search": "halving",
    "spec_of": "build",
    "train": "training",
    "wilson": "evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
