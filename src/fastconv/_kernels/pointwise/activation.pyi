import numpy as np

CODES: dict[str, int]

def activate(
    code: int,
    input: np.ndarray,
    out: np.ndarray,
    a: float = 0.0,
    b: float = 0.0,
    c: float = 0.0,
    gradient: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
) -> np.ndarray: ...
