import numpy as np

def overwrite(values: np.ndarray, mask: np.ndarray, value: float) -> None: ...
def gelu(values: np.ndarray) -> None: ...
def gelu_slope(values: np.ndarray) -> None: ...
def group_sums(
    a: np.ndarray, a_shift: np.ndarray, b: np.ndarray, b_shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray]: ...
def group_affine(
    a: np.ndarray,
    shift: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    out: np.ndarray,
    b: np.ndarray | None = None,
    b_scale: np.ndarray | None = None,
) -> np.ndarray: ...
