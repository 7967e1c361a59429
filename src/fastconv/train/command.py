"""`fastconv train` and `fastconv show model.fcn`: nets from the command line."""

from __future__ import annotations

import argparse
import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastconv import nn
from fastconv.data import Augmentation, Dataset, open_dataset
from fastconv.nn.progress import spoken
from fastconv.tables import table
from fastconv.terminal import (
    CommandError,
    check_files,
    open_console,
    option_of,
    printable,
    shown,
    taken,
    taken_for,
    writing,
)
from fastconv.train import named
from fastconv.train.errors import SettingError
from fastconv.train.model import Model
from fastconv.train.model_file import load_model
from fastconv.train.options import MODEL
from fastconv.train.settings import Settings
from fastconv.train.space import KNOBS
from fastconv.train.training import Lesson, Trained, finish, open_lesson
from fastconv.train.unfinished import Unfinished

if TYPE_CHECKING:
    from rich.console import Console

#: Options of `open_dataset`.
DATA_OPTIONS = (
    *("kind", "label", "groups", "normalise", "size", "fit", "sample_rate", "seconds", "n_fft", "hop", "mel"),
    *("words", "length", "layout", "cut", "encoding"),
)

#: Of what was skipped, so many are named.
SHOWN = 5


@contextmanager
def one_line() -> Iterator[None]:
    """Whatever a user can put right becomes a `CommandError`."""
    try:
        yield
    except SettingError as error:
        given = "" if error.value is True else f" {shown(error.value)}"
        raise CommandError(f"{option_of(error.name)}{given}: {error.rule}") from None
    except OSError as error:
        if isinstance(error, BrokenPipeError) or (
            error.filename is None and error.errno in (errno.ENOSPC, errno.EIO)
        ):
            raise  # of standard output, which is not the command's
        where = f"{error.filename}: " if error.filename is not None else ""
        raise CommandError(f"{where}{error.strerror or error}") from None
    except MemoryError as error:
        raise CommandError(f"not enough memory: {error}" if str(error) else "not enough memory") from None
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from None


def say(console: Console, *lines: str) -> None:
    """Print lines that may hold anything, as they are."""
    for line in lines:
        console.print(printable(line), markup=False, soft_wrap=True)


def say_skipped(console: Console, skipped: Sequence[tuple[str, str]]) -> None:
    """Print what could not be read, if anything."""
    if skipped:
        say(console, f"Skipped, as they cannot be read: {len(skipped):,}.")
        say(console, *(f"  {name}: {why}" for name, why in skipped[:SHOWN]))


# ---- train ---------------------------------------------------------------------------------------------


def train(arguments: argparse.Namespace) -> None:
    """Train a net.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    KeyboardInterrupt
        Ctrl-C; what was best so far has been written.
    """
    given = vars(arguments)
    console = open_console()
    output = given.get("output", MODEL)
    check_files({"--output": output, "--report": given.get("report")}, [given["data"]], "data")
    with one_line():
        unfinished = Unfinished(output)
        unfinished.check_begin("resume" in given, "restart" in given)
        report = _report_of(given)
        dataset = open_dataset(given["data"], **data_options(given))
        settings = _settings(given, unfinished, dataset)
        lesson = open_lesson(
            dataset,
            settings,
            None,
            unfinished,
            resume="resume" in given,
            restart="restart" in given,
        )
        if "test" in given:
            lesson.test = open_dataset(
                given["test"], preprocessing=lesson.dataset.preprocessing, classes=dataset.classes
            )
        _show_lesson(console, lesson)
        try:
            observers: dict[str, Callable[[nn.TrainingState], Any]] = {}
            if report is not None:
                report.begin(lesson)
                observers = {"on_step": report.step, "on_epoch": report.epoch}
            trained = finish(lesson, unfinished, output, "resume" in given, progress=None, **observers)
        except FloatingPointError as error:
            typed = "" if "lr" in given else " (the default)"
            raise CommandError(f"--lr {settings.rate:g}{typed}: learning failed: {error}") from None
        _show_trained(console, lesson, trained, output)
        if report is not None:
            with writing("--report", given["report"]):
                report.write(trained)
            say(console, f"Page about the training: {given['report']}")
    if trained.interrupted:
        raise KeyboardInterrupt


def data_options(given: dict[str, Any]) -> dict[str, Any]:
    """What the options tell `open_dataset`."""
    options = taken(given, DATA_OPTIONS)
    if "colour" in given and "grey" in given:
        raise CommandError("--grey: contradicts --colour")
    if "colour" in given or "grey" in given:
        options["colour"] = "colour" in given
    if options.get("label", "").isdecimal():
        options["label"] = int(options["label"])
    return options


def _report_of(given: dict[str, Any]) -> Any:
    if "report" not in given:
        return None
    from fastconv.train.report import Report

    return Report(given["report"])


def _settings(given: dict[str, Any], unfinished: Unfinished, dataset: Dataset) -> Settings:
    """What the options say; of a training that is gone on with, what they leave out is as it was begun."""
    knobs = taken(given, KNOBS)
    if knobs:
        if given.get("net", "deck") != "deck":
            name = next(iter(knobs))
            raise CommandError(f"{option_of(name)} {shown(knobs[name])}: contradicts --net; say it there")
        given = {**given, "net": named.deck(dataset.preprocessing.shape, **knobs)}
    return settings_from(given, unfinished.settings() if "resume" in given else Settings())


def settings_from(given: dict[str, Any], begun: Settings) -> Settings:
    """Settings that the options change, those of augmentation among them."""
    told, varied = taken_for(Settings, given), taken_for(Augmentation, given)
    if varied:
        before = begun.augmentation.to_json() if begun.augmentation else {}
        told["augmentation"] = Augmentation.from_json({**before, **varied})
    return begun.replaced(**told)


def _show_lesson(console: Console, lesson: Lesson) -> None:
    dataset = lesson.dataset
    say(console, *dataset.summary().splitlines())
    aside = ""
    if lesson.test is not None:
        aside = f"; {len(lesson.test):,} of their own are measured with at the end"
    say(console, f"Learns from {len(lesson.learned_from):,}; {len(lesson.held_out):,} are held out{aside}.")
    say(console, f"Net: {lesson.spec}")
    flops = nn.summary(lesson.net, (1, *dataset.preprocessing.shape)).flops
    say(console, f"{lesson.parameters:,} parameters, {flops:,} FLOPs a sample.", "")


def _show_trained(console: Console, lesson: Lesson, trained: Trained, output: str) -> None:
    history, best = trained.history, trained.history.best_epoch
    say(console, "")
    if trained.interrupted:
        say(console, f"Interrupted after {len(history)} of {lesson.settings.epochs} epochs.")
    elif history.stopped_early:
        say(console, f"Stopped after {len(history)} epochs: the held-out loss has not fallen any more.")
    seconds = sum(history.seconds)
    samples = len(history) * lesson.samples
    say(
        console, f"{len(history)} epochs in {spoken(seconds)}: {samples / max(seconds, 1e-9):,.0f} samples/s."
    )
    if best is not None:
        say(console, f"Kept: epoch {best + 1}, where the held-out loss was lowest.")
    if trained.held_out is not None:
        say(console, f"Held out: {trained.held_out.line}.")
    if trained.test is not None:
        say(console, f"Test: {trained.test.line}.")
    say_skipped(console, lesson.dataset.skipped)
    say(console, f"Model written to {output}")
    if trained.interrupted:
        say(console, "The same command with --resume goes on.")


# ---- show ----------------------------------------------------------------------------------------------


def show(arguments: argparse.Namespace) -> None:
    """Show what is in a model file.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    with one_line():
        if arguments.shape or arguments.picture is not None:
            option = "--shape" if arguments.shape else "--picture"
            raise CommandError(f"{option}: goes with ONNX models; {arguments.model} is one of fastconv")
        model = load_model(arguments.model)
        for line in describe(model, arguments.model):
            print(printable(line))


def describe(model: Model, name: str) -> list[str]:
    """A model in lines: its classes, preprocessing, net, and how it was trained."""
    count = len(model.classes)
    listed = ", ".join(model.classes[:20]) + (f", ... ({count} in all)" if count > 20 else "")
    lines = [name, f"  classes: {listed}"]
    told = {
        key: value for key, value in model.preprocessing.to_json().items() if key not in ("kind", "shape")
    }
    shape = "x".join(map(str, model.input_shape))
    lines.append(f"  input: {model.preprocessing.kind}, {shape}")
    lines += [f"  {key}: {_short(value)}" for key, value in told.items()]
    lines.append(f"  net: {model.spec}")
    lines += [f"  made by {key} {value}" for key, value in model.versions.items()]
    lines += ["", *str(nn.summary(model.net, (1, *model.input_shape))).splitlines()]
    return lines + _described_record(model.record)


def _short(value: Any) -> str:
    text = shown(value)
    return text if len(text) <= 80 else f"{text[:70]}... ({len(value):,})"


def _described_record(record: dict[str, Any]) -> list[str]:
    """How a model was trained; whatever of that the record has."""
    lines: list[str] = []
    data, history = record.get("data"), record.get("history")
    if isinstance(data, dict) and isinstance(data.get("counts"), dict):
        samples = sum(data["counts"].values())
        lines += [
            "",
            f"Trained on {data.get('name')}: {samples:,} samples, {record.get('learned_from')} learned from.",
        ]
    if isinstance(history, dict) and history.get("loss"):
        columns = [
            name for name in ("loss", "accuracy", "validation_loss", "validation_accuracy") if history[name]
        ]
        rows = [("epoch", *(name.replace("validation", "held-out").replace("_", " ") for name in columns))]
        count = len(history["loss"])
        kept = sorted({0, *range(count - 1, 0, -max(1, count // 8)), record.get("best_epoch") or 0})
        for epoch in kept:
            mark = " (kept)" if epoch == record.get("best_epoch") else ""
            values = [history[name][epoch] for name in columns]
            rows.append((f"{epoch + 1}{mark}", *("-" if v is None else f"{v:.4g}" for v in values)))
        lines += ["", *table(rows, "<" + ">" * len(columns))]
    for title in ("held_out", "test"):
        figures = record.get(title)
        if isinstance(figures, dict) and isinstance(figures.get("accuracy"), float):
            low, high = figures["accuracy_low"], figures["accuracy_high"]
            name = title.replace("_", " ").capitalize()
            told = f"{name}: {figures['accuracy']:.2%} of {figures['count']:,} right"
            lines.append(f"{told} (95% interval {low:.2%} to {high:.2%})")
    if record.get("interrupted"):
        lines.append("Interrupted before its last epoch.")
    return lines
