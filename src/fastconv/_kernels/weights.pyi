"""Has nothing for Python: see weights.pxd."""
