"""Gates in the decoder: which heads are asked, and that no text changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sequence import gate_score
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.profiles.errors import DesignError, HeadsError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Outcome, Round, Run, Score, Work
from tests.support.models import N_LAYERS, greedy_text, random_heads, random_prompt, tiny_model
from tests.support.quick import quick_or_slow

ALL = range(1, N_LAYERS)
N_TOKENS = 24
DESIGN: dict[str, Any] = {"gamma": 0.02, "placement": (2, 4), "eos_token_id": ()}


def gated(model: Any) -> ExitHeads:
    heads = ExitHeads.identity(model, ALL)
    return heads.gated(model, Gates.random(ALL, model.config.hidden_size))


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama")
    return AdaDecoder(model, gated(model))


def asked(rounds: list[Round]) -> tuple[int, int]:
    return sum(len(one.gates) for one in rounds), sum(len(one.checks) for one in rounds)


@pytest.mark.filterwarnings("default")  # compilers warn of themselves
@pytest.mark.parametrize(
    ("architecture", "graphs", "numerics"),
    [
        quick_or_slow(case, quick=[("llama", "eager", "native"), ("llama", "static", "native")])
        for case in [
            *(("llama", graphs, "native") for graphs in ("eager", "static", "compile")),
            ("llama", "eager", "canonical"),
            *((name, "eager", "native") for name in ("gpt2", "gemma2", "opt", "gpt_oss")),
        ]
    ],
)
def test_a_gated_text_is_the_models_own(architecture: str, graphs: str, numerics: str) -> None:
    """Some heads are asked and some are not, and drafts are accepted and rejected."""
    model = tiny_model(architecture)
    prompt = random_prompt(9)
    text = greedy_text(model, prompt, N_TOKENS)
    for heads in (gated(model), random_heads(model, gates=True)):
        decoder = AdaDecoder(model, heads, graphs=graphs, numerics=numerics)
        for gate in (0.3, (0.5, 0.0), (1.0, 0.4)):
            done = decoder.generate(prompt, N_TOKENS, gate=gate, **DESIGN)
            assert done.tokens == text, (gate, graphs)
    gates, checks = asked(decoder.generate(prompt, N_TOKENS, gate=0.5, **DESIGN).rounds)
    assert 0 < checks < gates


def test_the_16_bits_of_every_design_agree_in_canonical_numerics() -> None:
    """A gate is asked of one row whatever the batch, so it decides the same in every design."""
    model = tiny_model("llama", torch.bfloat16)
    decoder = AdaDecoder(model, gated(model), numerics="canonical")
    prompt = random_prompt(9)
    vanilla = decoder.generate(prompt, N_TOKENS, policy="vanilla", eos_token_id=()).tokens
    for gate in (0.0, 0.4, 0.6):
        assert decoder.generate(prompt, N_TOKENS, gate=gate, **DESIGN).tokens == vanilla


def test_a_head_is_asked_where_the_score_of_its_gate_exceeds_the_threshold(
    decoder: AdaDecoder,
) -> None:
    """And nowhere else; each gate right before its head."""
    prompt, thresholds = random_prompt(9), {2: 0.45, 4: 0.55}
    design = Design.of(gamma=0.02, placement=(2, 4), gate=tuple(thresholds.values()))
    done: list[tuple[Work, Outcome]] = []
    decoding = decoder.start(prompt, design, max_new_tokens=N_TOKENS, eos_token_id=())
    with decoder.parts.session():
        for _ in decoding.steps(lambda work, outcome: done.append((work, outcome))):
            pass
    opened = shut = 0
    for (work, outcome), (following, _) in pairwise(done):
        if isinstance(following, Check):
            assert work == Gate(*following)
        if isinstance(work, Gate):
            assert isinstance(outcome, Score)
            is_open = outcome.value > thresholds[work.depth]
            assert isinstance(following, Check if is_open else Run)
            opened, shut = opened + is_open, shut + (not is_open)
    assert opened > 3
    assert shut > 3


def test_a_score_is_that_of_the_state_which_the_head_is_given(decoder: AdaDecoder) -> None:
    parts, heads = decoder.parts, decoder.heads
    assert heads.gates is not None
    hidden = torch.randn(1, 3, parts.hidden_size, dtype=parts.dtype)
    with parts.session():
        score = gate_score(parts, heads, 2, hidden)
        normed = parts.normed(hidden[:, -1:])[0, 0].float()
    logit = float(heads.gates.weights[2] @ normed) + heads.gates.biases[2]
    assert score == pytest.approx(float(torch.sigmoid(torch.tensor(logit))), rel=1e-6)


def test_a_gate_reads_the_device_once(decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a check does; nothing else of the round waits for it."""
    reads: list[str] = []
    whole = type(decoder.parts).read

    def counted(parts: Any, work: Any, hidden: Any, owner: object, name: str) -> list[Any]:
        reads.append(name)
        return whole(parts, work, hidden, owner, name)

    monkeypatch.setattr(type(decoder.parts), "read", counted)
    done = decoder.generate(random_prompt(5), N_TOKENS, gate=0.5, **DESIGN)
    gates, checks = asked(done.rounds)
    assert sum(name.startswith("the gate at depth") for name in reads) == gates
    assert sum(name.startswith("the draft at depth") for name in reads) == checks


def test_without_a_gate_nothing_is_asked_and_with_gate_one_no_head_is(
    decoder: AdaDecoder,
) -> None:
    prompt = random_prompt(9)
    plain = decoder.generate(prompt, N_TOKENS, **DESIGN)
    assert decoder.generate(prompt, N_TOKENS, gate=0.0, **DESIGN).rounds == plain.rounds
    assert asked(plain.rounds)[0] == 0
    shut = decoder.generate(prompt, N_TOKENS, gate=1.0, **DESIGN).rounds
    vanilla = decoder.generate(prompt, N_TOKENS, policy="vanilla", eos_token_id=()).rounds
    assert shut == vanilla


def test_a_stream_asks_the_gates_too(decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = random_prompt(9)
    scores: list[int] = []
    monkeypatch.setattr(
        "adadecode.engine.decoding.sequence.gate_score",
        lambda parts, heads, depth, hidden: scores.append(depth) or 0.0,
    )
    tokens = list(decoder.stream(prompt, N_TOKENS, gate=0.5, **DESIGN))
    assert tokens == greedy_text(decoder.parts.model, prompt, N_TOKENS)
    assert set(scores) == {2, 4}


def test_heads_without_gates_are_refused_with_the_remedy(decoder: AdaDecoder) -> None:
    """Before anything is computed; a threshold of 0 asks for none."""
    model = decoder.parts.model
    bare = AdaDecoder(model, ExitHeads.identity(model, ALL))
    for call in (bare.generate, bare.stream):
        with pytest.raises(HeadsError, match=r"no gates to ask: train them with adadecode-train"):
            call(random_prompt(5), 4, gate=0.3, **DESIGN)
    assert len(bare.generate(random_prompt(5), 4, gate=0.0, **DESIGN).tokens) == 4


@pytest.mark.parametrize("gate", [1.5, -0.1, (0.3,), "0.3", float("nan")])
def test_a_gate_that_is_no_threshold_is_refused(decoder: AdaDecoder, gate: Any) -> None:
    with pytest.raises(DesignError, match="gate threshold"):
        decoder.generate(random_prompt(5), 4, gate=gate, **DESIGN)
