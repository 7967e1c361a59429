"""Operators that move, take, reduce: what onnx's own cases do not look at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastconv.graph import Graph, Node, Value

RNG = np.random.default_rng(7)
F32 = np.dtype(np.float32)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def node(
    operator: str, arrays: tuple[Any, ...], outputs: int, constants: bool, told: dict[str, Any]
) -> list[Any]:
    """What a node makes of arrays that come when it runs, or are known before."""
    values = [
        None if a is None else Value.of(np.array(a)) if constants else Value(f"i{i}")
        for i, a in enumerate(arrays)
    ]
    made = [Value(f"o{i}") for i in range(outputs)]
    given = [value for value in values if value is not None and not constants]
    graph = Graph(given, [Node(operator, values, made, told)], made)
    return graph.run([array for array in arrays if array is not None and not constants])


def run(operator: str, *arrays: Any, outputs: int = 1, **told: Any) -> Any:
    """The same both ways, which must agree; one array or a list."""
    seen, known = (node(operator, arrays, outputs, constants, told) for constants in (False, True))
    for a, b in zip(seen, known):
        np.testing.assert_array_equal(a, b)
        assert not isinstance(a, np.ndarray) or a.dtype == b.dtype
    return seen[0] if outputs == 1 else seen


def fails(operator: str, *arrays: Any, match: str, outputs: int = 1, **told: Any) -> None:
    """An error that names the node and the rule, whether the arrays are known before or not."""
    for constants in (False, True):
        with pytest.raises((ValueError, TypeError, MemoryError), match=f"(?s)node .*{match}"):
            node(operator, arrays, outputs, constants, told)


# ---- views and joins ------------------------------------------------------------------------------------


def test_parts_of_a_split_are_each_an_array_of_their_own() -> None:
    """What a graph returns can be changed without changing anything else that it returned."""
    x, y = Value("x", F32, (4, 3)), Value("y")
    parts = [Value("a"), Value("b")]
    graph = Graph([x], [Node("Relu", [x], [y]), Node("Split", [y], parts, {"num_outputs": 2})], [y, *parts])
    data = floats(4, 3)
    whole, first, second = graph.run([data])
    first[...] = 7
    second[...] = 8
    np.testing.assert_array_equal(whole, np.maximum(data, 0))


def test_every_part_of_a_split_keeps_its_source_alive() -> None:
    """Memory of a value is not used again while the second view of it is read."""
    x, y, out = Value("x"), Value("y"), Value("out")
    parts = [Value("a"), Value("b")]
    nodes = [Node("Relu", [x], [y]), Node("Split", [y], parts, {"num_outputs": 2})]
    before = Value("s0")
    nodes.append(Node("Exp", [parts[0]], [before]))
    for i in range(1, 4):  # values that would take the place of y if it were dead
        after = Value(f"s{i}")
        nodes.append(Node("Add", [before, before], [after]))
        before = after
    nodes.append(Node("Add", [before, parts[1]], [out]))
    data = floats(6, 3)
    (got,) = Graph([x], nodes, [out]).run([data])
    relu = np.maximum(data, 0)
    np.testing.assert_allclose(got, 8 * np.exp(relu[:3]) + relu[3:], rtol=1e-6)


def test_an_expanded_result_can_be_written() -> None:
    x, y, z = Value("x"), Value("y"), Value("z")
    graph = Graph([x], [Node("Relu", [x], [y]), Node("Expand", [y, Value.of(ints(3, 2))], [z])], [z])
    (got,) = graph.run([np.ones((1, 2), np.float32)])
    got[0] = 5
    np.testing.assert_array_equal(got, [[5, 5], [1, 1], [1, 1]])


def test_parts_of_a_join_are_written_in_place_or_copied() -> None:
    """A part that is made here, one that comes in, a constant, and one that is there twice."""
    x, y, out = Value("x"), Value("y"), Value("out")
    constant = Value.of(floats(2, 1))
    graph = Graph(
        [x], [Node("Relu", [x], [y]), Node("Concat", [y, x, constant, y], [out], {"axis": -1})], [out]
    )
    data = floats(2, 3)
    relu = np.maximum(data, 0)
    for _ in range(2):
        np.testing.assert_array_equal(
            graph.run([data])[0], np.concatenate([relu, data, constant.constant, relu], 1)
        )


def test_rules_of_shapes_are_said() -> None:
    fails("Concat", floats(2, 3), floats(3, 3), axis=1, match="input 1: shape")
    fails("Concat", floats(2), ints(1, 2), axis=0, match="input 1: dtype int64")
    fails("Concat", floats(2), floats(2), axis=3, match="axis=3")
    fails("Reshape", floats(2), ints(0, 0), match="0 keeps a size")
    fails("Reshape", floats(2), ints(-2), match="-1 or more")
    fails("Reshape", floats(0), ints(0, -1), allowzero=1, match="-1 stands for any size")
    fails("Transpose", floats(2, 3), perm=(0, 0), match="each of the 2 axes once")
    fails("Squeeze", floats(2, 1), ints(0), match="size 2 of axis 0")
    fails("Unsqueeze", floats(2), ints(1, 1), match="each axis once")
    fails("Split", floats(5), ints(2, 2), outputs=2, num_outputs=2, match="sum to the 5")
    fails("Slice", floats(5), ints(0), ints(1), ints(0), ints(0), match="must not be 0")
    fails("Slice", floats(5), ints(0), ints(1), ints(1), match="axes=1")
    fails("Expand", floats(5), ints(4), match="does not broadcast")
    fails("Tile", floats(5), ints(2, 2), match="for each axis")
    fails("DepthToSpace", floats(1, 3, 2, 2), blocksize=2, match="must divide the 3 channels")


def test_sizes_that_no_memory_holds_are_refused() -> None:
    huge = 1 << 40
    fails("Expand", floats(1), ints(huge, huge), match="cannot be allocated")
    fails("Tile", floats(1), ints(1 << 60), match="cannot be allocated")
    fails("ConstantOfShape", ints(huge, huge), match="cannot be allocated")
    fails("Pad", floats(1), ints(1 << 60, 0), match="cannot be allocated")
    fails("OneHot", ints(1), ints(1 << 60), np.array([0, 1.0]), match="cannot be allocated")
    fails("Range", ints(0), ints(1 << 62), ints(1), match="cannot be allocated")
    fails("Range", np.array(0.0), np.array(np.inf), np.array(1.0), match="finite")


def test_a_large_fill_is_not_computed_before_a_run() -> None:
    """Loading a model must not take the memory that running it takes."""
    out = Value("out")
    graph = Graph([], [Node("ConstantOfShape", [Value.of(ints(1 << 20))], [out])], [out])
    assert len(graph.program(()).steps) == 1
    assert graph.run([])[0].shape == (1 << 20,)


def test_slices_run_backwards_to_the_first_element() -> None:
    x = np.arange(5)
    low = -(1 << 63)
    np.testing.assert_array_equal(run("Slice", x, ints(-1), ints(low), ints(0), ints(-2)), [4, 2, 0])
    np.testing.assert_array_equal(run("Slice", x, ints(9), ints(-5), ints(0), ints(-1)), [4, 3, 2, 1])
    assert run("Slice", floats(0), ints(-1), ints(low), ints(0), ints(-1)).shape == (0,)


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap", "constant"])
def test_margins_longer_than_the_axis_and_negative_ones(mode: str) -> None:
    """What is cut off is not there any more when the other end is filled."""
    x = np.arange(12.0).reshape(3, 4)
    got = run("Pad", x, ints(5, -1, 2, 3), mode=mode)
    np.testing.assert_array_equal(got, np.pad(x[:, 1:], ((5, 2), (0, 3)), mode))  # type: ignore[call-overload]


def test_margins_of_nothing() -> None:
    fails("Pad", floats(2), ints(-3, 0), match="cut more off")
    fails("Pad", floats(0), ints(1, 0), mode="edge", match="nothing that mode 'edge' could repeat")
    np.testing.assert_array_equal(run("Pad", floats(0), ints(1, 1), np.float32(3)), [3, 3])


# ---- reductions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1), (0, 1, 2)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_sums_are_as_accurate_along_every_axis(axes: tuple[int, ...], order: tuple[int, ...]) -> None:
    """A sum of float32 row after row would be off by a thousand units in the last place here."""
    x = (RNG.random((700, 30, 40)) + 1).astype(np.float32).transpose(order)
    exact = x.astype(np.float64).sum(axes)
    np.testing.assert_allclose(run("ReduceSum", x, ints(*axes), keepdims=0), exact, rtol=6e-7)


def test_reductions_of_nothing_and_over_no_axes() -> None:
    empty = np.zeros((2, 0), np.float32)
    assert run("ReduceMax", empty, ints(1)).tolist() == [[-np.inf], [-np.inf]]
    assert run("ReduceMin", empty.astype(np.int8), ints(1)).tolist() == [[127], [127]]
    assert run("ReduceLogSumExp", empty, ints(1), keepdims=0).tolist() == [-np.inf, -np.inf]
    x = floats(2, 3)
    np.testing.assert_array_equal(run("ReduceSumSquare", x, noop_with_empty_axes=1), x * x)
    fails("ReduceSum", x, ints(2), match="axes=2")
    fails("ArgMax", empty, axis=1, match="no element to choose")


def test_logsumexp_does_not_overflow() -> None:
    assert run("ReduceLogSumExp", np.array([1000.0, 1000.0])).item() == pytest.approx(1000 + np.log(2))
    assert run("ReduceLogSumExp", np.array([-np.inf, -np.inf])).item() == -np.inf


def test_a_mean_of_integers_is_cut_towards_zero() -> None:
    assert run("ReduceMean", np.array([-1, -2, 0, 0], np.int32)).tolist() == [0]
    assert run("ReduceMean", np.array([2**31 - 1, 2**31 - 1], np.int32)).tolist() == [2**31 - 1]


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("size", [30, 3000])
def test_the_first_of_equals_comes_first(largest: int, size: int) -> None:
    """Whether all are sorted or only the few that are wanted."""
    x = RNG.integers(0, 20, size).astype(np.float32)
    values, places = run("TopK", x, ints(7), outputs=2, largest=largest)
    order = np.argsort(-x if largest else x, kind="stable")[:7]
    np.testing.assert_array_equal(places, order)
    np.testing.assert_array_equal(values, x[order])


def test_running_sums_of_half_floats_are_rounded_once() -> None:
    x = np.full(4096, 0.1, np.float16)
    exact = np.cumsum(x.astype(np.float64)).astype(np.float16)
    np.testing.assert_array_equal(run("CumSum", x, ints(0)), exact)


# ---- indices --------------------------------------------------------------------------------------------


def test_indices_outside_are_errors() -> None:
    x = floats(3, 2)
    for index in (3, -4):
        fails("Gather", x, ints(index), match="out of bounds")
        fails("GatherElements", x, ints(index)[None], match="out of bounds")
        fails("GatherND", x, ints(index)[None], match="out of bounds")
        fails("ScatterElements", x, ints(index)[None], floats(1, 1), match="out of bounds")
        fails("ScatterND", x, ints(index)[None], floats(1, 2), reduction="add", match="out of bounds")
    fails("ArrayFeatureExtractor", x, ints(2), match="out of bounds")
    fails("TensorScatter", floats(1, 3, 2), floats(1, 2, 2), ints(-1), match="must lie within the 3")
    fails("Compress", x, np.array([False] * 3 + [True]), axis=0, match="out of bounds")


def test_half_floats_meet_in_float32() -> None:
    """A thousand times 1/4096 added to 1 is not lost, as it would be one by one."""
    places, small = np.zeros(1000, np.int64), np.full(1000, 2.0**-12, np.float16)
    got = run("ScatterElements", np.ones(1, np.float16), places, small, reduction="add")
    assert got.tolist() == [np.float16(1 + 1000 * 2.0**-12)]


def test_shapes_of_indices_are_checked() -> None:
    x = floats(3, 2)
    fails("GatherElements", x, np.zeros((1, 3), np.int64), match="but for axis 0")
    fails("ScatterElements", x, np.zeros((1, 2), np.int64), floats(1, 1), match="must be that of the indices")
    fails("ScatterND", x, np.zeros((1, 3), np.int64), floats(1), match="end in at most")
    fails("Gather", x, floats(1), match="integers")


def test_unique_rows_of_text() -> None:
    x = np.array([["b", "a"], ["a", "a"], ["b", "a"]], object)
    rows, first, which, counts = run("Unique", x, outputs=4, axis=0)
    assert rows.tolist() == [["a", "a"], ["b", "a"]]
    assert [first.tolist(), which.tolist(), counts.tolist()] == [[1, 0], [1, 0, 1], [1, 2]]


# ---- words ----------------------------------------------------------------------------------------------


def test_no_pattern_takes_exponential_time() -> None:
    text = np.array(["a" * 3000, "a" * 3000 + "b"], object)
    assert run("RegexFullMatch", text, pattern="(a+)+b").tolist() == [False, True]
    fails("RegexFullMatch", text, pattern="((((a{1000}){1000}){1000}){1000}", match="pattern=")
    fails("RegexFullMatch", text, pattern="(", match="not closed")


def test_skips_beyond_the_text_end_nowhere() -> None:
    got = run(
        "TfIdfVectorizer", ints(1, 5, 2), mode="TF", ngram_counts=(0, 0), ngram_indexes=(0,),
        max_skip_count=1 << 62, min_gram_length=2, max_gram_length=2, pool_int64s=(1, 2),
    )  # fmt: skip
    assert got.tolist() == [1]


def test_labels_nan_and_the_last_of_equal_keys() -> None:
    x = np.array([np.nan, 2, 9], np.float32)
    told: dict[str, Any] = {"keys_floats": (np.nan, 2.0, 2.0), "values_strings": ("none", "first", "last")}
    assert run("LabelEncoder", x, **told).tolist() == ["none", "last", "_Unused"]


def test_trees_that_lead_in_a_circle_are_refused() -> None:
    told: dict[str, Any] = {
        "tree_roots": (0,), "nodes_modes": np.zeros(1, np.uint8), "nodes_featureids": (0,),
        "nodes_splits": np.zeros(1), "nodes_truenodeids": (0,), "nodes_falsenodeids": (0,),
        "nodes_trueleafs": (0,), "nodes_falseleafs": (1,), "leaf_targetids": (0,), "leaf_weights": np.ones(1),
    }  # fmt: skip
    fails("TreeEnsemble", np.full((1, 1), -1.0), match="in a circle", **told)
    assert run("TreeEnsemble", np.full((1, 1), 1.0), **told).tolist() == [[1.0]]
    fails(
        "TreeEnsemble",
        np.zeros((1, 1)),
        match="nodeids: must be below",
        **{**told, "nodes_truenodeids": (5,)},
    )
