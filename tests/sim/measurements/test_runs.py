"""Measured runs put back together: what may be missing, and what is damage."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import Profile, ProfileError, write_profile
from adadecode.sim.core.design import Design
from adadecode.sim.measurements.runs import instrumented_runs, rounds_of
from adadecode.sim.validation.tiers import validate
from tests.support.handmade import recorded_profile
from tests.support.synthetic_profile import EOS, tables_of

SETTLING = 7e-5
"""Seconds that pass between two looks at the clock."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("recorded") / "profile")


def one_token(original: Profile, path: Path, prompts: list[int]) -> Profile:
    """The profile, recorded again where the first token of these prompts ends their text: nothing
    is left to decode.
    """
    tables = tables_of(original)
    for name in ("trace", "branches", "rounds", "works"):
        tables[name] = tables[name][~tables[name]["prompt"].isin(prompts)]
    tables["prompts"].loc[
        tables["prompts"]["prompt"].isin(prompts), ["n_output", "ended", "first_token"]
    ] = (1, True, EOS)
    tables["runs"].loc[tables["runs"]["prompt"].isin(prompts), ["n_tokens", "decode_s"]] = (
        1,
        SETTLING,
    )
    return write_profile(path, original.manifest, tables)


def damaged(original: Profile, name: str, row: int, **values: Any) -> Profile:
    """The profile with values of one row changed, as it might be made in memory."""
    table = getattr(original, name).copy()
    for column, value in values.items():
        table[column] = [
            value if number == row else held for number, held in enumerate(table[column])
        ]
    return replace(original, **{name: table})


def test_a_text_of_one_token_has_no_works(original: Profile, tmp_path: Path) -> None:
    """Its decoding takes no work, but the clock does not stand still: the other prompts are
    compared, this one counts as decoded.
    """
    short = one_token(original, tmp_path / "short", [0])
    result = validate(short)
    assert result.holds
    assert result.to_dict()["structure"] == {"runs": 4, "exact": 4, "explained": 0}
    alone = result.cells[result.cells["prompt"] == 0]
    assert set(alone["n_tokens"]) == {1}
    assert (
        alone[["exact", "replay_error", "prediction_error", "speedup_error"]].isna().all(axis=None)
    )
    assert {prompt for (_, prompt), _, _ in instrumented_runs(short)} == {1, 2}


def test_texts_of_one_token_alone_can_be_compared(original: Profile, tmp_path: Path) -> None:
    """There is nothing to say of them, and no error."""
    document = validate(one_token(original, tmp_path / "short", [0, 1, 2])).to_dict()
    assert document["structure"] == {"runs": 0, "exact": 0, "explained": 0}
    assert document["prediction_error"] == {"median": None, "p90": None}


def test_missing_works_of_a_longer_text_are_refused(original: Profile, tmp_path: Path) -> None:
    """They are refused even if they took little time."""
    tables = tables_of(original)
    tables["works"] = tables["works"][tables["works"]["policy"] != "vanilla"]
    with pytest.raises(
        ProfileError, match="no works of the instrumented run 0 of vanilla on prompt 0"
    ):
        list(instrumented_runs(write_profile(tmp_path / "p", original.manifest, tables)))


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"policy": "fixed"}, "exactly one head"),
        ({"placement": (4, 2, 6)}, "rising list of depths"),
    ],
)
def test_rows_that_name_no_design_are_refused(
    original: Profile, values: dict[str, Any], what: str
) -> None:
    """A profile that holds them is damaged, whatever each value is on its own."""
    row = int((original.rounds["placement"].map(len) == 3).to_numpy().argmax())
    changed = damaged(original, "rounds", row, **values)
    with pytest.raises(
        ProfileError,
        match=rf"wanted a design in row {row} of the table rounds, .*{what}.*record it again",
    ):
        rounds_of(changed)


def test_a_verified_run_of_another_length_is_refused(original: Profile) -> None:
    """Every verified text is the trace's; nothing that was measured on another can be held against
    it.
    """
    row = int((original.runs["policy"] == "adadecode").to_numpy().argmax())
    longer = int(original.runs["n_tokens"].iloc[row]) + 3
    label = re.escape("adadecode 2/4/6 gamma 0.75")
    with pytest.raises(
        ProfileError,
        match=rf"wanted runs of {longer - 3} tokens.* {label} on prompt 0, got {longer}: ",
    ):
        validate(damaged(original, "runs", row, n_tokens=longer))


def test_an_unverified_run_of_another_length_is_left_out(tmp_path: Path) -> None:
    """Its replay kept to the text, the run did not."""
    designs = [
        Design.of("vanilla"),
        Design.of("adadecode", gamma=0.9999, placement=(2,), verify=False),
    ]
    recorded = recorded_profile(tmp_path / "p", designs=designs)
    tables = tables_of(recorded)
    away = ~tables["runs"]["verify"] & (tables["runs"]["prompt"] == 1)
    tables["runs"].loc[away, ["n_tokens", "decode_s"]] = (1, 0.0)
    result = validate(replace(recorded, runs=tables["runs"]))
    assert result.left_out == 1
    assert not ((result.cells["prompt"] == 1) & (result.cells["policy"] == "adadecode")).any()
