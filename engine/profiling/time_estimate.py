"""How long a recording will take, by a few measured tokens, before it begins."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.profiling.counterfactual import Counterfactual
from adadecode.engine.profiling.latency_visit import LatencyVisit
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.runtime.timer import synchronized_now
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design

TOKENS = 6
"""Tokens that are decoded to measure a pace."""

STEPS = 2
"""Positions at which all heads are asked."""

SAMPLES = 4
"""Walks that are timed."""

MENTIONED_S = 60.0
"""Seconds below which nobody needs to know."""

NAMES = {
    "trace": "traces",
    "baselines": "baselines",
    "runs": "runs",
    "latency": "latencies",
    "works": "instrumented runs",
    "branches": "wrong branches",
}
"""Kinds of pieces, for people, in the order in which they are made."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast a model does what a recording is made of, in seconds.

    Attributes:
        prefill: Of a token of a prompt.
        token: Of a token that is decoded; designs differ by less than what else disturbs.
        step: Of a position at which all heads are asked.
        sample: Of a latency sample.
        samples: Latency samples of a visit.
    """

    prefill: float
    token: float
    step: float
    sample: float
    samples: int

    @classmethod
    def measure(cls, decoder: AdaDecoder, plan: RecordingPlan) -> Pace | None:
        """Measure it within the plan's own texts; None where that fails.

        There must be room for the plan's longest text, and no more is taken. Whatever goes wrong
        here ends no recording: what also goes wrong there is said there.
        """
        try:
            return cls._measured(decoder, plan)
        except (InputError, RuntimeError):
            return None

    @classmethod
    def _measured(cls, decoder: AdaDecoder, plan: RecordingPlan) -> Pace:
        parts, number = decoder.parts, _typical(plan)
        ids = plan.encoded[number]
        tokens = min(TOKENS, plan.budget(number) - 1)  # the first comes with the prompt
        steps = min(STEPS, tokens)
        vanilla, now = Design.of("vanilla"), lambda: synchronized_now(*parts.devices)
        begun = now()
        run = decoder.start(
            torch.tensor([ids]), vanilla, max_new_tokens=tokens + 1, eos_token_id=()
        )
        prefilled = now()
        run.run_to_end()
        decoded = now()
        with parts.session():
            counterfactual = Counterfactual(decoder)
            for at in range(steps):
                counterfactual.step(ids[0], len(ids) + at)
        stepped = now()
        visit = LatencyVisit(decoder, plan, 0)
        count = len(visit)
        visit.take(1)  # after it the text stands in the buffers
        filled = now()
        visit.take(SAMPLES)
        taken = max(1, min(SAMPLES, count - 1))
        return cls(
            prefill=(prefilled - begun) / len(ids),
            token=(decoded - prefilled) / max(1, tokens),
            step=(stepped - decoded) / max(1, steps),
            sample=(now() - filled) / taken,
            samples=count,
        )


def _typical(plan: RecordingPlan) -> int:
    """Return the number of the prompt of middling length of those that take the most tokens."""
    most = max(map(plan.budget, range(len(plan.encoded))))
    fit = [number for number in range(len(plan.encoded)) if plan.budget(number) == most]
    return sorted(fit, key=lambda number: len(plan.encoded[number]))[len(fit) // 2]


def estimated_seconds(
    plan: RecordingPlan,
    pace: Pace,
    pieces: Iterable[tuple[str, int]],
    *,
    shares_prefill: bool,
    baselines: int,
) -> dict[str, float]:
    """Return how long pieces take, by their kind.

    Texts that end early take less. Of wrong branches as many positions are taken as of the text:
    how many there are is not known before.

    Args:
        plan: What is recorded.
        pace: How fast the model is.
        pieces: What is left to do: the kind of each piece, and its prompt.
        shares_prefill: Whether the runs of a piece share one prefill, and all visits one text.
        baselines: How many baselines are run.
    """
    seconds = dict.fromkeys(NAMES, 0.0)
    for kind, prompt in pieces:
        prefill = pace.prefill * len(plan.encoded[prompt % len(plan.encoded)])
        if kind == "latency":
            filled = 0 if shares_prefill else plan.contexts[-1]
            seconds[kind] += pace.sample * pace.samples + pace.prefill * filled
            continue
        text = pace.token * plan.budget(prompt)
        if kind in {"trace", "branches"}:
            seconds[kind] += prefill + pace.step * plan.budget(prompt)
        if kind in {"runs", "works"}:
            runs = len(plan.designs)
            seconds[kind] += text * runs + prefill * (1 if shares_prefill else runs)
        if kind == "runs":
            seconds[kind] += (prefill + text) * baselines
        if kind == "baselines":
            seconds[kind] += (prefill + text) * (len(plan.designs) + baselines)
    return {kind: one for kind, one in seconds.items() if one}


def estimate_sentence(seconds: dict[str, float]) -> str:
    """Return the estimate as a sentence, by part; empty where it is not worth one."""
    whole = sum(seconds.values())
    if not MENTIONED_S < whole < math.inf:
        return ""
    parts = ", ".join(f"{NAMES[kind]} {_minutes(one)}" for kind, one in seconds.items())
    return (
        f"by a few measured tokens it takes up to about {_minutes(whole)} min ({parts}); texts "
        "that end early take less"
    )


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.1f}" if minutes < 9.95 else f"{minutes:,.0f}"
