"""Has nothing for Python: see fft_walk.pxd."""
