"""Embedding: a table with a row for each word, learned like any weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.geometry import as_array, as_ndarray, check_shape, whole_number
from fastconv.nn.arguments import Rng, float_dtype, generator
from fastconv.nn.layers.base import Layer
from fastconv.nn.layers.calling import Backprop, Shape

if TYPE_CHECKING:
    from fastconv.graph import Value
    from fastconv.graph.lower import Builder

#: Of the numbers that a table begins with.
DEVIATION = 0.05


class Embedding(Layer):
    """From the numbers of words to rows of a table that is learned.

    Rows become channels, so that a `Conv1d` follows: its kernels are as high as the rows are long, windows of
    words. (Deliberate difference from torch, which puts the rows last.)

    Parameters
    ----------
    num_embeddings : int
        Rows of the table: words there are.
    embedding_dim : int
        Numbers in a row.
    padding_index : int, optional
        The number that stands for no word: its row begins as zeros and does not learn.
    dtype : float32 or float64, default float32
    rng : numpy.random.Generator, int seed or None
        Draws the table, of mean 0 and deviation 0.05: what rare words begin with must not outweigh what
        others have learned. (Deliberate difference from torch, where it is 1.)

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and the rule; when run, an input that is not of integers, (N, L).
    IndexError
        When run: a number that is no row of the table, with its place.

    Notes
    -----
    `layer(input)` takes integers, (N, L), and gives (N, embedding_dim, L). They have no gradient: backprop
    returns None. `TextPreprocessing` makes them with `layout="indices"`, where `padding_index=0` is what is
    behind the end of a text.

    A convolution over a grid of words does the same with one table per tap, and no row in common: Y. Kim,
    "Convolutional neural networks for sentence classification", EMNLP 2014, arXiv:1408.5882.

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> net = nn.Sequential(nn.Embedding(1000, 16, 0, rng=0), nn.Conv1d(16, 8, 3, rng=0), nn.GlobalMaxPool())
    >>> words = np.array([[4, 9, 2, 7, 0], [5, 4, 0, 0, 0]])
    >>> net[0](words).shape, net(words).shape
    ((2, 16, 5), (2, 8, 1))
    >>> net(words - 1)
    Traceback (most recent call last):
      ...
    IndexError: input[0, 4] is -1: must be from 0 to 999, a row of the table
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_index: int | None = None,
        *,
        dtype: Any = np.float32,
        rng: Rng = None,
    ) -> None:
        self.num_embeddings = whole_number("num_embeddings", num_embeddings, 1)
        self.embedding_dim = whole_number("embedding_dim", embedding_dim, 1)
        if padding_index is not None:
            padding_index = whole_number("padding_index", padding_index, 0)
            if padding_index >= self.num_embeddings:
                raise ValueError(
                    f"padding_index={padding_index}: must be below num_embeddings={self.num_embeddings}"
                )
        self.padding_index = padding_index
        self.dtype = float_dtype("dtype", dtype)
        draw = generator("rng", rng)

        def fill(table: np.ndarray) -> None:
            table[...] = draw.normal(0.0, DEVIATION, table.shape)
            if padding_index is not None:
                table[padding_index] = 0

        shape = (self.num_embeddings, self.embedding_dim)
        self.weight = self._parameter("weight", shape, self.dtype, fill)

    def __call__(self, input: np.ndarray) -> np.ndarray:
        return self._looked_up(self._checked(input))

    def _looked_up(self, numbers: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.take(self.weight.value, numbers, axis=0).transpose(0, 2, 1))

    def _checked(self, input: Any) -> np.ndarray:
        """The input as numbers of rows that are all there."""
        input = as_ndarray("input", input)
        if input.dtype.kind not in "iu":
            raise TypeError(f"input: dtype {input.dtype} must be one of integers, which number rows")
        if input.ndim != 2:
            raise ValueError(f"input: shape {input.shape} must be (N, L)")
        if not self._has_rows(input):
            row, column = np.argwhere((input < 0) | (input >= self.num_embeddings))[0].tolist()
            raise IndexError(
                f"input[{row}, {column}] is {input[row, column]}: must be from 0 to "
                f"{self.num_embeddings - 1}, a row of the table"
            )
        numbers: np.ndarray = input.astype(np.intp, copy=False)
        return numbers

    def _has_rows(self, numbers: np.ndarray) -> bool:
        return not numbers.size or bool(numbers.min() >= 0 and numbers.max() < self.num_embeddings)

    def _rows_read(self) -> int | None:
        return self.num_embeddings

    def _lower(self, builder: Builder, *values: Value) -> Any:
        rows = builder.add("Gather", builder.constant(self.weight), *values, axis=0)
        return builder.add("Transpose", rows, perm=(0, 2, 1))

    def vjp(self, input: np.ndarray, training: bool = True) -> tuple[np.ndarray, Backprop]:
        """See `Layer.vjp`; backprop returns None, as integers have no gradient."""
        numbers = self._checked(input)
        output = self._looked_up(numbers)
        shape = output.shape
        if training:
            numbers = numbers.copy()

        def backprop(grad_output: np.ndarray) -> None:
            if training:
                grad_output = as_array("grad_output", grad_output, self.weight.value.dtype)
                check_shape("grad_output", grad_output, shape)
                self.weight.add_grad(self._table_gradient(numbers, grad_output))

        return output, backprop

    def _table_gradient(self, numbers: np.ndarray, grad_output: np.ndarray) -> np.ndarray:
        """For each row the sum over the places that read it: by `bincount`, in float64."""
        found = np.empty(self.weight.value.shape, grad_output.dtype)
        flat = numbers.reshape(-1)
        for k in range(self.embedding_dim):
            found[:, k] = np.bincount(flat, grad_output[:, k].reshape(-1), self.num_embeddings)
        if self.padding_index is not None:
            found[self.padding_index] = 0
        return found

    def output_shape(self, input_shape: Shape) -> Shape:
        """See `Layer.output_shape`."""
        if len(input_shape) != 2:
            raise ValueError(f"input: shape {tuple(input_shape)} must be (N, L)")
        return (input_shape[0], self.embedding_dim, input_shape[1])

    def flops(self, input_shape: Shape) -> int:
        """See `Layer.flops`: nothing is computed, numbers are copied."""
        return 0
