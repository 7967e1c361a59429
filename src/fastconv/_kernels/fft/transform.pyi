"""Has nothing for Python: see transform.pxd."""
