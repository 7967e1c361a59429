"""`fastconv xo`: judge ten pictures with weights made by hand, learn better ones, judge again; or files."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.terminal import (
    CommandError,
    need,
    open_console,
    option_of,
    picture_fault,
    printable,
    shown,
    taken_for,
    write_fault,
    writing,
)
from fastconv.xo.compare import compare, draw_comparison
from fastconv.xo.errors import KnobError, PictureError
from fastconv.xo.figure import draw_figure
from fastconv.xo.generator import Variation
from fastconv.xo.handmade import hand_made, two_decimals
from fastconv.xo.knobs import SHORT_STACK, Knobs
from fastconv.xo.model_file import load_model, save_model
from fastconv.xo.network import build_network
from fastconv.xo.options import COMPARISON, DEFAULT_FIGURE
from fastconv.xo.picture_file import read_picture
from fastconv.xo.pictures import DECK, LETTERS, deck_pictures
from fastconv.xo.report import architecture, cards
from fastconv.xo.training import Exam, Learned, Lesson, check_memory, examine, judge, learn

if TYPE_CHECKING:
    from rich.console import Console

    from fastconv import nn

#: Nudging evaluates the network twice per weight, so unless told otherwise it learns the network the example
#: begins with; of six features: with three it depends on the seed whether all ten pictures are learned.
NUDGE_NETWORK: dict[str, Any] = {"layers": SHORT_STACK, "features": (6,), "hidden": ()}

#: Of the unseen pictures that were judged wrong, so many are shown.
MISTAKES_SHOWN = 5


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says; everything that can be refused is, before anything is computed.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    given = vars(arguments)
    console = open_console()
    try:
        if "compare" in given:
            _compare(console, given)
            return
        network, knobs, lesson = _choose(given)
        figure = _check_files(given)
        files = [read_picture(path, knobs.size) for path in given["pictures"]]
        if given["pictures"]:
            if network is None:
                learned = _learn(console, given, knobs, lesson)
                network = learned.network
                _warn(console, learned.exam)
            _save(console, given, network, knobs, lesson)
            _judge_files(console, given["pictures"], np.stack(files), network)
            picture, name = files[0], printable(os.path.basename(given["pictures"][0]))
        else:
            _show_hand_made(console)
            exam = None
            if network is None:
                learned = _learn(console, given, knobs, lesson)
                network, exam = learned.network, learned.exam
            _save(console, given, network, knobs, lesson)
            _show_exam(console, exam or examine(network, knobs.size, lesson))
            picture, name = deck_pictures(knobs.size)[0][0], DECK[0].name
        if figure is not None:
            try:
                draw_figure(figure, name, picture, network, knobs)
            except OSError as error:
                raise _unwritable_figure(given, figure, error.strerror or str(error)) from None
            console.print(
                f"Figure of what happens to {name!r}: {printable(figure)}", soft_wrap=True, markup=False
            )
    except KnobError as error:
        default = "" if error.knob in given else " (the default)"
        raise CommandError(f"{option_of(error.knob)} {shown(error.value)}{default}: {error.rule}") from None
    except PictureError as error:
        raise CommandError(str(error)) from None


def _compare(console: Console, given: dict[str, Any]) -> None:
    """Teach one network by nudging and by backprop, and draw how that went."""
    for name in ("model", "save", "epochs", "unseen"):
        if name in given:
            raise CommandError(f"--{name}: says nothing to --compare")
    if given["pictures"]:
        raise CommandError(f"{given['pictures'][0]}: a picture says nothing to --compare")
    told = {**given, "learn": "nudge"}
    if given.get("learn", "nudge") != "nudge":
        raise CommandError("--learn backprop: contradicts --compare, which learns in both ways")
    _, knobs, lesson = _choose(told)
    path = _check_files({**given, "output": given.get("output", COMPARISON)} if _draws(given) else given)
    console.rule("The same network from the same start, taught twice", align="left")
    try:
        found = compare(knobs, lesson)
    except FloatingPointError as error:
        default = "" if "lr" in given else " (the default)"
        raise CommandError(f"--lr {lesson.lr:g}{default}: learning failed: {error}") from None
    weights = sum(parameter.value.size for parameter in build_network(knobs, 0).parameters())
    console.print(f"{architecture(knobs, weights)}.")
    console.print(str(found))
    if path is not None:
        try:
            draw_comparison(path, found)
        except OSError as error:
            raise _unwritable_figure(given, path, error.strerror or str(error)) from None
        console.print(f"Figure of both: {printable(path)}", soft_wrap=True, markup=False)


def _draws(given: dict[str, Any]) -> bool:
    return "no_picture" not in given


def _choose(given: dict[str, Any]) -> tuple[nn.Sequential | None, Knobs, Lesson]:
    """The network, if it comes from a file; and the knobs and lesson, from that file or the options."""
    if "model" in given:
        for kind in (Knobs, Lesson, Variation):
            for knob in taken_for(kind, given):
                raise CommandError(f"{option_of(knob)}: goes with learning, not with --model")
        if "save" in given:
            raise CommandError("--save: goes with learning, not with --model")
        try:
            return load_model(given["model"])
        except OSError as error:
            raise CommandError(f"--model {given['model']}: {error.strerror or error}") from None
        except ValueError as error:
            raise CommandError(f"--model {error}") from None
    nudging = given.get("learn") == "nudge"
    knobs = Knobs(**{**(NUDGE_NETWORK if nudging else {}), **taken_for(Knobs, given)})
    lesson = Lesson(**{**taken_for(Lesson, given), "variation": Variation(**taken_for(Variation, given))})
    check_memory(knobs, lesson)
    return None, knobs, lesson


def _check_files(given: dict[str, Any]) -> str | None:
    """Where to write the figure, or None; raises `CommandError` for files that cannot be written."""
    fault = write_fault(given["save"], given["pictures"]) if "save" in given else None
    if fault is not None:
        raise CommandError(f"--save {given['save']}: {fault}")
    if "no_picture" in given:
        if "output" in given:
            raise CommandError(f"--output {given['output']}: contradicts --no-picture")
        return None
    if "output" not in given and given["pictures"]:
        return None
    path: str = given.get("output", DEFAULT_FIGURE)
    fault = picture_fault(path, given["pictures"])
    if fault is None and "save" in given and os.path.realpath(path) == os.path.realpath(given["save"]):
        fault = "is the file that --save writes"
    if fault is not None:
        raise _unwritable_figure(given, path, fault)
    need("matplotlib.figure", "matplotlib")
    return path


def _unwritable_figure(given: dict[str, Any], path: str, fault: str) -> CommandError:
    """The refusal to write the figure; where nobody has said where, what can be said."""
    if "output" in given:
        return CommandError(f"--output {path}: {fault}")
    return CommandError(
        f"cannot write the figure to {path}: {fault}; "
        "--output FILE writes it elsewhere, --no-picture not at all"
    )


def _learn(console: Console, given: dict[str, Any], knobs: Knobs, lesson: Lesson) -> Learned:
    console.rule("Learning from random weights", align="left")
    try:
        learned = learn(knobs, lesson, progress=None)
    except FloatingPointError as error:
        default = "" if "lr" in given else " (the default)"
        raise CommandError(f"--lr {lesson.lr:g}{default}: learning failed: {error}") from None
    weights = sum(parameter.value.size for parameter in learned.network.parameters())
    console.print(f"{architecture(knobs, weights)}.")
    first, last = learned.history.loss[0], learned.history.loss[-1]
    times = "once" if lesson.epochs == 1 else f"{lesson.epochs} times"
    console.print(f"Learned from {lesson.train:,} pictures, {times} each, in {learned.seconds:.1f} s.")
    console.print("The ten pictures were not among them, nor any that it is judged by.")
    console.print(f"Error in the first epoch {first:.3f}, in the last {last:.3f}.")
    if learned.cost is not None:
        seconds = lesson.steps * learned.cost.backprop_seconds
        console.print(f"Cost of {learned.cost}.")
        console.print(f"Its {lesson.steps:,} steps would take backprop about {seconds:.2g} s.")
    console.print()
    return learned


def _save(
    console: Console, given: dict[str, Any], network: nn.Sequential, knobs: Knobs, lesson: Lesson
) -> None:
    if "save" in given:
        with writing("--save", given["save"]):
            save_model(given["save"], network, knobs, lesson)
        console.print(f"Network written to {printable(given['save'])}", soft_wrap=True, markup=False)


def _show_hand_made(console: Console) -> None:
    pictures, labels = deck_pictures()
    votes = hand_made(pictures).votes
    console.rule("The network made by hand: 3 features, 12 values, listed votes", align="left")
    console.print(cards([picture.name for picture in DECK], pictures, votes, labels))
    console.print(f"{int((votes.argmax(axis=1) == labels).sum())} of {len(DECK)} right.\n")


def _show_exam(console: Console, exam: Exam) -> None:
    console.rule("What it has learned", align="left")
    pictures, labels = deck_pictures(exam.unseen.shape[-1])
    console.print(cards([picture.name for picture in DECK], pictures, exam.deck_votes, labels))
    console.print(f"{exam.deck_right} of {len(DECK)} right.")
    console.print(
        f"{int(exam.right.sum()):,} of {len(exam.right):,} unseen pictures right: {exam.accuracy:.2%}.\n"
    )
    _warn(console, exam)
    wrong = np.flatnonzero(~exam.right)[:MISTAKES_SHOWN]
    if len(wrong):
        total = int((~exam.right).sum())
        console.print("Its mistake:" if total == 1 else f"Mistakes, {len(wrong)} of {total}:")
        names = [f"unseen {LETTERS[exam.labels[i]]}" for i in wrong]
        console.print(cards(names, exam.unseen[wrong], exam.votes[wrong], exam.labels[wrong]))


def _warn(console: Console, exam: Exam) -> None:
    """Say it in words if a network has learned nothing, or not enough for the ten pictures."""
    if exam.as_guessed:
        console.print(
            f"It has learned nothing: {exam.accuracy:.0%} of {len(exam.right):,} unseen pictures right "
            "is what guessing gives. Try another --seed, a lower --lr, more --epochs or --train.\n"
        )
    elif exam.deck_right < len(DECK):
        console.print(
            f"It has not learned enough: {exam.deck_right} of the ten pictures right, "
            f"{exam.accuracy:.1%} of the unseen. Try another --seed, more --epochs or --train.\n"
        )


def _judge_files(console: Console, paths: list[str], pictures: np.ndarray, network: nn.Sequential) -> None:
    console.rule("As the network sees them, and its verdict", align="left")
    names = [printable(os.path.basename(path)) for path in paths]
    votes = judge(network, pictures)
    console.print(cards(names, pictures, votes))
    for path, vote in zip(paths, votes):
        shown = "  ".join(f"{letter} {two_decimals(value)}" for letter, value in zip(LETTERS, vote))
        console.print(
            f"{printable(path)}: {shown}  -> {LETTERS[int(vote.argmax())]}", soft_wrap=True, markup=False
        )
