"""Has nothing for Python: see strips.pxd."""
