from typing import Any

import numpy as np

from fastconv.geometry import ConvGeometry

class ConvPass:
    geometry: ConvGeometry
    direction: str
    needs_gil: bool
    can_add: bool
    def __init__(self, geometry: ConvGeometry, direction: str) -> None: ...
    def run(
        self,
        source: np.ndarray,
        factor: np.ndarray,
        bias: np.ndarray | None = None,
        out: np.ndarray | None = None,
        activation: int = 0,
        slope: float = 0.01,
    ) -> np.ndarray: ...
    def info(self, dtype: np.dtype, channels_last: bool) -> dict[str, Any]: ...
