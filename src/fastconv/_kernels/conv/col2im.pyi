from fastconv._kernels.conv.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

def staged_outputs(geometry: ConvGeometry) -> int: ...

class Col2imPlan(Subconvolutions):
    @staticmethod
    def serves(geometry: ConvGeometry, direction: str) -> bool: ...
