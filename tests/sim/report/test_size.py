"""A report of a whole design space stays a file that one can send: under 8 MB.

Most of it is the plotting library.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.sim.cli.report import report_of
from tests.support.sweeps import small_sweep
from tests.support.synthetic_profile import synthetic_profile

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
pytest.importorskip("jinja2", reason="a report needs jinja2: install the extra 'report'")


def test_ten_thousand_designs_on_three_devices_make_a_page_under_8_mb(tmp_path: Path) -> None:
    from adadecode.sim.report.page import page

    profile = synthetic_profile(tmp_path / "p", depths=range(1, 8), prompts=4)
    gammas = [k / 100 for k in range(10, 90)]
    sweep = small_sweep(tmp_path / "s", profile, gammas=gammas, caps=(3, 5))
    assert len(sweep.designs) >= 3 * 10_000
    made = page(report_of(sweep.path))
    assert len(made.encode()) < 8_000_000
