"""A folder that is there whole, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[str]:
    """A folder to write into, which takes its name at the end; whatever ends it before leaves nothing.

    Raises
    ------
    FileExistsError
        Something of that name is there.
    """
    name = os.path.abspath(os.fsdecode(path))
    if os.path.lexists(name):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(path))
    made = tempfile.mkdtemp(prefix=".", dir=os.path.dirname(name))
    try:
        yield made
        os.chmod(made, 0o755)
        os.rename(made, name)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
