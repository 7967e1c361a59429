"""What can be wrong with a request that only its user can put right."""

from __future__ import annotations

from fastconv.terminal import SettingError

__all__ = ["ModelError", "SettingError", "SpecError"]


class SpecError(ValueError):
    """A net's spec cannot be read, or does not fit what the net gets; one line that names item and rule."""


class ModelError(ValueError):
    """A file holds no model that can be used; one line that begins with its name."""
