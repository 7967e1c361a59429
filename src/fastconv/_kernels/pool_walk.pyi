"""Has nothing for Python: see pool_walk.pxd."""
