"""The graph: the one place where nets are transformed and run, ours and other people's.

A net is values and nodes (ir.py); operators say what a node computes (operators/). For given shapes it is
specialised (specialise.py), values get their places (memory.py), and a program runs (program.py).
"""

from __future__ import annotations

from fastconv.graph.graph import Graph
from fastconv.graph.ir import Node, Nodes, Value

__all__ = ["Graph", "Node", "Nodes", "Value"]
