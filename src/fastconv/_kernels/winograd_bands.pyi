"""Has nothing for Python: see winograd_bands.pxd."""
