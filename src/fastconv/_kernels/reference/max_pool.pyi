from typing import Any

import numpy as np

from fastconv.geometry import PoolGeometry

def max_pool_gradient(
    grad_output: np.ndarray, indices: np.ndarray, out: np.ndarray, spatial_rank: int, batched: bool
) -> np.ndarray | None: ...

class ReferencePoolPlan:
    geometry: PoolGeometry
    def __init__(self, geometry: PoolGeometry) -> None: ...
    def maximum(self, input: np.ndarray, return_indices: bool = False, norm: float = 0) -> Any: ...
    def average(
        self, input: np.ndarray, count_padding: bool = True, divisor: float = 0, norm: float = 0
    ) -> np.ndarray: ...
    def average_gradient(
        self, grad_output: np.ndarray, count_padding: bool = True, divisor: float = 0
    ) -> np.ndarray: ...
    def norm_gradient(
        self, input: np.ndarray, output: np.ndarray, grad_output: np.ndarray, norm: float
    ) -> np.ndarray: ...
