"""Has nothing for Python: see bands.pxd."""
