"""Convolution as its definition, in plain loops."""
