"""What can be wrong with a request that only its user can put right."""

from __future__ import annotations

from typing import Any


class SpecError(ValueError):
    """A net's spec cannot be read, or does not fit what the net gets; one line that names item and rule."""


class ModelError(ValueError):
    """A file holds no model that can be used; one line that begins with its name."""


class SettingError(ValueError):
    """A setting has a value that cannot work.

    Attributes
    ----------
    name : str
        Of the setting; on the command line with dashes, as in `--weight-decay`.
    value : object
        What it was set to.
    rule : str
        What is wrong with it.

    Examples
    --------
    >>> from fastconv.train import SettingError
    >>> SettingError("epochs", 0, "must be at least 1")
    SettingError('epochs=0: must be at least 1')
    """

    def __init__(self, name: str, value: Any, rule: str) -> None:
        super().__init__(f"{name}={value!r}: {rule}")
        self.name, self.value, self.rule = name, value, rule

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.value, self.rule)
