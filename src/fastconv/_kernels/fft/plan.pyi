from typing import Any

from fastconv._kernels.conv.dense import Subconvolutions
from fastconv.geometry import ConvGeometry

class FftPlan(Subconvolutions):
    blocks: Any
    def __init__(self, geometry: ConvGeometry, direction: str) -> None: ...
