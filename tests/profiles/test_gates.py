"""Gates in a profile: written where heads have them, read as none elsewhere, and consistent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from adadecode.profiles import LatencyTable, Profile, ProfileError, Trace, write_profile
from adadecode.profiles.errors import DesignError, LatencyError
from adadecode.profiles.manifest import tables_of
from adadecode.profiles.schema import OPTIONAL_COLUMNS
from adadecode.sim.core.design import Design
from tests.support.handmade import recorded_profile
from tests.support.synthetic_profile import GATE_SECONDS

DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.5, placement=(2, 6)),
    Design.of(gamma=0.5, placement=(2, 6), gate=(0.4, 0)),
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("plain") / "p", designs=DESIGNS[:2])


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("gated") / "p", designs=DESIGNS, gates=True)


def columns_of(profile: Profile) -> dict[str, set[str]]:
    """The columns of each file."""
    return {path.stem: set(pq.read_schema(path).names) for path in profile.path.glob("*.parquet")}


def test_a_profile_without_gates_is_written_as_ever(plain: Profile, tmp_path: Path) -> None:
    """No file has a column of gates, the version is the first, and reading and writing it again
    changes no byte of a table.
    """
    assert plain.manifest["schema_version"] == 1
    for table, names in columns_of(plain).items():
        assert not names & OPTIONAL_COLUMNS[table]
    again = write_profile(tmp_path / "again", plain.manifest, _tables(plain))
    assert again.manifest == plain.manifest


def test_its_frames_have_empty_gates(plain: Profile) -> None:
    assert not plain.has_gates
    assert set(plain.runs["gates"]) == {()}
    assert set(plain.rounds["gates_asked"]) == {()}
    assert plain.trace["gate"].isna().all()


def test_gates_are_written_and_read_back(gated: Profile, tmp_path: Path) -> None:
    """In files of a version that older programs refuse, rather than leave gates out."""
    assert (gated.has_gates, gated.manifest["schema_version"]) == (True, 3)
    assert {(), (0.4, 0.0)} == set(gated.runs["gates"])
    assert {2} == {depth for asked in gated.rounds["gates_asked"] for depth in asked}
    last = gated.trace["depth"] == gated.n_layers
    assert (gated.trace["gate"].isna() == last).all()
    again = write_profile(tmp_path / "again", gated.manifest, _tables(gated))
    for name in columns_of(gated):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(gated, name))
    assert "adadecode 2/6 gamma 0.5 gate 0.4/0" in set(gated.runs_frame()["design"])


def test_scores_are_looked_up(gated: Profile, plain: Profile) -> None:
    trace = Trace.from_profile(gated)
    row = gated.trace.query("prompt == 1 and output == 3 and depth == 4").iloc[0]
    assert trace.gate(1, 3, 4) == row["gate"]
    off = gated.branches.query("depth == 4").iloc[0]
    assert trace.branch_gate(off["prompt"], off["output"], off["path"], 4) == off["gate"]
    moved = trace.mapped({4: 6}, 12)
    assert moved.gate(1, 3, 6) == row["gate"]
    assert moved.branch_gate(off["prompt"], off["output"], off["path"], 6) == off["gate"]
    with pytest.raises(DesignError, match="no head at depth 3"):
        trace.gate(1, 3, 3)
    with pytest.raises(DesignError, match="no gates in this recording"):
        Trace.from_profile(plain).gate(1, 3, 4)


def test_a_shortlist_changes_no_score(gated: Profile) -> None:
    """A gate scores the hidden state, and does not know the tokens."""
    trace = Trace.from_profile(gated)
    few = trace.shortlisted({prompt: [1, 2] for prompt in trace.prompts})
    assert few.gate(1, 3, 4) == trace.gate(1, 3, 4)


def test_latencies_of_gates_are_looked_up_by_depth(gated: Profile, plain: Profile) -> None:
    table = gated.latency_table
    assert table.gate_depths == (2, 4, 6)
    assert table.gate(4) == pytest.approx(GATE_SECONDS, rel=0.1)
    with pytest.raises(LatencyError, match=r"the gate at depth 3 \(measured 2, 4, 6"):
        table.gate(3)
    with pytest.raises(LatencyError, match=r"\(measured none\): train heads with gates"):
        plain.latency_table.gate(4)
    more = plain.latency_table.with_gates({4: 2.0})
    assert (more.gate(4), more.gate_depths) == (2.0, (4,))
    assert LatencyTable.from_samples(more.points, more.n_layers).gate(4) == 2.0


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("trace", {"gate": 1.5}, r"wanted a probability in 0..1 as gate"),
        ("branches", {"gate": -0.1}, r"wanted a probability in 0..1 as gate"),
        ("trace", {"gate": float("nan")}, "no score stands at depth 2 in row 0 of the table trace"),
        ("branches", {"gate": float("nan")}, "no score stands at depth 2 in row 0 of the table br"),
        ("runs", {"gates": (0.4, 1.2)}, "wanted a probability in 0..1 as gates"),
        ("runs", {"gates": (0.4,)}, "wanted 2 gates, one for each of placement"),
        ("runs", {"policy": "fixed"}, "asks gates, which it does not have, in the table runs"),
        ("rounds", {"gates_asked": ()}, "asked the gates at the depths none"),
        ("rounds", {"gates_asked": (6,)}, "asked the gates at the depths 6"),
        ("rounds", {"gates_asked": (9,)}, "as gates_asked"),
    ],
)
def test_gates_that_cannot_be_are_refused(
    gated: Profile, tmp_path: Path, table: str, change: dict[str, Any], message: str
) -> None:
    tables = _tables(gated)
    frame = tables[table]
    row = 0
    if table == "runs":
        row = next(at for at, gates in enumerate(frame["gates"]) if gates)
    if table == "rounds":
        row = next(
            at
            for at, (asked, checks) in enumerate(
                zip(frame["gates_asked"], frame["checks"], strict=True)
            )
            if asked and 2 in checks
        )
    for column, value in change.items():
        frame[column] = [
            value if at == row else one for at, one in enumerate(frame[column].tolist())
        ]
    with pytest.raises(ProfileError, match=message):
        write_profile(tmp_path / "p", gated.manifest, tables)


def test_scores_without_gates_are_refused(gated: Profile, tmp_path: Path) -> None:
    manifest = {**gated.manifest, "heads": {**gated.manifest["heads"], "gates": False}}
    with pytest.raises(ProfileError, match="the heads have no gates by the manifest, and a score"):
        write_profile(tmp_path / "p", manifest, _tables(gated))


def test_gates_that_no_score_shows_are_refused(plain: Profile, tmp_path: Path) -> None:
    manifest = {**plain.manifest, "heads": {**plain.manifest["heads"], "gates": True}}
    with pytest.raises(ProfileError, match="the heads have gates by the manifest, and no score"):
        write_profile(tmp_path / "p", manifest, _tables(plain))


def test_a_design_with_gates_needs_heads_with_gates(plain: Profile, tmp_path: Path) -> None:
    tables = _tables(plain)
    asked = tables["runs"]["placement"].map(len) == 2
    tables["runs"]["gates"] = [(0.4, 0.4) if one else () for one in asked]
    with pytest.raises(ProfileError, match="asks gates, which it does not have"):
        write_profile(tmp_path / "p", plain.manifest, tables)


def _tables(profile: Profile) -> dict[str, pd.DataFrame]:
    return {name: getattr(profile, name).copy() for name in tables_of(profile.manifest)}
