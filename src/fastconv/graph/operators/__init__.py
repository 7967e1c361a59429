"""Every operator of the graph, by name: those of ONNX's newest version, and a few that only fusion makes."""

from __future__ import annotations

from fastconv.graph.operator import Operator
from fastconv.graph.operators import (
    activation,
    control,
    convolution,
    creation,
    elementwise,
    features,
    function,
    indexing,
    loss,
    matrix,
    movement,
    normalization,
    optimisation,
    pattern,
    pooling,
    quantized,
    random,
    recurrent,
    reduction,
    resize,
    sequence,
    signal,
    text,
    trees,
)

#: All of them; a family's file says what it means by each.
OPERATORS: dict[str, Operator] = {
    **activation.OPERATORS,
    **control.OPERATORS,
    **convolution.OPERATORS,
    **creation.OPERATORS,
    **elementwise.OPERATORS,
    **features.OPERATORS,
    **function.OPERATORS,
    **indexing.OPERATORS,
    **loss.OPERATORS,
    **matrix.OPERATORS,
    **movement.OPERATORS,
    **normalization.OPERATORS,
    **optimisation.OPERATORS,
    **pattern.OPERATORS,
    **pooling.OPERATORS,
    **quantized.OPERATORS,
    **random.OPERATORS,
    **recurrent.OPERATORS,
    **reduction.OPERATORS,
    **resize.OPERATORS,
    **sequence.OPERATORS,
    **signal.OPERATORS,
    **text.OPERATORS,
    **trees.OPERATORS,
}
