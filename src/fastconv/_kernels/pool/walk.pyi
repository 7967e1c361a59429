"""Has nothing for Python: see walk.pxd."""
