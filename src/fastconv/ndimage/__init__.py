"""SciPy's filters for pictures and volumes, by name: `scipy.ndimage` on the kernels of this package.

Signatures, defaults and results are SciPy's; each docstring says what differs. Everywhere:

- Arguments that break a rule are a `ValueError` or a `TypeError`, where SciPy has its `RuntimeError`s too.
- Sizes are whole numbers of at least 1; SciPy cuts them off at the point, and passes over those below 1.
- Masked arrays are refused, for their mask would be ignored.
"""

from fastconv.ndimage.extrema import (
    maximum_filter,
    maximum_filter1d,
    minimum_filter,
    minimum_filter1d,
)
from fastconv.ndimage.linear import convolve, convolve1d, correlate, correlate1d
from fastconv.ndimage.smooth import (
    gaussian_filter,
    gaussian_filter1d,
    gaussian_laplace,
    laplace,
    prewitt,
    sobel,
    uniform_filter,
    uniform_filter1d,
)

__all__ = [
    "convolve",
    "convolve1d",
    "correlate",
    "correlate1d",
    "gaussian_filter",
    "gaussian_filter1d",
    "gaussian_laplace",
    "laplace",
    "maximum_filter",
    "maximum_filter1d",
    "minimum_filter",
    "minimum_filter1d",
    "prewitt",
    "sobel",
    "uniform_filter",
    "uniform_filter1d",
]
