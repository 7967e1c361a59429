"""Has nothing for Python: see tasks.pxd."""
