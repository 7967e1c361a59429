"""Has nothing for Python: see depthwise_blocks.pxd."""
