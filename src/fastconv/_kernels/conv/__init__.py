"""Convolutions and their input gradients by products, with or without panels; the door of plain calls."""
