"""What can be wrong with a request that only its user can put right."""

from __future__ import annotations

from typing import Any


class KnobError(ValueError):
    """A knob has a value that cannot work.

    Attributes
    ----------
    knob : str
        Its name; on the command line with dashes, as in `--feature-size`.
    value : object
        What it was set to.
    rule : str
        What is wrong with it.

    Examples
    --------
    >>> from fastconv.xo import KnobError
    >>> KnobError("pool", 0, "must be at least 1")
    KnobError('pool=0: must be at least 1')
    """

    def __init__(self, knob: str, value: Any, rule: str) -> None:
        super().__init__(f"{knob}={value!r}: {rule}")
        self.knob, self.value, self.rule = knob, value, rule

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.knob, self.value, self.rule)


class PictureError(ValueError):
    """A file is no picture, or shows nothing; the message is one line that begins with its name."""
