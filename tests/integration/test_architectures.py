"""Every causal LM of ``transformers`` is served or refused as the list in the docs says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
import transformers

from tests.support.every_model import NAMES, Outcome, outcome_of
from tests.support.paths import ROOT
from tests.support.quick import quick_or_slow

RESULTS = json.loads((ROOT / "benchmarks" / "results" / "architectures.json").read_text("utf-8"))
LISTED: dict[str, dict[str, str]] = RESULTS["architectures"]
RENEW = "renew it: make bench ARGS=architectures, and .venv/bin/python -m scripts.docs"
QUICK = (
    *("afmoe", "biogpt", "deepseek_v3", "ernie4_5", "granite_swa", "helium", "minicpm3"),
    *("olmoe", "persimmon", "seed_oss"),
    *("bloom", "deepseek_v32", "diffllama", "lfm2", "llama4_text", "mamba", "mpt"),
)
"""Some that no other test tries: latent attention, windows and experts; each reason of refusal."""


@dataclass
class Tally:
    """What came of all that ran; printed below the results where the terminal is pytest's own."""

    found: dict[str, Outcome] = field(default_factory=dict)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        served = [name for name, outcome in self.found.items() if outcome.kind == "served"]
        terminalreporter.write_line(f"served ({len(served)}): {', '.join(served)}")
        others = [(name, found) for name, found in self.found.items() if name not in served]
        terminalreporter.write_line(f"not served ({len(others)}):")
        for name, outcome in others:
            terminalreporter.write_line(f"  {name}, {outcome.kind}: {outcome.why}")


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Tally:
    found = Tally()
    request.config.pluginmanager.register(found, "architectures-tally")
    return found


@pytest.mark.parametrize("name", [quick_or_slow(name, quick=QUICK, id=name) for name in NAMES])
def test_an_architecture_is_served_or_refused_as_listed(name: str, tally: Tally) -> None:
    """Where it is served, token for token: `outcome_of` compares the texts."""
    outcome = tally.found[name] = outcome_of(name)
    assert outcome.kind == LISTED[name]["kind"], f"{outcome.why}; {RENEW}"
    assert (outcome.kind == "served") == (outcome.why == "")


@pytest.mark.skipif(
    transformers.__version__ != RESULTS["software"]["transformers"],
    reason="another release of transformers has other architectures",
)
def test_every_architecture_is_listed() -> None:
    assert sorted(LISTED) == sorted(NAMES), RENEW
    kinds = [outcome["kind"] for outcome in LISTED.values()]
    assert RESULTS["counts"] == {kind: kinds.count(kind) for kind in set(kinds)}
