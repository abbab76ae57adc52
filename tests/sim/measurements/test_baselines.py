"""Baselines in a profile: an optional table, the standings made of it, and the report's section."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from adadecode.profiles import Profile, ProfileError, read_profile, write_profile
from adadecode.profiles.schema import OPTIONAL_TABLES
from adadecode.profiles.store import write_table
from adadecode.sim.measurements.baselines import same_text, standings
from adadecode.sim.report.profile import run_tables
from adadecode.sim.validation.tiers import validate
from tests.support.handmade import DESIGNS, recorded_profile
from tests.support.synthetic_profile import tables_of

TEXTS = {"": (0, 1, 2)}


def row(name: str, prompt: int, repeat: int, **changed: Any) -> dict[str, Any]:
    """A run of 11 outputs at 10 ms each, after one that took 50 ms."""
    ran = {
        "n_tokens": 11,
        "n_same": 11,
        "exact": True,
        "n_first": 1,
        "prefill_s": 0.05,
        "decode_s": 0.1,
        "compile_s": 0.0,
    }
    return {
        "name": name,
        "prompt": prompt,
        "repeat": repeat,
        **ran,
        "energy_j": math.nan,
        "error": "",
        **changed,
    }


def failure(name: str, prompt: int, error: str) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(("n_tokens", "n_same", "n_first"), 0)
    return row(
        name, prompt, -1, **nothing, exact=False, prefill_s=math.nan, decode_s=math.nan, error=error
    )


def rows() -> list[dict[str, Any]]:
    """Plain generate; one twice as fast whose text differs on a prompt; one that fails; our designs
    checked.
    """
    found = []
    for prompt in range(3):
        found += [row(design.label, prompt, -1) for design in DESIGNS]
        found += [
            failure("broken", prompt, "ValueError: <b>no</b>"),
            row("quick", prompt, -1, compile_s=30.0),
            row("generate", prompt, -1),
        ]
        for repeat, slower in enumerate((1.0, 2.0, 4.0)):
            odd = {"exact": False, "n_same": 7 + repeat} if prompt == 1 else {}
            found.append(row("generate", prompt, repeat, decode_s=0.1 * slower))
            found.append(row("quick", prompt, repeat, decode_s=0.04 * slower, n_first=3, **odd))
    return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("plain") / "p", slower={"vanilla": 1.4})


@pytest.fixture(scope="module")
def profile(plain: Profile, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    tables = tables_of(plain) | {"baselines": pd.DataFrame(rows())}
    return write_profile(tmp_path_factory.mktemp("beside") / "p", plain.manifest, tables)


def by_name(profile: Profile) -> dict[str, dict[Any, Any]]:
    return {one["name"]: one for one in standings(profile, TEXTS).to_dict("records")}


def test_the_table_reads_back_as_written(profile: Profile) -> None:
    """It has the columns of the schema."""
    again = read_profile(profile.path)
    pd.testing.assert_frame_equal(again.baselines, profile.baselines)
    assert list(again.baselines.columns) == OPTIONAL_TABLES["baselines"].names
    assert len(again.baselines) == len(rows())


def test_a_profile_without_the_table_has_an_empty_one(plain: Profile) -> None:
    """As every profile recorded before there were baselines."""
    assert "baselines" not in plain.manifest["tables"]
    assert plain.baselines.empty
    assert list(plain.baselines.columns) == OPTIONAL_TABLES["baselines"].names
    assert standings(plain, TEXTS).empty


def test_a_profile_with_the_table_is_still_of_version_1(profile: Profile) -> None:
    """Programs that do not know it read the rest."""
    assert profile.manifest["schema_version"] == 1


def test_a_table_left_from_an_earlier_profile_goes(plain: Profile, tmp_path: Path) -> None:
    tables = tables_of(plain)
    write_profile(tmp_path / "p", plain.manifest, tables | {"baselines": pd.DataFrame(rows())})
    write_profile(tmp_path / "p", plain.manifest, tables)
    assert not (tmp_path / "p" / "baselines.parquet").exists()


def test_a_table_that_was_changed_is_refused(plain: Profile, tmp_path: Path) -> None:
    """Its digest is checked as that of any other table."""
    changed = write_profile(
        tmp_path / "p", plain.manifest, tables_of(plain) | {"baselines": pd.DataFrame(rows())}
    ).path
    write_table(changed, "baselines", pd.DataFrame(rows()[:3]))
    with pytest.raises(ProfileError, match="truncated or was changed"):
        read_profile(changed)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("prefill_s", 0.0, "a finite number of seconds above 0 as prefill_s"),
        ("decode_s", math.nan, "a finite number of seconds as decode_s"),
        ("compile_s", math.inf, "a finite number of seconds as compile_s"),
        ("n_first", 0, "a number of tokens in 1..1e.08 as n_first"),
        ("n_tokens", 0, "a number of tokens in 1..1e.08 as n_tokens"),
        ("n_same", -1, "a count in 0..1e.08 as n_same"),
        ("repeat", -2, "-1 or more as repeat"),
        ("energy_j", -1.0, "a finite number of joules, or NaN"),
        ("prompt", 9, "got prompt 9"),
    ],
)
def test_an_absurd_run_is_refused(
    plain: Profile, tmp_path: Path, column: str, value: float, message: str
) -> None:
    """What did not run has no seconds, what ran has."""
    table = pd.DataFrame([row("generate", 0, 0) | {column: value}])
    with pytest.raises(ProfileError, match=message):
        write_profile(tmp_path / "p", plain.manifest, tables_of(plain) | {"baselines": table})


def test_speedups_are_taken_repeat_by_repeat(profile: Profile) -> None:
    """Eight outputs after the first step in 40 ms, against ten in 100: twice as fast, in every
    repeat.
    """
    baseline = by_name(profile)["quick"]
    assert baseline["tpot_s"] == pytest.approx(0.01)
    assert [baseline[f"over_generate{end}"] for end in ("", "_low", "_high")] == pytest.approx(
        [2.0, 2.0, 2.0]
    )
    whole = [(0.05 + 0.1 * slower) / (0.05 + 0.04 * slower) for slower in (1, 2, 4)]
    assert [
        baseline[f"over_generate_whole{end}"] for end in ("_low", "", "_high")
    ] == pytest.approx(whole)


def test_designs_stand_as_they_do_elsewhere(profile: Profile) -> None:
    """The same speedup over vanilla as in the rest of the report."""
    speeds = run_tables.speedups(profile, TEXTS).set_index("design")
    for name, baseline in by_name(profile).items():
        assert baseline["ours"] == (name in speeds.index)
        if baseline["ours"]:
            assert [
                baseline[f"over_vanilla{end}"] for end in ("", "_low", "_high")
            ] == pytest.approx(speeds.loc[name, ["speedup", "low", "high"]].tolist())


def test_texts_are_counted_over_every_run(profile: Profile) -> None:
    """A prompt whose text differed in one repeat does not count, and the first difference of all is
    told.
    """
    baselines = by_name(profile)
    assert same_text(baselines["generate"]) == "3 of 3"
    assert same_text(baselines["quick"]) == "2 of 3, first after 7"
    assert same_text(baselines["broken"]) == "not compared"
    assert (baselines["quick"]["compile_s"], baselines["broken"]["error"]) == (
        90.0,
        "ValueError: <b>no</b>",
    )
    assert math.isnan(baselines["broken"]["tpot_s"])


def test_a_baseline_without_every_prompt_has_no_speed(profile: Profile) -> None:
    part = profile.baselines[
        ~((profile.baselines["name"] == "quick") & (profile.baselines["prompt"] == 2))
    ]
    baseline = by_name(Profile(**{**vars(profile), "baselines": part}))["quick"]
    assert math.isnan(baseline["over_generate"])


def test_the_tiers_do_not_see_baselines(plain: Profile, profile: Profile) -> None:
    assert validate(plain).to_dict() == validate(profile).to_dict()


def test_the_report_shows_baselines_beside_designs(profile: Profile) -> None:
    """Figures over vanilla and generate, a table with everything, and a note for what failed."""
    pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
    from adadecode.sim.report.profile.profile_report import profile_report

    section = next(
        part
        for part in profile_report(profile, created="today").sections
        if part.name == "baselines-section"
    )
    figure, table = section.items
    drawn = figure.drawings["generate", "all text"]
    assert drawn.summary.endswith("fastest baseline: quick, 2.00× over generate.")
    by_kind = {
        trace.name: dict(zip(trace.y, trace.marker.symbol, strict=True))
        for trace in drawn.figure.data
    }
    assert by_kind["baseline"] == {"quick": "x", "generate": "circle"}
    assert set(by_kind["ours"]) == {design.label for design in DESIGNS}
    assert len(table.cells()) == (3 + len(DESIGNS)) * 3
    assert section.notes == (
        "broken did not run: ValueError: <b>no</b>",
        "Compiling for quick took 90 s, which no speed above contains.",
    )


def test_a_report_without_baselines_has_no_such_section(plain: Profile) -> None:
    pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
    from adadecode.sim.report.profile.profile_report import profile_report

    assert all(
        part.name != "baselines-section" for part in profile_report(plain, created="today").sections
    )
