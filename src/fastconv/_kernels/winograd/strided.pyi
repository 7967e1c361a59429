from fastconv._kernels.conv.dense import Subconvolutions
from fastconv._kernels.weight_gradient.plan import WeightGradientPlan
from fastconv.geometry import ConvGeometry

class StridedWinogradPlan(Subconvolutions):
    def __init__(self, geometry: ConvGeometry, direction: str, tile: int = 2, chunk: int = 128) -> None: ...
    @staticmethod
    def serves(geometry: ConvGeometry) -> bool: ...

class StridedWinogradWeightGradientPlan(WeightGradientPlan):
    def __init__(self, geometry: ConvGeometry, direction: str, tile: int = 2, chunk: int = 128) -> None: ...
