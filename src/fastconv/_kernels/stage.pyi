"""Has nothing for Python: see stage.pxd."""
