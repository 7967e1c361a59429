"""What every command shares: refusing in one line, asking for an extra, files written, pictures drawn."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

#: Endings of pictures that commands draw.
PICTURES = (".png", ".svg", ".pdf")


#: What carries out a command.
Run = Callable[[argparse.Namespace], None]


class CommandError(Exception):
    """A command cannot do what it was asked for; the message is one line for the user."""


class MissingExtraError(CommandError):
    """A package that only commands need is not installed."""


def need(module: str, package: str, extra: str = "cli") -> ModuleType:
    """Import a module that belongs to an extra.

    Parameters
    ----------
    module : str
        What to import.
    package : str
        The name it is installed under.
    extra : str, default "cli"

    Raises
    ------
    MissingExtraError
        It is not there; the message tells how to get it.

    Examples
    --------
    >>> from fastconv.terminal import need
    >>> need("json", "python").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtraError(
            f"needs {package}, which is not installed: pip install 'fastconv[{extra}]'"
        ) from None


def add_command(
    subparsers: Any,
    name: str,
    text: str,
    description: str,
    examples: str,
    run: Run,
    argument_default: Any = argparse.SUPPRESS,
) -> argparse.ArgumentParser:
    """Add a command to those of `fastconv`; of its options, those that are given become attributes.

    Parameters
    ----------
    subparsers : object
        From `ArgumentParser.add_subparsers`.
    name, text, description, examples : str
        What the command is called; what the list of commands, its `--help`, and the end of that say.
    run : function of argparse.Namespace
    argument_default : object, optional
        What options are that are not given.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=textwrap.fill(description.strip(), 100),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argument_default,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


class SettingError(ValueError):
    """A setting has a value that cannot work; only whoever made the request can put it right.

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
    >>> from fastconv.terminal import SettingError
    >>> SettingError("epochs", 0, "must be at least 1")
    SettingError('epochs=0: must be at least 1')
    """

    def __init__(self, name: str, value: Any, rule: str) -> None:
        super().__init__(f"{name}={value!r}: {rule}")
        self.name, self.value, self.rule = name, value, rule

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.value, self.rule)


# ---- what was typed ------------------------------------------------------------------------------------


def taken(given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Of the options given, those of these names.

    Examples
    --------
    >>> from fastconv.terminal import taken
    >>> taken({"seed": 3, "json": True}, ("seed", "epochs"))
    {'seed': 3}
    """
    return {name: given[name] for name in names if name in given}


def taken_for(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options given, those that are fields of a dataclass."""
    return taken(given, (field.name for field in fields(kind)))


def option_of(name: str) -> str:
    """A setting's name on the command line.

    Examples
    --------
    >>> from fastconv.terminal import option_of
    >>> option_of("weight_decay")
    '--weight-decay'
    """
    return "--" + name.replace("_", "-")


def shown(value: Any) -> str:
    """A setting's value as it is typed.

    Examples
    --------
    >>> from fastconv.terminal import shown
    >>> shown((8, 16)), shown(0.001)
    ('8,16', '0.001')
    """
    if isinstance(value, (tuple, list)):
        return ",".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# ---- what is printed -----------------------------------------------------------------------------------


def open_console() -> Console:
    """A console on standard output: colours on a terminal, elsewhere text without control characters."""
    made: Console = need("rich.console", "rich").Console(highlight=False)
    return made


def can_print(text: str) -> bool:
    """Whether the encoding of standard output has these characters; old ones lack the blocks."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


def printable(text: str) -> str:
    """Text in one line: line ends, control characters and broken bytes of file names become escapes.

    Examples
    --------
    >>> from fastconv.terminal import printable
    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    return "".join(
        c if c.isprintable() and can_print(c) else c.encode("unicode_escape").decode() for c in text
    )


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A line on standard error that counts, gone at the end; None where that is no terminal.

    Parameters
    ----------
    what : str
        What is counted, behind the numbers: "3 of 21 orders".
    """
    if not sys.stderr.isatty():
        yield None
        return

    def tell(done: int, count: int) -> None:
        sys.stderr.write(f"\r{done:,} of {count:,} {what}")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


# ---- files ---------------------------------------------------------------------------------------------


def write_fault(path: str, inputs: Iterable[str] = (), what: str = "picture to be judged") -> str | None:
    """Why no file can be written there, if that can be told without trying.

    Parameters
    ----------
    path : str
    inputs : iterable of str
        Files that must not be overwritten.
    what : str
        What one of these is called.

    Returns
    -------
    str or None

    Examples
    --------
    >>> from fastconv.terminal import write_fault
    >>> write_fault("/"), write_fault("/no/such/folder/file"), write_fault("new.png")
    ('is a directory', 'no such directory: /no/such/folder', None)
    """
    try:
        target = os.path.realpath(path)
    except OSError:
        return "the current directory does not exist any more"
    folder = os.path.dirname(target)
    if not os.path.basename(path) or os.path.isdir(path):
        return "is a directory"
    if os.path.exists(path) and not os.path.isfile(path):
        return "not a regular file"
    if not os.path.isdir(folder):
        return f"no such directory: {folder}"
    if not os.access(folder, os.W_OK):
        return f"no permission to write in {folder}"
    if target in map(os.path.realpath, inputs):
        return f"would overwrite the {what}"
    return None


def picture_fault(
    path: str,
    inputs: Iterable[str] = (),
    what: str = "picture to be judged",
    endings: tuple[str, ...] = PICTURES,
) -> str | None:
    """Why no picture can be drawn into that file, if that can be told without trying.

    Parameters
    ----------
    path, inputs, what
        As `write_fault`.
    endings : tuple of str
        Of formats that can be drawn.

    Examples
    --------
    >>> from fastconv.terminal import picture_fault
    >>> picture_fault("new.PNG"), picture_fault("new.txt")
    (None, 'must end in .png, .svg or .pdf')
    """
    fault = write_fault(path, inputs, what)
    return fault or _ending_fault(path, endings)


def _ending_fault(path: str, endings: tuple[str, ...] = PICTURES) -> str | None:
    if os.path.splitext(path)[1].lower() in endings:
        return None
    return f"must end in {' or '.join(filter(None, (', '.join(endings[:-1]), endings[-1])))}"


def check_files(
    wanted: Mapping[str, str | None],
    inputs: Iterable[str],
    what: str,
    endings: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    note: Callable[[str], str] = lambda option: "",
) -> None:
    """Refuse what cannot be written before anything is computed.

    Parameters
    ----------
    wanted : dict of str
        The files by the option that asks for them; None is none.
    inputs, what
        As `write_fault`.
    endings : dict of tuple of str, optional
        Of options that pictures are drawn for: the endings that these may have.
    note : function of str, optional
        What is to be said about an option whose file is refused.

    Raises
    ------
    CommandError
        Naming option and file; also where two options name one file.

    Examples
    --------
    >>> from fastconv.terminal import check_files
    >>> check_files({"--output": "a.fcn", "--report": "./a.fcn"}, [], "data")
    Traceback (most recent call last):
      ...
    fastconv.terminal.CommandError: --report ./a.fcn: is the file that --output writes
    """
    inputs, taken_by = list(inputs), dict[str, str]()
    for option, path in wanted.items():
        if path is None:
            continue
        if option in endings:
            fault = picture_fault(path, inputs, what, endings[option])
        else:
            fault = write_fault(path, inputs, what)
        if fault is None:
            other = taken_by.setdefault(os.path.realpath(path), option)
            fault = None if other == option else f"is the file that {other} writes"
        if fault is not None:
            raise CommandError(f"{option} {path}{note(option)}: {fault}")


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure of Matplotlib; it appears whole or not at all. The ending says the format.

    Raises
    ------
    ValueError
        The file's name has another ending than those of `PICTURES`.
    OSError
        The file cannot be written; one that was there before is still whole.
    """
    from fastconv.nn.archive import write_whole  # `fastconv --help` draws nothing

    name = os.fsdecode(path)
    fault = _ending_fault(name)
    if fault is not None:
        raise ValueError(f"path={name!r}: {fault}")
    made = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name may have characters that the font lacks
        figure.savefig(made, format=os.path.splitext(name)[1][1:].lower(), facecolor="white")
    write_whole(os.path.realpath(name), lambda file: file.write(made.getvalue()))


@contextlib.contextmanager
def writing(option: str, path: str) -> Iterator[None]:
    """What keeps a file from being written, such as a full disk, becomes one line that names the option."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{option} {path}: {error.strerror or error}") from None


# ---- pictures of characters ----------------------------------------------------------------------------


def draw(picture: np.ndarray) -> list[str]:
    """A picture as lines of text.

    Two rows of pixels per line, in half blocks, which makes pixels about square. Where standard output
    cannot show those, one row per line in "#" and ".".

    Parameters
    ----------
    picture : ndarray, shape (H, W)
        What is above 0 is ink.

    Returns
    -------
    list of str
        (H + 1) // 2 or H lines, each W characters long.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv.terminal import draw
    >>> len(draw(np.array([[1, -1, 1]]))[0])
    3
    """
    ink = np.asarray(picture) > 0
    if not can_print("▀▄█"):
        return ["".join("#" if pixel else "." for pixel in row) for row in ink]
    if len(ink) % 2:
        ink = np.pad(ink, ((0, 1), (0, 0)))
    pairs = zip(ink[0::2], ink[1::2])
    return ["".join(" ▀▄█"[up + 2 * low] for up, low in zip(*pair)) for pair in pairs]
