"""How true the simulator is: what it predicts against what was measured, tier by tier.

T0 structure: replaying the trace gives the rounds of the measured run. T1 replay: measured
durations of the work in, run time out. T2 same device, other runs: run time and speedup from the
latency table, which no timed run went into. (T3, other devices, needs several recordings.)

Every sampled run drew a text of its own. It is replayed with what it drew, in all tiers; what the
trace alone predicts for a design is held against the runs by
`adadecode.sim.validation.acceptance_rate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Check, Draft, Gate, Round, Score, Verify
from adadecode.sim.measurements.repeats import Seconds, halves_differ, ratios
from adadecode.sim.measurements.runs import (
    Cell,
    Drawn,
    draws_of,
    instrumented_runs,
    lengths_of,
    rounds_of,
    timed_runs,
)
from adadecode.sim.measurements.speed import measured_speeds
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.pricer import Latencies, Pricer
from adadecode.sim.replay.simulation import Event, Replay, ReplayedRun, replay_measured
from adadecode.sim.validation.acceptance_rate import Acceptance, acceptances
from adadecode.sim.validation.criteria import Trust, judge
from adadecode.sim.validation.evidence import missing_evidence
from adadecode.sim.validation.result import CELL_COLUMNS, NearTie, Validation, spread

NEAR_GAMMA = 1e-5
"""A confidence this close to its gamma, relative to it, may fall on either side.

A batch of another size rounds differently (FP32).
"""


def validate(profile: Profile, latency: Latencies | None = None) -> Validation:
    """Hold the simulator against a profile's measured runs.

    Args:
        profile: The recording.
        latency: Used instead of the profile's own latencies.

    Raises:
        ProfileError: If the profile holds no measured run, or a verified one that is not as long
            as the trace's text.
        InputError: As a replay does.
    """
    comparison = _compare(profile, latency)
    accepted = acceptances(comparison.predictor, rounds_of(profile)) if profile.sampled else ()
    return comparison.result(profile, accepted)


def compared_cells(profile: Profile) -> pd.DataFrame:
    """Return the ``cells`` of `validate` alone, without what follows from them.

    Raises:
        InputError: As `validate` does.
    """
    return _compare(profile).cells()


def _compare(profile: Profile, latency: Latencies | None = None) -> _Comparison:
    """Compare every measured run of a profile, tier by tier; see `validate`."""
    predictor = Predictor.of(profile)
    comparison = _Comparison(predictor, latency or predictor.latency, draws_of(profile))
    rounds, timed, lengths = rounds_of(profile), timed_runs(profile), lengths_of(profile)
    instrumented = list(instrumented_runs(profile))
    if not (rounds or timed or instrumented):
        raise ProfileError(
            f"{profile.path} holds no measured runs to compare with: record some with "
            "`adadecode-profile`"
        )
    for cell in dict.fromkeys([*timed, *rounds, *(cell for cell, _, _ in instrumented)]):
        comparison.add_cell(cell, lengths.get(cell, frozenset()))
    for cell, measured in rounds.items():
        comparison.compare_structure(cell, measured)
    for cell, decode_s, works in instrumented:
        comparison.replay_durations(cell, decode_s, works)
    for cell, runs in timed.items():
        comparison.compare_times(cell, runs)
    return comparison


class _Comparison:
    """A validation under way: one row of ``cells`` for each cell, filled tier by tier."""

    def __init__(
        self,
        predictor: Predictor,
        latency: Latencies,
        draws: Mapping[Cell, Sequence[Drawn]],
    ) -> None:
        self.predictor, self.trace = predictor, predictor.trace
        self.latency, self.draws = latency, draws
        self.pricers: dict[Design, Pricer] = {}
        self.replays: dict[Cell, ReplayedRun] = {}  # those whose text is the trace's
        self.rows: dict[Cell, dict[str, Any]] = {}
        self.replay_errors: dict[Cell, list[float]] = {}
        self.seconds: dict[Cell, Seconds] = {}
        self.explained: list[NearTie] = []
        self.failing: list[dict[str, Any]] = []
        self.left_out = 0

    def add_cell(self, cell: Cell, lengths: frozenset[int]) -> None:
        """Replay a cell once by the latency table, and begin its row.

        Args:
            cell: The design and the prompt.
            lengths: Tokens of its measured texts.
        """
        design, prompt = cell
        run = self._replay(cell)
        others = sorted(lengths - {run.n_tokens})
        if others and design.verify:
            raise ProfileError(
                f"wanted runs of {run.n_tokens} tokens, the length of the trace's text, of "
                f"{design.label} on prompt {prompt}, got {others[0]}: every verified text is the "
                "trace's; record it again"
            )
        if run.left_text or others:
            self.left_out += 1
            return
        self.replays[cell] = run
        self.rows[cell] = {
            "design": design.label,
            "policy": str(design.policy),
            "prompt": prompt,
            "n_tokens": run.n_tokens,
            "modelled": run.modelled_seconds / run.seconds if run.seconds else 0.0,
        }

    def compare_structure(self, cell: Cell, measured: Sequence[Round]) -> None:
        """Compare measured and replayed rounds (T0)."""
        if cell not in self.replays:
            return
        replayed = self.replays[cell].rounds
        self.rows[cell]["exact"] = exact = replayed == tuple(measured)
        if exact:
            return
        number = _first_difference(replayed, measured)
        ties = self._near_ties(cell, number)
        self.explained += ties
        if not ties:
            design, prompt = cell
            self.failing.append(
                {
                    "prompt": prompt,
                    "design": design.label,
                    "round": number,
                    "measured": asdict(measured[number]) if number < len(measured) else None,
                    "replayed": asdict(replayed[number]) if number < len(replayed) else None,
                }
            )

    def replay_durations(self, cell: Cell, decode_s: float, works: list[tuple[str, float]]) -> None:
        """Compare the time of an instrumented run with the sum of its work (T1).

        A run whose structure differs cannot be replayed; T0 has counted it.
        """
        if cell not in self.replays:
            return
        design, prompt = cell
        try:
            run = replay_measured(
                self.trace,
                works,
                design,
                prompt,
                model=self.predictor.model,
                drawn=self._drawn(cell),
            )
        except ProfileError:
            if self.rows[cell].get("exact", False):
                raise
            return
        self.replay_errors.setdefault(cell, []).append(run.seconds / decode_s - 1)

    def compare_times(self, cell: Cell, runs: pd.DataFrame) -> None:
        """Compare the median time over repeats with that from the latency table (T2)."""
        run, measured_s = self.replays.get(cell), float(runs["decode_s"].median())
        if run is not None and run.n_tokens > 1:
            self.rows[cell] |= {
                "measured_s": measured_s,
                "predicted_s": run.seconds,
                "prediction_error": run.seconds / measured_s - 1,
            }
            self.seconds[cell] = runs.groupby("repeat")["decode_s"].median()
            self.rows[cell]["time_difference"] = halves_differ(self.seconds[cell])

    def cells(self) -> pd.DataFrame:
        """Return the cells, once every run was compared."""
        for cell, errors in self.replay_errors.items():
            self.rows[cell]["replay_error"] = float(np.median(errors))
        self._compare_speedups()
        return pd.DataFrame(list(self.rows.values()), columns=list(CELL_COLUMNS))

    def result(self, profile: Profile, acceptances: tuple[Acceptance, ...]) -> Validation:
        """Return the validation of ``profile``: the cells, and what follows from them."""
        cells = self.cells()
        return Validation(
            cells=cells,
            explained=tuple(self.explained),
            failing=tuple(self.failing),
            left_out=self.left_out,
            missing=tuple(missing_evidence(profile)),
            trust=_trust(profile, cells, len(self.failing)),
            speeds=tuple(measured_speeds(profile)),
            acceptances=acceptances,
        )

    def _compare_speedups(self) -> None:
        """Compare speedups over vanilla on the same prompt, in turn (T2).

        Vanilla's own speedup is always right, and has no error.
        """
        vanilla = {cell[1]: cell for cell in self.seconds if cell[0].policy is Policy.VANILLA}
        for cell in self.seconds:
            base, row = vanilla.get(cell[1]), self.rows[cell]
            if base is None:
                continue
            measured = ratios(self.seconds[base], self.seconds[cell])
            # Sampled texts differ in length; speedups are per token.
            longer = (row["n_tokens"] - 1) / (self.rows[base]["n_tokens"] - 1)
            row |= {
                "speedup": longer * measured.median(),
                "predicted_speedup": longer * self.rows[base]["predicted_s"] / row["predicted_s"],
            }
            if base != cell:
                row["speedup_error"] = row["predicted_speedup"] / row["speedup"] - 1
                row["speedup_difference"] = halves_differ(measured)

    def _replay(self, cell: Cell, *, events: bool = False) -> ReplayedRun:
        design, prompt = cell
        if design not in self.pricers:
            self.pricers[design] = Pricer(self.latency, design.boundaries(self.trace.n_layers))
        pricer = self.pricers[design]
        pricer.reset()
        return Replay(self.trace, design, pricer, model=self.predictor.model).run(
            prompt, events=events, drawn=self._drawn(cell)
        )

    def _drawn(self, cell: Cell) -> Sequence[Drawn] | None:
        return self.draws.get(cell, ()) if self.trace.sampled else None

    def _near_ties(self, cell: Cell, number: int) -> list[NearTie]:
        """Return the heads and gates of a replayed round at their threshold, to rounding."""
        design, prompt = cell
        ties = []
        for event in _round_events(self._replay(cell, events=True).events, number):
            if isinstance(event.work, Gate | Check):
                gamma, confidence = _compared(design, event)
                if abs(confidence - gamma) <= NEAR_GAMMA * gamma:
                    output = event.work.position - self.trace.n_prompt(prompt) + 1
                    ties.append(
                        NearTie(
                            prompt=prompt,
                            design=design.label,
                            output=output,
                            confidence=confidence,
                            gamma=gamma,
                        )
                    )
        return ties


def _compared(design: Design, event: Event) -> tuple[float, float]:
    """Return the threshold that a head or gate was held against, and what it said."""
    work, outcome = event.work, event.outcome
    if isinstance(work, Gate) and isinstance(outcome, Score):
        return design.gate(work.depth), outcome.value
    assert isinstance(work, Check)
    assert isinstance(outcome, Draft)
    return design.threshold(work.depth), outcome.confidence


def _first_difference(replayed: Sequence[Round], measured: Sequence[Round]) -> int:
    """Return the number of the first round that differs, or that one side does not have."""
    for number, (ours, theirs) in enumerate(zip(replayed, measured, strict=False)):
        if ours != theirs:
            return number
    return min(len(replayed), len(measured))


def _round_events(events: Sequence[Event], number: int) -> list[Event]:
    """Return the events of one round, counted from 0; a Verify ends a round."""
    rounds: list[list[Event]] = [[]]
    for event in events:
        rounds[-1].append(event)
        if isinstance(event.work, Verify):
            rounds.append([])
    return rounds[number] if number < len(rounds) else []


def _trust(profile: Profile, cells: pd.DataFrame, failing: int) -> Trust:
    """Judge a recording by the medians over its cells."""
    return judge(
        profile,
        compared_structures=int(cells["exact"].notna().sum()),
        differing_structures=failing,
        time_error=spread(cells["prediction_error"])["median"],
        time_noise=spread(cells["time_difference"])["median"],
        speedup_error=spread(cells["speedup_error"])["median"],
        speedup_noise=spread(cells["speedup_difference"])["median"],
    )
