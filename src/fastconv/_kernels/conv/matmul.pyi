import numpy as np

from fastconv._kernels.conv.direct import DensePlan
from fastconv._kernels.engine.packed import PackedWeight

def multiply(
    plan: DensePlan,
    a: np.ndarray,
    a_by_columns: bool,
    b: np.ndarray,
    b_by_columns: bool,
    out: np.ndarray,
    out_by_columns: bool,
    bias: np.ndarray | None = None,
    activation: int = 0,
    packed: PackedWeight | None = None,
) -> None: ...
