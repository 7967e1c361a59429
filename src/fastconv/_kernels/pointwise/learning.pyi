import numpy as np

def gradient(
    grad_output: np.ndarray,
    output: np.ndarray | None = None,
    out: np.ndarray | None = None,
    activation: int = 0,
    slope: float = 0.01,
    sums: np.ndarray | None = None,
    channel: int = 1,
) -> None: ...
def descend(
    values: list[np.ndarray],
    gradients: list[np.ndarray],
    velocities: list[np.ndarray] | None,
    rate: float,
    momentum: float,
    decay: float,
    nesterov: bool,
) -> None: ...
