"""What can be wrong with data that only its owner can put right."""

from __future__ import annotations


class DataError(ValueError):
    """A file or a data set breaks a rule; the message is one line that begins with its name.

    Examples
    --------
    >>> from fastconv.data import DataError, open_dataset
    >>> try:
    ...     open_dataset("nowhere")
    ... except DataError as error:
    ...     print(error)
    nowhere: No such file or directory
    """
