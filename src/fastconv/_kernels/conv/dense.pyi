from typing import Any

import numpy as np

from fastconv.geometry import ConvGeometry

class Subconvolutions:
    geometry: ConvGeometry
    def __init__(self, geometry: ConvGeometry, direction: str) -> None: ...
    def run(
        self,
        source: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        out: np.ndarray | None = None,
        activation: int = 0,
        slope: float = 0.01,
    ) -> np.ndarray: ...
    def info(self, float64: bool, channels_last: bool) -> dict[str, Any]: ...
