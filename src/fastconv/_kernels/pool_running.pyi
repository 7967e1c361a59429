"""Has nothing for Python: see pool_running.pxd."""
