"""Has nothing for Python: see planes.pxd."""
