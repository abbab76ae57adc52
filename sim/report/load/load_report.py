"""The report on a directory of a load: planned, served or observed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from adadecode.sim.report.document import Report
from adadecode.sim.report.load.plan_file import is_plan, read_plan
from adadecode.sim.report.load.plan_report import plan_report
from adadecode.sim.report.load.run_file import is_run, read_run
from adadecode.sim.report.load.run_report import run_report


def load_report(folder: Path) -> Report | None:
    """Return the report on what plan, serve or observe wrote; None for any other directory.

    Raises:
        InputError: If it cannot be read, or is not as it was written.
    """
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if is_plan(folder):
        return plan_report(read_plan(folder), created=created)
    if is_run(folder):
        return run_report(read_run(folder), created=created)
    return None
