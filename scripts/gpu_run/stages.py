"""The stages of a visit, the most valuable first, and what each should take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.gpu_run import lossless
from scripts.gpu_run.archive import pack
from scripts.gpu_run.estimates import (
    BESIDE,
    BUILD_BYTES_PER_S,
    CAPTURE_S,
    COMPILE_S,
    DEMO,
    DEMO_BESIDE,
    FORMS,
    LARGE,
    PAPER,
    START_S,
    eager_s,
    recording_s,
    token_s,
    weights_of,
)
from scripts.gpu_run.gpu_tests import tests
from scripts.gpu_run.recordings import (
    CODELLAMA,
    HEAD_FORMS,
    LLAMA,
    baselines,
    codellama,
    demo,
    demo_baselines,
    forms,
    paper,
)
from scripts.gpu_run.setup import device, setup
from scripts.gpu_run.state import GpuRun
from scripts.gpu_run.validation import validate
from scripts.gpu_run.vanilla_speed import EAGER, LAPS, MODES, REPEATS, TOKENS, graphs

DOMAINS = 4
"""Of the demo model's prompts."""
TEXTS = 4
"""Held against each other in the stages ``lossless`` and ``flips``: vanilla's, and those of three designs."""
BENCHES_S = 10.0
"""Assumed: bandwidths and matmuls, each a few times."""
TRANSFORMERS_COMPILE_S = 100.0
"""Assumed: ``transformers`` compiles a whole model over a static cache."""
DEMO_TOKEN_S = 1.5e-3
"""Assumed: a token of the demo model, whose kernels take less than their starts."""
TESTS_S = 60.0
"""Assumed: the tests of graphs, on models of a few thousand weights, some of them compiled."""
EAGERLY = 10
"""Assumed: so many times as long where each kernel is started by itself."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """run: returns what is to be told of it, or raises. estimate: seconds it should take, by sizes and assumptions (`scripts.gpu_run.estimates`), not by measurement."""

    run: Callable[[GpuRun], dict[str, Any]]
    estimate: Callable[[], float]

    @property
    def seconds(self) -> float:
        """The estimate."""
        return self.estimate()


def _graphs_s() -> float:
    ready = START_S + weights_of(LLAMA) / BUILD_BYTES_PER_S + COMPILE_S + CAPTURE_S
    captured = [mode for mode in MODES if mode != EAGER]
    return (
        ready
        + 2 * eager_s(LLAMA, TOKENS)
        + len(captured) * (TOKENS * (REPEATS + 1) + 2 * LAPS) * token_s(LLAMA)
    )


def _baselines_s() -> float:
    generated = BESIDE.prompts * BESIDE.domains * BESIDE.tokens * (BESIDE.repeats + 3)
    return (
        recording_s(BESIDE, LLAMA, compiled=True)
        + TRANSFORMERS_COMPILE_S
        + eager_s(LLAMA, generated)
    )


def _demo_s(decoded: float, eager: float = 0, *, compiled: bool = False) -> float:
    return (
        START_S
        + (CAPTURE_S if compiled else COMPILE_S)
        + DEMO_TOKEN_S * (decoded + EAGERLY * eager)
    )


def _lossless_s() -> float:
    own = DOMAINS * lossless.PROMPTS * lossless.TOKENS
    return _demo_s(2 * TEXTS * own, eager=own, compiled=True)


def _flips_s() -> float:
    own = DOMAINS * lossless.PROMPTS * lossless.TOKENS
    return _lossless_s() + DEMO_TOKEN_S * EAGERLY * 2 * (TEXTS + len(lossless.BATCHES)) * own


STAGES: dict[str, Stage] = {
    "setup": Stage(run=setup, estimate=lambda: START_S),
    "device": Stage(run=device, estimate=lambda: START_S + BENCHES_S),
    "lossless": Stage(run=lossless.lossless, estimate=_lossless_s),
    "graphs": Stage(run=graphs, estimate=_graphs_s),
    "paper": Stage(run=paper, estimate=lambda: recording_s(PAPER, LLAMA, compiled=True)),
    "baselines": Stage(run=baselines, estimate=_baselines_s),
    "demo": Stage(
        run=demo,
        estimate=lambda: _demo_s(DEMO.decoded, eager=2 * DEMO.prompts * DEMO.domains * DEMO.tokens),
    ),
    "tests": Stage(run=tests, estimate=lambda: START_S + TESTS_S),
    "forms": Stage(
        run=forms, estimate=lambda: len(HEAD_FORMS) * recording_s(FORMS, LLAMA, compiled=True)
    ),
    "codellama-34b": Stage(run=codellama, estimate=lambda: recording_s(LARGE, CODELLAMA)),
    "flips": Stage(run=lossless.flips, estimate=_flips_s),
    "demo-baselines": Stage(
        run=demo_baselines,
        estimate=lambda: (
            _demo_s(DEMO_BESIDE.decoded, eager=DEMO_BESIDE.decoded, compiled=True)
            + TRANSFORMERS_COMPILE_S
        ),
    ),
    "validate": Stage(run=validate, estimate=lambda: 40.0),
    "pack": Stage(run=pack, estimate=lambda: 5.0),
}

ALWAYS = ("setup", "pack")
"""Done in every call."""
LAST_OF_FIRST = "graphs"
"""A plan's first call ends here: what the recordings stand on can be looked at before more is spent."""
