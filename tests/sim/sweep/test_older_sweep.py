"""A sweep of an older version of the program, without energy over vanilla's and without regimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.errors import ProfileError
from adadecode.sim.prediction.evaluator import ENERGY
from adadecode.sim.sweep.plan import digest_of
from adadecode.sim.sweep.store import read_sweep
from tests.support.sweeps import small_sweep
from tests.support.synthetic_profile import synthetic_profile
from tests.support.tampering import edit_designs, edit_sweep


def as_before(about: dict[str, Any]) -> None:
    """Take out of a description what older versions did not write."""
    for best in about["best"].values():
        for name in ENERGY:
            del best[name]
    for device in about["devices"]:
        device.pop("regime", None)
        device.pop("limited_by", None)
    about["plan"] = digest_of(about)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    profile = synthetic_profile(tmp_path / "p", prompts=3)
    small_sweep(tmp_path / "s", profile, max_heads=1, caps=(3,))
    edit_sweep(tmp_path / "s", as_before)
    edit_designs(tmp_path / "s", lambda table: table.drop_columns(list(ENERGY)))
    return tmp_path / "s"


def test_it_is_read(older: Path) -> None:
    """Without the columns that it does not have."""
    done = read_sweep(older)
    assert not set(ENERGY) & set(done.designs.columns)
    assert done.best()["speedup"] > 0


def test_it_is_reported_with_what_it_does_not_say(older: Path) -> None:
    """No regime, no limit, and no table of energy."""
    pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
    from adadecode.sim.report.sweep.devices_section import devices_section
    from adadecode.sim.report.sweep.sweep_data import SweepData

    section = devices_section(SweepData(sweep=read_sweep(older)))
    assert section is not None
    assert "devices-energy" not in {item.name for item in section.items}
    (table,) = [item for item in section.items if item.name == "devices-table"]
    assert set(table.frame["regime"]) == set(table.frame["limit"]) == {"-"}


def test_some_of_the_columns_are_refused(older: Path) -> None:
    """No version writes them so."""
    edit_designs(
        older, lambda table: table.append_column("energy_low", table["energy_j_per_token"])
    )
    with pytest.raises(ProfileError, match=r"or none in .*, got no energy_high"):
        read_sweep(older)
