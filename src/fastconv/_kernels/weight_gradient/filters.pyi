"""Has nothing for Python: see filters.pxd."""
