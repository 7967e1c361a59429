"""Has nothing for Python: see winograd_tiles.pxd."""
