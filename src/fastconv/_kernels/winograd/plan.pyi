from fastconv._kernels.conv.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

class WinogradPlan(Subconvolutions):
    def __init__(self, geometry: ConvGeometry, direction: str, tile: int = 2) -> None: ...
    @staticmethod
    def serves(geometry: ConvGeometry) -> bool: ...
