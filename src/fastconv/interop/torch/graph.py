"""What a module computes, read as layers: one after the other, around, and beside each other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

import fastconv.nn as fnn
from fastconv.interop.torch.layers import ADDITIONS, CONCATENATIONS, NAMES, from_function, from_module


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return type(m) in NAMES or super().is_leaf_module(m, module_qualified_name)


def _place(node: fx.Node, modules: dict[str, torch.nn.Module]) -> str:
    """Where in the module a node is, in words."""
    if node.op == "call_module":
        return f"submodule {node.target!r} ({type(modules[str(node.target)]).__name__})"
    name = getattr(node.target, "__name__", str(node.target))
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    inside = f" in submodule {stack[-1][0]!r}" if stack and stack[-1][0] else ""
    return f"{name}{inside}"


def _way(layers: list[fnn.Layer]) -> fnn.Layer:
    """Layers as one."""
    if not layers:
        return fnn.Identity()
    return layers[0] if len(layers) == 1 else fnn.Sequential(*layers)


class Reading:
    """A module as layers: `net` does the same, `owned` has its arrays beside the module's tensors.

    Parameters
    ----------
    module : torch.nn.Module
        Its forward takes one tensor and returns one.

    Raises
    ------
    ValueError
        Naming the submodule, or function, that no layer can stand for.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        root = torch.nn.Sequential(module) if type(module) in NAMES else module
        try:
            self._graph = _Tracer().trace(root)
        except Exception as error:  # whatever the module's own code raises when it meets no numbers
            raise ValueError(
                f"module: {type(module).__name__} cannot be read by torch.fx, "
                f"as its forward depends on more than its layers: {error}"
            ) from error
        self._modules = dict(root.named_modules())
        self._layers: dict[str, fnn.Layer] = {}
        self._met: set[fx.Node] = set()
        self._order = {node: i for i, node in enumerate(self._graph.nodes)}
        self.owned: list[tuple[fnn.Buffer, Tensor]] = []
        inputs = [node for node in self._graph.nodes if node.op == "placeholder"]
        (output,) = [node for node in self._graph.nodes if node.op == "output"]
        end = output.args[0]
        if len(inputs) != 1 or not isinstance(end, fx.Node):
            raise ValueError(f"module: {type(module).__name__} must take one tensor and return one")
        self._before = self._dominators(inputs[0], end)
        self.net = fnn.Sequential(*self._chain(inputs[0], end))

    def _refusal(self, node: fx.Node, reason: object) -> ValueError:
        return ValueError(f"module: {_place(node, self._modules)}: {reason}")

    def _operands(self, node: fx.Node) -> list[fx.Node]:
        """The nodes whose tensors a node reads."""
        given: Any = list(node.args)
        if node.target in CONCATENATIONS and node.args:
            given = list(given[0])
        elif node.target not in ADDITIONS and node.op != "call_module":
            given = given[:1]
        if not given or not all(isinstance(value, fx.Node) for value in given):
            raise self._refusal(node, "reads more than the tensors that layers make")
        return given  # type: ignore[no-any-return]

    def _dominators(self, start: fx.Node, end: fx.Node) -> dict[fx.Node, fx.Node]:
        """For every node between, the last one before it that all ways to it go through."""
        reached, waiting = {start}, [end]
        while waiting:
            node = waiting.pop()
            if node not in reached:
                reached.add(node)
                waiting += self._operands(node)
        before: dict[fx.Node, fx.Node] = {}
        for node in sorted(reached - {start}, key=self._order.__getitem__):
            first, *others = self._operands(node)
            for other in others:
                while first is not other:
                    if self._order[first] > self._order[other]:
                        first = before[first]
                    else:
                        other = before[other]
            before[node] = first
        return before

    def _chain(self, start: fx.Node, end: fx.Node) -> list[fnn.Layer]:
        """The layers from behind `start` to `end`."""
        layers: list[fnn.Layer] = []
        node = end
        while node is not start:
            if node in self._met:
                raise self._refusal(node, "goes more ways than nn.Residual and nn.Concat can say")
            self._met.add(node)
            self._check_in_place(node)
            operands, front = self._operands(node), self._before[node]
            if len(operands) > 1:
                layers.append(self._joined(node, [self._chain(front, operand) for operand in operands]))
            else:
                layers.append(self._layer(node))
            node = front
        return layers[::-1]

    def _joined(self, node: fx.Node, branches: list[list[fnn.Layer]]) -> fnn.Layer:
        if node.target in CONCATENATIONS:
            dim: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
            return fnn.Concat(*map(_way, branches), dim=dim)
        if len(branches) != 2 or node.kwargs or not any(branches):
            raise self._refusal(node, "must add the outputs of two ways from one tensor")
        long, short = sorted(branches, key=len, reverse=True)
        if not short:
            return fnn.Residual(*long)
        return fnn.Residual(*long, shortcut=_way(short))

    def _layer(self, node: fx.Node) -> fnn.Layer:
        try:
            if node.op == "call_module":
                return self._own(str(node.target))
            if node.op == "get_attr":
                raise ValueError("a tensor that no layer owns")
            return from_function(node.target, tuple(node.args[1:]), dict(node.kwargs))
        except (TypeError, ValueError) as error:
            raise self._refusal(node, error) from error

    def _own(self, path: str) -> fnn.Layer:
        """The layer of a submodule; of one that is used twice, the same."""
        if path not in self._layers:
            self._layers[path], owned = from_module(self._modules[path])
            self.owned += owned
        return self._layers[path]

    def _check_in_place(self, node: fx.Node) -> None:
        """Refuse what writes over a tensor that somebody reads afterwards: here nothing works in place."""
        module = self._modules.get(str(node.target)) if node.op == "call_module" else None
        name = getattr(node.target, "__name__", str(node.target))
        in_place = getattr(module, "inplace", False) or node.kwargs.get("inplace")
        if not in_place and module is None:
            in_place = name == "iadd" or (name.endswith("_") and not name.startswith("_"))
        if in_place and node.args and isinstance(node.args[0], fx.Node):
            later = [user for user in node.args[0].users if self._order[user] > self._order[node]]
            if later:
                raise self._refusal(node, "works in place on a tensor that is read again later")
