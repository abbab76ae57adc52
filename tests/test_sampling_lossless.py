"""Sampled texts are distributed as vanilla's: exactly, by enumeration, and by chi-square over 100,000 draws; known mistakes are caught by both."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch

from engine.decode import AdaDecoder
from engine.heads import ExitHeads
from engine.sampling import Sampling
from sim.design import Design
from tests.models import random_heads
from tests.sampled import DRAWN, FIRST, PROMPT, Decodes, Known, highest, of_the_draft, p_value, small_model

DRAWS = 100_000
SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {"temperature": 1.0},
    "cold": {"temperature": 0.6},
    "warm, top-k": {"temperature": 1.5, "top_k": 4},
    "top-p": {"temperature": 1.0, "top_p": 0.8},
    "all three": {"temperature": 0.8, "top_k": 5, "top_p": 0.95},
}
DESIGNS = [
    Design.of("vanilla"),
    Design.of(gamma=0.5, placement=(2, 4)),
    Design.of(gamma=(0.9, 0.7, 0.3), placement=(1, 2, 4)),
    Design.of(gamma=0.0, placement=(2,), cap=1),
    Design.of(gamma=0.7, placement=(1, 3, 5)),
    Design.of("fixed", placement=(2,), cap=2),
    Design.of("fixed", placement=(4,), cap=5),
]
ENDS = {"no end": frozenset[int](), "two ends": frozenset({2, 4})}
CASES = list(product(SETTINGS, DESIGNS, ENDS))
THRESHOLD = 1e-4 / len(CASES)
"""Chosen before: one false alarm in 10,000 runs of all the cases together (Bonferroni)."""
EXACT = 1e-12


@cache
def known(setting: str, heads: str = "own") -> Known:
    model = small_model()
    made = ExitHeads.identity(model, range(1, 6)) if heads == "own" else random_heads(model)
    return Known.of(model, made, Sampling(**SETTINGS[setting]))


def distance(one: Counter[tuple[int, ...]], other: dict[tuple[int, ...], float]) -> float:
    """Total variation."""
    return sum(abs(one[text] - other.get(text, 0.0)) for text in one.keys() | other.keys()) / 2


@pytest.mark.parametrize(("setting", "design", "ends"), CASES, ids=lambda x: x.label if isinstance(x, Design) else x)
def test_the_joint_distribution_of_three_tokens_is_vanillas(setting: str, design: Design, ends: str) -> None:
    """Chi-square over 100,000 decodings against the model's own probabilities."""
    table, eos = known(setting), ENDS[ends]
    counts = Decodes(table, design, eos).count(DRAWS, seed=CASES.index((setting, design, ends)))
    assert sum(counts.values()) == DRAWS
    p = p_value(counts, table.joint(eos))
    print(f"p = {p:.2g}")  # noqa: T201 - pytest -rP shows it
    assert p > THRESHOLD


@pytest.mark.parametrize("heads", ["own", "random"])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("setting", ["as it is", "all three"])
def test_the_joint_distribution_is_vanillas_to_the_last_digit(setting: str, ends: str, heads: str) -> None:
    """Every outcome that has a probability, enumerated under every design; heads that say what the model says, and heads that know nothing."""
    table, eos = known(setting, heads), ENDS[ends]
    for design in DESIGNS:
        found = Decodes(table, design, eos).exactly()
        assert distance(found, table.joint(eos)) < EXACT, design.label


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_exit_gated_on_the_drawn_token_is_caught(setting: str) -> None:
    """The known mistake: the draft is taken where the drawn token is likely enough. The same test fails, by far."""
    table = known(setting)
    broken = Decodes(table, DESIGNS[1], frozenset(), told=of_the_draft)
    assert p_value(broken.count(DRAWS, seed=0), table.joint(frozenset())) < THRESHOLD
    assert distance(broken.exactly(), table.joint(frozenset())) > 0.01


@pytest.mark.parametrize("setting", ["as it is", "all three"])
@pytest.mark.parametrize("design", [DESIGNS[1], DESIGNS[-2]], ids=lambda design: design.label)
def test_an_end_that_is_never_drafted_is_caught(setting: str, design: Design) -> None:
    """The greedy rule (an EOS draft is not taken) also looks at the drawn token: with sampling it loses ends."""
    table, eos = known(setting), ENDS["two ends"]
    broken = Decodes(table, design, eos, told=highest, sampled=False)
    assert p_value(broken.count(DRAWS, seed=0), table.joint(eos)) < THRESHOLD
    assert distance(broken.exactly(), table.joint(eos)) > 0.01


RUNS = 500
REAL: list[dict[str, Any]] = [
    {"gamma": 0.5, "placement": (2, 4), "temperature": 0.8, "top_k": 5, "top_p": 0.95},
    {"policy": "fixed", "placement": (2,), "cap": 2, "temperature": 1.0},
]


@pytest.mark.parametrize("options", REAL, ids=["adadecode", "fixed"])
def test_real_tensors_sample_from_the_same_distribution(options: dict[str, Any]) -> None:
    """Whole decodings of the engine, a seed each; rejections and ends among them."""
    model, eos = small_model(), ENDS["two ends"]
    decoder = AdaDecoder(model, ExitHeads.identity(model, range(1, 6)))
    setting = {name: options[name] for name in ("temperature", "top_k", "top_p") if name in options}
    table = Known.of(model, decoder.heads, Sampling(**setting))
    counts: Counter[tuple[int, ...]] = Counter()
    drafts = accepted = 0
    for seed in range(RUNS):
        got = decoder.generate(torch.tensor([[*PROMPT, FIRST]]), DRAWN + 1, eos_token_id=sorted(eos), seed=seed, **options)
        counts[tuple(got.tokens[:DRAWN])] += 1
        drafts += sum(len(r.exits) for r in got.rounds)
        accepted += sum(r.accepted for r in got.rounds)
    assert p_value(counts, table.joint(eos)) > THRESHOLD
    assert 0.1 * drafts < accepted < 0.9 * drafts
