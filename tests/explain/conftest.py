"""One browser for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from explain.browser import Browser, find


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that is there, or a test that says why it was skipped."""
    if find() is None:
        pytest.skip("needs a browser: the Debian package chromium")
    opened = Browser(tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()
