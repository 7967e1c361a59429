"""Has nothing for Python: see chunks.pxd."""
