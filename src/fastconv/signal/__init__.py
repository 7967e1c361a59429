"""SciPy's convolutions of two arrays, by name: `scipy.signal` on the kernels of this package.

Signatures, defaults and results are SciPy's; each docstring says what differs. Everywhere: masked arrays are
refused, for their mask would be ignored; NaN and infinity reach what they take part in, by every method.
"""

from fastconv.signal.any_rank import convolve, correlate, fftconvolve, oaconvolve
from fastconv.signal.planes import convolve2d, correlate2d

__all__ = ["convolve", "convolve2d", "correlate", "correlate2d", "fftconvolve", "oaconvolve"]
