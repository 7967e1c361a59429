"""The language of lines such as `conv2d n4 c64 56x56 k64 3x3 p1`: what it says, writes and refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conv_cases import CONV, CONV_INPUT, CONV_TRANSPOSE
from hypothesis import given
from hypothesis import strategies as st
from pool_cases import AVG_POOL, MAX_POOL

import fastconv
from fastconv.functional.case import Case

FUNCTIONS: dict[str, dict[int, Any]] = {
    "conv": CONV,
    "conv_transpose": CONV_TRANSPOSE,
    "max_pool": MAX_POOL,
    "avg_pool": AVG_POOL,
}


def numbers(draw: st.DrawFn, rank: int, least: int, most: int) -> str:
    """One for all axes, or one for each."""
    count = draw(st.sampled_from([1, rank]))
    return "x".join(str(draw(st.integers(least, most))) for _ in range(count))


def padding(draw: st.DrawFn, rank: int, most: int) -> str:
    """In any of its forms but `psame`."""
    side = st.integers(0, most)
    axes = [
        f"{draw(side)}:{draw(side)}" if draw(st.booleans()) else str(draw(side))
        for _ in range(draw(st.sampled_from([1, rank])))
    ]
    return "x".join(axes)


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Right lines of every operation, words in any order, defaults spelled out or not."""
    operation, rank = draw(st.sampled_from(sorted(FUNCTIONS))), draw(st.sampled_from([1, 2, 3]))
    pool = operation.endswith("pool")
    groups = 1 if pool else draw(st.integers(1, 3))
    direction = draw(st.sampled_from(["forward", "input_gradient"] + ["weight_gradient"] * (not pool)))
    words = [
        f"c{groups * draw(st.integers(1, 3))}",
        f"s{numbers(draw, rank, 1, 3)}",
        draw(st.sampled_from(["float32", "float64"])),
        direction,
    ]
    optional = [f"n{draw(st.integers(0, 3))}", "channels_last", f"p{padding(draw, rank, 1)}"]
    if operation == "conv":
        optional += [f"algorithm={draw(st.sampled_from(['auto', 'direct']))}"]
    if operation == "conv_transpose":
        words[1] = f"s{draw(st.integers(2, 3))}"
        optional += [f"o{numbers(draw, rank, 0, 1)}"]
    if operation != "avg_pool":
        optional += [f"d{numbers(draw, rank, 1, 2)}"]
    if pool:
        optional += ["ceil_mode"]
    else:
        words += [f"k{groups * draw(st.integers(1, 3))}", f"g{groups}"]
        optional += [f"precision={draw(st.sampled_from(['highest', 'high', 'medium']))}"]
        if direction == "forward":
            optional += ["bias"] + ["activation=relu"] * (operation == "conv")
    words += [word for word in optional if draw(st.booleans())]
    sizes = [numbers(draw, rank, 5, 9), numbers(draw, rank, 2, 3)]
    words = draw(st.permutations([*words, "size", "kernel"]))
    words = [sizes.pop(0) if word in ("size", "kernel") else word for word in words]
    return " ".join([f"{operation}{rank}d", *words])


@given(lines())
def test_parse_and_print_are_inverses(line: str) -> None:
    """A case is what its line says, and a line that was printed is printed again."""
    case = Case.parse(line)
    assert Case.parse(str(case)) == case
    assert str(Case.parse(str(case))) == str(case)
    assert set(str(case).split()).isdisjoint({"n1", "g1", "p0", "o0", "float32", "forward", "algorithm=auto"})


@given(lines())
def test_a_line_says_what_the_function_does(line: str) -> None:
    """Shapes and keyword arguments of a case are those of the call."""
    case = Case.parse(line)
    assert f"{case.operation}{case.rank}d" == case.function
    arrays = [np.ones(case.input_shape, case.dtype)]
    if not case.is_pool:
        arrays += [np.ones(case.weight_shape, case.dtype)]
    output = FUNCTIONS[case.operation][case.rank](*arrays, **case.parameters)
    assert output.shape == case.output_shape


@pytest.mark.parametrize(
    ("line", "shortest"),
    [
        ("conv2d n4 c64 56x56 k64 3x3 p1", None),
        ("conv2d n1 c64 56 k64 3 s1x1 p0 d1 g1 float32 forward algorithm=auto", "conv2d c64 56x56 k64 3x3"),
        ("conv1d float64 k8 p1:0 9 c4 3 g2", "conv1d c4 9 k8 3 p1:0 g2 float64"),
        ("conv3d c1 5 k1 3 psame precision=highest", "conv3d c1 5x5x5 k1 3x3x3 psame precision=highest"),
        ("max_pool2d c3 8 2 s2 p1:1x0", "max_pool2d c3 8x8 2x2 p1x0"),
        ("avg_pool1d c3 8 2 s1 ceil_mode", None),
        ("conv_transpose2d c3 8x8 k4 3x3 s2 p1 o1 bias", None),
        ("conv2d c1 8x8 k4 3x3 bias activation=relu channels_last algorithm=winograd", None),
        ("conv2d c1 8x8 k4 3x3 weight_gradient", None),
    ],
)
def test_the_shortest_line(line: str, shortest: str | None) -> None:
    """Defaults are dropped, words have one order, one number stands for all axes but those of sizes."""
    assert str(Case.parse(line)) == (shortest or line)


@pytest.mark.parametrize(
    ("line", "word", "rule"),
    [
        ("", "", "begins with an operation"),
        ("conv4d c1 9 k1 3", "conv4d", "begins with an operation"),
        ("conv2d n4 56x56 k64 3x3", "", "lacks c64"),
        ("conv2d c4 56x56 3x3", "", "lacks k64"),
        ("max_pool2d c4 56x56", "", "lacks a kernel"),
        ("conv2d c4 9 k4 3 strides2", "strides2", "no word of this language"),
        ("conv2d c4 9 k4 3 relu", "relu", "no word of this language"),
        ("conv2d c4 9 k4 3 p1 p2", "p2", "said before, by 'p1'"),
        ("conv2d c4 9 k4 3 5", "5", "said before, by '3'"),
        ("conv2d c4 9 k4 3 s0", "s0", "at least 1"),
        ("conv2d c4 9 k4 3 s1x1x1", "s1x1x1", "2 entries"),
        ("conv2d c4 9 k4 3 p1:2:3", "p1:2:3", "before and after"),
        ("conv2d c4 9 k4 3 s1:2", "s1:2", "x between them"),
        ("conv2d c4x4 9 k4 3", "c4x4", "one number"),
        ("conv2d c4 9 k4 3 g3", "g3", "divide the channels"),
        ("conv2d c4 9 k4 3 algorithm=fastest", "algorithm=fastest", "must be one of auto"),
        ("conv2d c4 9 k4 3 precision=low", "precision=low", "must be one of highest"),
        ("conv2d c4 9 k4 3 activation=tanh", "activation=tanh", "must be one of relu"),
        ("conv2d c4 9 k4 3 bias weight_gradient", "bias", "forward pass alone"),
        ("conv2d c4 9 k4 3 o1", "o1", "does not go with conv2d"),
        ("max_pool2d c4 9 3 weight_gradient", "weight_gradient", "does not go with max_pool2d"),
        ("avg_pool2d c4 9 3 d2", "d2", "does not go with avg_pool2d"),
        ("conv2d c4 9 k4 11", "", "larger than the padded input's 9"),
        ("conv2d c4 9 k4 3 s2 psame", "", "needs stride 1"),
        ("conv2d c4 9 k4 3 p9999999999999999999", "", "must be at most"),
    ],
)
def test_a_bad_line_is_refused_by_word_and_rule(line: str, word: str, rule: str) -> None:
    """One line, which quotes the line, names the word if it is one word's fault, and says the rule."""
    with pytest.raises(ValueError, match=r"^.+$") as caught:
        Case.parse(line)
    message = str(caught.value)
    assert repr(line) in message
    assert not word or message.startswith(f"{word!r} in ")
    assert rule in message
    assert "\n" not in message


# ---- conv_info reads lines ---------------------------------------------------------------------------


def test_conv_info_reads_a_line() -> None:
    """It tells the same of a line as of the shapes it names."""
    line = "conv2d n4 c8 30x30 k6 3x5 s1x2 p1:0x2 g2 float64 channels_last input_gradient algorithm=direct"
    info = fastconv.conv_info(
        (4, 8, 30, 30), (6, 4, 3, 5), (1, 2), ((1, 0), (2, 2)), 1, 2,
        dtype=np.float64, channels_last=True, algorithm="direct", direction="input_gradient",
    )  # fmt: skip
    assert fastconv.conv_info(line) == info


def test_conv_info_of_a_transposed_line_is_that_of_the_input_gradient() -> None:
    """Whose input is the transposed convolution's output."""
    case = Case.parse("conv_transpose2d n2 c6 10x10 k4 3x3 s2 p1 o1")
    gradient = CONV_INPUT[2](case.output_shape, np.ones((6, 4, 3, 3)), np.ones((2, 6, 10, 10)), 2, 1)
    assert gradient.shape == case.output_shape
    expected = fastconv.conv_info(case.output_shape, (6, 4, 3, 3), 2, 1, direction="input_gradient")
    assert fastconv.conv_info(str(case)) == expected


def test_the_precision_of_a_line_is_its_own() -> None:
    """Without one, that in force counts."""
    layer = "conv2d c48 56x56 k48 3x3 p1"
    with fastconv.precision("high"):
        high = fastconv.conv_info(layer)
    assert high == fastconv.conv_info(f"{layer} precision=high")
    assert high != fastconv.conv_info(f"{layer} precision=highest")


@pytest.mark.parametrize(
    ("name", "value"),
    {
        "weight_shape": (1, 1, 3, 3),
        "padding": 1,
        "stride": (2, 2),
        "dtype": np.float64,
        "channels_last": True,
        "algorithm": "direct",
        "direction": "input_gradient",
    }.items(),
)
def test_nothing_may_be_given_beside_a_line(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}=.*: must not be given beside the line 'conv2d"):
        fastconv.conv_info("conv2d c1 9x9 k1 3x3", **{name: value})


def test_conv_info_of_a_pool_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'max_pool2d' in .*: must be a convolution"):
        fastconv.conv_info("max_pool2d c4 9x9 3x3")
