"""Transposed convolution and its gradients: equal to plain float64 loops on every instruction set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from conv_cases import (
    CONV_INPUT,
    CONV_TRANSPOSE,
    INPUT_LAYOUTS,
    ConvCase,
    assert_close,
    conv_cases,
    examples,
    lay_out,
)
from hypothesis import given
from hypothesis import strategies as st
from reference import conv as reference

import fastconv
from fastconv.runtime import runnable_isas


@dataclass(frozen=True)
class TransposeCase:
    """A transposed convolution: `size` is that of its input."""

    batched: bool
    n: int
    groups: int
    in_per_group: int
    out_per_group: int
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    dtype: str
    bias: bool
    layouts: tuple[str, str, str]
    seed: int

    @property
    def rank(self) -> int:
        return len(self.size)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (*((self.n,) if self.batched else ()), self.groups * self.in_per_group, *self.size)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        return (self.groups * self.in_per_group, self.out_per_group, *self.kernel)

    @property
    def parameters(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.pads,
            "output_padding": self.output_padding,
            "groups": self.groups,
            "dilation": self.dilation,
        }

    def integers(self, shape: tuple[int, ...], role: int, layout: str, channel: int) -> np.ndarray:
        """Small integers: sums are exact, so that every result must equal the loops' to the bit."""
        values = np.random.default_rng([self.seed, role]).integers(-3, 4, shape).astype(self.dtype)
        return lay_out(values, layout, channel)


@st.composite
def transpose_cases(draw: st.DrawFn) -> TransposeCase:
    rank = draw(st.sampled_from([2, 1, 3]))
    few = st.integers(1, 4)
    kernel = tuple(draw(st.integers(1, 4 if rank < 3 else 3)) for _ in range(rank))
    stride = tuple(draw(st.sampled_from([1, 2, 3, 6])) for _ in range(rank))
    dilation = tuple(draw(st.sampled_from([1, 1, 2, 3])) for _ in range(rank))
    output_padding = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    size = tuple(draw(st.integers(1, 5 if rank < 3 else 3)) for _ in range(rank))
    pads = []
    for extent, k, s, d, extra in zip(size, kernel, stride, dilation, output_padding, strict=True):
        full = (extent - 1) * s + (k - 1) * d + 1 + extra
        before = draw(st.integers(0, min(full - 1, 4)))
        pads.append((before, draw(st.integers(0, min(full - 1 - before, 4)))))
    layout = st.sampled_from(INPUT_LAYOUTS)
    return TransposeCase(
        draw(st.booleans()),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        draw(few),
        draw(few),
        size,
        kernel,
        stride,
        tuple(pads),
        dilation,
        output_padding,
        draw(st.sampled_from(["float32", "float64"])),
        draw(st.booleans()),
        (draw(layout), draw(layout), draw(layout)),
        draw(st.integers(0, 2**16)),
    )


def batch(array: np.ndarray, case: TransposeCase) -> np.ndarray:
    return array if case.batched else array[None]


@given(case=transpose_cases())
@examples(400)
def test_transposed_convolution_and_its_gradients_equal_float64_loops(case: TransposeCase) -> None:
    """Every input element adds one kernel to the output: the definition itself, with all its parameters.

    The loops are linear in input and in weight, so products with their output fix both gradients. They are of
    integers, so equality is exact, and random directions catch an error in any single element.
    """
    input = case.integers(case.input_shape, 0, case.layouts[0], int(case.batched))
    weight = case.integers(case.weight_shape, 1, case.layouts[1], 0)
    bias = case.integers((case.groups * case.out_per_group,), 2, "C", 0) if case.bias else None
    expected = reference.conv_transpose(batch(input, case), weight, bias, **case.parameters)
    shape = expected.shape if case.batched else expected.shape[1:]
    grad_output = case.integers(shape, 3, case.layouts[2], int(case.batched))
    other_input = case.integers(case.input_shape, 4, "C", 0)
    other_weight = case.integers(case.weight_shape, 5, "C", 0)

    def product(some_input: np.ndarray, some_weight: np.ndarray) -> float:
        output = reference.conv_transpose(batch(some_input, case), some_weight, None, **case.parameters)
        return float(np.vdot(output, batch(grad_output, case)))

    along_input, along_weight = product(other_input, weight), product(input, other_weight)
    for isa in runnable_isas():
        fastconv.set_isa(isa)
        output = CONV_TRANSPOSE[case.rank](input, weight, bias, **case.parameters)
        assert output.dtype == np.dtype(case.dtype)
        assert_close(batch(output, case), expected, exact=True, context=isa)
        grad_input = fastconv.grad.conv_transpose_input(
            case.input_shape, weight, grad_output, **case.parameters
        )
        grad_weight = fastconv.grad.conv_transpose_weight(
            input, case.weight_shape, grad_output, **case.parameters
        )
        assert grad_input.shape == case.input_shape
        assert grad_weight.shape == case.weight_shape
        assert grad_input.dtype == grad_weight.dtype == np.dtype(case.dtype)
        assert float(np.vdot(grad_input.astype(np.float64), other_input)) == along_input, isa
        assert float(np.vdot(grad_weight.astype(np.float64), other_weight)) == along_weight, isa


@given(case=conv_cases())
@examples(300)
def test_it_is_the_input_gradient_of_a_convolution(case: ConvCase) -> None:
    """Channels and pixels beyond one tile: the bits of `conv_input`, given the matching output_padding."""
    weight, grad_output = case.make_weight(), case.make_grad_output(case.layouts[0])
    spatial = case.output_shape[-case.rank :]
    left_over = tuple(
        size + before + after - ((count - 1) * step + (k - 1) * spread + 1)
        for size, (before, after), count, step, k, spread in zip(
            case.size, case.pads, spatial, case.stride, case.kernel, case.dilation, strict=True
        )
    )
    output = CONV_TRANSPOSE[case.rank](
        grad_output, weight, None, case.stride, case.pads, left_over, case.groups, case.dilation
    )
    expected = CONV_INPUT[case.rank](case.input_shape, weight, grad_output, **case.parameters)
    np.testing.assert_array_equal(output, expected)


def test_worked_example(isa: str) -> None:
    """Two copies of an asymmetric kernel, two apart, one element cut off in front and one added behind."""
    input, weight = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]])
    output = fastconv.conv_transpose1d(
        input, weight, np.array([0.5]), stride=2, padding=((1, 0),), output_padding=1
    )
    np.testing.assert_array_equal(output, [[[10.5, 102.5, 20.5, 200.5, 0.5]]])


@pytest.mark.parametrize("layout", ["C", "channels_last"])
def test_bias_reaches_outputs_that_no_kernel_reaches(isa: str, layout: str) -> None:
    """Stride beyond the kernel leaves gaps between the copies: they hold the bias, each channel its own."""
    input = lay_out(np.ones((2, 3, 2, 2), np.float32), layout, 1)
    bias = np.arange(40, dtype=np.float32)
    output = fastconv.conv_transpose2d(input, np.ones((3, 40, 1, 1), np.float32), bias, stride=4)
    expected = np.broadcast_to(bias[:, None, None], (2, 40, 5, 5)).copy()
    expected[:, :, ::4, ::4] += 3
    np.testing.assert_array_equal(output, expected)


def test_output_keeps_the_memory_order_of_the_input() -> None:
    input = lay_out(np.ones((2, 3, 4, 4), np.float32), "channels_last", 1)
    output = fastconv.conv_transpose2d(input, np.ones((3, 5, 2, 2), np.float32), stride=2)
    assert output.transpose(0, 2, 3, 1).flags.c_contiguous


def test_empty_batch_gives_empty_result(isa: str) -> None:
    input, weight = np.ones((0, 3, 2, 2)), np.ones((3, 5, 2, 2))
    assert fastconv.conv_transpose2d(input, weight, np.ones(5), stride=4).shape == (0, 5, 6, 6)
    grad_output = np.ones((0, 5, 3, 3))
    assert fastconv.grad.conv_transpose_input((0, 3, 2, 2), weight, grad_output).shape == (0, 3, 2, 2)
    grad_weight = fastconv.grad.conv_transpose_weight(input, (3, 5, 2, 2), grad_output)
    np.testing.assert_array_equal(grad_weight, np.zeros((3, 5, 2, 2)))
