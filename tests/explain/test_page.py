"""The page, in a real browser: what it shows is what the engine computed, by mouse, keyboard and address."""

# ruff: noqa: RUF001 - the page has real minus signs

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explain.browser import Browser
from explain.nets import branches, chain_walk, picture
from fastconv import explain, nn

Open = Callable[..., Browser]

HOSTILE = "</script><script>document.title='broken'</script><b>&amp;\u2028{{script}}"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The example's network, a chain of everything with names that are markup, and ways that part."""
    folder = tmp_path_factory.mktemp("pages")
    seen = {"deck": explain.deck_walk("X"), "chain": chain_walk(), "branches": _branches()}
    for name, each in seen.items():
        title = HOSTILE if name == "chain" else "a net"
        explain.write_page(folder / f"{name}.html", each, title=title, name=title, target=0)
    return {name: folder / f"{name}.html" for name in seen}


def _branches() -> explain.Walk:
    return explain.walk(branches(), picture(1, 10, 10))


@pytest.fixture
def page(browser: Browser, pages: dict[str, Path]) -> Open:
    """Open one of the pages; it has nothing to complain about, and asks for nothing but itself."""

    def opened(name: str, at: str | None = None, width: int = 1100) -> Browser:
        browser.events.clear()
        browser.size(width, 800)
        address = pages[name].as_uri()
        if at is None and browser.run("location.href").split("#")[0] == address:
            browser.run("window.explain.go('')")
            return browser
        browser.open(f"{address}{at or ''}")
        assert browser.faults() == []
        asked = {each.split("#")[0] for each in browser.requests()} - {"about:blank"}
        assert asked == {pages[name].as_uri()}
        return browser

    return opened


def text(browser: Browser, selector: str) -> str:
    """What stands in the first element of a selector."""
    found: str = browser.run(f"document.querySelector({selector!r}).textContent")
    return found


def numbers_in(told: str) -> list[float]:
    """The numbers of a text."""
    return [float(each.replace("−", "-")) for each in re.findall(r"[−-]?\d+\.?\d*(?:e[−-]?\d+)?", told)]


def turn(browser: Browser, selector: str, which: int, value: int, event: str = "change") -> None:
    """Give a control another value, as its user would."""
    browser.run(
        f"{{ const control = document.querySelectorAll({selector!r})[{which}]; control.value = {value};"
        f" control.dispatchEvent(new Event({event!r})); }}"
    )


def click(browser: Browser, number: int, cell: tuple[int, ...]) -> None:
    """Click a cell of a map."""
    browser.run(f"document.querySelector('#map{number}').scrollIntoView({{block: 'center'}})")
    x, y = browser.run(f"window.explain.where({number}, {list(cell)})")
    browser.click(x, y)


# ---- the example's numbers ----------------------------------------------------------------------------


def test_a_clicked_cell_shows_its_arithmetic(page: Open) -> None:
    """The slides' match of five ninths, and of minus one ninth that ReLU makes 0."""
    browser = page("deck")
    assert text(browser, "#verdict") == "It is taken for X, with a vote of 1.00, which is right."
    click(browser, 1, (0, 3, 3))
    tables = browser.run(
        "[...document.querySelectorAll('#cell table')]"
        ".map(table => [...table.querySelectorAll('td')].map(each => each.textContent))"
    )
    one = ["1.00", "−1.00"]
    assert tables[0] == [one[0], one[1], one[0], one[1], one[0], one[1], one[0], one[1], one[0]]
    assert tables[1] == [one[i] for i in (0, 1, 1, 1, 0, 1, 1, 1, 0)]
    assert tables[2] == [one[i] for i in (0, 0, 1, 0, 0, 0, 1, 0, 0)]
    assert text(browser, "#cell [data-result]") == (
        "sum of products 5.00, ÷ 9 = 5/9 = 0.55; then ReLU → 5/9 = 0.55"
    )
    click(browser, 1, (0, 0, 1))
    assert text(browser, "#cell [data-result]") == (
        "sum of products −1.00, ÷ 9 = −1/9 = −0.11; then ReLU → 0.00"
    )


def test_windows_and_their_winners(page: Open) -> None:
    """A tie is marked, and what hangs over the edge is said."""
    browser = page("deck")
    click(browser, 3, (0, 0, 1))
    told = text(browser, "#cell [data-result]")
    assert told.startswith("winner ★ 3/9 = 0.33, at feature 1, row 1, column 4; 2 are tied (☆)")
    click(browser, 3, (0, 3, 3))
    told = text(browser, "#cell [data-result]")
    assert told.startswith("winner ★ 7/9 = 0.77, at feature 1, row 7, column 7; ")
    assert told.endswith("the window hangs over the edge and covers 1 of 4")


def test_votes_and_softmax(page: Open) -> None:
    """Five fifths for X; four quarters for O; and probabilities as the engine has them."""
    browser = page("deck")
    rows = browser.run("[...document.querySelectorAll('#voting .bars')].map(b => b.innerText.split('\\n'))")
    assert rows[0][:1] == ["X ✓"]
    assert rows[1].count("1.00 × 0.20 = 1/5 = 0.20") == 5
    table = text(browser, "#voting table.list")
    for part in explain.deck_walk("X").probabilities:
        assert f"{part:.4f}" in table


# ---- the keyboard, and the address ---------------------------------------------------------------------


def test_the_keyboard_does_what_the_mouse_does(page: Open) -> None:
    """Arrows move, what is pointed at is told, Enter shows the arithmetic."""
    browser = page("deck", "")
    browser.run("document.querySelector('#map1 .mosaic').focus()")
    for key in ("ArrowDown", "ArrowRight", "PageDown", "PageDown"):
        browser.press(key)
    assert text(browser, "#readout").startswith("1 convolution, feature 3, row 2, column 2: 1/9 = 0.11")
    assert browser.run("window.explain.state().cell") == [0, 3, 3]
    browser.press("Enter")
    assert browser.run("window.explain.state().cell") == [2, 1, 1]
    assert "÷ 9 = 1/9 = 0.11" in text(browser, "#cell [data-result]")
    assert "cell=2,1,1" in browser.run("location.hash")
    focusable = browser.run("document.querySelectorAll('[tabindex=\"0\"][aria-label]').length")
    assert focusable >= 7


def test_a_link_leads_to_what_is_looked_at(page: Open) -> None:
    """Map, cell, vote, weight and the case all stand in the address; nonsense in it does no harm."""
    browser = page("deck", "#map=3&cell=0,3,3&vote=1&weight=1,10&way=2&step=0&see=cases")
    assert "7/9 = 0.77" in text(browser, "#cell [data-result]")
    assert text(browser, "[data-case]").startswith("rotation −45°")
    assert browser.run("[...document.querySelectorAll('#curve input[type=number]')].map(i => i.value)") == [
        "2", "1", "1", "2",
    ]  # fmt: skip
    assert browser.run("document.querySelector('#voting select').value") == "1"
    browser.run("location.hash = '#map=1&cell=1,2,3'")
    assert browser.run("new Promise(done => setTimeout(() => done(window.explain.state().cell), 100))") == [
        1,
        2,
        3,
    ]
    for nonsense in ("#map=99&cell=x", "#cell=9,9,9,9&vote=-1&weight=0,0&lr=NaN&see=title&own=2", "#%%%"):
        browser.run(f"window.explain.go({nonsense!r})")
        assert browser.run("window.explain.state().cell") == [0, 3, 3]


# ---- against the engine -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["chain", "branches"])
def shown_net(request: pytest.FixtureRequest) -> tuple[str, explain.Walk]:
    """A page, and what it was made of."""
    return request.param, chain_walk() if request.param == "chain" else _branches()


def test_every_kind_of_cell_ends_in_the_engines_number(
    shown_net: tuple[str, explain.Walk], page: Open
) -> None:
    """One cell of every map, of each kind one clicked: its arithmetic ends in what the engine computed."""
    kinds: set[str] = set()
    name, seen = shown_net
    browser = page(name)
    rng = np.random.default_rng(0)
    for shown in seen.maps:
        cell = tuple(int(rng.integers(size)) for size in shown.shape)
        if shown.kind in kinds:
            browser.run(f"window.explain.go('#map={shown.number}&cell={','.join(map(str, cell))}')")
        else:
            click(browser, shown.number, cell)
        kinds.add(shown.kind)
        assert browser.run("[window.explain.state().map, window.explain.state().cell]") == [
            shown.number,
            list(cell),
        ]
        told = text(browser, "#cell [data-result]").split("; then")[0].split(", at feature")[0].split("; ")[0]
        value = float(shown.values[cell])
        assert numbers_in(told)[-1] == pytest.approx(value, rel=2e-5, abs=1e-6), (shown.title, told)


def test_fields_are_those_of_the_arrays(shown_net: tuple[str, explain.Walk], page: Open) -> None:
    """What is lit on the page is what `Walk.field` says."""
    name, seen = shown_net
    browser = page(name)
    rng = np.random.default_rng(1)
    for shown in seen.maps:
        cell = [int(rng.integers(size)) for size in shown.shape]
        found = dict(browser.run(f"window.explain.field({shown.number}, {cell})"))
        wanted = {
            k: [places.tolist() for places in field] for k, field in seen.field(shown.number, cell).items()
        }
        assert found == wanted, shown.title


def test_the_curve_is_the_engines(shown_net: tuple[str, explain.Walk], page: Open) -> None:
    """Errors for other values of weights of every layer, computed by the page, beside `Walk.curve`."""
    name, seen = shown_net
    browser = page(name)
    rng = np.random.default_rng(2)
    for shown in seen.maps:
        if shown.kind not in ("conv", "full") or shown.number > seen.vote_number:
            continue
        layer: Any = seen.steps[shown.number - 1].layer
        shape = layer.weight.value.shape
        index = tuple(int(rng.integers(size)) for size in shape)
        flat = int(np.ravel_multi_index(index, shape))
        curve = seen.curve(shown.number, index, 0, points=5)
        for weight, error in zip(curve.weights, curve.errors):
            found = browser.run(
                f"window.explain.error({shown.number}, {flat}, {weight!r})".replace("np.float64", "")
            )
            assert found == pytest.approx(error, rel=1e-4, abs=1e-6), (shown.title, index)


def test_a_step_downhill(page: Open) -> None:
    """The ball rolls: error and weight after a step are the engine's, and again after a second."""
    browser = page("deck", "#weight=6,13&right=0")
    curve = explain.deck_walk("X").curve(6, (1, 1), 0)
    told = numbers_in(text(browser, "[data-curve]"))
    assert f"error {explain_ninths(curve.error)}" in text(browser, "[data-curve]")
    assert any(value == pytest.approx(int(curve.new_weight * 100) / 100) for value in told)
    browser.run("[...document.querySelectorAll('#curve button')][0].click()")
    assert "weight 7/36 = 0.19, error" in text(browser, "[data-curve]")
    browser.run("[...document.querySelectorAll('#curve button')][1].click()")
    assert "weight 1/4 = 0.25, error" in text(browser, "[data-curve]")


def explain_ninths(value: float) -> str:
    """A number as the page has it for the example."""
    return f"{round(value * 9)}/9 = {int(value * 100) / 100:.2f}"


def test_hidden_parts_cases_and_the_widget(page: Open) -> None:
    """The slider moves through cases; numbers in are sizes out."""
    browser = page("deck")
    cases = explain.cases_of(explain.deck_walk("X"))
    turn(browser, "#tricky select", 0, 3)
    turn(browser, "#tricky input", 0, 0, "input")
    vote = browser.run(f"long({float(cases[3].votes[0, 0])!r})")
    assert text(browser, "[data-case]") == f"scale 0.5×: X, {vote}"
    turn(browser, "#widget input", 1, 2)
    turn(browser, "#widget input", 2, 1)
    assert "(9 + 2 × 1 − 3) ÷ 2, rounded down, + 1 = 5" in text(browser, "[data-widget]")
    hidden = explain.deck_walk("X").occlusion("X")
    assert f"instead of {browser.run('long(1)')}" in text(browser, "#occlusion")
    assert browser.run("unpack(content.occlusion.votes[0]).data.length") == hidden.votes.size


# ---- form ---------------------------------------------------------------------------------------------


def test_names_are_never_markup(page: Open) -> None:
    """Neither in the title nor in the data."""
    browser = page("chain")
    assert browser.run("document.title") == f"{HOSTILE} through {HOSTILE}"
    assert text(browser, "h1") == f"{HOSTILE} through {HOSTILE}"
    assert browser.run("document.querySelectorAll('b').length") == 0
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert "<owl>" in text(browser, "#voting")


@pytest.mark.parametrize("name", ["deck", "chain"])
def test_a_phone_has_room_for_it(name: str, page: Open) -> None:
    """Nothing is wider than the window, and what is too wide by itself scrolls."""
    browser = page(name, width=390)
    assert browser.run("document.documentElement.scrollWidth") <= 390


def test_dark_and_printed(page: Open) -> None:
    """Colours follow the system; printing is dark on white in any case."""
    browser = page("deck")
    paint = "getComputedStyle(document.body).backgroundColor"
    assert browser.run(paint) == "rgb(255, 255, 255)"
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.run(paint) == "rgb(20, 24, 28)"
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.run(paint) == "rgb(255, 255, 255)"
    browser.send("Emulation.setEmulatedMedia", media="", features=[])


def test_values_that_are_not_finite(browser: Browser, tmp_path: Path) -> None:
    """A net that overflows is shown like any other."""
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU(), nn.Flatten(), nn.Linear(98, 2, rng=1))
    net[0].weight.value[0] = 1e38
    explain.write_page(tmp_path / "large.html", explain.walk(net, picture(1, 9, 9) * 10))
    browser.events.clear()
    browser.open((tmp_path / "large.html").as_uri())
    assert browser.faults() == []
    assert "not finite" in text(browser, "#map1")


def test_sizes() -> None:
    """Of the example's page, and of one for colour pictures of 64x64."""
    assert len(explain.page_of(explain.deck_walk("O"))) < 300_000
    layers = [
        nn.Conv2d(3, 32, 5, padding=2, rng=0), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(),
        nn.Conv2d(32, 32, 5, padding=2, rng=1), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(32, 64, 5, padding=2, rng=2), nn.ReLU(), nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.Flatten(), nn.Linear(4096, 64, rng=3), nn.Linear(64, 10, rng=4),
    ]  # fmt: skip
    page = explain.page_of(explain.walk(nn.Sequential(*layers), picture(3, 64, 64)))
    assert len(page) < 8_000_000
