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
