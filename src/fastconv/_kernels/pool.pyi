import numpy as np

from fastconv.geometry import PoolGeometry

class PoolPlan:
    geometry: PoolGeometry
    def __init__(self, geometry: PoolGeometry) -> None: ...
    def maximum(
        self, input: np.ndarray, out: np.ndarray, indices: np.ndarray | None = None, norm: float = 0
    ) -> np.ndarray: ...
    def average(
        self,
        input: np.ndarray,
        out: np.ndarray,
        count_padding: bool = True,
        divisor: float = 0,
        norm: float = 0,
    ) -> np.ndarray: ...
    def average_gradient(
        self, grad_output: np.ndarray, out: np.ndarray, count_padding: bool = True, divisor: float = 0
    ) -> np.ndarray: ...
    def norm_gradient(
        self,
        input: np.ndarray,
        output: np.ndarray,
        grad_output: np.ndarray,
        out: np.ndarray,
        norm: float,
    ) -> np.ndarray: ...
