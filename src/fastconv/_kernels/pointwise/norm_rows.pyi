from typing import overload

import numpy as np

@overload
def layer_norm(
    x: np.ndarray,
    out: np.ndarray,
    rows: int,
    features: int,
    eps: float,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    measured: np.ndarray | None = None,
) -> None: ...
@overload
def layer_norm(
    x: np.ndarray,
    out: np.ndarray,
    rows: int,
    features: int,
    eps: float,
    weight: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    *,
    gradient: np.ndarray,
    measured: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]: ...
