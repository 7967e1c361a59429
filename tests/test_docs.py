"""The documentation runs: every Python block of the guides, and every example in a docstring.

A block that starts with `>>>` is a doctest, its output is compared; any other is executed. The blocks of one
page share their names, as a reader who follows it from the top would have them.
"""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import fastconv
from fastconv import grad, ndimage, nn, signal

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Language, text and first line of each fenced block."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        yield match[1], match[2], text.count("\n", 0, match.start(2)) + 1


def run_examples(text: str, names: dict[str, object], where: str, line: int) -> list[str]:
    """Run the `>>>` examples of a text; what failed, in doctest's words."""
    test = doctest.DocTestParser().get_doctest(text, names, where, where, line - 1)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    return report


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_python_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for package in ("scipy", "onnx", "torch", "sklearn", "autograd", "jax", "keras"):
        opened = rf"^(>>> )?(import|from) (fastconv\.interop import )?{package}\b"
        shown = re.search(opened, text, re.MULTILINE)
        if shown and find_spec(package) is None:
            pytest.skip(f"the page shows how to work with {package}")
    names: dict[str, object] = {"__name__": "__main__"}
    for language, text, line in blocks(page):
        if language not in ("python", "pycon"):
            continue
        if text.startswith(">>>"):
            report = run_examples(text, names, page.name, line)
            assert not report, "".join(report)
        else:
            exec(compile("\n" * (line - 1) + text, page.name, "exec"), names)


def modules() -> list[ModuleType]:
    """Every module of the package that imports without the extras."""
    found = [fastconv]
    for info in pkgutil.walk_packages(fastconv.__path__, "fastconv."):
        if info.name.endswith("__main__"):
            continue
        try:
            found.append(importlib.import_module(info.name))
        except ImportError as error:
            if not re.match(r"fastconv\.interop\.\w+: ", str(error)):  # a door whose package is missing
                raise
    return found


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_docstring_examples_give_what_they_say(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        report: list[str] = []
        doctest.DocTestRunner(optionflags=OPTIONS, verbose=False).run(test, out=report.append)
        assert not report, "".join(report)


PUBLIC = {
    f"{home.__name__}.{name}": getattr(home, name)
    for home in (fastconv, fastconv.functional, grad, ndimage, nn, signal)
    for name in home.__all__
    if not inspect.ismodule(getattr(home, name))
}


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented(name: str) -> None:
    """A docstring of its own, and for classes one for every public method."""
    value = PUBLIC[name]
    assert value.__doc__, f"{name} has no docstring"
    if not inspect.isclass(value):
        return
    for method, function in vars(value).items():
        if not method.startswith("_") and inspect.isfunction(function):
            assert inspect.getdoc(getattr(value, method)), f"{name}.{method} has no docstring"


def test_every_name_in_all_exists() -> None:
    for home in modules():
        for name in getattr(home, "__all__", ()):
            assert hasattr(home, name), f"{home.__name__} has no {name}"


def test_readme_starts_with_the_two_commands() -> None:
    """What a newcomer copies first; .ci/run reads the second from here."""
    commands = [text.strip() for language, text, _ in blocks(ROOT / "README.md") if language == "sh"]
    commands_wanted = ["pip install '.[cli]' && fastconv xo", "pip install '.[cli,test]' && pytest -n auto"]
    assert commands[:2] == commands_wanted


def test_readme_lists_every_environment_variable() -> None:
    """Those the sources read, no more and no less."""
    sources = [ROOT / "setup.py"]
    for folder, suffixes in (("src", (".py", ".pyx")), ("csrc", (".c", ".h"))):
        sources += [path for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    read = r"""environ(?:\.get\(|\[)"(FASTCONV_\w+)"|getenv\("(FASTCONV_\w+)"\)"""
    used = {a or b for path in sources for a, b in re.findall(read, path.read_text(encoding="utf-8"))}
    assert used
    assert used == set(re.findall(r"^\| `(FASTCONV_\w+)` \|", README, re.MULTILINE))


def links() -> Iterator[tuple[Path, str, Path]]:
    """Page, text and target of every link within the repository."""
    for page in PAGES:
        for text, target in re.findall(r"\[([^]]*)\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            yield page, text, page.parent / target


def test_links_lead_somewhere() -> None:
    for page, _, target in links():
        assert target.exists(), f"{page.name}: {target}"


def test_names_are_where_the_tour_sends_the_reader() -> None:
    """A link whose text is code names something in the file it leads to."""
    named = [(text.strip("`"), target) for _, text, target in links() if text.startswith("`")]
    assert named
    for name, target in named:
        assert re.search(rf"\b{name}\b", target.read_text(encoding="utf-8")), f"{name} is not in {target}"


#: Where a name of a file may start from, beside the folder of the file that names it.
PACKAGE = ROOT / "src" / "fastconv"
STARTS = [ROOT, PACKAGE, PACKAGE / "_kernels", PACKAGE / "include", ROOT / "csrc"]
FILE_NAME = re.compile(r"(?<![\w/.*-])(?:\.\./)*[\w-][\w./-]*\.(?:pyx|pxd|pyi|py|c|h|md|toml)\b(?![*(/])")
FOLDER_NAME = re.compile(r"`((?!/)[\w./]+/)`")

#: What a source file says in words: docstrings and comments.
WORDS = {
    **dict.fromkeys([".py", ".pyx", ".pxd"], re.compile(r'"""(.*?)"""|#([^\n]*)', re.DOTALL)),
    **dict.fromkeys([".c", ".h"], re.compile(r"/\*(.*?)\*/|//([^\n]*)", re.DOTALL)),
}
OTHERS = {"Python.h", "malloc.h", "layer.pyx"}  # not of this repository; the last is a page's example


def named_files(path: Path) -> set[str]:
    """Files and folders that a page or the words of a source file name."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = BLOCK.sub("", text)  # what readers' programs write is theirs
        return {*FILE_NAME.findall(text), *FOLDER_NAME.findall(text)}
    words = " ".join(a or b for a, b in WORDS[path.suffix].findall(text))
    return set(FILE_NAME.findall(words))


NAMING = [*PAGES, ROOT / "setup.py"]
for folder in ("src", "csrc", "tests", "benchmarks"):
    NAMING += sorted(path for path in (ROOT / folder).rglob("*") if path.suffix in WORDS)


@pytest.mark.parametrize("path", NAMING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_that_is_named_exists(path: Path) -> None:
    """From the root, the package, its kernels, csrc, or the folder of the file that names it."""
    starts = [path.parent, *STARTS]
    missing = {name for name in named_files(path) if not any((start / name).exists() for start in starts)}
    assert missing <= OTHERS


def test_names_of_files_are_found() -> None:
    """The test above sees the names that the tour is full of."""
    assert {"csrc/fc_api.h", "conv/direct.pyx", "nn/layers/"} <= named_files(ROOT / "CONTRIBUTING.md")
    assert "conv/outer.pyx" in named_files(ROOT / "src" / "fastconv" / "algorithm.py")


def test_the_tour_goes_through_every_room_of_the_kernels() -> None:
    """CONTRIBUTING.md's table of rooms names each folder of `_kernels`, and no other."""
    rooms = {path.parent.name for path in (ROOT / "src" / "fastconv" / "_kernels").glob("*/__init__.py")}
    tour = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `_kernels/(\w+)/` \|", tour, re.MULTILINE)) == rooms


# ---- the differences from torch that the README lists ------------------------------------------------


def test_lists_are_not_arrays() -> None:
    with pytest.raises(TypeError, match="input"):
        fastconv.conv1d([[1.0, 2.0]], np.ones((1, 1, 1)))


def test_mixed_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"weight.*float64.*float32"):
        fastconv.conv1d(np.ones((1, 1, 3), np.float32), np.ones((1, 1, 1), np.float64))


def test_padding_may_differ_before_and_after() -> None:
    output = fastconv.conv1d(np.array([[[1.0, 2.0]]]), np.array([[[1.0]]]), padding=[(2, 1)])
    assert output.tolist() == [[[0.0, 0.0, 1.0, 2.0, 0.0]]]


def test_max_pool_gives_the_first_of_several_nans() -> None:
    output, indices = fastconv.max_pool1d(np.array([[[1.0, np.nan, np.nan]]]), 3, return_indices=True)
    assert np.isnan(output).all()
    assert indices.tolist() == [[[1]]]


def test_a_pool_window_without_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="covers no element"):
        fastconv.max_pool1d(np.ones((1, 1, 1)), 2, stride=1, padding=1, dilation=2)


def test_pools_know_pairs_divisors_and_no_empty_output() -> None:
    values = np.array([[[1.0, 2.0]]])
    assert fastconv.avg_pool1d(values, 2, padding=[(1, 0)], divisor_override=4).tolist() == [[[0.25]]]
    with pytest.raises(ValueError, match="output_size=0"):
        fastconv.adaptive_avg_pool1d(values, 0)


def test_softmax_works_along_the_last_axis() -> None:
    values = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(fastconv.softmax(values), fastconv.softmax(values, dim=-1))


def test_activations_stay_finite_where_their_values_are() -> None:
    large = np.array([800.0])
    assert fastconv.softplus(large, threshold=1000).tolist() == [800.0]
    assert grad.softplus_input(large, np.ones(1), threshold=1000).tolist() == [1.0]


def test_a_gradient_is_zeros_before_the_first_backprop() -> None:
    assert all((parameter.grad == 0).all() for parameter in nn.Linear(2, 3).parameters())


def test_empty_batch_gives_empty_result_and_other_empty_axes_are_refused() -> None:
    assert fastconv.conv1d(np.ones((0, 1, 3)), np.ones((1, 1, 1))).shape == (0, 1, 3)
    with pytest.raises(ValueError, match="empty axis"):
        fastconv.conv1d(np.ones((1, 1, 0)), np.ones((1, 1, 1)))
