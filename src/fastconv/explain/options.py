"""The options of `fastconv explain` and `fastconv order-sensitivity`."""

from __future__ import annotations

from typing import Any

from fastconv.interop.options import numbers
from fastconv.terminal import Run, add_command
from fastconv.train.options import DATA, NETWORK, SAMPLES, add_groups, count

EXPLAIN = """
Show everything that a net does with one input, as a page to look at in any browser: all maps, the arithmetic
of every cell, who voted for what, the gradient back to the pixels, the error against any weight, and what
becomes of the votes when parts are hidden or the picture changes. The page is one file that fetches nothing.
"""

EXPLAIN_EXAMPLES = """
examples:
  fastconv explain model.fcn cat.png              what a model of fastconv train makes of a file
  fastconv explain model.fcn cat.png -o cat.html
  fastconv explain deck                           the network made by hand, looking at the first X
  fastconv explain deck "O rotated"               or at another of the ten pictures, or at a file
  fastconv explain net.npz my.png                 a network of fastconv xo --save
  fastconv explain --model net.onnx cat.png --classes names.txt --mean 0.5 --std 0.25
                                                  a CNN from elsewhere
  fastconv explain deck --png deck.png            the same as a picture
"""

ORDER = """
Measure whether data are for ConvNets: if they are just as useful after any of the columns have changed
places, they are not. Each round draws one permutation of an axis, applies it to all samples, and trains anew;
what that costs in accuracy is compared with a margin. A fully connected net, to which order is nothing, is
trained beside it.
"""

ORDER_EXAMPLES = """
examples:
  fastconv order-sensitivity digits.npz           the columns of pictures
  fastconv order-sensitivity digits.npz --axis 1  the rows
  fastconv order-sensitivity customers.csv        the columns of a table
  fastconv order-sensitivity digits.npz --permutations 99 --output digits.png
"""

#: Where they go unless told otherwise.
PAGE, PICTURE = "explain.html", "order.png"


EXPLAINED: dict[str, dict[str, dict[str, Any]]] = {
    "files": {
        "--model": {"metavar": "FILE", "help": "the model, if it is not the first argument"},
        "-o --output": {"metavar": "FILE", "help": f"where to write the page (default {PAGE})"},
        "--png": {"metavar": "FILE", "help": "draw a picture instead, or with --output beside the page"},
    },
    "what is known": {
        "--label": {"metavar": "CLASS", "help": "the right answer"},
        "--classes": {
            "metavar": "FILE",
            "help": "names of the classes, one a line",
        },
        "--mean": {
            "type": numbers,
            "metavar": "N[,N,N]",
            "help": "of ONNX: subtracted from pixels (0 to 1)",
        },
        "--std": {"type": numbers, "metavar": "N[,N,N]", "help": "of ONNX: what divides them then"},
    },
}

MEASURED: dict[str, dict[str, dict[str, Any]]] = {
    "what is measured": {
        "--axis": {
            "type": int,
            "metavar": "N",
            "help": "which axis of a sample is permuted: 0 is channels, -1 the last (the default)",
        },
        "--permutations": {"type": count, "metavar": "N", "help": "how many are tried (default 20)"},
        "--margin": {
            "type": float,
            "metavar": "PART",
            "help": "a loss that is nothing (default 0.01)",
        },
        "--folds": {
            "type": count,
            "metavar": "N",
            "help": "parts, each held out once (default 3)",
        },
        "--epochs": {"type": count, "metavar": "N", "help": "of each training (default 10)"},
        "--samples": {"type": count, "metavar": "N", "help": "use so many samples at most (default 2000)"},
        "--seed": {"type": int, "metavar": "N", "help": "seed of everything random (default 0)"},
        "--output": {"metavar": "FILE", "help": f"where the picture goes (default {PICTURE})"},
        "--no-picture": {"action": "store_true", "help": "draw none"},
        "--json": {"action": "store_true", "help": "print all numbers as JSON"},
    },
}


def add_parsers(subparsers: Any, explain: Run, order: Run) -> None:
    """Add the commands to those of `fastconv`; only options that are given become attributes."""
    text = "show everything that a net does with one input"
    parser = add_command(subparsers, "explain", text, EXPLAIN, EXPLAIN_EXAMPLES, explain)
    parser.add_argument(
        "files", nargs="*", metavar="MODEL FILE", help="a model (.fcn, .onnx, .npz of xo, or deck), an input"
    )
    add_groups(parser, EXPLAINED)
    text = "measure whether the order of rows or columns matters"
    parser = add_command(subparsers, "order-sensitivity", text, ORDER, ORDER_EXAMPLES, order)
    parser.add_argument("data", metavar="DATA", help="a folder of folders, or a file, as train takes it")
    add_groups(parser, MEASURED)
    kept = {name: told for name, told in DATA.items() if name not in ("--held-out", "--test")}
    add_groups(parser, {"data": kept, "samples": SAMPLES, "net": {"--net": NETWORK["--net"]}})
