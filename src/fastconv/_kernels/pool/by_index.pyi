import numpy as np

def scatter_add(
    grad_output: np.ndarray, indices: np.ndarray, out: np.ndarray, spatial_rank: int, batched: bool
) -> np.ndarray | None: ...
def scatter(
    input: np.ndarray, indices: np.ndarray, out: np.ndarray, spatial_rank: int, batched: bool
) -> np.ndarray | None: ...
def gather(
    grad_output: np.ndarray, indices: np.ndarray, out: np.ndarray, spatial_rank: int, batched: bool
) -> np.ndarray | None: ...
