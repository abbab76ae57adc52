"""Traces and recordings made by hand, for tests that know every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles import TABLES, LatencyTable, Profile
from adadecode.profiles.trace import HeadOutput, Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import WORK_NAMES, Round
from adadecode.sim.replay.simulation import replay
from tests.support.synthetic_profile import synthetic_profile


class Constant:
    """Latencies in eighths and sixteenths of a second, so that sums are exact."""

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        return 1.0 * (stop - start)

    def head(self, depth: int, reuse: int) -> float:
        return 0.25

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
    said: Mapping[tuple[int, int], HeadOutput] | None = None,
    branches: Mapping[tuple[int, tuple[int, ...], int], HeadOutput] | None = None,
    *,
    depths: Sequence[int] = (1, 2),
    n_layers: int = 3,
    n_prompt: int = 4,
    eos: frozenset[int] = frozenset(),
    max_new_tokens: int | None = None,
) -> Trace:
    """A trace of one prompt, number 0, whose committed text is ``text``.

    said: (output, depth) -> (confidence, token); heads are right but not at all sure where it is silent. branches: (output, path, depth) -> the same.
    """
    rows = []
    for output in range(1, len(text)):
        for depth in depths:
            confidence, token = (said or {}).get((output, depth), (0.0, text[output]))
            rows.append((0, output, depth, token, confidence, token == text[output], confidence))
        rows.append((0, output, n_layers, text[output], 1.0, True, 1.0))
    ended = text[-1] in eos
    budget = max_new_tokens or len(text) + 10 * ended
    prompt = (0, "hand", n_prompt, len(text), ended, text[0], "", budget)
    off = [
        (0, output, path, depth, token, confidence)
        for (output, path, depth), (confidence, token) in (branches or {}).items()
    ]
    return Trace.from_frames(
        pd.DataFrame([prompt], columns=TABLES["prompts"].names),
        pd.DataFrame(rows, columns=TABLES["trace"].names),
        pd.DataFrame(off, columns=TABLES["branches"].names),
        n_layers=n_layers,
        depths=depths,
        eos=eos,
    )


DESIGNS = (
    Design.of("vanilla"),
    Design.of("adadecode", gamma=0.75, placement=(2, 4, 6)),
    Design.of("adadecode", gamma=0.2, placement=(2,), verify=False),
)


def recorded_profile(
    path: Path,
    *,
    designs: Sequence[Design] = DESIGNS,
    slower: Mapping[str, float] | None = None,
    **settings: Any,
) -> Profile:
    """A synthetic profile with measured runs: replays of each design on each prompt, as a recorder would write them.

    slower: by label, measured time / predicted time (1 by default). Instrumented runs take 1.25 times the predicted time.
    """
    bare = synthetic_profile(path, **settings)
    trace, latency = (
        Trace.from_profile(bare),
        LatencyTable.from_samples(bare.latency, bare.n_layers),
    )
    runs: list[tuple[Any, ...]] = []
    rounds: list[tuple[Any, ...]] = []
    works: list[tuple[Any, ...]] = []
    for design in designs:
        about = (str(design.policy), design.placement, design.gammas, design.cap, design.verify)
        times = (slower or {}).get(design.label, 1.0)
        for run in replay(trace, latency, design, events=True):
            rounds += [(*about, run.prompt, k, *_row(done)) for k, done in enumerate(run.rounds)]
            for repeat, wobble in enumerate((0.9, 1.0, 1.3)):
                runs.append(
                    (
                        *about,
                        run.prompt,
                        repeat,
                        False,
                        run.n_tokens,
                        0.01,
                        run.seconds * times * wobble,
                        float("nan"),
                    )
                )
            runs.append(
                (*about, run.prompt, 0, True, run.n_tokens, 0.01, run.seconds * 1.25, float("nan"))
            )
            extra = run.seconds * 0.25 / len(run.events)
            works += [
                (*about, run.prompt, 0, i, WORK_NAMES[type(event.work)], event.seconds + extra)
                for i, event in enumerate(run.events)
            ]
    tables = {"runs": runs, "rounds": rounds, "works": works}
    return synthetic_profile(
        path,
        **settings,
        **{name: pd.DataFrame(rows, columns=TABLES[name].names) for name, rows in tables.items()},
    )


def _row(done: Round) -> tuple[Any, ...]:
    segments, batches = zip(*done.work, strict=True)
    return (done.start, done.exits, done.accepted, done.committed, segments, batches, done.checks)
