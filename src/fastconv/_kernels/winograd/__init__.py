"""Winograd's minimal filtering, all three passes."""
