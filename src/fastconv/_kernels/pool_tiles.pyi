"""Has nothing for Python: see pool_tiles.pxd."""
