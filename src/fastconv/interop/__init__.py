"""Doors to other software: each is imported by its own name, and needs that software installed."""
