"""Sweeping on objects: each profile is read and resolved once, whatever the number of devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import store
from adadecode.profiles.errors import DesignError, HeadsError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.scenario import ScenarioOptions
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.sweep.plan import EXHAUSTIVE_LIMIT, trials_for
from adadecode.sim.sweep.space import Space
from tests.support.recordings import on_a100
from tests.support.sim_command import run
from tests.support.synthetic_profile import synthetic_profile

SPACE = Space(gammas=(0.5,), max_heads=1)
DEVICES = ("recorded", "h100-sxm", "l4")


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return on_a100(tmp_path_factory.mktemp("design_sweep") / "p", runs=True)


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[Path]]]:
    """Record which profiles are read from disk, and of which the provenance is resolved."""
    counted: dict[str, list[Path]] = {"read": [], "resolved": []}
    read, resolve = store._read_table, Provenance.of.__func__  # type: ignore[attr-defined]

    def count_read(folder: Path, name: str, *rest: Any) -> Any:
        if name == "latency":
            counted["read"].append(folder)
        return read(folder, name, *rest)

    def count_resolved(cls: type[Provenance], one: Profile, *rest: Any, **named: Any) -> Provenance:
        counted["resolved"].append(one.path)
        return resolve(cls, one, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(store, "_read_table", count_read)
        patch.setattr(Provenance, "of", classmethod(count_resolved))
        yield counted


def test_three_devices_read_and_resolve_each_profile_once(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, with a text of another profile."""
    text = on_a100(tmp_path / "text", seed=1)
    with counting(monkeypatch) as counted:
        code = run(
            *("sweep", profile.path, "--trace", text.path, "--devices", ",".join(DEVICES)),
            *("--gammas", "0.5", "--max-heads", "1", "--out", tmp_path / "s"),
        )
    assert code == 0
    assert sorted(counted["read"]) == sorted([profile.path, text.path])
    assert sorted(counted["resolved"]) == sorted([profile.path, text.path])


def test_the_recorded_device_is_found_by_that_word(profile: Profile) -> None:
    swept = sweep(profile, SPACE, devices=("l4", "recorded"))
    assert swept.best("recorded") == swept.best("a100-80gb-sxm") != swept.best()
    only_carried = sweep(profile, SPACE, devices=("l4",))
    with pytest.raises(ProfileError, match="no device 'recorded' in the sweep: it holds l4"):
        only_carried.best("recorded")


def test_forms_of_the_heads_resolve_a_profile_once(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = (HeadForm(), HeadForm(dtype="int8"), HeadForm(shortlist=20))
    with counting(monkeypatch) as counted:
        swept = sweep(
            profile,
            Space(gammas=(0.5,), max_heads=1, forms=forms),
            devices=DEVICES[1:],
        )
    assert counted == {"read": [], "resolved": [profile.path]}
    assert set(swept.designs["form"]) == {form.label for form in forms}


def test_a_machine_that_nobody_knows_has_datasheets_alone(tmp_path: Path) -> None:
    """The recorded one is as measured; nothing is carried from it, which is noted."""
    about = on_a100(tmp_path / "a").manifest["model"]
    unknown = synthetic_profile(tmp_path / "p", manifest={"model": about})
    swept = sweep(unknown, SPACE, devices=("recorded", "h100-sxm"))
    here, there = swept.about["devices"]
    assert (here["basis"], there["basis"]) == ("measured", "datasheet")
    assert any("nothing is carried from there" in note for note in there["notes"])


def test_a_form_beside_several_to_choose_from_is_refused(profile: Profile) -> None:
    with pytest.raises(HeadsError, match="leave the form out of the options"):
        sweep(
            profile,
            Space(forms=(HeadForm(), HeadForm(dtype="int8"))),
            options=ScenarioOptions(form=HeadForm(dtype="int8")),
        )


def test_a_datasheet_without_a_text_is_refused() -> None:
    with pytest.raises(ProfileError, match="a datasheet holds no text to replay"):
        sweep(None, SPACE, devices=("h100-sxm",))


@pytest.mark.parametrize(
    ("method", "size", "trials"),
    [
        ("auto", EXHAUSTIVE_LIMIT, 0),
        ("auto", EXHAUSTIVE_LIMIT + 1, 64),
        ("exhaustive", EXHAUSTIVE_LIMIT + 1, 0),
        ("optuna", 1, 64),
    ],
)
def test_large_spaces_are_searched(method: str, size: int, trials: int) -> None:
    assert trials_for(method, 64, size) == trials


@pytest.mark.parametrize(
    ("method", "trials", "message"),
    [("random", 64, "exhaustive or optuna, got 'random'"), ("auto", 0, "one trial or more")],
)
def test_a_search_that_makes_no_sense_is_refused(method: str, trials: int, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        trials_for(method, trials, 1)
