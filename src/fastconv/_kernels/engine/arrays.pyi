import numpy as np

def new_output(
    shape: tuple[int, ...], dtype: np.dtype, like: np.ndarray, batched: bool = True
) -> np.ndarray: ...
