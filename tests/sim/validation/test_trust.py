"""Whether a recording is trusted: each criterion, and the sentences that give it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.design import Design
from adadecode.sim.validation.criteria import Trust, judge
from adadecode.sim.validation.tiers import validate
from adadecode.sim.validation.trust import assess
from tests.support.handmade import recorded_profile
from tests.support.paths import DEMO_PROFILE
from tests.support.synthetic_profile import synthetic_profile

GOOD = {"time_error": 0.03, "time_noise": 0.02, "speedup_error": 0.02, "speedup_noise": 0.01}


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("trust") / "profile")


def judged(profile: Profile, structures: int = 0, **errors: float | None) -> Trust:
    return judge(
        profile, compared_structures=12, differing_structures=structures, **{**GOOD, **errors}
    )


def on_machine(profile: Profile, conditions: dict[str, Any], threads: int = 4) -> Profile:
    hardware = {"device": "none", "before": {"host": {"threads": threads}}}
    return replace(
        profile, manifest={**profile.manifest, "conditions": conditions, "hardware": hardware}
    )


def test_small_errors_above_a_low_noise_floor_are_trusted(profile: Profile) -> None:
    trust = judged(profile)
    assert trust.trusted
    assert trust.reasons == ()
    floor = "repeats of the same runs differ by"
    assert trust.describe() == [
        "Trust this recording: yes",
        f"Predicted times are off by 3.0% in the median; {floor} 2.0% (the noise floor).",
        f"Predicted speedups are off by 2.0% in the median; {floor} 1.0% (the noise floor).",
        "How busy other programs kept the processors was not recorded.",
    ]


def test_an_unexplained_structure_is_not_trusted(profile: Profile) -> None:
    trust = judged(profile, structures=2)
    assert not trust.trusted
    assert trust.describe()[1].startswith("2 measured runs differ from the replay")


@pytest.mark.parametrize(
    ("others", "trusted"), [([0.8, None, 0.8], False), ([0.4, 0.4], True), ([0, 0, 1.6], False)]
)
def test_a_busy_machine_is_not_trusted(
    profile: Profile, others: list[float | None], trusted: bool
) -> None:
    """The limit is a tenth of the processors, on average."""
    trust = judged(on_machine(profile, {"others": others}))
    assert trust.trusted is trusted
    known = [share for share in others if share is not None]
    assert trust.busy == pytest.approx(sum(known) / len(known) / 4)
    assert trust.describe()[-1] == (f"Other programs kept {trust.busy:.0%} of the processors busy.")


def test_a_falling_clock_is_not_trusted(profile: Profile) -> None:
    trust = judged(on_machine(profile, {"sm_clock_mhz": [1980, 1700]}))
    assert trust.reasons == (
        "The clock fell by 14% while recording: lock it, or cool the device, and record again.",
    )


@pytest.mark.parametrize(
    ("errors", "trusted"),
    [
        ({"time_error": 0.049, "time_noise": 0.01}, True),
        ({"time_error": 0.08, "time_noise": 0.01}, False),
        ({"time_error": 0.08, "time_noise": 0.09}, True),
        ({"time_error": 0.08, "time_noise": None}, False),
        ({"time_error": 0.01, "time_noise": 0.11}, False),
        ({"time_error": 0.01, "speedup_noise": 0.12}, False),
        ({"time_error": None}, False),
        ({"speedup_error": 0.059, "speedup_noise": 0.023}, False),
        ({"speedup_error": 0.059, "speedup_noise": 0.06}, True),
        ({"speedup_error": None}, True),
    ],
)
def test_errors_are_held_against_the_noise_floor(
    profile: Profile, errors: dict[str, float | None], trusted: bool
) -> None:
    """An error is forgiven below 5 % or the noise floor; a noise floor above 10 % never is."""
    assert judged(profile, **errors).trusted is trusted


def test_an_unknown_noise_floor_is_named(profile: Profile) -> None:
    sentences = judged(profile, time_noise=None, speedup_noise=None).describe()
    assert sum("takes 2 repeats or more" in sentence for sentence in sentences) == 2


def test_a_validation_carries_its_trust(tmp_path: Path) -> None:
    """Repeats at 0.9, 1 and 1.3 of the prediction differ by 10 % (even against odd ones)."""
    profile = recorded_profile(tmp_path / "p", designs=[Design.of("vanilla")])
    validation = validate(profile)
    assert validation.trust == assess(profile) == assess(profile, validation)
    assert validation.trust.time_noise == pytest.approx(0.1)
    assert validation.trust.time_error == pytest.approx(0.0)


def test_a_profile_without_measured_runs_is_not_trusted(profile: Profile) -> None:
    """Nothing of it was checked, and no error is raised."""
    trust = assess(profile)
    assert not trust.trusted
    assert trust.reasons[0].startswith("No run was timed")


def test_the_committed_recording_is_trusted() -> None:
    trust = assess(read_profile(DEMO_PROFILE))
    assert trust.trusted
    assert (trust.time_error, trust.time_noise) == pytest.approx((0.0277, 0.0688), abs=1e-4)
