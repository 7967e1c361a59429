"""What fastconv.h finds here: see there."""

functions: object
