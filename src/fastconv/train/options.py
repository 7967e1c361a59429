"""The options of `fastconv train`, `predict` and `evaluate`."""

from __future__ import annotations

import argparse
import re
from typing import Any

from fastconv.terminal import Run, add_command

TRAIN = """
Train a net on data of yours: a folder with a folder of pictures, sounds or texts per class; arrays (.npz);
the files of MNIST (IDX); a table (.csv). A part of each class is held out and measured with; the model goes
to one file, which has all that is needed to use it.
"""

TRAIN_EXAMPLES = """
examples:
  fastconv train photos -o model.fcn              a folder of pictures per class
  fastconv train digits.npz -o digits.fcn --epochs 30 --rotate 10 --translate 0.1
  fastconv train digits.npz -o digits.fcn --net "conv 8 3, relu, pool 2, fc 32, relu, fc"
  fastconv train digits.npz -o digits.fcn --features 8,16 --feature-size 3 --pool 2 --neurons 32
  fastconv train train.npz -o model.fcn --test test.npz
                                                  measured on data that nothing was chosen by
  fastconv train photos -o model.fcn --resume     go on after Ctrl-C, or after a power cut

nets: items with commas between, or auto, deck, lenet, cifar10_quick, resnet-N (18, 34, or 6n + 2: 8, 14, 20)
  conv N SIZE [stride S] [pad P|same] [dilation D] [groups G]   N features of SIZE (3, 3x5, fullx3)
  pool W [stride S] [pad P] [floor], avg W ..., pool all        maxima or means of windows, or of whole maps
  fc N, fc                                                      N neurons; votes for the classes
  embed N                                                       of text, in front: N learned numbers a word
  relu, leaky [S], elu, selu, gelu, silu, tanh, sigmoid, softplus, bn, lrn SIZE, drop P, res N [stride S]
"""

PREDICT = """
Say what files show: a vote for each class, and the class that wins. The model file knows how its inputs are
prepared.
"""

PREDICT_EXAMPLES = """
examples:
  fastconv predict model.fcn cat.png dog.png      votes and verdicts
  fastconv predict model.fcn --json photos/*.png | jq .
  find photos -name '*.png' | fastconv predict model.fcn --csv - > votes.csv
"""

EVALUATE = """
Measure a model with data: accuracy with its 95% interval, precision and recall of each class, which classes
are taken for which, and whether 90% sure is 90% right. Pictures of that and of the worst mistakes are
written.
"""

EVALUATE_EXAMPLES = """
examples:
  fastconv evaluate model.fcn test.npz            a report, evaluation.png and mistakes.png
  fastconv evaluate model.fcn train.npz --held-out   of the data trained with, what was held out
  fastconv evaluate model.fcn photos --json | jq .accuracy
  fastconv evaluate model.fcn photos --no-pictures
"""

SEARCH = """
Turn the knobs: many nets with numbers drawn at random are trained a little, the better ones longer. The best
is measured with samples that no choice was made with, and written.
"""

SEARCH_EXAMPLES = """
examples:
  fastconv search digits.npz -o best.fcn          18 nets, two of which are trained to the end
  fastconv search photos --trials 54 --epochs 27 --jobs 4
  fastconv search digits.npz --features 16,32 --depth 2,3 --lr 0.001,0.01
  fastconv search digits.npz -o best.fcn --resume go on after Ctrl-C, or after a power cut
"""

#: Where models and pictures go unless told otherwise.
MODEL, PICTURE, GALLERY, PARALLEL = "model.fcn", "evaluation.png", "mistakes.png", "search.png"


def add_parsers(subparsers: Any, train: Run, predict: Run, evaluate: Run, search: Run) -> None:
    """Add the commands to those of `fastconv`; of train, only options that are given become attributes."""
    parser = add_command(subparsers, "train", "train a net on your own data", TRAIN, TRAIN_EXAMPLES, train)
    parser.add_argument("data", metavar="DATA", help="a folder of folders, or a file")
    add_groups(parser, TRAIN_OPTIONS)

    parser = add_command(subparsers, "search", "find a net for your data", SEARCH, SEARCH_EXAMPLES, search)
    parser.add_argument("data", metavar="DATA", help="a folder of folders, or a file, as train takes it")
    add_groups(parser, SEARCH_OPTIONS)

    parser = add_command(subparsers, "predict", "say what files show", PREDICT, PREDICT_EXAMPLES, predict)
    parser.add_argument("model", metavar="MODEL", help="an .fcn file")
    parser.add_argument("files", nargs="+", metavar="FILE", help="what to judge; - reads names, one a line")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print all numbers as JSON")
    form.add_argument("--csv", action="store_true", help="print a table: file, class, probability, votes")

    text = "measure a model with data"
    parser = add_command(subparsers, "evaluate", text, EVALUATE, EVALUATE_EXAMPLES, evaluate)
    parser.add_argument("model", metavar="MODEL", help="an .fcn file")
    parser.add_argument("data", metavar="DATA", help="a folder of folders, or a file, as train takes it")
    parser.add_argument(
        "--held-out", action="store_true", help="of the data trained with, only what was held out then"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument(
        "--picture", **_file(f"where confusion and calibration are drawn (default {PICTURE})")
    )
    parser.add_argument("--gallery", **_file(f"where the worst mistakes are drawn (default {GALLERY})"))
    parser.add_argument("--no-pictures", action="store_true", help="draw nothing")


def add_groups(parser: argparse.ArgumentParser, groups: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Add options by group of the help."""
    for title, options in groups.items():
        group = parser.add_argument_group(title)
        for flag, keywords in options.items():
            names = flag.split()
            group.add_argument(*names, **keywords)


# ---- what options take ---------------------------------------------------------------------------------


def counts(text: str) -> tuple[int, ...]:
    """Whole numbers of at least 1 with commas between."""
    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number or several with commas between") from None
    if min(found) < 1 or max(found) > 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}: every number must be from 1 to 1,000,000")
    return found


def counts_or_none(text: str) -> tuple[int, ...]:
    """As `counts`; `none` is none."""
    return () if text.strip() in ("none", "0") else counts(text)


def counts_from_none(text: str) -> tuple[int, ...]:
    """As `counts`, and 0 may be among them."""
    found = tuple(0 if part.strip() == "0" else counts(part)[0] for part in text.split(","))
    return found


def pair(text: str) -> tuple[float, float]:
    """Two numbers with a comma between."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers with a comma between") from None
    return low, high


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isascii() or not text.isdecimal() or len(text) > 7 or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 9,999,999")
    return int(text)


def size(text: str) -> int | tuple[int, ...]:
    """`28`, or one number per axis: `28x32` is height and width."""
    parts = text.split("x")
    if len(parts) > 3 or not all(re.fullmatch("[1-9][0-9]{0,5}", part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 28, or 28x32 (height x width)")
    return int(text) if len(parts) == 1 else tuple(map(int, parts))


def _whole(metavar: str, text: str) -> dict[str, Any]:
    return {"type": int, "metavar": metavar, "help": text}


def _real(metavar: str, text: str) -> dict[str, Any]:
    return {"type": float, "metavar": metavar, "help": text}


def _file(text: str) -> dict[str, Any]:
    return {"metavar": "FILE", "help": text}


def _flag(text: str) -> dict[str, Any]:
    return {"action": "store_true", "help": text}


def _choice(text: str, default: str) -> dict[str, Any]:
    return {"type": counts, "metavar": "N,N,...", "help": f"{text} (default {default})"}


def _one_of(names: tuple[str, ...], text: str) -> dict[str, Any]:
    return {"choices": names, "help": text}


NETWORK: dict[str, dict[str, Any]] = {
    "--net": {"metavar": "SPEC", "help": "the net in words, or a name; see below (default auto)"},
    "--features": {
        "type": counts,
        "metavar": "N[,N...]",
        "help": "features of each convolution, the last number for all further ones (default 16)",
    },
    "--feature-size": {"type": count, "metavar": "N", "help": "size of a feature (default 3)"},
    "--pool": {"type": count, "metavar": "N", "help": "size of a pool window (default 2)"},
    "--stride": {"type": count, "metavar": "N", "help": "step between pool windows (default: their size)"},
    "--neurons": {
        "type": counts_or_none,
        "metavar": "N[,N...]",
        "help": "neurons of each hidden layer, or none (default 32)",
    },
    "--depth": {"type": count, "metavar": "N", "help": "how many convolutions (default: up to 3)"},
}

LEARNING: dict[str, dict[str, Any]] = {
    "--epochs": _whole("N", "times that every sample is learned from (default 20)"),
    "--batch": _whole("N", "samples per step (default 64)"),
    "--optimizer": _one_of(
        ("adam", "adamw", "sgd", "rmsprop", "adagrad", "nudge"),
        "how the net learns (default adam); nudge does without gradients",
    ),
    "--lr": _real("RATE", "learning rate at the beginning (default: as suits the optimizer)"),
    "--momentum": _real("PART", "of sgd and nudge (default 0.9)"),
    "--weight-decay": _real("RATE", "how strongly weights are drawn to 0 (default 0)"),
    "--schedule": _one_of(
        ("cosine", "constant", "step", "exponential", "plateau"), "how the rate falls (default cosine)"
    ),
    "--warmup": _whole("N", "epochs over which the rate rises first (default 0)"),
    "--loss": _one_of(
        ("cross-entropy", "error", "hinge"),
        "what is made small (default cross-entropy); error is |right answer - actual answer|",
    ),
    "--label-smoothing": _real("PART", "of cross-entropy: what the wrong classes get (default 0)"),
    "--balance": _flag("let each class count the same, however many samples it has"),
    "--max-grad-norm": _real("NORM", "longer gradients are shortened to this"),
    "--patience": _whole("N", "stop when the held-out loss has not fallen for N epochs"),
    "--seed": _whole("N", "seed of everything random (default 0)"),
}

VARIED: dict[str, dict[str, Any]] = {
    "--translate": _real("PART", "move by up to this part of the size"),
    "--scale": _real("PART", "make larger or smaller by up to this part"),
    "--rotate": _real("DEGREES", "turn by up to this angle, either way"),
    "--weight": _real("PIXELS", "make lines thicker or thinner by up to this"),
    "--contrast": _real("PART", "change contrast by up to this part"),
    "--noise": _real("LEVEL", "add noise of up to this deviation (samples have about 1)"),
    "--mirror": _flag("exchange left and right in every other one"),
}

FILES: dict[str, dict[str, Any]] = {
    "-o --output": _file(f"where to write the model (default {MODEL})"),
    "--report": _file("write a page about the training, .html"),
    "--resume": _flag("go on with a training that was not finished"),
    "--restart": _flag("forget a training that was not finished"),
}

DATA: dict[str, dict[str, Any]] = {
    "--kind": _one_of(("images", "sound", "text", "table", "volumes"), "what it holds (default: see)"),
    "--label": {"metavar": "COLUMN", "help": "of a table: which column is the label, by name or number"},
    "--groups": {
        "metavar": "PATTERN",
        "help": "a regular expression: files in whose names its parentheses find the same are not split",
    },
    "--normalise": _one_of(
        ("standard", "signed", "unit"), "mean 0 and deviation 1 (the default), -1 to +1, or 0 to 1"
    ),
    "--held-out": _real("PART", "part of each class that is not learned from (default 0.2)"),
    "--test": {"metavar": "DATA2", "help": "measure with this, too: nothing is chosen by it"},
}

SAMPLES: dict[str, dict[str, Any]] = {
    "--size": {"type": size, "metavar": "N[xN]", "help": "size of pictures (height x width) and volumes"},
    "--colour": _flag("pictures in colour, also if all are grey"),
    "--grey": _flag("pictures in grey, also if some are in colour"),
    "--fit": _one_of(("stretch", "contain", "cover"), "how pictures of other proportions get their size"),
    "--sample-rate": _whole("N", "of sound: samples per second"),
    "--seconds": _real("N", "of sound: how long a sample is"),
    "--n-fft": _whole("N", "of sound: samples in a window"),
    "--hop": _whole("N", "of sound: step between windows"),
    "--mel": _whole("N", "of sound: bands on the mel scale; 0 for all frequencies"),
    "--words": _whole("N", "of text: how many words are told apart"),
    "--length": _whole("N", "of text: words in a sample"),
    "--layout": _one_of(("channels", "grid"), "of text: words as channels (the default), or a picture"),
    "--cut": _one_of(("file", "line", "sentence"), "of text: what a sample is (default file)"),
    "--encoding": {"metavar": "NAME", "help": "of text (default utf-8)"},
}

#: Per group of the help the options of train, and what argparse is told of each.
TRAIN_OPTIONS = {
    "data": DATA,
    "samples (default: as the data suggests)": SAMPLES,
    "net: --net, or the knobs of the example's": NETWORK,
    "learning": LEARNING,
    "how samples are varied each time": VARIED,
    "files": FILES,
}

SEARCHED: dict[str, dict[str, Any]] = {
    "--trials": {"type": count, "metavar": "N", "help": "nets that are tried (default 18)"},
    "--epochs": {"type": count, "metavar": "N", "help": "epochs of the nets that get furthest (default 18)"},
    "--eta": {"type": count, "metavar": "N", "help": "one of N goes on, to N times the epochs (default 3)"},
    "--jobs": {"type": count, "metavar": "N", "help": "processes (default: as many as there are CPUs)"},
}

CHOICES: dict[str, dict[str, Any]] = {
    "--features": _choice("features of a convolution", "8,16,32,64"),
    "--feature-size": _choice("size of a feature", "2,3,5"),
    "--pool": _choice("size of a pool window", "2,3"),
    "--stride": _choice("step between pool windows", "1,2,3"),
    "--neurons": {
        "type": counts_from_none,
        "metavar": "N,N,...",
        "help": "neurons of the hidden layer, 0 for none (default 0,32,64,128)",
    },
    "--depth": _choice("how many convolutions", "1,2,3,4"),
    "--lr": {"type": pair, "metavar": "LOW,HIGH", "help": "learning rate (default 0.0003,0.03)"},
}

#: Options of learning that a search has no choice about.
FIXED = (
    "--batch",
    "--optimizer",
    "--momentum",
    "--weight-decay",
    "--schedule",
    "--loss",
    "--balance",
    "--seed",
)

SEARCH_OPTIONS = {
    "search": SEARCHED,
    "what is chosen from": CHOICES,
    "data": {
        **DATA,
        "--held-out": _real(
            "PART", "of each class, to measure the best; of the rest the same part chooses (default 0.2)"
        ),
    },
    "samples (default: as the data suggests)": SAMPLES,
    "learning": {name: LEARNING[name] for name in FIXED},
    "how samples are varied each time": VARIED,
    "files": {
        "-o --output": FILES["-o --output"],
        "--picture": _file(f"where trials are drawn (default {PARALLEL})"),
        "--no-picture": _flag("draw nothing"),
        "--table": _file("write all trials as a table, .csv"),
        "--resume": _flag("go on with a search that was not finished"),
        "--restart": _flag("forget a search that was not finished"),
    },
}
