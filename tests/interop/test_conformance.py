"""docs/onnx.md says how many of onnx's cases pass: no number may drop."""

from __future__ import annotations

import pytest

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from tests.interop.conformance import PAGE, counted, family, outcomes, written  # noqa: E402


def test_no_number_has_dropped() -> None:
    """Of any operator, family or kind; other versions of onnx have other cases."""
    version, promised = written(PAGE.read_text(encoding="utf-8"))
    if version != onnx.__version__:
        pytest.skip(f"docs/onnx.md counts the cases of onnx {version}, and {onnx.__version__} is installed")
    found = list(outcomes())
    for name, row in promised.items():
        own = counted(each for each in found if name in (each.operator, each.kind, family(each.operator)))
        assert all(now >= then for now, then in zip(own, row)), f"{name}: {own} instead of {row}"


def test_the_page_promises_much() -> None:
    """1,500 node cases executed and passed, and operators by name."""
    _, promised = written(PAGE.read_text(encoding="utf-8"))
    assert promised["node"].passed >= 1500
    assert {"Conv", "Resize", "LSTM", "whole nets"} <= set(promised)
