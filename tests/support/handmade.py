"""Traces and recordings made by hand, for tests in which every number is known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles import TABLES, LatencyTable, Profile, read_profile
from adadecode.profiles.columns import DESIGN
from adadecode.profiles.design_label import design_label
from adadecode.profiles.schema import REQUIRED_COLUMNS
from adadecode.profiles.trace import HeadOutput, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import WORK_NAMES, Round
from adadecode.sim.replay.simulation import ReplayedRun, replay
from tests.support.synthetic_profile import synthetic_profile
from tests.support.tampering import edit_manifest


class ConstantLatency:
    """Latencies in powers of half a second, so that their sums are exact."""

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        return 1.0 * (stop - start)

    def head(self, depth: int, reuse: int) -> float:
        return 0.25

    def gate(self, depth: int) -> float:
        return 0.03125

    def verify(self, n_tokens: int) -> float:
        return 0.5

    def embed(self, n_tokens: int) -> float:
        return 0.125

    def prefill(self, n_tokens: int) -> float:
        return 2.0 * n_tokens

    def host(self) -> float:
        return 0.0625


def one_text(
    text: Sequence[int],
    outputs: Mapping[tuple[int, int], HeadOutput] | None = None,
    branches: Mapping[tuple[int, tuple[int, ...], int], HeadOutput] | None = None,
    *,
    depths: Sequence[int] = (1, 2),
    n_layers: int = 3,
    n_prompt: int = 4,
    eos: frozenset[int] = frozenset(),
    max_new_tokens: int | None = None,
    gates: Mapping[tuple[int, int], float] | None = None,
    branch_gates: Mapping[tuple[int, tuple[int, ...], int], float] | None = None,
) -> Trace:
    """Return the trace of one prompt, number 0.

    Args:
        text: Its committed tokens.
        outputs: Confidence and token of heads, by (output, depth). The other heads are right with a
            confidence of 0.
        branches: Confidence and token after wrong drafts, by (output, path, depth).
        depths: Of the heads.
        n_layers: Of the model.
        n_prompt: Tokens of the prompt.
        eos: Tokens that end a text.
        max_new_tokens: Budget of the prompt; by default the length of the text, or more where it
            ends by itself.
        gates: Scores of gates, by (output, depth). Without any the heads have no gates; with some,
            the others score 0.
        branch_gates: Scores of gates after wrong drafts, by (output, path, depth).
    """
    rows = []
    for output in range(1, len(text)):
        for depth in depths:
            confidence, token = (outputs or {}).get((output, depth), (0.0, text[output]))
            score = math.nan if gates is None else gates.get((output, depth), 0.0)
            agrees = token == text[output]
            rows.append((0, output, depth, token, confidence, agrees, confidence, score))
        rows.append((0, output, n_layers, text[output], 1.0, True, 1.0, math.nan))
    ended = text[-1] in eos
    budget = max_new_tokens or len(text) + 10 * ended
    prompt = (0, "hand", n_prompt, len(text), ended, text[0], "", budget)
    after_wrong_drafts = [
        (0, *where, token, confidence, _score(gates, branch_gates, where))
        for where, (confidence, token) in (branches or {}).items()
    ]
    return Trace.from_frames(
        pd.DataFrame([prompt], columns=list(REQUIRED_COLUMNS["prompts"])),
        pd.DataFrame(rows, columns=TABLES["trace"].names),
        pd.DataFrame(after_wrong_drafts, columns=TABLES["branches"].names),
        n_layers=n_layers,
        depths=depths,
        eos=eos,
    )


def _score(
    gates: Mapping[tuple[int, int], float] | None,
    branch_gates: Mapping[tuple[int, tuple[int, ...], int], float] | None,
    where: tuple[int, tuple[int, ...], int],
) -> float:
    """Return the score after wrong drafts; NaN where heads have no gates."""
    return math.nan if gates is None else (branch_gates or {}).get(where, 0.0)


DESIGNS = (
    Design.of("vanilla"),
    Design.of("adadecode", gamma=0.75, placement=(2, 4, 6)),
    Design.of("adadecode", gamma=0.2, placement=(2,), verify=False),
)


REPEAT_FACTORS = (0.9, 1.0, 1.3)
"""Time of each repeat of a run, relative to the run's usual time."""
INSTRUMENTED_FACTOR = 1.25
"""Time of an instrumented run, relative to the predicted time."""
PREFILL_S = 0.01


def recorded_profile(
    path: Path,
    *,
    designs: Sequence[Design] = DESIGNS,
    slower: Mapping[str, float] | None = None,
    **settings: Any,
) -> Profile:
    """Write a synthetic profile with measured runs, and read it back.

    The runs are replays of each design on each prompt, as a recorder would write them.

    Args:
        path: Folder of the profile.
        designs: That were run.
        slower: By a design's label, its measured time relative to the predicted one; 1 by default.
        settings: Further arguments of `synthetic_profile`.
    """
    bare = synthetic_profile(path, **settings)
    trace = Trace.from_profile(bare)
    latency = LatencyTable.from_samples(bare.latency, bare.n_layers)
    rows: dict[str, list[tuple[Any, ...]]] = {"runs": [], "rounds": [], "works": []}
    for design in designs:
        factor = (slower or {}).get(design.label, 1.0)
        for run in replay(trace, latency, design, events=True):
            for name, more in _rows_of(design, run, factor).items():
                rows[name] += more
    frames = {name: pd.DataFrame(found, columns=TABLES[name].names) for name, found in rows.items()}
    return synthetic_profile(path, **settings, **frames)


def promising(profile: Profile) -> Profile:
    """Let the settings of a recording name its designs, repeats and prompts, as the recorder does.

    A gate passes no recording without them.
    """
    runs = profile.runs[~profile.runs["instrumented"]]
    rows = runs[list(DESIGN)].itertuples(index=False, name=None)
    settings = {
        "designs": list(
            dict.fromkeys(design_label(*row[:4], verify=row[4], gates=row[5]) for row in rows)
        ),
        "repeats": int(runs["repeat"].nunique()),
        "n_prompts": len(profile.prompts),
    }
    edit_manifest(profile.path, lambda manifest: manifest["settings"].update(settings))
    return read_profile(profile.path)


def _rows_of(design: Design, run: ReplayedRun, factor: float) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of one run in each table.

    Args:
        design: That was run.
        run: Its replay on one prompt.
        factor: Measured time relative to the predicted one.
    """
    key = (
        str(design.policy),
        design.placement,
        design.gammas,
        design.cap,
        design.verify,
        design.gates,
        run.prompt,
    )
    times = [(repeat, False, run.seconds * factor * f) for repeat, f in enumerate(REPEAT_FACTORS)]
    times.append((0, True, run.seconds * INSTRUMENTED_FACTOR))
    extra = run.seconds * (INSTRUMENTED_FACTOR - 1) / len(run.events)
    return {
        "runs": [
            (*key, repeat, instrumented, run.n_tokens, PREFILL_S, seconds, math.nan)
            for repeat, instrumented, seconds in times
        ],
        "rounds": [(*key, k, *_round_columns(done)) for k, done in enumerate(run.rounds)],
        "works": [
            (*key, 0, i, WORK_NAMES[type(event.work)], event.seconds + extra)
            for i, event in enumerate(run.events)
        ],
    }


def _round_columns(done: Round) -> tuple[Any, ...]:
    segments, batches = zip(*done.work, strict=True)
    layers = (segments, batches, done.checks, done.gates)
    return (done.start, done.exits, done.accepted, done.committed, *layers)
