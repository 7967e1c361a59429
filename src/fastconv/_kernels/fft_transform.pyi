"""Has nothing for Python: see fft_transform.pxd."""
