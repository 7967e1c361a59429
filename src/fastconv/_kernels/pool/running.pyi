"""Has nothing for Python: see running.pxd."""
