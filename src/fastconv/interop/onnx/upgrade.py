"""Older forms of operators, brought to the newest: what was an attribute and is an input now, mostly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastconv.graph import Value
from fastconv.interop.onnx.tensors import dtype_of


class Form(NamedTuple):
    """An operator as the graph has it."""

    operator: str
    attributes: dict[str, Any]
    inputs: list[Value | None]


#: Attributes that name a type by ONNX's number.
TYPES = {"dtype", "to", "output_dtype", "output_datatype", "precision"}

#: Attributes that became inputs, with their places, up to the opset named.
MOVED: dict[str, tuple[int, dict[str, int]]] = {
    "Clip": (10, {"min": 1, "max": 2}),
    "DFT": (19, {"axis": 2}),
    "Pad": (10, {"pads": 1, "value": 2}),
    "ReduceSum": (12, {"axes": 1}),
    "Slice": (9, {"starts": 1, "ends": 2, "axes": 3}),
    "Split": (12, {"split": 1}),
    "Squeeze": (12, {"axes": 1}),
    "TopK": (9, {"k": 1}),
    "Unsqueeze": (12, {"axes": 1}),
    "Upsample": (8, {"scales": 1}),
    **{
        f"Reduce{name}": (17, {"axes": 1})
        for name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
    },
}

#: Operators that only have another name now.
RENAMED = {"Scatter": "ScatterElements", "Upsample": "Resize"}

#: Names of interpolations before and after opset 20.
INTERPOLATIONS = {"bilinear": "linear", "bicubic": "cubic"}


def upgraded(
    operator: str, version: int, attributes: dict[str, Any], inputs: Sequence[Value | None], outputs: int
) -> Form:
    """A node's operator, attributes and inputs in the newest form.

    Parameters
    ----------
    version : int
        The opset that the node was written for.
    outputs : int
        How many the node has.

    Raises
    ------
    ValueError
        An option that is served by no newer form.
    """
    given = list(inputs)
    attributes = {name: _typed(name, value) for name, value in attributes.items()}
    until, moved = MOVED.get(operator, (0, {}))
    if version <= until:
        dtype = given[0].dtype if given and given[0] is not None else None
        for name, place in moved.items():
            if name in attributes:
                given += [None] * (place + 1 - len(given))
                given[place] = Value.of(_as_input(attributes.pop(name), dtype), name)
    if version < 7:
        _before_seven(operator, attributes, given)
    change = CHANGES.get(operator)
    form = Form(RENAMED.get(operator, operator), attributes, given)
    if change is not None:
        change(form, version, outputs)
    return form


def _typed(name: str, value: Any) -> Any:
    if name in TYPES and isinstance(value, int):
        return dtype_of(value) if value else None
    return value


def _as_input(value: Any, dtype: np.dtype | None) -> np.ndarray:
    """What was an attribute as an array: numbers of a value's own type, sizes and axes as int64."""
    if isinstance(value, tuple) and (not value or isinstance(value[0], int)):
        return np.array(value, np.int64)
    if isinstance(value, int):
        return np.array([value], np.int64)
    return np.array(value, np.float32 if dtype is None or dtype.kind != "f" else dtype)


# ---- opset 6 ------------------------------------------------------------------------------------------

#: Operators of two arrays that were told whether, and from which axis on, the second is repeated.
BROADCASTING = {"Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less"}


def _before_seven(operator: str, attributes: dict[str, Any], given: list[Value | None]) -> None:
    """What opset 7 changed: arrays were broadcast when told so, and training was an attribute."""
    if operator in ("BatchNormalization", "Dropout"):
        attributes.pop("consumed_inputs", None)
        if not attributes.pop("is_test", 0):
            raise ValueError("is_test=0: training is not served before opset 7")
    elif operator == "Gemm":
        attributes.pop("broadcast", None)
    elif operator == "PRelu":
        _aligned(given, 1)
    elif operator in BROADCASTING:
        attributes.pop("consumed_inputs", None)
        axis = attributes.pop("axis", None)
        if attributes.pop("broadcast", 0) and axis is not None:
            _aligned(given, axis)


def _aligned(given: list[Value | None], axis: int) -> None:
    """The second array with axes of size 1 behind its own, which begin at `axis` of the first's."""
    if len(given) < 2 or given[0] is None or given[1] is None:
        return  # said elsewhere
    first, second = given[0].shape, given[1].shape
    if second is not None and np.prod([size if isinstance(size, int) else 0 for size in second]) == 1:
        return
    if first is None or second is None:
        raise ValueError(f"axis={axis}: is served where the shapes of both inputs are declared")
    axis = axis + len(first) if axis < 0 else axis
    missing = len(first) - axis - len(second)
    if missing == 0:
        return
    if given[1].constant is None or missing < 0:
        raise ValueError(f"axis={axis}: is served for constants of shapes that fit, not {second}")
    given[1] = Value.of(given[1].constant.reshape(*second, *(1,) * missing), given[1].name)


# ---- one operator each ----------------------------------------------------------------------------------


def _constant(form: Form, version: int, outputs: int) -> None:
    kinds = {
        "value_float": np.float32,
        "value_floats": np.float32,
        "value_int": np.int64,
        "value_ints": np.int64,
    }
    (name, value), *others = form.attributes.items() or [("", None)]
    if others or value is None:
        raise ValueError("must have exactly one attribute, its value")
    form.attributes.clear()
    if name in kinds:
        value = np.array(value, kinds[name])
    elif name in ("value_string", "value_strings"):
        value = np.array(value, object)
    form.attributes["value"] = value


def _softmax(form: Form, version: int, outputs: int) -> None:
    if version < 13:
        form.attributes["flat"] = True
        form.attributes.setdefault("axis", 1)


def _dropout(form: Form, version: int, outputs: int) -> None:
    if version < 12:
        form.attributes.pop("ratio", None)


def _batch_norm(form: Form, version: int, outputs: int) -> None:
    if not form.attributes.pop("spatial", 1):
        raise ValueError("spatial=0: is not served")


def _max_pool(form: Form, version: int, outputs: int) -> None:
    if outputs > 1:
        form.attributes["indices"] = True


def _split(form: Form, version: int, outputs: int) -> None:
    form.attributes["num_outputs"] = outputs


def _resize(form: Form, version: int, outputs: int) -> None:
    """Before opset 11 pixels were counted from their corners, and there was no region of interest."""
    if version < 11:
        form.attributes["coordinate_transformation_mode"] = "asymmetric"
        form.attributes["nearest_mode"] = "floor"
        form.inputs.insert(1, None)


def _upsample(form: Form, version: int, outputs: int) -> None:
    _resize(form, 10, outputs)


def _loop(form: Form, version: int, outputs: int) -> None:
    form.attributes["carried"] = max(0, len(form.inputs) - 2)


def _sequence_map(form: Form, version: int, outputs: int) -> None:
    form.attributes["mapped"] = len(form.inputs)


def _scan(form: Form, version: int, outputs: int) -> None:
    if version < 9:
        if form.inputs and form.inputs[0] is not None:
            raise ValueError("sequence_lens: is not served")
        form.attributes["batched"] = True
        directions = form.attributes.pop("directions", None)
        if directions is not None:
            form.attributes["scan_input_directions"] = directions
        del form.inputs[:1]
    form.attributes["states"] = len(form.inputs) - form.attributes.get("num_scan_inputs", 0)


def _roi_align(form: Form, version: int, outputs: int) -> None:
    if version < 16:
        form.attributes.setdefault("coordinate_transformation_mode", "output_half_pixel")


def _grid_sample(form: Form, version: int, outputs: int) -> None:
    mode = form.attributes.get("mode")
    if mode in INTERPOLATIONS:
        form.attributes["mode"] = INTERPOLATIONS[mode]


def _dft(form: Form, version: int, outputs: int) -> None:
    if version < 20 and len(form.inputs) < 3:
        form.inputs.extend([None] * (2 - len(form.inputs)))
        form.inputs.append(Value.of(np.array(1, np.int64), "axis"))


def _group_norm(form: Form, version: int, outputs: int) -> None:
    form.attributes.pop("stash_type", None)
    if version < 21:
        form.attributes["per_group"] = True


def _no_stash(form: Form, version: int, outputs: int) -> None:
    form.attributes.pop("stash_type", None)


CHANGES: dict[str, Callable[[Form, int, int], None]] = {
    "BatchNormalization": _batch_norm,
    "Constant": _constant,
    "DFT": _dft,
    "Dropout": _dropout,
    "GridSample": _grid_sample,
    "GroupNormalization": _group_norm,
    "Hardmax": _softmax,
    "LayerNormalization": _no_stash,
    "LogSoftmax": _softmax,
    "Loop": _loop,
    "MaxPool": _max_pool,
    "Resize": _resize,
    "RoiAlign": _roi_align,
    "Scan": _scan,
    "SequenceMap": _sequence_map,
    "Softmax": _softmax,
    "Split": _split,
    "Upsample": _upsample,
}
