"""Does an installed fastconv work, with nothing but NumPy beside it? `python -I tests/smoke.py`"""

import sys
from pathlib import Path

import numpy as np

import fastconv
from fastconv.runtime import runnable_isas

EXTRAS = {"rich", "PIL", "matplotlib", "Cython", "setuptools", "pytest"}


def every_pass(dtype: type, **how: str) -> list[np.ndarray]:
    """Forward and both gradients of a convolution that uses stride, padding and groups."""
    rng = np.random.default_rng(1)
    input = rng.standard_normal((2, 6, 9, 11)).astype(dtype)
    weight = rng.standard_normal((8, 3, 3, 3)).astype(dtype)
    grad_output = rng.standard_normal((2, 8, 5, 11)).astype(dtype)
    parameters = {"stride": (2, 1), "padding": 1, "groups": 2}
    return [
        fastconv.conv2d(input, weight, **parameters, **how),
        fastconv.grad.conv2d_input(input.shape, weight, grad_output, **parameters, **how),
        fastconv.grad.conv2d_weight(input, weight.shape, grad_output, **parameters, **how),
    ]


def check_convolution() -> None:
    """Every instruction set against the plain loops."""
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        expected = every_pass(dtype, algorithm="reference")
        for isa in runnable_isas():
            fastconv.set_isa(isa)
            for result, exact in zip(every_pass(dtype), expected):
                difference = np.abs(result - exact).max()
                assert difference <= tolerance * np.abs(exact).max(), (isa, dtype, difference)


def main() -> None:
    check_convolution()
    assert Path(fastconv.get_include(), "fastconv.h").exists()
    extras = EXTRAS & set(sys.modules)
    assert not extras, f"import fastconv pulls in {extras}"
    sys.stdout.write(f"ok {fastconv.__version__} {fastconv.__path__[0]}\n")


if __name__ == "__main__":
    main()
