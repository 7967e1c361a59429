import numpy as np

from fastconv.geometry import ConvGeometry

class WeightGradientPlan:
    geometry: ConvGeometry
    def __init__(self, geometry: ConvGeometry) -> None: ...
    def run(self, input: np.ndarray, grad_output: np.ndarray, out: np.ndarray) -> np.ndarray: ...
