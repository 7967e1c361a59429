import numpy as np

from fastconv.geometry import ConvGeometry

ACTIVATIONS: dict[str | None, int]

class DensePlan:
    geometry: ConvGeometry
    def __init__(self, geometry: ConvGeometry, direction: str) -> None: ...
    def run(
        self,
        source: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        out: np.ndarray,
        activation: str | None = None,
        slope: float = 0.01,
    ) -> np.ndarray: ...
