"""Has nothing for Python: see panels.pxd."""
