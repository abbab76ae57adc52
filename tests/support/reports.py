"""A profile and a sweep with hostile names, and their report."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from adadecode.profiles import Profile
from adadecode.sim.cli.report import report_of
from adadecode.sim.report.document import Report
from tests.support import synthetic_profile
from tests.support.handmade import recorded_profile
from tests.support.sweeps import small_sweep

HOSTILE = '<script>window.stolen = 1</script><img src=x onerror="window.stolen = 1">'
FORMULA = '=HYPERLINK("http://example.org")'


def hostile_profile(path: Path) -> Profile:
    """Return measured runs with names that try to be more than text.

    They are the names of the model, the machine, a domain and the profile, and a limitation.
    """
    model = {
        "name": HOSTILE,
        "n_layers": 8,
        "n_parameters": 1_000_000,
        "config": {"vocab_size": 50},
    }
    manifest: dict[str, Any] = {
        "name": FORMULA,
        "model": model,
        "hardware": {"device": HOSTILE, "host": {}},
        "limitations": [HOSTILE],
    }
    with patch.object(synthetic_profile, "DOMAINS", (HOSTILE, "code")):
        return recorded_profile(path, slower={"vanilla": 1.4}, manifest=manifest)


def hostile_report(folder: Path) -> Report:
    """Return the report on a sweep of that profile."""
    profile = hostile_profile(folder / "profile")
    small_sweep(
        folder / "sweep", profile, others={f"{HOSTILE} again": "carried", "sheet": "datasheet"}
    )
    return report_of(folder / "sweep")
