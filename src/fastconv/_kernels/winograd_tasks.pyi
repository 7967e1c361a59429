"""Has nothing for Python: see winograd_tasks.pxd."""
