"""onnx's own cases, one by one: does fastconv take the model, run it, and come to the result?

`python -m tests.interop.conformance` prints what is executed and passed, `--why` the reasons why not.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

from fastconv.interop import onnx as door
from fastconv.interop.onnx.tensors import array_of

#: What differs from one case of an operator to the next, in a reason.
REASON = re.compile(r"^(\w+: )?(node '[^']*' \(\w+\): )?")


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes
    ----------
    name, operator : str
    executed, passed : bool
    why : str
        What went wrong.
    """

    name: str
    operator: str
    executed: bool
    passed: bool
    why: str = ""


@lru_cache(maxsize=1)
def cases() -> tuple[Any, ...]:
    """All node cases of the installed onnx."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind="node"))


def operator_of(case: Any) -> str:
    """The operator that a case is about: that of its last node."""
    return str(case.model.graph.node[-1].op_type)


def outcome(case: Any) -> Outcome:
    """Run one case."""
    operator = operator_of(case)
    try:
        net = door.load(case.model)
        for inputs, expected in case.data_sets:
            outputs = net.run([_plain(each) for each in inputs])
            for got, wanted in zip(outputs, map(_plain, expected)):
                difference = differs(got, wanted, case.rtol, case.atol)
                if difference:
                    return Outcome(case.name, operator, True, False, difference)
    except Exception as error:  # a case may fail in any way there is: this is what is reported
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return Outcome(case.name, operator, False, False, text[:200])
    return Outcome(case.name, operator, True, True)


def _plain(value: Any) -> Any:
    """A value as the graph has it: some cases hold scalars of NumPy, or tensors as a file has them."""
    if isinstance(value, onnx.TensorProto):
        return array_of(value, None)
    return np.asarray(value) if isinstance(value, np.generic) else value


def differs(got: Any, wanted: Any, rtol: float, atol: float) -> str:
    """In what a result is not the one that is wanted; "" if it is."""
    if isinstance(wanted, (list, tuple)):
        if not isinstance(got, (list, tuple)) or len(got) != len(wanted):
            return f"{type(got).__name__} instead of a list of {len(wanted)}"
        return next((text for g, w in zip(got, wanted) if (text := differs(g, w, rtol, atol))), "")
    if wanted is None or got is None:
        return "" if wanted is got else f"{got!r} instead of {wanted!r}"
    got, wanted = np.asarray(got), np.asarray(wanted)
    if got.shape != wanted.shape:
        return f"shape {got.shape} instead of {wanted.shape}"
    if wanted.dtype.kind in "OUST":
        same = all(str(g) == str(w) for g, w in zip(got.reshape(-1), wanted.reshape(-1)))
        return "" if same else "other text"
    if got.dtype != wanted.dtype:
        return f"dtype {got.dtype} instead of {wanted.dtype}"
    if wanted.dtype.kind in "biu":
        return "" if np.array_equal(got, wanted) else "other numbers"
    if wanted.dtype.kind != "c":
        got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    close = np.allclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True)
    return "" if close else f"off by {np.nanmax(np.abs(got - wanted)):.3g}"


#: Where the counts are written down.
PAGE = Path(__file__).parent.parent.parent / "docs" / "onnx.md"


def page(found: list[Outcome]) -> str:
    """The counts as docs/onnx.md has them: an operator a line."""
    lines = [
        "# ONNX operators",
        "",
        "Written by `python -m tests.interop.conformance --write`: onnx's own node cases, by the operator",
        "that a case ends in. A case counts as executed if fastconv took the model and ran it.",
        "",
        f"onnx {onnx.__version__}: {sum(each.executed for each in found)} of {len(found)} cases executed, "
        f"{sum(each.passed for each in found)} passed.",
        "",
        "| operator | cases | executed | passed | why not |",
        "|---|---|---|---|---|",
    ]
    for operator in sorted({each.operator for each in found}):
        own = [each for each in found if each.operator == operator]
        reasons = Counter(REASON.sub("", each.why).replace("|", "/") for each in own if not each.passed)
        why = "; ".join(f"{text[:70]} ({count})" for text, count in reasons.most_common(2))
        counts = f"{len(own)} | {sum(each.executed for each in own)} | {sum(each.passed for each in own)}"
        lines.append(f"| {operator} | {counts} | {why} |")
    return "\n".join([*lines, ""])


def counted(text: str) -> tuple[str, dict[str, int]]:
    """The version of onnx that a page is about, and how many cases of each operator passed."""
    version = re.search(r"^onnx (\S+):", text, re.MULTILINE)
    rows = re.findall(r"^\| (\w+) \| \d+ \| \d+ \| (\d+) \|", text, re.MULTILINE)
    return version[1] if version else "", {name: int(passed) for name, passed in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--why", action="store_true", help="print every case that does not pass, with the reason"
    )
    parser.add_argument("words", nargs="*", help="only cases whose names have one of these")
    parser.add_argument("--write", action="store_true", help="write docs/onnx.md")
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    found = [
        outcome(case) for case in cases() if not told.words or any(word in case.name for word in told.words)
    ]
    if told.write:
        PAGE.write_text(page(found), encoding="utf-8")
    if told.why:
        for each in found:
            if not each.passed:
                print(f"{each.name}: {each.why}")
    missing = Counter(
        each.why.split("no operator ")[1].split(" ")[0] for each in found if "no operator " in each.why
    )
    print("missing:", ", ".join(f"{name} {count}" for name, count in missing.most_common()))
    print(
        f"executed {sum(each.executed for each in found)}, passed {sum(each.passed for each in found)}"
        f" of {len(found)}"
    )


if __name__ == "__main__":
    main()
