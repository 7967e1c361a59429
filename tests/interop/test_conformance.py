"""onnx's own cases: none that has passed fails again."""

from __future__ import annotations

from collections import Counter

import pytest

onnx = pytest.importorskip("onnx", reason="the extra [onnx] is not installed")

from tests.interop.conformance import PAGE, cases, counted, outcome  # noqa: E402


def test_no_operator_passes_fewer_cases_than_the_page_says() -> None:
    """docs/onnx.md says which release of onnx it is about: releases differ in their cases."""
    version, wanted = counted(PAGE.read_text(encoding="utf-8"))
    if version != onnx.__version__:
        pytest.skip(f"the page is about onnx {version}, and {onnx.__version__} is installed")
    passed = Counter(each.operator for each in map(outcome, cases()) if each.passed)
    fewer = {name: f"{passed[name]} of {count}" for name, count in wanted.items() if passed[name] < count}
    assert fewer == {}
    assert sum(wanted.values()) >= 1500
