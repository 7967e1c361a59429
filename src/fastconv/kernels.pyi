"""The functions of this module are Cython's, by `from fastconv.kernels cimport ...`: see kernels.pxd."""

from typing import Any

class ConvPlan:
    output_shape: tuple[int, ...]
    needs_gil: bool
    def __init__(
        self,
        input_shape: tuple[int, ...],
        weight_shape: tuple[int, ...],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        *,
        activation: str | None = None,
        algorithm: str = "auto",
        precision: str | None = None,
        passes: tuple[str, ...] = ...,
    ) -> None: ...

class PoolPlan:
    output_shape: tuple[int, ...]
    def __init__(
        self,
        input_shape: tuple[int, ...],
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None: ...
