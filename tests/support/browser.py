"""A real browser for the tests of pages, and what they do with one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def launched_browser() -> Iterator[Any]:
    """Yield a browser, or skip the test where there is none."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="drives a browser: install the extra 'dev'"
    )
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no browser in PATH: looked for {', '.join(BROWSERS)}")
    with sync_api.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=program, args=FLAGS)


def drawn(page: Any, name: str) -> Any:
    """Return a figure, once it is drawn."""
    figure = page.locator(f"#{name}")
    figure.scroll_into_view_if_needed()
    figure.locator(".main-svg").first.wait_for()
    return figure
