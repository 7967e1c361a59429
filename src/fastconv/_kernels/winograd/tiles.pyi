"""Has nothing for Python: see tiles.pxd."""
