"""Has nothing for Python: see sliding_stage.pxd."""
