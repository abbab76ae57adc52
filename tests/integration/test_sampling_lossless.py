"""Sampled texts are distributed as vanilla's, and known mistakes are caught.

Exactly, by enumeration; by chi-square over 100,000 draws, over texts of the engine's own `Sampler`,
and over whole decodings of the engine. Long statistics are for ``make test-all``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampler, Sampling
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.sim.core.design import Design
from tests.support.models import random_heads
from tests.support.quick import quick_or_slow
from tests.support.sampled_model import (
    DRAWN,
    FIRST,
    PROMPT,
    Decodes,
    GatedOnTheDraft,
    JudgedByAnUnsureHead,
    JudgedByTheFirst,
    Known,
    by_the_draft,
    highest,
    near_heads,
    of_the_draft,
    one_by_one,
    p_value,
    small_model,
)

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
GATED = [
    Design.of(gamma=0.5, placement=(2, 4), gate=0.5),
    Design.of(gamma=(0.3, 0.0), placement=(1, 3), gate=(0.45, 0.0), cap=2),
]
ENDS = {"no end": frozenset[int](), "two ends": frozenset({2, 4})}
CASES = list(product(SETTINGS, DESIGNS + GATED, ENDS))
THRESHOLD = 1e-4 / len(CASES)
"""Chosen before: one false alarm in 10,000 runs of all the cases together (Bonferroni)."""
EXACT = 1e-12


@cache
def known(setting: str, heads: str = "own") -> Known:
    model = small_model()
    made = ExitHeads.identity(model, range(1, 6)) if heads == "own" else random_heads(model)
    made = made.gated(model, Gates.random(made.depths, model.config.hidden_size))
    return Known.of(model, made, Sampling(**SETTINGS[setting]))


def distance(one: Counter[tuple[int, ...]], other: dict[tuple[int, ...], float]) -> float:
    """Return the total variation distance of two distributions."""
    return sum(abs(one[text] - other.get(text, 0.0)) for text in one.keys() | other.keys()) / 2


QUICK_CASES = list(product(("as it is", "all three"), (DESIGNS[1], DESIGNS[5], GATED[0]), ENDS))


@pytest.mark.parametrize(
    ("setting", "design", "ends"),
    [
        quick_or_slow(case, quick=QUICK_CASES, id=", ".join((case[0], case[1].label, case[2])))
        for case in CASES
    ],
)
def test_the_joint_distribution_of_three_tokens_is_vanillas(
    setting: str, design: Design, ends: str
) -> None:
    """Chi-square over 100,000 decodings against the model's own probabilities."""
    table, eos = known(setting), ENDS[ends]
    counts = Decodes(table, design, eos).count(DRAWS, seed=CASES.index((setting, design, ends)))
    assert sum(counts.values()) == DRAWS
    p = p_value(counts, table.joint(eos))
    assert p > THRESHOLD


@pytest.mark.parametrize("heads", ["own", "random"])
@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("setting", ["as it is", "all three"])
def test_the_joint_distribution_is_vanillas_to_the_last_digit(
    setting: str, ends: str, heads: str
) -> None:
    """All outcomes, enumerated, of the model's own heads and of ones that know nothing."""
    table, eos = known(setting, heads), ENDS[ends]
    for design in DESIGNS + GATED:
        found = Decodes(table, design, eos).exactly()
        assert distance(found, table.joint(eos)) < EXACT, design.label


@pytest.mark.parametrize(
    "setting", [quick_or_slow(setting, quick=("as it is", "all three")) for setting in SETTINGS]
)
def test_an_exit_gated_on_the_drawn_token_is_caught(setting: str) -> None:
    """The mistake: a draft is taken where the drawn token is likely enough."""
    table = known(setting)
    broken = Decodes(table, DESIGNS[1], frozenset(), confidence=of_the_draft)
    assert p_value(broken.count(DRAWS, seed=0), table.joint(frozenset())) < THRESHOLD
    assert distance(broken.exactly(), table.joint(frozenset())) > 0.01


@pytest.mark.parametrize("setting", ["as it is", "all three"])
def test_a_gate_that_looks_at_the_drawn_token_is_caught(setting: str) -> None:
    """A gate scores the hidden state alone: asked of the draft, it would bend the text."""
    table = known(setting)
    broken = Decodes(table, DESIGNS[1], frozenset(), confidence=by_the_draft)
    assert p_value(broken.count(DRAWS, seed=0), table.joint(frozenset())) < THRESHOLD
    assert distance(broken.exactly(), table.joint(frozenset())) > 0.01


def test_the_gated_designs_ask_some_heads_and_not_others() -> None:
    """So that the distributions above show something."""
    for design in GATED:
        for depth in design.placement:
            scores = known("as it is").scores[depth]
            if design.gate(depth):
                assert 0.1 < float((scores > design.gate(depth)).float().mean()) < 0.9


@pytest.mark.parametrize("setting", ["as it is", "all three"])
@pytest.mark.parametrize("design", [DESIGNS[1], DESIGNS[-2]], ids=lambda design: design.label)
def test_an_end_that_is_never_drafted_is_caught(setting: str, design: Design) -> None:
    """The greedy rule, not to take an EOS draft, looks at the drawn token: ends get lost."""
    table, eos = known(setting), ENDS["two ends"]
    broken = Decodes(table, design, eos, confidence=highest, sampled=False)
    assert p_value(broken.count(DRAWS, seed=0), table.joint(eos)) < THRESHOLD
    assert distance(broken.exactly(), table.joint(eos)) > 0.01


# ---- the engine's own sampler ----

TEXTS = 20_000
SHIPPED = [
    ("as it is", Design.of("vanilla"), "no end"),
    ("warm, top-k", Design.of(gamma=0.5, placement=(2,)), "no end"),
    ("as it is", Design.of(gamma=0.5, placement=(2, 4)), "no end"),
    ("top-p", Design.of(gamma=(0.9, 0.7, 0.3), placement=(1, 2, 4)), "two ends"),
    ("all three", Design.of(gamma=0.5, placement=(2, 4), cap=1), "no end"),
    ("warm, top-k", Design.of("fixed", placement=(2,), cap=2), "no end"),
    ("cold", Design.of("fixed", placement=(4,), cap=5), "two ends"),
]
MISTAKES = {
    GatedOnTheDraft: SHIPPED[2],
    JudgedByTheFirst: SHIPPED[5],
    JudgedByAnUnsureHead: SHIPPED[3],
}


def sampler_p_value(
    case: tuple[str, Design, str], seeds: range, sampler: type[Sampler] = Sampler
) -> float:
    """Return the p value of texts that a sampler draws, driven by the schedule, a seed each."""
    setting, design, ends = case
    table, eos = known(setting), ENDS[ends]
    return p_value(one_by_one(table, design, eos, seeds, sampler), table.joint(eos))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", range(len(SHIPPED)), ids=lambda case: f"{SHIPPED[case][1].label}, {SHIPPED[case][0]}"
)
def test_the_sampler_itself_draws_as_vanilla(case: int) -> None:
    """The first token, drafts and verdicts of `Sampler`: 20,000 texts, by seeds of this case."""
    assert sampler_p_value(SHIPPED[case], range(case * TEXTS, (case + 1) * TEXTS)) > THRESHOLD


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_sampler_draws_as_vanilla_and_one_with_a_mistake_is_caught(
    mistake: type[Sampler],
) -> None:
    """A tenth of the texts is enough: the same seeds pass, and fail with the mistake."""
    seeds = range(TEXTS // 10)
    assert sampler_p_value(MISTAKES[mistake], seeds) > THRESHOLD
    assert sampler_p_value(MISTAKES[mistake], seeds, mistake) < THRESHOLD


# ---- real tensors ----

RUNS = 500
QUICK_RUNS = 150
ADADECODE = Design.of(gamma=(0.6, 0.4), placement=(1, 2))
ASKING = Design.of(gamma=(0.4, 0.4), placement=(1, 2), gate=(0.4, 0.5))
FIXED = Design.of("fixed", placement=(2,), cap=2)
WARM, NUCLEUS = Sampling(temperature=1.5), Sampling(temperature=1.5, top_p=0.9)
REAL = {
    "adadecode": (ADADECODE, WARM, "no end"),
    "adadecode, top-p": (ADADECODE, NUCLEUS, "no end"),
    "adadecode, ends": (ADADECODE, WARM, "two ends"),
    "adadecode, gates": (ASKING, WARM, "no end"),
    "fixed": (FIXED, WARM, "no end"),
    "fixed, top-p": (FIXED, NUCLEUS, "two ends"),
}


@cache
def flat() -> AdaDecoder:
    """Its texts go many ways, and drafts of its two heads are accepted about as often as not."""
    model = small_model(seed=1, num_hidden_layers=3)
    heads = near_heads(model, (1, 2))
    return AdaDecoder(model, heads.gated(model, Gates.random((1, 2), model.config.hidden_size)))


def decoded(
    design: Design, sampling: Sampling, eos: frozenset[int], runs: int = RUNS
) -> tuple[Counter[tuple[int, ...]], int, int]:
    """Decode with the engine, a seed each.

    Returns:
        What followed FIRST, how many drafts there were, and how many of them were accepted.
    """
    counts: Counter[tuple[int, ...]] = Counter()
    drafts = accepted = 0
    for seed in range(runs):
        decoding = flat().start(
            torch.tensor([[*PROMPT, FIRST]]),
            design,
            max_new_tokens=DRAWN + 1,
            eos_token_id=sorted(eos),
            sampling=replace(sampling, seed=seed),
        )
        decoding.run_to_end()
        counts[tuple(decoding.schedule.tokens[:DRAWN])] += 1
        drafts += sum(len(done.exits) for done in decoding.schedule.rounds)
        accepted += sum(done.accepted for done in decoding.schedule.rounds)
    return counts, drafts, accepted


@cache
def known_flat(sampling: Sampling) -> Known:
    return Known.of(flat().parts.model, flat().heads, sampling)


@pytest.mark.parametrize(
    "case", [quick_or_slow(case, quick=("adadecode, ends", "adadecode, gates")) for case in REAL]
)
def test_real_tensors_draw_what_the_sampler_draws(case: str) -> None:
    """Seed by seed, from the model's known logits; so a mistake of the engine shows at once."""
    design, sampling, ends = REAL[case]
    counts, drafts, accepted = decoded(design, sampling, ENDS[ends], QUICK_RUNS)
    assert drafts > 60
    assert 0.2 * drafts < accepted < 0.8 * drafts
    assert counts == one_by_one(known_flat(sampling), design, ENDS[ends], range(QUICK_RUNS))


@pytest.mark.slow
@pytest.mark.parametrize("case", REAL)
def test_real_tensors_sample_from_the_same_distribution(case: str) -> None:
    """And seed by seed, the engine's texts are those that the sampler draws."""
    design, sampling, ends = REAL[case]
    table, eos = known_flat(sampling), ENDS[ends]
    counts, drafts, accepted = decoded(design, sampling, eos)
    p = p_value(counts, table.joint(eos))
    assert p > THRESHOLD
    assert drafts > 200
    assert 0.2 * drafts < accepted < 0.8 * drafts
    assert counts == one_by_one(table, design, eos, range(RUNS))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_real_tensors_with_a_mistake_draw_something_else(
    mistake: type[Sampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The quick test above fails with each of the known mistakes."""
    monkeypatch.setattr("adadecode.engine.decoding.sampling.Sampler", mistake)
    design, sampling, ends = REAL["adadecode, ends"]
    counts, *_ = decoded(design, sampling, ENDS[ends], QUICK_RUNS // 3)
    assert counts != one_by_one(known_flat(sampling), design, ENDS[ends], range(QUICK_RUNS // 3))


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("case", ["adadecode", "adadecode, top-p"])
def test_an_engine_with_a_mistake_is_caught(
    case: str, mistake: type[Sampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same runs, with a sampler that errs."""
    monkeypatch.setattr("adadecode.engine.decoding.sampling.Sampler", mistake)
    design, sampling, ends = REAL[case]
    table, eos = known_flat(sampling), ENDS[ends]
    p = p_value(decoded(design, sampling, eos)[0], table.joint(eos))
    assert p < THRESHOLD
