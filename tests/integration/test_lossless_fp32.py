"""The same in FP32, where another batch may flip a near-tie; nothing else may differ."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from tests.support.models import (
    N_LAYERS,
    WINDOW,
    architectures,
    gap_at,
    greedy_text,
    random_heads,
    random_prompt,
    tiny_model,
)

N_TOKENS = 20
NEAR_TIE = 1e-4  # relative to the larger of the two best logits
LENGTHS = (3, WINDOW + 5)
DESIGNS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("own", {"policy": "vanilla"}),
    ("own", {"gamma": 0.0, "placement": (2, 5)}),
    ("own", {"gamma": 0.3}),
    ("random", {"gamma": 0.5, "placement": (1, 4)}),
    ("own", {"policy": "fixed", "placement": (4,), "cap": 4}),
)


@dataclass
class Tally:
    """What came of all runs; printed below the results where the terminal is pytest's own."""

    runs: int = 0
    explained: list[str] = field(default_factory=list)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(
            f"FP32 against transformers: {self.runs} runs, {len(self.explained)} with a near-tie "
            f"flipped {self.explained or ''}"
        )


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Tally:
    found = Tally()
    request.config.pluginmanager.register(found, "lossless-fp32-tally")
    return found


@pytest.mark.parametrize("architecture", architectures())
def test_every_difference_is_a_near_tie(architecture: str, tally: Tally) -> None:
    model = tiny_model(architecture, torch.float32)
    texts = {n: greedy_text(model, random_prompt(n), N_TOKENS) for n in LENGTHS}
    heads = {"own": ExitHeads.identity(model, range(1, N_LAYERS)), "random": random_heads(model)}
    decoders = {kind: AdaDecoder(model, own) for kind, own in heads.items()}
    for case, (kind, options) in enumerate(DESIGNS):
        length = LENGTHS[case % len(LENGTHS)]
        prompt, text = random_prompt(length), texts[length]
        got = decoders[kind].generate(prompt, N_TOKENS, eos_token_id=(), **options).tokens
        assert len(got) == N_TOKENS
        tally.runs += 1
        if got != text:
            at = next(i for i, (a, b) in enumerate(zip(got, text, strict=True)) if a != b)
            assert gap_at(model, prompt, text, at) < NEAR_TIE, (
                f"{architecture}, {options}: token {at} is {got[at]}, not {text[at]}"
            )
            tally.explained.append(f"{architecture} at {at}")
