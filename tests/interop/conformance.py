"""onnx's own cases, one by one: does fastconv take the model, run it, and come to the result?

`python -m tests.interop.conformance` prints what is executed and passed, `--why` the reasons why not, and
`--write` writes docs/onnx.md. A case counts as executed only if fastconv ran it to results of its own.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from fastconv.interop import onnx as door
from fastconv.interop.onnx.tensors import array_of

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"

#: Kinds of cases: with nodes in them, and those whose models lie in files, from many places.
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")

#: Families of operators, as people look for them; what is in none is the last one's.
FAMILIES = {
    "Convolution": "Conv ConvTranspose DeformConv ConvInteger QLinearConv CausalConvWithState",
    "Pooling": (
        "AveragePool MaxPool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool MaxUnpool RoiAlign "
        "MaxRoiPool"
    ),
    "Normalisation": (
        "BatchNormalization InstanceNormalization GroupNormalization LayerNormalization RMSNormalization "
        "LRN LpNormalization MeanVarianceNormalization"
    ),
    "Activation": (
        "Celu Clip Elu Gelu HardSigmoid HardSwish Hardmax LeakyRelu LogSoftmax Mish PRelu Relu Selu "
        "Shrink Sigmoid Softmax Softplus Softsign Swish Tanh ThresholdedRelu Dropout"
    ),
    "Products": "Gemm MatMul MatMulInteger QLinearMatMul Einsum Attention RotaryEmbedding LinearAttention",
    "Recurrence and control": "GRU LSTM RNN If Loop Scan SequenceMap",
    "Quantisation": "QuantizeLinear DequantizeLinear DynamicQuantizeLinear",
    "Reduction": "ArgMax ArgMin TopK CumSum CumProd",
    "Shape and movement": (
        "Reshape Flatten Transpose Squeeze Unsqueeze Expand Slice Split Concat Tile Pad Gather "
        "GatherElements GatherND Scatter ScatterElements ScatterND DepthToSpace SpaceToDepth Shape Size "
        "Range Constant ConstantOfShape OneHot EyeLike NonZero Compress Unique Trilu ReverseSequence "
        "Identity Cast CastLike Where Col2Im CenterCropPad TensorScatter BitCast"
    ),
    "Pictures": "Resize Upsample GridSample AffineGrid NonMaxSuppression ImageDecoder",
    "Signals": "DFT STFT MelWeightMatrix HannWindow HammingWindow BlackmanWindow",
}
OTHERS = "Elementwise and others"

#: Why a case cannot pass, or does not, by its name.
REASONS = (
    (r"bernoulli", "draws random numbers, and compares them with others: cannot pass"),
    (r"attention.*(bf16|fp16)", "the last bit: expects what is between the steps rounded to 16 bits; "
     "fastconv computes in float32 and rounds once"),
    (r"test_not_.d$", "written for opset 1; fastconv reads 6 and newer"),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes
    ----------
    name, operator, kind : str
    executed, passed : bool
    why : str
        What went wrong.
    """

    name: str
    operator: str
    kind: str
    executed: bool
    passed: bool
    why: str = ""


@cache
def cases(kind: str = "node") -> tuple[Any, ...]:
    """All cases of a kind that are in the installed onnx."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind=kind))


def light_nets() -> list[Path]:
    """Nets of onnx/backend/test/data/light: their weights and inputs are made by the net itself."""
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    return sorted(folder.glob("*.onnx"))


def operator_of(case: Any) -> str:
    """The operator that a case is about: its only node's, or what its name says, or the last node's."""
    nodes = case.model.graph.node
    if len(nodes) == 1:
        return str(nodes[0].op_type)
    words = re.sub(r"^test_|_expanded.*$", "", case.name).split("_")
    for length in range(len(words), 0, -1):
        found = _spelled().get("".join(words[:length]).lower())
        if found is not None:
            return found
    return str(nodes[-1].op_type)


@cache
def _spelled() -> dict[str, str]:
    """Operators as the names of cases spell them."""
    return {schema.name.lower(): schema.name for schema in onnx.defs.get_all_schemas()}


def outcome(case: Any, kind: str = "node") -> Outcome:
    """Run one case."""
    operator = "" if case.model is None else operator_of(case)
    try:
        model, data_sets = (case.model, case.data_sets) if case.model is not None else _from_files(case)
        operator = operator or str(model.graph.node[-1].op_type)
        net = door.load(model)
        for inputs, expected in data_sets:
            outputs = net.run([_plain(each) for each in inputs])
            if len(outputs) != len(expected):
                return Outcome(
                    case.name, operator, kind, True, False, f"{len(outputs)} of {len(expected)} outputs"
                )
            for got, wanted in zip(outputs, map(_plain, expected)):
                difference = differs(got, wanted, case.rtol, case.atol)
                if difference:
                    return Outcome(case.name, operator, kind, True, False, difference)
    except Exception as error:  # a case may fail in any way there is: this is what is reported
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        return Outcome(case.name, operator, kind, False, False, text[:200])
    return Outcome(
        case.name, operator, kind, bool(data_sets), bool(data_sets), "" if data_sets else "no data"
    )


def _from_files(case: Any) -> tuple[onnx.ModelProto, list[tuple[list[Any], list[Any]]]]:
    """The model of a case that lies in a folder, and its inputs and outputs."""
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    kept = {each.name for each in model.graph.initializer}
    declared = [each for each in model.graph.input if each.name not in kept]
    data_sets = []
    for data in sorted(folder.glob("test_data_set_*")):
        both = []
        for word, infos in (("input", declared), ("output", model.graph.output)):
            files = [data / f"{word}_{i}.pb" for i in range(len(infos))]
            both.append([_value(path.read_bytes(), each.type) for path, each in zip(files, infos)])
        data_sets.append((both[0], both[1]))
    return model, data_sets


def _value(data: bytes, kind: onnx.TypeProto) -> Any:
    """A value from a file: a tensor, a list of them, or nothing."""
    which = kind.WhichOneof("value")
    if which == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if which == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return array_of(onnx.TensorProto.FromString(data), None)


def light(path: Path) -> Outcome:
    """Run one of the light nets, on what onnx' own runner gives it, to what is in the file beside it."""
    model = onnx.load(path)
    name = path.stem
    try:
        net = door.load(model)
        given = []
        for value in net.inputs:
            shape = [size if isinstance(size, int) else 1 for size in value.shape or ()]
            count = int(np.prod(shape))
            given.append((np.arange(count).reshape(shape) / count).astype(np.float32))
        expected = onnx.TensorProto.FromString(path.with_name(f"{name}_output_0.pb").read_bytes())
        difference = differs(net.run(given)[0], array_of(expected, None), 1e-3, 1e-5)
        return Outcome(name, "whole nets", "light nets", True, not difference, difference)
    except Exception as error:
        return Outcome(
            name, "whole nets", "light nets", False, False, f"{type(error).__name__}: {error}"[:200]
        )


def outcomes(words: Sequence[str] = ("",)) -> Iterator[Outcome]:
    """Of all cases whose names have one of the words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in KINDS:
            for case in cases(kind):
                if any(word in case.name for word in words):
                    yield outcome(case, kind)
        for path in light_nets():
            if any(word in path.stem for word in words):
                yield light(path)


# ---- comparisons --------------------------------------------------------------------------------------


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


# ---- the page -----------------------------------------------------------------------------------------


class Row(NamedTuple):
    """Cases of an operator: how many there are, were executed, and passed."""

    cases: int
    executed: int
    passed: int


def counted(found: Iterable[Outcome]) -> Row:
    """The numbers of some outcomes."""
    found = list(found)
    return Row(len(found), sum(each.executed for each in found), sum(each.passed for each in found))


def family(operator: str) -> str:
    """Under which heading an operator stands."""
    if operator.startswith("Reduce"):
        return "Reduction"
    return next((name for name, told in FAMILIES.items() if operator in told.split()), OTHERS)


def reason(each: Outcome) -> str:
    """Why a case did not pass, as the page says it."""
    known = next((text for pattern, text in REASONS if re.search(pattern, each.name)), "")
    return known or re.sub(r"\|", "/", each.why)


def page(found: list[Outcome]) -> str:
    """docs/onnx.md."""
    total = counted(found)
    lines = [
        "# Which ONNX operators fastconv runs",
        "",
        f"Counted with onnx {onnx.__version__} by `python -m tests.interop.conformance --write`, which",
        "wrote this page. A case counts as executed only if fastconv itself ran it to results; it passed if",
        "these are the expected ones within the case's own tolerance.",
        "",
        f"**{total.executed} of {total.cases} cases executed, {total.passed} passed.**",
        "",
        "| kind of cases | cases | executed | passed |",
        "|---|---|---|---|",
    ]
    for kind in (*KINDS, "light nets"):
        lines.append(_line(kind, counted(each for each in found if each.kind == kind)))
    lines += ["", "| family | cases | executed | passed |", "|---|---|---|---|"]
    for name in (*FAMILIES, OTHERS):
        lines.append(_line(name, counted(each for each in found if family(each.operator) == name)))
    for name in (*FAMILIES, OTHERS):
        lines += [
            "",
            f"## {name}",
            "",
            "| operator | cases | executed | passed | why not |",
            "|---|---|---|---|---|",
        ]
        for operator in sorted({each.operator for each in found if family(each.operator) == name}):
            own = [each for each in found if each.operator == operator]
            why = Counter(reason(each) for each in own if not each.passed)
            told = "; ".join(f"{count}: {text}" for text, count in sorted(why.items()))
            lines.append(f"{_line(f'`{operator}`', counted(own))} {told} |".replace("  |", " |"))
    return "\n".join(lines) + "\n"


def _line(name: str, row: Row) -> str:
    return f"| {name} | {row.cases} | {row.executed} | {row.passed} |"


def written(text: str) -> tuple[str, dict[str, Row]]:
    """Which onnx a page was written with, and its numbers by the first column."""
    rows = re.findall(r"^\| `?([^|`]+?)`? \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    version = re.search(r"Counted with onnx (\S+) by", text)
    assert version is not None
    return version[1], {name: Row(*map(int, numbers)) for name, *numbers in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--why", action="store_true", help="print every case that does not pass, with the reason"
    )
    parser.add_argument("--write", action="store_true", help="write docs/onnx.md")
    parser.add_argument("words", nargs="*", help="only cases whose names have one of these")
    told = parser.parse_args()
    warnings.simplefilter("ignore")
    found = list(outcomes(told.words or [""]))
    if told.why:
        for each in found:
            if not each.passed:
                print(f"{each.name}: {each.why}")
    if told.write and not told.words:
        PAGE.write_text(page(found), encoding="utf-8")
    total = counted(found)
    print(f"executed {total.executed}, passed {total.passed} of {total.cases}")


if __name__ == "__main__":
    main()
