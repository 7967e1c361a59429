"""`python -m fastconv.data.examples`: write the data of an example, and learn from it."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fastconv.data.errors import DataError
from fastconv.data.examples.brain import TEMPLATES, write_brain
from fastconv.data.examples.customers import write_customers
from fastconv.data.examples.faces import write_faces
from fastconv.data.examples.sentences import write_sentences
from fastconv.data.examples.solids import write_solids
from fastconv.data.examples.spoken import write_spoken_digits, write_spoken_letters
from fastconv.data.examples.touch_tones import write_touch_tones
from fastconv.data.files import one_line
from fastconv.data.opening import open_dataset
from fastconv.terminal import MissingExtraError, printable

EXAMPLES = (
    *("touch-tones", "spoken-digits", "spoken-letters", "sentences", "solids", "faces", "brain"),
    "customers",
)


def main(arguments: list[str] | None = None) -> int:
    """The command; 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.data.examples", description=__doc__)
    parser.add_argument("example", choices=EXAMPLES)
    parser.add_argument(
        "folder", help="where to write the data (of customers, a CSV file); must not be there yet"
    )
    parser.add_argument("--count", type=int, help="files of each class; of what is spoken, of each speaker")
    parser.add_argument("--decibels", type=float, default=0.0, help="of touch-tones: above the noise")
    parser.add_argument("--noise", type=float, default=0.25, help="of solids: its standard deviation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--learn", action="store_true", help="let a small net learn from it")
    parser.add_argument(
        "--recorded",
        metavar="FOLDER",
        help="of what is spoken: 0.wav to 9.wav, a.wav to z.wav, to judge",
    )
    parser.add_argument(
        "--source", metavar="PATH", help="of faces: lfw_subset.npy; of brain: a folder with scan and labels"
    )
    chosen = parser.parse_args(arguments)
    try:
        _run(chosen)
    except (DataError, OSError, ValueError, MissingExtraError) as error:
        name = getattr(error, "filename", None)
        print(f"error: {f'{printable(str(name))}: ' if name else ''}{one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _run(chosen: argparse.Namespace) -> None:
    count = {} if chosen.count is None else {"count": chosen.count}
    options: dict[str, Any] = {}
    if chosen.example == "touch-tones":
        write_touch_tones(chosen.folder, decibels=chosen.decibels, seed=chosen.seed, **count)
    elif chosen.example == "spoken-digits":
        write_spoken_digits(chosen.folder, seed=chosen.seed, **count)
    elif chosen.example == "spoken-letters":
        write_spoken_letters(chosen.folder, seed=chosen.seed, **count)
    elif chosen.example == "faces":
        write_faces(chosen.folder, chosen.source)
    elif chosen.example == "brain":
        write_brain(chosen.folder, chosen.source or TEMPLATES)
    elif chosen.example == "solids":
        write_solids(chosen.folder, noise=chosen.noise, seed=chosen.seed, **count)
    elif chosen.example == "customers":
        if chosen.learn:
            raise ValueError("--learn: no net is for a table; `fastconv order-sensitivity` measures that")
        write_customers(chosen.folder, seed=chosen.seed, **count)
    else:
        write_sentences(chosen.folder)
        options = {"cut": "line"}
    print(open_dataset(chosen.folder, **options).summary())
    if chosen.learn:
        from fastconv.data.examples.learning import learn

        for line in learn(chosen.example, chosen.folder, chosen.seed, chosen.recorded):
            print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
