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

from fastconv.train.build import parse_net, spec_of
from fastconv.train.errors import ModelError, SettingError, SpecError
from fastconv.train.evaluation import Evaluation, evaluate, wilson
from fastconv.train.model import Model
from fastconv.train.model_file import load_model, save_model
from fastconv.train.settings import Settings
from fastconv.train.training import Lesson, Trained, train

__all__ = [
    "Evaluation",
    "Lesson",
    "Model",
    "ModelError",
    "SettingError",
    "Settings",
    "SpecError",
    "Trained",
    "evaluate",
    "load_model",
    "parse_net",
    "save_model",
    "spec_of",
    "train",
    "wilson",
]
