from fastconv._kernels.weight_gradient.plan import WeightGradientPlan
from fastconv.geometry import ConvGeometry

class WinogradWeightGradientPlan(WeightGradientPlan):
    def __init__(self, geometry: ConvGeometry, direction: str, tile: int = 2, chunk: int = 128) -> None: ...
