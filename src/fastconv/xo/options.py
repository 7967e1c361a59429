"""The options of `fastconv xo`: every knob of the network and of its lesson, and the files."""

from __future__ import annotations

import argparse
from typing import Any

from fastconv.terminal import Run, add_command

NAME = "xo"

DESCRIPTION = """
Show a network made by hand judge ten pictures of X and O, teach one from random weights, and show what it
has learned: its votes on the ten, its accuracy on pictures it has not seen, and a figure of everything in
between. Given picture files, judge those instead.
"""

EXAMPLES = """
examples:
  fastconv xo                              the whole demonstration, and xo.png
  fastconv xo my.png yours.jpg             learn, then judge these pictures
  fastconv xo --save net.npz               keep what was learned
  fastconv xo --model net.npz my.png       judge without learning again
  fastconv xo --features 3 --layers conv,relu,pool,pool --hidden none
                                           the network that the example begins with
  fastconv xo --size 16 --noise 0.05       larger pictures with more noise
  fastconv xo --learn nudge                learn without backprop, by trying
  fastconv xo --compare                    both from the same start, side by side, and compare.png
"""

DEFAULT_FIGURE, COMPARISON = "xo.png", "compare.png"


def add_parser(subparsers: Any, run: Run) -> None:
    """Add the command to those of `fastconv`; only options that are given become attributes."""
    text = "tell an X from an O: the example network, from pixels to votes"
    parser = add_command(subparsers, NAME, text, DESCRIPTION, EXAMPLES, run)
    parser.add_argument(
        "pictures", nargs="*", default=[], metavar="PICTURE", help="files to judge, not the ten"
    )
    for title, options in OPTIONS.items():
        group = parser.add_argument_group(title)
        for flag, keywords in options.items():
            group.add_argument(flag, **keywords)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or several with commas between") from None


def _numbers_or_none(text: str) -> tuple[int, ...]:
    return () if text.strip() in ("none", "0") else _numbers(text)


def _range(text: str) -> tuple[float, ...]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers with a comma between") from None
    return low, high


def _whole(metavar: str, text: str) -> dict[str, Any]:
    return {"type": int, "metavar": metavar, "help": text}


def _real(metavar: str, text: str) -> dict[str, Any]:
    return {"type": float, "metavar": metavar, "help": text}


def _pair(text: str) -> dict[str, Any]:
    return {"type": _range, "metavar": "LOW,HIGH", "help": text}


def _file(text: str) -> dict[str, Any]:
    return {"metavar": "FILE", "help": text}


#: Per group of the help the options, and what argparse is told of each.
OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "network": {
        "--size": _whole("N", "pictures of N x N pixels (default 9)"),
        "--layers": {
            "type": _words,
            "metavar": "L,L,...",
            "help": "conv, relu and pool in order (default conv,relu,conv,relu,pool,conv,relu,pool, or fewer "
            "where the picture is too small)",
        },
        "--features": {
            "type": _numbers,
            "metavar": "N[,N...]",
            "help": "features of each convolution, the last number for all further ones (default 16)",
        },
        "--feature-size": _whole("N", "features of N x N pixels (default 3)"),
        "--pool": _whole("N", "max-pool windows of N x N (default 2)"),
        "--stride": _whole("N", "step between pool windows (default 2)"),
        "--hidden": {
            "type": _numbers_or_none,
            "metavar": "N[,N...]",
            "help": "neurons of each hidden layer, or none (default 32)",
        },
    },
    "learning": {
        "--learn": {
            "choices": ("backprop", "nudge"),
            "help": "how (default backprop); nudge adjusts each weight up and down a bit to see how the error"
            " changes, and learns a network of conv,relu,pool,pool with 6 features unless told otherwise",
        },
        "--compare": {
            "action": "store_true",
            "help": "teach the network that nudge learns in both ways from the same start, and draw error per"
            f" step, cost, and agreement of signs (into {COMPARISON})",
        },
        "--train": _whole("N", "pictures to learn from (default 5000; nudge 1000)"),
        "--unseen": _whole("N", "other pictures to judge afterwards (default 2000)"),
        "--epochs": _whole("N", "times each picture is learned from (default 10)"),
        "--batch": _whole("N", "pictures per step (default 32; nudge 50)"),
        "--lr": _real("RATE", "learning rate (default 0.003; nudge 0.01)"),
        "--seed": _whole("N", "seed of everything random (default 0)"),
    },
    "generated pictures": {
        "--translation": _real("PART", "largest part of the way from middle to border (default 1)"),
        "--scale": _pair("smallest and largest letter, as parts of the picture (default 0.5,1)"),
        "--rotation": _real("DEGREES", "largest angle either way, up to 30 (default 25)"),
        "--weight": _pair("thinnest and thickest line, as parts of half a letter (default 0.15,0.6)"),
        "--noise": _real("P", "probability that a pixel is flipped (default 0.01)"),
    },
    "files": {
        "--output": _file(f"where to write the figure (default {DEFAULT_FIGURE}; with PICTUREs, nowhere)"),
        "--no-picture": {"action": "store_true", "help": "write no figure"},
        "--save": _file("write the network that was learned to FILE"),
        "--model": _file("use the network in FILE, from --save, instead of learning"),
    },
}
