"""Has nothing for Python: see blocks.pxd."""
