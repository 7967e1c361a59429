from typing import Any

from fastconv._kernels.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

def estimate(geometry: ConvGeometry, direction: str) -> float: ...

class FftPlan(Subconvolutions):
    axes: Any
    blocks: Any
    def __init__(self, geometry: ConvGeometry, direction: str) -> None: ...
