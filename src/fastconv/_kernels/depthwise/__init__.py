"""Convolutions of one input channel per group, or few."""
