from typing import Any

import numpy as np

from fastconv.geometry import PoolGeometry

class Positions: ...

class PoolPlan:
    geometry: PoolGeometry
    def __init__(self, geometry: PoolGeometry) -> None: ...
    def maximum(
        self,
        input: np.ndarray,
        return_indices: bool = False,
        norm: float = 0,
        out: np.ndarray | None = None,
    ) -> Any: ...
    def maximum_and_positions(
        self, input: np.ndarray
    ) -> tuple[np.ndarray, Positions] | tuple[None, None]: ...
    def position_gradient(self, positions: Positions, grad_output: np.ndarray) -> np.ndarray: ...
    def average(
        self,
        input: np.ndarray,
        count_padding: bool = True,
        divisor: float = 0,
        norm: float = 0,
        out: np.ndarray | None = None,
    ) -> np.ndarray: ...
    def average_gradient(
        self, grad_output: np.ndarray, count_padding: bool = True, divisor: float = 0
    ) -> np.ndarray: ...
    def norm_gradient(
        self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray, norm: float
    ) -> np.ndarray: ...
