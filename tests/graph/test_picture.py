"""`graph.picture`: a drawing in which every box and arrow is there, and nothing overlaps."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.graph import Graph, Node, Value
from fastconv.graph.layout import lay_out

SVG = "{http://www.w3.org/2000/svg}"


def residual(blocks: int = 1, name: str = "net") -> Graph:
    """Convolutions with a way around each."""
    value = Value("x", np.dtype(np.float32), (1, 4, 8, 8))
    inputs, nodes = [value], []
    for i in range(blocks):
        made, added = Value(f"c{i}"), Value(f"a{i}")
        weight = Value.of(np.ones((4, 4, 1, 1), np.float32))
        nodes += [Node("Conv", [value, weight], [made]), Node("Mul", [made, value], [added])]
        value = added
    return Graph(inputs, nodes, [value], name)


def drawn(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def test_every_node_input_and_output_has_a_box() -> None:
    """With operator, shape, and its share of the FLOPs."""
    root = drawn(residual(2).picture())
    groups = root.findall(f"{SVG}g")
    assert len(groups) == 1 + 4 + 1
    words = [[text.text for text in group.findall(f"{SVG}text")] for group in groups]
    assert words[1][0] == "Conv"
    assert words[1][1].startswith("1×4×8×8 · ")  # noqa: RUF001
    shares = [float(word[2].strip("%")) for word in words[1:-1]]
    assert abs(sum(shares) - 100) < 0.5
    assert len(root.findall(f"{SVG}path[@class='way']")) == 2 * 3 + 1


def test_meaning_is_in_words_and_for_both_kinds_of_screen() -> None:
    """Colours repeat what the operator says, and the legend names them; dark screens have their own."""
    text = residual().picture()
    assert "prefers-color-scheme: dark" in text
    assert "convolution, product" in text
    assert "element by element" in text
    assert "pooling" not in text
    assert drawn(text).get("role") == "img"


def test_names_are_text() -> None:
    """What a file calls its graph is no markup."""
    text = residual(name="<script>&").picture()
    assert drawn(text).find(f"{SVG}title").text == "<script>&"
    assert "<script>" not in text


def test_written_to_a_file(tmp_path: Path) -> None:
    """The file is what is returned."""
    path = tmp_path / "net.svg"
    text = residual().picture(path)
    assert path.read_text(encoding="utf-8") == text


def test_a_large_graph_is_a_tall_page() -> None:
    """Two hundred nodes: not wider than a screen, every arrow points down."""
    root = drawn(residual(100).picture())
    assert float(root.get("width")) < 1000
    for way in root.findall(f"{SVG}path[@class='way']"):
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", way.get("d"))]
        assert numbers[-1] > numbers[1]


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(
            st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=24)
        )
    )
)
def test_nothing_overlaps(told: tuple[int, set[tuple[int, int]]]) -> None:
    """Whatever is drawn: arrows lead to lower layers, and spots of a layer keep their distance."""
    count, pairs = told
    arrows = sorted((a, b) for a, b in pairs if a < b)
    found = lay_out(count, arrows, 100.0, 10.0, 20.0)
    for way, (start, end) in zip(found.ways, arrows):
        assert (way[0], way[-1]) == (start, end)
        assert [found.spots[i].layer for i in way] == list(
            range(found.spots[start].layer, found.spots[end].layer + 1)
        )
    for layer in range(found.layers):
        row = sorted((spot for spot in found.spots if spot.layer == layer), key=lambda spot: spot.x)
        for a, b in pairwise(row):
            assert b.x - a.x >= (a.width + b.width) / 2 + 10 - 1e-6
    assert all(spot.x - spot.width / 2 >= -1e-6 for spot in found.spots)


def test_bad_shapes_are_refused() -> None:
    """As `summary` refuses them; no file is left."""
    with pytest.raises(ValueError, match="input 'x'"):
        residual().picture(None, (1, 3, 8, 8))
