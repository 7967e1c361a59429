"""What a graph keeps for all its runs: weights, packed once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class Keep:
    """Objects made from constants, each made once, however many programs use it."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[tuple[np.ndarray | None, ...], Any]] = {}
        self._lock = threading.Lock()

    def __call__(
        self, arrays: tuple[np.ndarray | None, ...], parameters: Hashable, make: Callable[[], Any]
    ) -> Any:
        """What `make` makes of these constants and parameters."""
        key = (*map(id, arrays), parameters)  # the arrays are held, so that their ids stay theirs
        with self._lock:
            if key not in self._made:
                self._made[key] = (arrays, make())
            return self._made[key][1]

    def __reduce__(self) -> tuple[type[Keep], tuple[()]]:
        return Keep, ()  # what is made is made again
