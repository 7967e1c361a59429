"""Every operator of the graph, by name: those of ONNX's newest version, and a few that only fusion makes."""

from __future__ import annotations

from fastconv.graph.operator import Operator
from fastconv.graph.operators import (
    activation,
    control,
    convolution,
    elementwise,
    indexing,
    matrix,
    movement,
    normalization,
    pooling,
    quantized,
    recurrent,
    reduction,
    resize,
    sampling,
    sequence,
    signal,
)

#: All of them; a family's file says what it means by each.
OPERATORS: dict[str, Operator] = {
    **activation.OPERATORS,
    **control.OPERATORS,
    **convolution.OPERATORS,
    **elementwise.OPERATORS,
    **indexing.OPERATORS,
    **matrix.OPERATORS,
    **movement.OPERATORS,
    **normalization.OPERATORS,
    **pooling.OPERATORS,
    **quantized.OPERATORS,
    **recurrent.OPERATORS,
    **reduction.OPERATORS,
    **resize.OPERATORS,
    **sampling.OPERATORS,
    **sequence.OPERATORS,
    **signal.OPERATORS,
}
