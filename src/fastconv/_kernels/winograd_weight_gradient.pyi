import numpy as np

from fastconv.geometry import ConvGeometry

class WinogradWeightGradientPlan:
    geometry: ConvGeometry
    def __init__(self, geometry: ConvGeometry, tile: int = 2, chunk: int = 128) -> None: ...
    def run(self, input: np.ndarray, grad_output: np.ndarray, out: np.ndarray) -> np.ndarray: ...
