import numpy as np

from fastconv.geometry import ConvGeometry

def conv_forward(
    geometry: ConvGeometry,
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: int,
    out: np.ndarray,
) -> np.ndarray: ...
def conv_input_gradient(
    geometry: ConvGeometry, weight: np.ndarray, grad_output: np.ndarray, out: np.ndarray
) -> np.ndarray: ...
def conv_weight_gradient(
    geometry: ConvGeometry, input: np.ndarray, grad_output: np.ndarray, out: np.ndarray
) -> np.ndarray: ...
