"""How far heads can be trusted, as tables."""

from __future__ import annotations

import pytest

from adadecode.profiles import Profile, Trace
from adadecode.sim.report.profile import head_tables, run_tables
from tests.support.handmade import recorded_profile


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return recorded_profile(tmp_path_factory.mktemp("measured") / "p", slower={"vanilla": 1.5})


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


def test_calibration_counts_every_output_once(trace: Trace) -> None:
    bins = head_tables.calibration(trace, run_tables.domain_prompts(trace))
    outputs = sum(trace.n_output(prompt) - 1 for prompt in trace.prompts)
    assert bins[(bins["depth"] == 4) & (bins["domain"] == "")]["outputs"].sum() == outputs
    assert ((bins["low"] <= bins["agree"] + 1e-12) & (bins["agree"] <= bins["high"] + 1e-12)).all()


def test_agreement_over_all_text_weighs_domains_by_their_outputs(trace: Trace) -> None:
    table = head_tables.agreement(trace)
    at = table[table["depth"] == 2].set_index("domain")
    parts = at.drop("")
    assert at.loc["", "agree"] == pytest.approx(
        (parts["agree"] * parts["outputs"]).sum() / parts["outputs"].sum()
    )
