"""Has nothing for Python: see pool_planes.pxd."""
