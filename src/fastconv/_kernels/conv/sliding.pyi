from fastconv._kernels.conv.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

class SlidingPlan(Subconvolutions):
    def __init__(
        self, geometry: ConvGeometry, direction: str, small_groups: Subconvolutions | None = None
    ) -> None: ...
    @staticmethod
    def serves(geometry: ConvGeometry, direction: str) -> bool: ...
