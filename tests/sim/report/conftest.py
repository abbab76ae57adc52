"""A browser for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import launched_browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launched_browser() as browser:
        yield browser
