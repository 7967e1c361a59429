from fastconv._kernels.conv.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

class DepthwisePlan(Subconvolutions):
    @staticmethod
    def serves(geometry: ConvGeometry) -> bool: ...
