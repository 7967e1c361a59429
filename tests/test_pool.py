"""Pooling, unpooling and their gradients: equal to plain loops; ties, NaN, and the same bits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conv_cases import assert_close, examples, lay_out
from hypothesis import assume, given
from hypothesis import strategies as st
from pool_cases import (
    ADAPTIVE_AVG,
    ADAPTIVE_AVG_INPUT,
    ADAPTIVE_MAX,
    ADAPTIVE_MAX_INPUT,
    AVG_POOL,
    AVG_POOL_INPUT,
    LP_POOL,
    LP_POOL_INPUT,
    MAX_POOL,
    MAX_POOL_INPUT,
    MAX_UNPOOL,
    MAX_UNPOOL_INPUT,
    PoolCase,
    is_allowed,
    pool_cases,
)
from reference import pool as reference

import fastconv
from fastconv import grad, nn

NAN, INF = math.nan, math.inf


# ---- the plain algorithm, the oracle of all others, against loops that share nothing with it -----------

#: Which elements an average counts, and what a norm's power is.
OPTIONS = {
    "counting": st.tuples(st.booleans(), st.sampled_from([None, None, 1, 7, -2])),
    "norm_type": st.sampled_from([1, 2, 3, 2.5, 0.5, INF, -INF]),
}
Counting = tuple[bool, int | None]


@given(case=pool_cases(), **OPTIONS)
@examples(150)
def test_plain_algorithm_equals_float64_loops(case: PoolCase, counting: Counting, norm_type: float) -> None:
    """`algorithm="reference"` of every pooling and gradient, whatever the options."""
    plain_max_pool_equals_loops(case)
    plain_avg_pool_equals_loops(case.narrow(), counting)
    plain_adaptive_pools_equal_loops(case)
    plain_lp_pool_equals_loops(case, norm_type)


def plain_max_pool_equals_loops(case: PoolCase) -> None:
    input, windows = case.make_input(), case.windows()
    if not is_allowed(windows):
        return
    parameters = {**case.parameters, "padding": case.padding, "dilation": case.dilation}
    values, indices = MAX_POOL[case.rank](input, **parameters, return_indices=True, algorithm="reference")
    expected, places = reference.max_pool(case.batch(input), windows)
    assert (values.dtype, indices.dtype) == (input.dtype, np.int64)
    np.testing.assert_array_equal(case.batch(values), expected)
    np.testing.assert_array_equal(case.batch(indices), places)
    grad_output = case.make_grad_output(reference.output_size(windows))
    gradient = MAX_POOL_INPUT[case.rank](
        case.shape, case.lay_out(indices), grad_output, algorithm="reference"
    )
    assert_close(case.batch(gradient), reference.max_pool_input(case.size, places, case.batch(grad_output)))
    assert gradient.dtype == input.dtype


def plain_avg_pool_equals_loops(case: PoolCase, counting: Counting) -> None:
    input, windows = case.make_input(), case.windows()
    if not is_allowed(windows):
        return
    parameters = (case.kernel, case.stride, case.pads, case.ceil_mode, *counting)
    values = AVG_POOL[case.rank](input, *parameters, algorithm="reference")
    assert values.dtype == input.dtype
    assert_close(case.batch(values), reference.avg_pool(case.batch(input), windows, *counting))
    grad_output = case.make_grad_output(reference.output_size(windows))
    gradient = AVG_POOL_INPUT[case.rank](case.shape, grad_output, *parameters, algorithm="reference")
    expected = reference.avg_pool_input(case.size, case.batch(grad_output), windows, *counting)
    assert_close(case.batch(gradient), expected)


def plain_adaptive_pools_equal_loops(case: PoolCase) -> None:
    input, windows = case.make_input(), case.adaptive_windows()
    averages = ADAPTIVE_AVG[case.rank](input, case.wanted, algorithm="reference")
    assert_close(case.batch(averages), reference.avg_pool(case.batch(input), windows))
    grad_output = case.make_grad_output(reference.output_size(windows))
    gradient = ADAPTIVE_AVG_INPUT[case.rank](case.shape, grad_output, algorithm="reference")
    assert_close(case.batch(gradient), reference.avg_pool_input(case.size, case.batch(grad_output), windows))
    maxima, indices = ADAPTIVE_MAX[case.rank](input, case.wanted, return_indices=True, algorithm="reference")
    expected, places = reference.max_pool(case.batch(input), windows)
    np.testing.assert_array_equal(case.batch(maxima), expected)
    np.testing.assert_array_equal(case.batch(indices), places)


def plain_lp_pool_equals_loops(case: PoolCase, norm_type: float) -> None:
    case = replace(case, ties=case.ties and norm_type >= 1)  # below 1 the gradient at 0 is infinite
    windows = case.windows(dilated=False, padded=False)
    if not is_allowed(windows):
        return
    input = case.make_input(positive=True)
    values = LP_POOL[case.rank](input, norm_type, **case.parameters, algorithm="reference")
    assert_close(case.batch(values), reference.lp_pool(case.batch(input), windows, norm_type, case.kernel))
    grad_output = case.make_grad_output(reference.output_size(windows))
    gradient = LP_POOL_INPUT[case.rank](
        input, case.lay_out(values), grad_output, norm_type, **case.parameters, algorithm="reference"
    )
    expected = reference.lp_pool_input(
        case.batch(input), case.batch(grad_output), windows, norm_type, case.kernel
    )
    # the gradient is computed from the norm that was handed in, rounded to the dtype
    assert_close(case.batch(gradient), expected)


# ---- against the plain algorithm, in doubles ---------------------------------------------------------


@given(case=pool_cases(), **OPTIONS)
@examples(1200)
def test_poolings_equal_plain_algorithm(case: PoolCase, counting: Counting, norm_type: float) -> None:
    """Every pooling, its gradient and its layer, on any geometry, layout and data.

    Maxima have the plain algorithm's values and indices (the first of equal ones). Windows that cover nothing
    are refused by name. No input is written.
    """
    max_pool_equals_plain(case)
    avg_pool_equals_plain(case.narrow(), counting)
    adaptive_pools_equal_plain(case)
    lp_pool_equals_plain(case, norm_type)


def max_pool_equals_plain(case: PoolCase) -> None:
    input, windows = case.make_input(), case.windows()
    before, exact = input.copy(), input.astype(np.float64)
    parameters = {**case.parameters, "padding": case.padding, "dilation": case.dilation}
    pool, gradient = MAX_POOL[case.rank], MAX_POOL_INPUT[case.rank]
    if not is_allowed(windows):
        with pytest.raises(ValueError, match=r"^(kernel_size|dilation)="):
            pool(input, **parameters)
        return
    values, indices = pool(input, **parameters, return_indices=True)
    expected, places = pool(exact, **parameters, return_indices=True, algorithm="reference")
    assert (values.dtype, indices.dtype) == (input.dtype, np.int64)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(pool(input, **parameters), values)

    grad_output = case.make_grad_output(reference.output_size(windows))
    expected = gradient(case.shape, places, grad_output.astype(np.float64), algorithm="reference")
    result = gradient(case.shape, case.lay_out(indices), grad_output)
    assert_close(result, expected)
    assert result.dtype == input.dtype

    layer = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[case.rank - 1](**parameters)
    output, backprop = layer.vjp(input)  # keeps positions in windows, not indices
    np.testing.assert_array_equal(output, values)
    for _ in range(2):  # what it keeps is not used up
        assert_close(backprop(grad_output), expected)
    with pytest.raises(ValueError, match=r"^grad_output: shape"):
        backprop(grad_output[..., :-1])
    np.testing.assert_array_equal(input, before)


def avg_pool_equals_plain(case: PoolCase, counting: Counting) -> None:
    parameters = {
        **case.parameters,
        "padding": case.pads,
        "count_include_pad": counting[0],
        "divisor_override": counting[1],
    }
    plain = {**parameters, "algorithm": "reference"}
    input, windows = case.make_input(), case.windows()
    if not is_allowed(windows):
        with pytest.raises(ValueError, match=r"^kernel_size="):
            AVG_POOL[case.rank](input, **parameters)
        return
    values = AVG_POOL[case.rank](input, **parameters)
    assert values.dtype == input.dtype
    assert_close(values, AVG_POOL[case.rank](input.astype(np.float64), **plain))

    grad_output = case.make_grad_output(reference.output_size(windows))
    gradient = AVG_POOL_INPUT[case.rank](case.shape, grad_output, **parameters)
    assert_close(gradient, AVG_POOL_INPUT[case.rank](case.shape, grad_output.astype(np.float64), **plain))


def adaptive_pools_equal_plain(case: PoolCase) -> None:
    """To any output size, larger than the input too."""
    input, size = case.make_input(), reference.output_size(case.adaptive_windows())
    grad_output = case.make_grad_output(size)
    exact, exact_grad_output = input.astype(np.float64), grad_output.astype(np.float64)
    averages = ADAPTIVE_AVG[case.rank](input, case.wanted)
    assert_close(averages, ADAPTIVE_AVG[case.rank](exact, case.wanted, algorithm="reference"))
    gradient = ADAPTIVE_AVG_INPUT[case.rank](case.shape, grad_output)
    expected = ADAPTIVE_AVG_INPUT[case.rank](case.shape, exact_grad_output, algorithm="reference")
    assert_close(gradient, expected)

    maxima, indices = ADAPTIVE_MAX[case.rank](input, case.wanted, return_indices=True)
    expected, places = ADAPTIVE_MAX[case.rank](exact, case.wanted, return_indices=True, algorithm="reference")
    np.testing.assert_array_equal(maxima, expected)
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_array_equal(ADAPTIVE_MAX[case.rank](input, case.wanted), maxima)
    gradient = ADAPTIVE_MAX_INPUT[case.rank](case.shape, case.lay_out(indices), grad_output)
    expected = ADAPTIVE_MAX_INPUT[case.rank](case.shape, places, exact_grad_output, algorithm="reference")
    assert_close(gradient, expected)


def lp_pool_equals_plain(case: PoolCase, norm_type: float) -> None:
    """A norm of 0 has no gradient, and only the first of equal extremes has one."""
    case = replace(case, ties=case.ties and norm_type >= 1)  # below 1 the gradient at 0 is infinite
    windows = case.windows(dilated=False, padded=False)
    if not is_allowed(windows):
        return
    input, plain = case.make_input(positive=True), {**case.parameters, "algorithm": "reference"}
    values = LP_POOL[case.rank](input, norm_type, **case.parameters)
    exact = input.astype(np.float64)
    norms = LP_POOL[case.rank](exact, norm_type, **plain)
    assert_close(values, norms)
    grad_output = case.make_grad_output(reference.output_size(windows))
    gradient = LP_POOL_INPUT[case.rank](
        input, case.lay_out(values), grad_output, norm_type, **case.parameters
    )
    expected = LP_POOL_INPUT[case.rank](exact, norms, grad_output.astype(np.float64), norm_type, **plain)
    # the gradient is computed from the norm that was handed in, rounded to the dtype
    assert_close(gradient, expected)


@given(case=pool_cases(), data=st.data())
@examples(250)
def test_max_unpool_equals_loops(case: PoolCase, data: st.DataObject) -> None:
    """Values to any places, of several in one the last stays; every allowed output size; the gradient."""
    usual = [
        (extent - 1) * step + k - sum(pair)
        for extent, step, k, pair in zip(case.size, case.stride, case.kernel, case.pads)
    ]
    size = tuple(
        data.draw(st.integers(max(1, u - step + 1), max(1, u + step - 1)))
        for u, step in zip(usual, case.stride)
    )
    assume(all(abs(s - u) < step for s, u, step in zip(size, usual, case.stride)))
    input = case.make_input()
    generator = np.random.default_rng(case.seed)
    places = generator.integers(0, math.prod(size), case.shape)
    indices = case.lay_out(places)
    stride = {} if case.stride == case.kernel else {"stride": case.stride}
    whole = data.draw(st.booleans())
    output = MAX_UNPOOL[case.rank](
        input,
        indices,
        case.kernel,
        padding=case.pads,
        output_size=case.with_size(size) if whole else size,
        **stride,
    )
    expected = reference.max_unpool(case.batch(input), case.batch(places), size)
    np.testing.assert_array_equal(case.batch(output), expected)

    grad_output = case.make_grad_output(size)
    gradient = MAX_UNPOOL_INPUT[case.rank](case.shape, indices, grad_output)
    expected = reference.max_unpool_input(case.batch(places), case.batch(grad_output))
    np.testing.assert_array_equal(case.batch(gradient), expected)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_global_pools(rank: int) -> None:
    """One value per plane, on any rank, batched or not; no other rank."""
    input = np.random.default_rng(0).standard_normal((2, 3, 5, 4, 6)[: rank + 2])
    spatial = tuple(range(2, rank + 2))
    np.testing.assert_allclose(
        fastconv.global_avg_pool(input), input.mean(spatial, keepdims=True), rtol=1e-13
    )
    np.testing.assert_array_equal(fastconv.global_max_pool(input), input.max(spatial, keepdims=True))
    unbatched = fastconv.global_avg_pool(input[0], batched=False)
    np.testing.assert_array_equal(unbatched, fastconv.global_avg_pool(input)[0])
    for pool in (fastconv.global_avg_pool, fastconv.global_max_pool):
        with pytest.raises(ValueError, match=r"^input: shape"):
            pool(np.ones((2, 3)))
        with pytest.raises(ValueError, match=r"^input: shape"):
            pool(np.ones((2, 3, 4, 4, 4)), batched=False)


# ---- the deck --------------------------------------------------------------------------------------


def test_deck_tables() -> None:
    """7x7 -> 4x4 -> 2x2, window 2, partial windows kept: the printed maps; pooling and ReLU commute."""
    deck = json.loads((Path(__file__).parent / "golden" / "deck.json").read_text())
    filtered = np.array(deck["filtered_X_ninths"], np.float32)
    rectified = np.array(deck["relu_X_ninths"], np.float32)
    once = fastconv.max_pool2d(rectified, 2, ceil_mode=True)
    np.testing.assert_array_equal(once, deck["pooled_X_ninths"])
    np.testing.assert_array_equal(fastconv.max_pool2d(once, 2, ceil_mode=True), deck["pooled_twice_X_ninths"])
    np.testing.assert_array_equal(np.maximum(fastconv.max_pool2d(filtered, 2, ceil_mode=True), 0), once)


# ---- ties, NaN, infinities -------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ties_go_to_the_first(layout: str, dtype: type) -> None:
    """Of equal maxima the first in scan order is found, and it alone gets the gradient."""
    input = lay_out(np.zeros((1, 40, 6, 6), dtype), layout, 1)
    values, indices = fastconv.max_pool2d(input, 3, return_indices=True)
    np.testing.assert_array_equal(indices, np.broadcast_to([[0, 3], [18, 21]], values.shape))
    gradient = grad.max_pool2d_input(input.shape, indices, np.ones_like(values))
    assert gradient.sum() == values.size
    assert (gradient[:, :, ::3, ::3] == 1).all()
    _, indices = fastconv.adaptive_max_pool2d(input, (4, 1), return_indices=True)
    np.testing.assert_array_equal(indices[0, 0], [[0], [6], [18], [24]])


def test_signed_zeros_are_equal() -> None:
    """-0.0 and 0.0 tie: the first is returned as it is."""
    values, indices = fastconv.max_pool1d(np.array([[-0.0, 0.0, 0.0, -0.0]]), 2, return_indices=True)
    np.testing.assert_array_equal(indices, [[0, 2]])
    np.testing.assert_array_equal(np.signbit(values), [[True, False]])


@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_non_finite_values_reach_exactly_their_windows(layout: str, dtype: type, bad: float) -> None:
    """Forward and backward, a value that is not finite touches what covers it and nothing else."""
    values = np.random.default_rng(0).uniform(1, 2, (1, 33, 9, 9)).astype(dtype)
    values[0, 5, 4, 4] = bad
    covering = np.zeros((33, 4, 4), bool)
    covering[5, 1:3, 1:3] = True  # windows of 3 at 0, 2, 4, 6: rows 2-4 and 4-6 hold row 4
    input = lay_out(values, layout, 1)
    for output in (fastconv.avg_pool2d(input, 3, 2), fastconv.lp_pool2d(input, 2, 3, 2)):
        np.testing.assert_array_equal(~np.isfinite(output[0]), covering)
    maxima, indices = fastconv.max_pool2d(input, 3, 2, return_indices=True)
    if bad == -INF:
        assert np.isfinite(maxima).all()
    else:
        np.testing.assert_array_equal(~np.isfinite(maxima[0]), covering)
        assert (indices[0, 5, 1:3, 1:3] == 4 * 9 + 4).all()
    np.testing.assert_array_equal(fastconv.max_pool2d(input, 3, 2), maxima)

    grad_output = lay_out(values[:, :, :4, :4] * 0 + 1, layout, 1)
    grad_output[0, 5, 1, 2] = bad
    reached = np.zeros((33, 9, 9), bool)
    reached[5, 2:5, 4:7] = True
    gradient = grad.avg_pool2d_input(input.shape, grad_output, 3, 2)
    np.testing.assert_array_equal(~np.isfinite(gradient[0]), reached)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_first_nan_is_the_maximum(dtype: type) -> None:
    """A window with NaNs has maximum NaN, found at the first of them, even after infinity."""
    row = np.array([[1, NAN, 9, NAN, INF, NAN, -INF, -INF]], dtype)
    values, indices = fastconv.max_pool1d(row, 4, return_indices=True)
    assert np.isnan(values).all()
    np.testing.assert_array_equal(indices, [[1, 5]])
    values, indices = fastconv.adaptive_max_pool1d(row, 1, return_indices=True)
    assert np.isnan(values).all()
    np.testing.assert_array_equal(indices, [[1]])


@pytest.mark.parametrize("layout", ["C", "channels_last"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_windows_of_minus_infinity_have_a_valid_index(layout: str, dtype: type) -> None:
    """Nothing exceeds the -inf of the padding, yet the index is the first element covered, never -1."""
    input = lay_out(np.full((1, 3, 4, 4), -INF, dtype), layout, 1)
    values, indices = fastconv.max_pool2d(input, 3, 2, 1, return_indices=True)
    assert (values == -INF).all()
    np.testing.assert_array_equal(indices, np.broadcast_to([[0, 1], [4, 5]], values.shape))


def test_planes_beyond_32_bits() -> None:
    """Indices are 64 bits wide: a plane of more elements than 32 bits count, repeated from one in memory."""
    input = np.broadcast_to(np.float32(1), (1, 2**31 + 7))
    _, indices = fastconv.max_pool1d(input, 2, 2**30, return_indices=True)
    np.testing.assert_array_equal(indices, [[0, 2**30, 2**31]])


# ---- bits ------------------------------------------------------------------------------------------


def operations(input: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Every pooling and gradient of an input (N, C, H, W), as a function without arguments."""
    maxima, indices = fastconv.max_pool2d(input, 3, 2, 1, return_indices=True)
    norms = fastconv.lp_pool2d(input, 2, 3, 1)
    adapted = fastconv.adaptive_avg_pool2d(input, (11, 13))
    shape = input.shape
    return {
        "max": lambda: fastconv.max_pool2d(input, 3, 2, 1),
        "indices": lambda: fastconv.max_pool2d(input, 3, 2, 1, return_indices=True)[1],
        "max gradient": lambda: grad.max_pool2d_input(shape, indices, maxima),
        "layer's max gradient": lambda: nn.MaxPool2d(3, 2, 1).vjp(input)[1](maxima),
        "unpool": lambda: fastconv.max_unpool2d(maxima, indices, 3, 2, 1, output_size=shape),
        "unpool gradient": lambda: grad.max_unpool2d_input(maxima.shape, indices, input),
        "average": lambda: fastconv.avg_pool2d(input, 5, 1, 2),
        "average gradient": lambda: grad.avg_pool2d_input(shape, input, 5, 1, 2),
        "wide average gradient": lambda: grad.avg_pool2d_input(
            shape, adapted[:, :, :2, :2], (40, 38), (30, 28)
        ),
        "adaptive average": lambda: fastconv.adaptive_avg_pool2d(input, (11, 13)),
        "adaptive average gradient": lambda: grad.adaptive_avg_pool2d_input(shape, adapted),
        "adaptive max": lambda: fastconv.adaptive_max_pool2d(input, (11, 13)),
        "norm": lambda: fastconv.lp_pool2d(input, 2, 3, 1),
        "norm gradient": lambda: grad.lp_pool2d_input(input, norms, norms, 2, 3, 1),
        "global average": lambda: fastconv.global_avg_pool(input),
    }


IMAGES = np.random.default_rng(7).standard_normal((2, 37, 70, 66)).astype(np.float32)
PLANE = np.random.default_rng(8).standard_normal((1, 1, 210, 206)).astype(np.float32)


@pytest.mark.parametrize("name", operations(IMAGES[:1, :2]))
@pytest.mark.parametrize("layout", ["C", "channels_last", "sliced"])
def test_same_bits_at_any_number_of_threads(layout: str, name: str) -> None:
    """However a call is cut into tasks, also one plane alone, its bits are those of one thread."""
    for values in (IMAGES, PLANE) if name != "wide average gradient" else (IMAGES,):
        operation = operations(lay_out(values, layout, 1))[name]
        fastconv.set_num_threads(1)
        expected = operation().tobytes()
        for threads in (2, 5):
            fastconv.set_num_threads(threads)
            assert operation().tobytes() == expected, f"{threads} threads"


@pytest.mark.parametrize("shape", [(2, 3, 40_000), (1, 2, 20, 30, 40)])
def test_same_bits_at_any_number_of_threads_on_other_ranks(shape: tuple[int, ...]) -> None:
    """A long row is cut along itself, a volume along its depth."""
    rank = len(shape) - 2
    input = np.random.default_rng(3).standard_normal(shape)
    calls = [
        lambda: MAX_POOL[rank](input, 3, 1, 1, return_indices=True)[1],
        lambda: AVG_POOL[rank](input, 3, 1, 1),
        lambda: AVG_POOL_INPUT[rank](shape, input, 3, 1, 1),
    ]
    for call in calls:
        fastconv.set_num_threads(1)
        expected = call().tobytes()
        for threads in (2, 5):
            fastconv.set_num_threads(threads)
            assert call().tobytes() == expected


@pytest.mark.parametrize("name", operations(IMAGES[:1, :2]))
def test_image_alone_or_in_a_batch(name: str) -> None:
    """An image's result does not depend on its neighbours, and a batch axis changes nothing."""
    together, alone = operations(IMAGES)[name](), operations(IMAGES[1:])[name]()
    assert together[1:].tobytes() == alone.tobytes()


@pytest.mark.parametrize("name", operations(IMAGES[:1, :2]))
def test_memory_order_changes_nothing_but_memory_order(name: str) -> None:
    """Channels-last in, channels-last out, with the bits of the C order; and no input is written."""
    input = lay_out(IMAGES, "channels_last", 1)
    input.flags.writeable = False
    result = operations(input)[name]()
    assert result.strides[1] == result.itemsize
    np.testing.assert_array_equal(result, operations(IMAGES)[name]())


def test_empty_batch() -> None:
    """No images give no results, of the right shape."""
    input = np.empty((0, 3, 8, 8), np.float32)
    for name, operation in operations_of_empty(input).items():
        assert operation().shape[:2] == (0, 3), name


def operations_of_empty(input: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    wide = "wide average gradient"  # its window wants a larger image
    return {name: operation for name, operation in operations(input).items() if name != wide}
