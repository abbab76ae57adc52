"""A browser, and the report with hostile names, for the tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adadecode.sim.report.document import Report
from tests.support.browser import launched_browser
from tests.support.reports import hostile_report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launched_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Report:
    pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
    return hostile_report(tmp_path_factory.mktemp("hostile"))
