"""The options of the commands that read ONNX models: `fastconv run`, `show` and `bench`."""

from __future__ import annotations

import argparse
from typing import Any

from fastconv.terminal import Run, add_command

RUN = """
Run an ONNX model on files. An input is an array (.npy), arrays by name (.npz), a picture (.png, .jpg, ...)
that is brought to the size and the memory order that the model declares, or sound (.wav). Several go to the
model's inputs in order, or by name: NAME=FILE.
"""

RUN_EXAMPLES = """
examples:
  fastconv run net.onnx input.npy                 what the outputs are, in short
  fastconv run net.onnx left=a.npy right=b.npy    inputs by name
  fastconv run net.onnx cat.png --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
                                                  a picture, normalised as ImageNet's are
  fastconv run net.onnx input.npy -o out.npz      keep the outputs
  fastconv run net.onnx input.npy --json | jq .   all numbers, for other programs
"""

SHOW = """
Show what of an ONNX model runs, node by node: operators with what is fused into them, shapes, FLOPs, memory
and algorithms; what the file declares; and, if asked for, a drawing of it. Of a model of `fastconv train`:
its classes, its layers, and how it was trained.
"""

SHOW_EXAMPLES = """
examples:
  fastconv show model.fcn                         one that fastconv train has written
  fastconv show net.onnx                          a batch of one
  fastconv show net.onnx --shape 8x3x224x224      another shape of its only input
  fastconv show net.onnx --shape x=1x3x64x64 --shape mask=1x64
  fastconv show net.onnx --picture net.svg        a drawing, for a browser
"""

BENCH = """
Time an ONNX model on random inputs, beside onnxruntime if that is installed: in turns, on as many threads,
with medians and their spread, and how far the results are apart.
"""

BENCH_EXAMPLES = """
examples:
  fastconv bench net.onnx                         20 rounds on all threads
  fastconv bench net.onnx --threads 1 --repeats 50
  fastconv bench net.onnx --shape 8x3x224x224
"""


def add_parsers(subparsers: Any, run: Run, show: Run, bench: Run) -> None:
    """Add the commands to those of `fastconv`."""
    parser = _parser(subparsers, "run", "run an ONNX model on files", RUN, RUN_EXAMPLES, run)
    parser.add_argument("inputs", nargs="*", metavar="[NAME=]FILE", help="an input: .npy, .npz, .png, .wav")
    parser.add_argument("-o", "--output", metavar="FILE", help="write the outputs to FILE, an .npz")
    parser.add_argument("--json", action="store_true", help="print the outputs as JSON")
    for option, text in (("--mean", "subtracted from"), ("--std", "by which are divided")):
        parser.add_argument(
            option, type=numbers, metavar="N[,N,N]", help=f"{text} the pixels, which lie in 0 to 1"
        )
    parser = _parser(subparsers, "show", "show a model: its layers, shapes, cost", SHOW, SHOW_EXAMPLES, show)
    _add_shape(parser)
    parser.add_argument("--picture", metavar="FILE", help="draw the model into FILE, an .svg")
    parser = _parser(subparsers, "bench", "time an ONNX model", BENCH, BENCH_EXAMPLES, bench)
    _add_shape(parser)
    parser.add_argument("--repeats", type=_positive, default=20, metavar="N", help="rounds (default 20)")
    parser.add_argument("--threads", type=_positive, metavar="N", help="threads (default: as in config)")


def _parser(
    subparsers: Any, name: str, text: str, description: str, examples: str, run: Run
) -> argparse.ArgumentParser:
    parser = add_command(subparsers, name, text, description, examples, run, argument_default=None)
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    return parser


def _add_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shape",
        action="append",
        default=[],
        type=_shape,
        metavar="[NAME=]NxN...",
        help="the shape of an input, where the model leaves it open; without a name, of the only one",
    )


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """The name of an input, "" if none is given, and its shape."""
    name, equals, sizes = text.rpartition("=")
    try:
        shape = tuple(int(size) for size in sizes.split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no shape such as 1x3x224x224") from None
    if min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: every size must be at least 1")
    return (name if equals else ""), shape


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def numbers(text: str) -> tuple[float, ...]:
    """One number, or several with commas between."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or several with commas between") from None
