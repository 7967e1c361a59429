from typing import overload

import numpy as np

def group_sums(
    a: np.ndarray,
    unit: np.ndarray,
    shift: np.ndarray,
    b: np.ndarray,
    b_unit: np.ndarray | None = None,
    b_shift: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]: ...
def group_map(
    a: np.ndarray,
    unit: np.ndarray,
    shift: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    out: np.ndarray,
    b: np.ndarray | None = None,
    b_scale: np.ndarray | None = None,
    weight: np.ndarray | None = None,
) -> np.ndarray: ...
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
