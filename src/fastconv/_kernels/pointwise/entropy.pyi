import numpy as np

def cross_entropy(
    logits: np.ndarray,
    outer: int,
    count: int,
    inner: int,
    *,
    labels: np.ndarray | None = None,
    target: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    smoothing: float = 0.0,
    ignored: int = -100,
    unsigned_labels: bool = False,
    normalized: bool = False,
    point_weight: np.ndarray | None = None,
    losses: np.ndarray | None = None,
    slopes: np.ndarray | None = None,
    scale: float = 1.0,
) -> float: ...
