import numpy as np

def softmax(
    first: np.ndarray,
    out: np.ndarray,
    outer: int,
    count: int,
    inner: int,
    along: bool,
    logarithm: bool,
    gradient: np.ndarray | None = None,
) -> None: ...
