from fastconv._kernels.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

class Col2imPlan(Subconvolutions):
    @staticmethod
    def serves(geometry: ConvGeometry, direction: str) -> bool: ...
