"""The `fastconv` command."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from fastconv import __version__, show_config
from fastconv.explain import options as explain_options
from fastconv.interop import options as model_options
from fastconv.terminal import CommandError, printable
from fastconv.train import options as train_options
from fastconv.xo import options

#: Exit codes: a request that cannot be met; output that nobody takes; Ctrl-C.
REFUSED, NO_OUTPUT, INTERRUPTED = 2, 1, 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is for `--help`."""

    def error(self, message: str) -> NoReturn:
        self.exit(REFUSED, f"{self.prog}: error: {printable(message)}\n")


def later(module: str, name: str) -> Callable[[argparse.Namespace], None]:
    """A command whose module is imported when it is called: `fastconv --help` stays quick."""

    def run(arguments: argparse.Namespace) -> None:
        getattr(importlib.import_module(f"fastconv.{module}"), name)(arguments)

    return run


def show(arguments: argparse.Namespace) -> None:
    """Show a model: one of fastconv's own, by how the file begins, else one of ONNX."""
    from fastconv.train.model_file import is_model

    own = arguments.model.lower().endswith(".fcn") or is_model(arguments.model)
    later("train.command" if own else "interop.command", "show")(arguments)


def build_parser() -> argparse.ArgumentParser:
    """The command line with all commands."""
    parser = _Parser(
        prog="fastconv",
        description="A fast CPU convolution engine for NumPy arrays, and the ConvNets built on it.",
        epilog="'fastconv COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"fastconv {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    options.add_parser(commands, later("xo.command", "run"))
    train_options.add_parsers(
        commands,
        train=later("train.command", "train"),
        predict=later("train.judging", "predict"),
        evaluate=later("train.judging", "evaluate"),
        search=later("train.searching", "search"),
    )
    model_options.add_parsers(
        commands, later("interop.command", "run"), show, later("interop.command", "bench")
    )
    explain_options.add_parsers(
        commands, later("explain.command", "explain"), later("explain.command", "order")
    )
    config = commands.add_parser(
        "config",
        help="show versions, instruction sets and threads",
        description="Show versions, the instruction sets in use and available, and the number of threads.",
    )
    config.set_defaults(run=lambda arguments: show_config())
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without it, those of this process.

    Examples
    --------
    >>> from fastconv.cli import main
    >>> main(["config"]) # doctest: +ELLIPSIS
    fastconv: ...
    """
    parser = build_parser()
    parsed = parser.parse_args(arguments)
    if not hasattr(parsed, "run"):
        parser.print_help()
        return 0
    try:
        parsed.run(parsed)
        sys.stdout.flush()
    except CommandError as error:
        sys.stderr.write(f"fastconv {parsed.command}: error: {printable(str(error))}\n")
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # whoever read it has seen enough
        return NO_OUTPUT
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EIO):
            raise
        sys.stderr.write(f"fastconv {parsed.command}: error: cannot write the output: {error.strerror}\n")
        _drop_output()
        return NO_OUTPUT
    return 0


def _drop_output() -> None:
    """Let what nobody takes go nowhere: Python would complain once more when it closes it."""
    with contextlib.suppress(OSError, ValueError):  # of a stream of somebody's own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
