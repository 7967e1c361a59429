"""`fastconv search`: the knobs turned from the command line."""

from __future__ import annotations

import argparse
import csv
import io
import math
import os
import sys
from dataclasses import asdict
from typing import Any

from fastconv.nn.archive import write_whole
from fastconv.nn.progress import spoken
from fastconv.runtime import get_num_threads
from fastconv.tables import table
from fastconv.terminal import PICTURES, CommandError, check_files, need, open_console, taken, writing
from fastconv.train.command import data_options, one_line, say, say_skipped, settings_from
from fastconv.train.errors import SettingError
from fastconv.train.halving import Found, Plan, Row, Table
from fastconv.train.halving import search as find
from fastconv.train.model_file import check_can_save
from fastconv.train.options import MODEL, PARALLEL
from fastconv.train.settings import Settings
from fastconv.train.space import KNOBS, Candidate, Space

#: Trials that are shown, the best.
SHOWN = 12


def search(arguments: argparse.Namespace) -> None:
    """Find a net for data.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    given = vars(arguments)
    console = open_console()
    output = given.get("output", MODEL)
    picture = _files(given, output)
    check_can_save()
    with one_line():
        plan = _plan(given)
        counts = ", ".join(f"{count} of {epochs} epochs" for count, epochs in plan.rungs())
        say(console, f"{plan.trials} nets are tried: {counts}.")
        try:
            found = find(
                given["data"],
                plan,
                output,
                options=data_options(given),
                test=given.get("test"),
                jobs=given.get("jobs", min(get_num_threads(), plan.trials)),
                resume="resume" in given,
                restart="restart" in given,
                on_row=_tell,
            )
        except FloatingPointError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            if Table(output).exists:
                say(console, "What was tried until now is kept: the same command with --resume goes on.")
            raise
        say(console, "", *_results(found), "")
        best = found.candidates[found.best.trial]
        say(
            console,
            f"Best: {best.spec}",
            f"learning rate {best.lr:.4g}, {found.best.parameters:,} parameters.",
        )
        say(console, f"On samples that no choice was made with: {found.test.line}.")
        say_skipped(console, found.skipped)
        say(console, f"Model written to {output}")
        if "table" in given:
            text = _csv(found).encode("utf-8", "backslashreplace")
            with writing("--table", given["table"]):
                write_whole(os.path.realpath(given["table"]), lambda file: file.write(text))
            say(console, f"All trials: {given['table']}")
        if picture is not None:
            with writing("--picture", picture):
                _draw(picture, found)
            say(console, f"Picture of all trials: {picture}")


def _files(given: dict[str, Any], output: str) -> str | None:
    """Where the picture goes, if one is drawn. Files that cannot be written are refused at once."""
    if "no_picture" in given and "picture" in given:
        raise CommandError(f"--picture {given['picture']}: contradicts --no-picture")
    picture: str | None = None if "no_picture" in given else given.get("picture", PARALLEL)
    wanted = {"--output": output, "--picture": picture, "--table": given.get("table")}
    check_files(wanted, [given["data"]], "data", {"--picture": PICTURES})
    if picture is not None:
        need("matplotlib.figure", "matplotlib")
    return picture


def _plan(given: dict[str, Any]) -> Plan:
    """What the options say."""
    numbers = taken(given, ("trials", "epochs", "eta"))
    space = Space(**taken(given, (*KNOBS, "lr")))
    of_all = {name: value for name, value in given.items() if name not in ("lr", "epochs")}
    settings = settings_from(of_all, Settings())
    if settings.held_out > 0.4:
        raise SettingError("held_out", settings.held_out, "must be at most 0.4: it is put aside twice")
    return Plan(space=space, settings=settings, **numbers)


def _tell(row: Row, candidate: Candidate) -> None:
    """A line for each trial that is done, on standard error."""
    result = "failed" if row.accuracy is None else f"{row.accuracy:.1%} right, loss {row.loss or 0:.4g}"
    sys.stderr.write(
        f"trial {row.trial + 1}, {row.epochs} epochs: {result}  ({candidate.spec}; lr {candidate.lr:.2g}; "
        f"{spoken(row.seconds)})\n"
    )


def _last(found: Found) -> list[Row]:
    """Of each trial the rung that it reached, the best first."""
    last: dict[int, Row] = {}
    for row in found.rows:
        if row.trial not in last or row.rung > last[row.trial].rung:
            last[row.trial] = row
    return sorted(last.values(), key=lambda row: (-row.rung, *row.rank))


def _results(found: Found) -> list[str]:
    """The best trials as a table."""
    rows = [("trial", *(name.replace("_", " ") for name in KNOBS), "lr", "parameters", "epochs", "held out")]
    trials = _last(found)
    for row in trials[:SHOWN]:
        candidate = asdict(found.candidates[row.trial])
        accuracy = "failed" if row.accuracy is None else f"{row.accuracy:.2%}"
        knobs = (str(candidate[name]) for name in KNOBS)
        rows.append(
            (
                f"{row.trial + 1}",
                *knobs,
                f"{candidate['lr']:.2g}",
                f"{row.parameters:,}",
                f"{row.epochs}",
                accuracy,
            )
        )
    lines = table(rows, ">" * len(rows[0]))
    if len(trials) > SHOWN:
        lines.append(f"and {len(trials) - SHOWN} more")
    return lines


def _csv(found: Found) -> str:
    """Every trial on every rung as a table."""
    made = io.StringIO()
    names = ["trial", "rung", "epochs", *KNOBS, "lr", "parameters", "accuracy", "loss", "seconds", "net"]
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow(names)
    for row in sorted(found.rows, key=lambda row: (row.rung, row.trial)):
        told = {**asdict(found.candidates[row.trial]), **asdict(row)}
        told["net"], told["trial"] = told["spec"], row.trial + 1
        writer.writerow(["" if told[name] is None else told[name] for name in names])
    return made.getvalue()


def _draw(path: str, found: Found) -> None:
    from fastconv.train.pictures import draw_search

    last = {row.trial: row for row in _last(found)}
    trials = sorted(last)
    columns = {
        name: [float(getattr(found.candidates[trial], name)) for trial in trials] for name in (*KNOBS, "lr")
    }
    accuracies = [last[trial].accuracy for trial in trials]
    columns["held out"] = [math.nan if value is None else value for value in accuracies]
    draw_search(path, columns, [last[trial].rung for trial in trials], ("lr", "features"))
