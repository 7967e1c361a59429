import numpy as np

FORMULAS: dict[str, int]

def losses_of(
    formula: int,
    prediction: np.ndarray,
    target: np.ndarray,
    *,
    a: float = 0.0,
    times: float = 1.0,
    scale: float = 1.0,
    weight: np.ndarray | None = None,
    losses: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
) -> float: ...
