"""Has nothing for typed Python: see fft_non_finite.pyx."""
