from __future__ import annotations

from fastconv.graph.operator import Operator

OPERATORS: dict[str, Operator] = {}
