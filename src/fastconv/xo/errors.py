"""What can be wrong with a request that only its user can put right."""

from __future__ import annotations

from fastconv.terminal import SettingError


class KnobError(SettingError):
    """A knob has a value that cannot work.

    Attributes
    ----------
    knob : str
        Its name; `value` and `rule` as of a `SettingError`.

    Examples
    --------
    >>> from fastconv.xo import KnobError
    >>> KnobError("pool", 0, "must be at least 1")
    KnobError('pool=0: must be at least 1')
    """

    @property
    def knob(self) -> str:
        return self.name


class PictureError(ValueError):
    """A file is no picture, or shows nothing; the message is one line that begins with its name."""
