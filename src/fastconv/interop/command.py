"""`fastconv run`, `show` and `bench`: ONNX models from the command line."""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastconv.interop.files import read_arrays, read_input
from fastconv.nn.archive import write_members, write_whole
from fastconv.runtime import get_num_threads, set_num_threads
from fastconv.terminal import CommandError, check_files, need, printable, writing

if TYPE_CHECKING:
    from fastconv.graph import Graph

#: Of a row of an output, so many values are shown: the largest.
SHOWN = 5


def load(path: str) -> Graph:
    """The model of a file; whatever is wrong with it becomes one line."""
    need("onnx", "onnx", "onnx")
    from fastconv.interop.onnx import load

    try:
        return load(path)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}") from None
    except (TypeError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from None


# ---- run ----------------------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> None:
    """Run a model on files.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    if arguments.output is not None:
        check_files({"--output": arguments.output}, [arguments.model], "model")
    graph = load(arguments.model)
    given = _inputs(graph, arguments)
    try:
        outputs = graph.run(graph.bound((given,), {}))
    except (TypeError, ValueError, MemoryError) as error:
        raise CommandError(str(error)) from None
    names = [value.name or f"output_{i}" for i, value in enumerate(graph.outputs)]
    if arguments.output is not None:
        _save(arguments.output, dict(zip(names, outputs)))
    if arguments.json:
        made = [_told(name, output) for name, output in zip(names, outputs)]
        print(json.dumps({"outputs": made}))
        return
    for name, output in zip(names, outputs):
        for line in _shown(printable(name), output):
            print(line)
    if arguments.output is not None:
        print(f"Outputs written to {printable(arguments.output)}")


def _inputs(graph: Graph, arguments: argparse.Namespace) -> dict[str, Any]:
    """Arrays by the names of the model's inputs."""
    names = [value.name for value in graph.inputs]
    given: dict[str, Any] = {}

    def put(name: str, array: np.ndarray, path: str) -> None:
        if name not in names:
            known = ", ".join(map(repr, names)) or "none"
            raise CommandError(f"{path}: the model has no input {name!r}; its inputs: {known}")
        if name in given:
            raise CommandError(f"{path}: input {name!r} is given twice")
        given[name] = array

    for text in arguments.inputs:
        name, equals, path = text.partition("=")
        if not equals or os.path.exists(text):
            name, path = "", text
        if os.path.splitext(path)[1].lower() in (".npy", ".npz"):
            arrays = read_arrays(path)
            if isinstance(arrays, dict) and not name and set(arrays) & set(names):
                for each, array in arrays.items():
                    put(each, array, path)
                continue
            if isinstance(arrays, dict):
                if len(arrays) != 1:
                    known = ", ".join(map(repr, names))
                    raise CommandError(f"{path}: holds {', '.join(arrays)}; the model's inputs: {known}")
                (arrays,) = arrays.values()
            put(name or _next(names, given, path), arrays, path)
        else:
            name = name or _next(names, given, path)
            value = next((value for value in graph.inputs if value.name == name), None)
            if value is None:
                put(name, np.empty(0), path)  # refuses
            assert value is not None
            put(name, read_input(path, value, arguments.mean, arguments.std), path)
    return given


def _next(names: Sequence[str], given: dict[str, Any], path: str) -> str:
    """The first input that nothing is given for."""
    for name in names:
        if name not in given:
            return name
    raise CommandError(f"{path}: the model has no more than {len(names)} inputs")


def _save(path: str, outputs: dict[str, Any]) -> None:
    arrays = {
        name: each.astype(str) if each.dtype.kind == "O" else each
        for name, each in outputs.items()
        if isinstance(each, np.ndarray)
    }
    with writing("--output", path):
        write_whole(os.path.realpath(path), lambda file: write_members(file, arrays))


def _told(name: str, output: Any) -> dict[str, Any]:
    """An output for other programs: JSON has no numbers that are not finite."""
    if not isinstance(output, np.ndarray):
        return {"name": name, "values": json.loads(json.dumps(output, default=str))}
    values = output.tolist()
    if output.dtype.kind == "f" and not np.isfinite(output).all():
        values = _finite(values)
    elif output.dtype.kind not in "biuf":
        values = np.array(output, str).tolist()
    return {"name": name, "dtype": str(output.dtype), "shape": list(output.shape), "values": values}


def _finite(values: Any) -> Any:
    if isinstance(values, list):
        return [_finite(value) for value in values]
    return values if math.isfinite(values) else None


def _shown(name: str, output: Any) -> list[str]:
    """An output in a few lines: what it is, its range, and the largest values of rows."""
    if not isinstance(output, np.ndarray):
        return [f"{name}: {type(output).__name__} of {len(output) if hasattr(output, '__len__') else 1}"]
    head = f"{name}: {output.dtype} {output.shape}"
    if not output.size or output.dtype.kind not in "biuf":
        return [head]
    wide = output.astype(np.float64)
    lines = [f"{head}, {wide.min():.6g} to {wide.max():.6g}, mean {wide.mean():.6g}"]
    if output.ndim == 2 and output.shape[1] > 1:
        for k, row in enumerate(wide[:SHOWN]):
            best = np.argsort(-row, kind="stable")[:SHOWN]
            lines.append(f"  row {k}: " + ", ".join(f"[{i}] {row[i]:.6g}" for i in best))
        if len(wide) > SHOWN:
            lines.append(f"  and {len(wide) - SHOWN} more rows")
    return lines


# ---- show ---------------------------------------------------------------------------------------------


def shapes_by_name(graph: Graph, told: Sequence[tuple[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """What `--shape` says, by name; one without a name is that of the only input."""
    names = [value.name for value in graph.inputs]
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in told:
        text = "x".join(map(str, shape))
        if not name:
            if len(names) != 1:
                raise CommandError(f"--shape {text}: the model has {len(names)} inputs, say NAME={text}")
            name = names[0]
        if name not in names:
            known = ", ".join(map(repr, names))
            raise CommandError(f"--shape {name}={text}: the model has no such input, but {known}")
        found[name] = shape
    return found


def show(arguments: argparse.Namespace) -> None:
    """Show what of a model runs.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    if arguments.picture is not None:
        check_files({"--picture": arguments.picture}, [arguments.model], "model", {"--picture": (".svg",)})
    graph = load(arguments.model)
    shapes = shapes_by_name(graph, arguments.shape)
    try:
        found = graph.summary(shapes)
        for line in _declared(graph):
            print(line)
        print("\n".join(map(printable, str(found).splitlines())))
        drawn = "" if arguments.picture is None else graph.picture(None, shapes)
    except (TypeError, ValueError, MemoryError) as error:
        raise CommandError(f"{error} (--shape)" if "give one" in str(error) else str(error)) from None
    if arguments.picture is not None:
        with writing("--picture", arguments.picture):
            write_whole(os.path.realpath(arguments.picture), lambda file: file.write(drawn.encode()))
        print(f"Picture written to {printable(arguments.picture)}")


def _declared(graph: Graph) -> list[str]:
    """What the file says about itself."""
    lines = [f"{graph.name or 'graph'}"]
    lines += [f"  in   {value!r}" for value in graph.inputs]
    lines += [f"  out  {value!r}" for value in graph.outputs]
    lines += [f"  {name}: {text}" for name, text in graph.metadata.items()]
    return [*map(printable, lines), ""]


# ---- bench --------------------------------------------------------------------------------------------


def bench(arguments: argparse.Namespace) -> None:
    """Time a model beside onnxruntime.

    Raises
    ------
    CommandError
        In one line, what is wrong.
    """
    from fastconv.interop.bench import compare

    graph = load(arguments.model)
    shapes = shapes_by_name(graph, arguments.shape)
    before = get_num_threads()
    try:
        if arguments.threads is not None:
            set_num_threads(arguments.threads)
        found = compare(arguments.model, graph, shapes, arguments.repeats)
    except (TypeError, ValueError, MemoryError) as error:
        raise CommandError(f"{error} (--shape)" if "give one" in str(error) else str(error)) from None
    finally:
        set_num_threads(before)
    print("\n".join(map(printable, str(found).splitlines())))
