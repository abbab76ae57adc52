"""Profiles in which every value is fine and the tables tell of what cannot have happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from adadecode.profiles import TABLES, Profile, ProfileError, read_profile, write_profile
from tests.support.handmade import recorded_profile
from tests.support.synthetic_profile import EOS, tables_of
from tests.support.tampering import edit_manifest, parquet_bytes, replace_table

Edit = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A recording with runs, rounds and works of three designs on three prompts."""
    return recorded_profile(tmp_path_factory.mktemp("contradictions") / "p")


@pytest.fixture
def place(recorded: Profile, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recorded.path, tmp_path / "copy"))


def tamper(folder: Path, table: str, edit: Edit) -> None:
    """Edit a table on disk, and seal the profile again."""
    frame = edit(getattr(read_profile(folder), table).copy())
    columns = [pa.array(frame[one.name].tolist(), one.type) for one in TABLES[table]]
    data = parquet_bytes(pa.Table.from_arrays(columns, schema=TABLES[table]))
    replace_table(folder, table, data)
    edit_manifest(folder, lambda manifest: manifest["tables"][table].update(rows=len(frame)))


def with_value(column: str, row: int, value: object) -> Edit:
    """Return an edit of one cell."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        frame[column] = [value if n == row else one for n, one in enumerate(frame[column])]
        return frame

    return edit


def without(*, n: int = 0, **values: object) -> Edit:
    """Return an edit that drops the n-th row in which columns have these values."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        fits = pd.Series(True, index=frame.index)
        for column, value in values.items():
            fits &= frame[column] == value
        return frame.drop(index=fits.index[fits][n])

    return edit


def twice(row: int, **values: object) -> Edit:
    """Return an edit that repeats a row, with other values in some columns."""

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        more = frame.iloc[[row]].assign(**values)
        return pd.concat([frame, more], ignore_index=True)

    return edit


def test_a_recording_is_accepted(place: Path) -> None:
    assert len(read_profile(place).works) > 0


def test_it_is_refused_when_it_is_written_too(recorded: Profile, tmp_path: Path) -> None:
    tables = tables_of(recorded)
    tables["runs"] = with_value("n_tokens", 0, 7)(tables["runs"])
    with pytest.raises(ProfileError, match="the profile to write contradicts itself: repeat 0"):
        write_profile(tmp_path / "p", recorded.manifest, tables)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("table", "edit", "message"),
    [
        ("runs", with_value("n_tokens", 0, 7), "has 7 tokens, its rounds add up to 20"),
        ("runs", twice(0), "repeat 0 of vanilla on prompt 0 is there twice"),
        ("runs", without(repeat=1), "on prompt 0 has 2 of the 3 repeats that were recorded"),
        ("runs", without(instrumented=True), "works of vanilla on prompt 0, no instrumented run"),
        ("runs", lambda runs: runs[runs["prompt"] != 2], "rounds of vanilla on prompt 2, no run"),
        ("rounds", with_value("committed", 18, 2), "commits 2 tokens, with 0 accepted drafts"),
        ("rounds", with_value("start", 1, 3), "round 1 of vanilla on prompt 0 starts at position"),
        ("rounds", with_value("start", 0, 0), "round 0 of vanilla on prompt 0 starts at position"),
        ("rounds", with_value("round", 1, 4), "the rounds of vanilla on prompt 0 are not numbered"),
        ("rounds", twice(0), "the rounds of vanilla on prompt 0 are not numbered"),
        ("rounds", without(prompt=0, n=18), "20 tokens, its rounds add up to 19"),
        ("rounds", lambda rounds: rounds[rounds["prompt"] != 1], "rounds add up to 1"),
        ("works", with_value("index", 2, 9), "number 9 stands where 2 belongs"),
        ("works", without(index=0), "the works of vanilla on prompt 0 are not numbered"),
        ("works", with_value("seconds", 0, 1e3), r"take 1\.* s, their run|take 1000 s, their run"),
        ("works", with_value("repeat", 0, 5), "the works of|no instrumented run"),
    ],
)
def test_runs_rounds_and_works_that_do_not_fit_are_refused(
    place: Path, table: str, edit: Edit, message: str
) -> None:
    """Each with who it is about."""
    tamper(place, table, edit)
    with pytest.raises(ProfileError, match=rf"copy contradicts itself: .*({message})"):
        read_profile(place)


def branch_row(profile: Profile, length: int) -> int:
    """Return the row of a branch with a path of this length."""
    return int((profile.branches["path"].map(len) == length).to_numpy().argmax())


def test_drafts_at_a_depth_without_a_head_are_refused(recorded: Profile, place: Path) -> None:
    """Where the recording has a head, and the design of the run has none."""
    rounds = recorded.rounds
    one = next(n for n, heads in enumerate(rounds["placement"]) if 0 < len(heads) < 2)
    other = next(depth for depth in recorded.depths if depth not in rounds["placement"][one])
    exits = tuple(other for _ in range(3))
    tamper(place, "rounds", with_value("exits", one, exits))
    with pytest.raises(ProfileError, match=f"took drafts at the depths {other}, .* no head"):
        read_profile(place)


def test_a_head_that_says_two_things_is_refused(place: Path) -> None:
    """Of the same path, one row that another contradicts."""
    tamper(place, "branches", lambda rows: twice(0, token=rows["token"].iloc[0] % 40 + 1)(rows))
    with pytest.raises(ProfileError, match="says two things after the drafts"):
        read_profile(place)


def test_a_head_that_says_one_thing_twice_is_accepted(place: Path) -> None:
    tamper(place, "branches", twice(0))
    assert len(read_profile(place).branches)


def first_path(profile: Profile, token: int) -> Edit:
    """Return an edit of the first draft of all branches that begin as the first one does."""
    first = profile.branches.iloc[0]
    prompt, output, wrong = first["prompt"], first["output"], first["path"][0]

    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        names = ("prompt", "output", "path")
        frame["path"] = [
            (token, *path[1:]) if (one, at, path[0]) == (prompt, output, wrong) else path
            for one, at, path in zip(*(frame[name] for name in names), strict=True)
        ]
        return frame

    return edit


def committed(profile: Profile) -> int:
    """Return the token of the text where the first branch leaves it."""
    first, trace = profile.branches.iloc[0], profile.trace
    here = (trace["prompt"] == first["prompt"]) & (trace["output"] == first["output"])
    return int(trace[here & (trace["depth"] == profile.n_layers)]["token"].iloc[0])


def test_a_branch_without_a_wrong_draft_is_refused(recorded: Profile, place: Path) -> None:
    tamper(place, "branches", first_path(recorded, committed(recorded)))
    with pytest.raises(ProfileError, match=r"begins with no wrong draft"):
        read_profile(place)


def test_where_a_run_may_flip_a_token_it_is_accepted(recorded: Profile, place: Path) -> None:
    """A run in BF16 may go another way than the text, and its branches lie on the text then."""
    edit_manifest(place, lambda manifest: manifest.update(dtype="bfloat16"))
    tamper(place, "branches", first_path(recorded, committed(recorded)))
    assert len(read_profile(place).branches)


def test_a_branch_after_the_end_is_refused(place: Path) -> None:
    tamper(place, "branches", with_value("output", 0, 500))
    with pytest.raises(ProfileError, match=r"begins with no wrong draft: the text .* has ended"):
        read_profile(place)


def test_a_branch_off_the_recorded_tree_is_refused(recorded: Profile, place: Path) -> None:
    """Its last draft is what no head said there."""
    row = branch_row(recorded, 2)
    path = recorded.branches["path"].iloc[row]
    tamper(place, "branches", with_value("path", row, (path[0], 1000)))
    with pytest.raises(ProfileError, match="no head drafts the last of the branch"):
        read_profile(place)


def test_a_branch_without_its_parent_is_refused(recorded: Profile, place: Path) -> None:
    first = recorded.branches.iloc[0]
    here = (recorded.branches["prompt"] == first["prompt"]) & (
        recorded.branches["output"] == first["output"]
    )
    parents = here & (recorded.branches["path"] == first["path"])
    tamper(place, "branches", lambda rows: rows[~parents])
    with pytest.raises(ProfileError, match="no head drafts the last of the branch"):
        read_profile(place)


@pytest.mark.parametrize("path", [(), (-1,), (3, -1)])
def test_a_branch_without_drafts_is_refused(place: Path, path: tuple[int, ...]) -> None:
    tamper(place, "branches", with_value("path", 0, path))
    with pytest.raises(ProfileError, match=r"the drafts of the branch .* are none"):
        read_profile(place)


def test_an_end_without_an_end_token_is_refused(recorded: Profile, place: Path) -> None:
    trace = recorded.trace
    last = trace["output"][trace["prompt"] == 0].max()
    rows = (trace["prompt"] == 0) & (trace["output"] == last)
    changed = trace["token"].where(~rows, 7)
    tamper(place, "trace", lambda frame: frame.assign(token=changed, agrees=trace["agrees"] | rows))
    with pytest.raises(ProfileError, match=r"prompt 0 ended, and its last token 7 is no end token"):
        read_profile(place)


def test_an_end_token_that_ends_nothing_is_refused(recorded: Profile, place: Path) -> None:
    """A text that filled its budget may end with one, and has ended then."""
    trace = recorded.trace
    last = trace["output"][trace["prompt"] == 1].max()
    rows = (trace["prompt"] == 1) & (trace["output"] == last)
    changed = trace["token"].where(~rows, EOS)
    tamper(place, "trace", lambda frame: frame.assign(token=changed, agrees=trace["agrees"] | rows))
    with pytest.raises(ProfileError, match="prompt 1 did not end, and its last token 0 is an end"):
        read_profile(place)


def test_a_text_that_goes_on_after_an_end_token_is_refused(place: Path) -> None:
    tamper(place, "prompts", with_value("first_token", 1, EOS))
    with pytest.raises(ProfileError, match=r"goes on after output 0, which is the end token 0"):
        read_profile(place)


def test_another_number_of_prompts_than_the_manifest_counts_is_refused(place: Path) -> None:
    edit_manifest(place, lambda manifest: manifest["prompts"].update(count=9))
    with pytest.raises(ProfileError, match="counts 9 prompts, the table prompts has 3"):
        read_profile(place)
