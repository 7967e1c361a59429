from fastconv._kernels.conv.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

class WinogradPlan(Subconvolutions):
    def __init__(self, geometry: ConvGeometry, direction: str, tile: int = 2, chunk: int = 128) -> None: ...
    @staticmethod
    def serves(geometry: ConvGeometry) -> bool: ...
