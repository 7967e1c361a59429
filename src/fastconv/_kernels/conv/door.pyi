from collections.abc import Callable
from typing import Any

import numpy as np

class Door:
    """`find` gives a plan and the shape of what it makes, `otherwise` serves every call that is not plain."""

    def __init__(
        self, find: Callable[..., tuple[Any, tuple[int, ...]]], otherwise: Callable[..., np.ndarray]
    ) -> None: ...
    def forward(
        self,
        spatial_rank: int,
        input: Any,
        weight: Any,
        bias: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        activation: Any,
        algorithm: Any,
        out: Any,
    ) -> np.ndarray: ...
    def input_gradient(
        self,
        spatial_rank: int,
        input_size: Any,
        weight: Any,
        grad_output: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        algorithm: Any,
    ) -> np.ndarray: ...
    def weight_gradient(
        self,
        spatial_rank: int,
        input: Any,
        weight_size: Any,
        grad_output: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: Any,
        algorithm: Any,
        out: Any,
    ) -> np.ndarray: ...

class PackedConv:
    weight: np.ndarray
    bias: np.ndarray | None
    stride: Any
    padding: Any
    dilation: Any
    groups: int
    activation: str | None
    algorithm: str
    negative_slope: float

    def __init__(
        self,
        find: Callable[..., tuple[Any, tuple[int, ...]]],
        otherwise: Callable[..., np.ndarray],
        weight: np.ndarray,
        bias: np.ndarray | None,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        activation: str | None,
        algorithm: str,
        negative_slope: float,
    ) -> None: ...
    def __call__(self, input: Any, out: np.ndarray | None = None) -> np.ndarray: ...
    def add_to(self, out: np.ndarray, input: np.ndarray) -> bool: ...
