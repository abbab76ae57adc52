"""The stages of a GPU run, the most valuable first, and an estimate of the seconds of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from scripts.gpu_run import estimates, lossless, recordings, vanilla_speed
from scripts.gpu_run.archive import pack
from scripts.gpu_run.estimates import (
    BUILD_BYTES_PER_S,
    CAPTURE_S,
    COMPILE_S,
    START_S,
    eager_s,
    recording_s,
    token_s,
    weight_bytes,
)
from scripts.gpu_run.gpu_tests import tests
from scripts.gpu_run.recordings import CODELLAMA, LLAMA
from scripts.gpu_run.setup import device, setup
from scripts.gpu_run.state import GpuRun
from scripts.gpu_run.validation import validate

DOMAINS = 4
"""Domains of the demo model's prompts."""
TEXTS = 4
"""Texts that ``lossless`` and ``flips`` compare: vanilla's, and those of three designs."""
BENCHES_S = 10.0
"""Assumed: seconds of the bandwidths and matrix products, each a few times."""
TRANSFORMERS_COMPILE_S = 100.0
"""Assumed: seconds in which ``transformers`` compiles a whole model over a static cache."""
DEMO_TOKEN_S = 1.5e-3
"""Assumed: seconds of a token of the demo model, whose kernels take less than their starts."""
TESTS_S = 60.0
"""Assumed: seconds of the tests of graphs, on small models, some of them compiled."""
EAGER_FACTOR = 10
"""Assumed: how many times as long a token takes where each kernel is started by itself."""
VALIDATE_S, PACK_S = 40.0, 5.0
"""Assumed: seconds of the stages ``validate`` and ``pack``."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        function: Returns what the stage found, or raises.
        estimate: Returns the seconds that it should take, from sizes and assumptions
            (`scripts.gpu_run.estimates`), not from measurements.
    """

    function: Callable[[GpuRun], dict[str, Any]]
    estimate: Callable[[], float]

    @property
    def seconds(self) -> float:
        """The estimated duration of the stage, in seconds."""
        return self.estimate()


def _graphs_s() -> float:
    ready = START_S + weight_bytes(LLAMA) / BUILD_BYTES_PER_S + COMPILE_S + CAPTURE_S
    captured = [mode for mode in vanilla_speed.MODES if mode != vanilla_speed.EAGER]
    tokens = vanilla_speed.TOKENS * (vanilla_speed.REPEATS + 1) + 2 * vanilla_speed.LAPS
    return (
        ready + 2 * eager_s(LLAMA, vanilla_speed.TOKENS) + len(captured) * tokens * token_s(LLAMA)
    )


def _baselines_s() -> float:
    size = estimates.BASELINES
    generated = size.prompts * size.domains * size.tokens * (size.repeats + 3)
    recording = recording_s(size, LLAMA, compiled=True)
    return recording + TRANSFORMERS_COMPILE_S + eager_s(LLAMA, generated)


def _demo_model_s(decoded: float, eager: float = 0, *, compiled: bool = False) -> float:
    """Return the seconds of a stage of the demo model, by tokens decoded captured and eagerly."""
    ready = START_S + (CAPTURE_S if compiled else COMPILE_S)
    return ready + DEMO_TOKEN_S * (decoded + EAGER_FACTOR * eager)


def _demo_s() -> float:
    size = estimates.DEMO
    return _demo_model_s(size.decoded, eager=2 * size.prompts * size.domains * size.tokens)


def _demo_baselines_s() -> float:
    decoded = estimates.DEMO_BASELINES.decoded
    return _demo_model_s(decoded, eager=decoded, compiled=True) + TRANSFORMERS_COMPILE_S


def _lossless_s() -> float:
    own = DOMAINS * lossless.PROMPTS * lossless.TOKENS
    return _demo_model_s(2 * TEXTS * own, eager=own, compiled=True)


def _flips_s() -> float:
    own = DOMAINS * lossless.PROMPTS * lossless.TOKENS
    eager_texts = 2 * (TEXTS + len(lossless.BATCHES))
    return _lossless_s() + DEMO_TOKEN_S * EAGER_FACTOR * eager_texts * own


def _forms_s() -> float:
    one = recording_s(estimates.HEAD_FORMS, LLAMA, compiled=True)
    return len(recordings.FORM_OPTIONS) * one


STAGES: dict[str, Stage] = {
    "setup": Stage(function=setup, estimate=lambda: START_S),
    "device": Stage(function=device, estimate=lambda: START_S + BENCHES_S),
    "lossless": Stage(function=lossless.lossless, estimate=_lossless_s),
    "graphs": Stage(function=vanilla_speed.graphs, estimate=_graphs_s),
    "paper": Stage(
        function=recordings.paper,
        estimate=lambda: recording_s(estimates.PAPER, LLAMA, compiled=True),
    ),
    "baselines": Stage(function=recordings.baselines, estimate=_baselines_s),
    "demo": Stage(function=recordings.demo, estimate=_demo_s),
    "tests": Stage(function=tests, estimate=lambda: START_S + TESTS_S),
    "forms": Stage(function=recordings.forms, estimate=_forms_s),
    "codellama-34b": Stage(
        function=recordings.codellama, estimate=lambda: recording_s(estimates.LARGE, CODELLAMA)
    ),
    "flips": Stage(function=lossless.flips, estimate=_flips_s),
    "demo-baselines": Stage(function=recordings.demo_baselines, estimate=_demo_baselines_s),
    "validate": Stage(function=validate, estimate=lambda: VALIDATE_S),
    "pack": Stage(function=pack, estimate=lambda: PACK_S),
}

STAGES_OF_EVERY_CALL = ("setup", "pack")
"""Run in every call."""
LAST_OF_FIRST_CALL = "graphs"
"""The last stage of a plan's first call: someone can look at what the recordings depend on before
more time is spent."""
