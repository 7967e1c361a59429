from typing import Any

from fastconv._kernels.conv.dense import Subconvolutions

class FftPlan(Subconvolutions):
    blocks: Any
