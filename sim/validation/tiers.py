"""How true the simulator is: what it says beside what was measured, tier by tier.

T0 structure: replaying the trace gives the rounds of the measured run. T1 replay: measured durations of the work in, run time out.
T2 same device, other runs: run time and speedup from the latency table, which no timed run went into. (T3, other devices, needs
several recordings.)

Every sampled run drew a text of its own. It is replayed with what it drew, in all tiers; what the trace alone predicts for a design is
held against the runs by `adadecode.sim.validation.acceptance_rate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Check, Draft, Round, Verdict, Verify
from adadecode.sim.measurements.repeats import Seconds, halves_differ, ratios
from adadecode.sim.measurements.runs import (
    Cell,
    draws_of,
    instrumented_runs,
    lengths_of,
    rounds_of,
    timed_runs,
)
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.pricer import Latencies, Pricer
from adadecode.sim.replay.simulation import Event, Replay, ReplayedRun, replay_measured
from adadecode.sim.validation.acceptance_rate import Acceptance, acceptances
from adadecode.sim.validation.criteria import Trust, judge

NEAR_GAMMA = 1e-5
"""A confidence this close to its gamma, relative to it, may fall on either side: a batch of another size rounds differently (FP32)."""


ERRORS = ("replay_error", "prediction_error", "speedup_error")
DIFFERENCES = ("time_difference", "speedup_difference")


@dataclass(frozen=True, kw_only=True)
class NearTie:
    """Why a measured run may differ from its replay: a head that was as sure as its gamma, in the first round that differs."""

    prompt: int
    design: str
    output: int
    confidence: float
    gamma: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """A profile's own measured runs against the simulator.

    cells: one row per design and prompt: design, policy, prompt, n_tokens, exact (T0; missing where no rounds were recorded), modelled (share
    of the time in rounds that rest on drawn branches), replay_error (T1), measured_s (median over repeats), predicted_s, prediction_error, speedup
    (median over repeats, each against vanilla in the same one), predicted_speedup, speedup_error (T2); errors are signed, relative to what was
    measured, NaN where not measured. time_difference and speedup_difference: what the even repeats measured / what the odd ones did - 1; no
    prediction can be held to much less than half of it. explained: near-ties of runs that are not exact. failing: the others.
    left_out: unverified cells whose text is not the trace's, which nothing recorded can replay. trust: whether the recording is to be trusted. acceptances: of a sampled profile, how often
    each design's drafts held, as measured and as the trace predicts without the recorded draws.
    """

    cells: pd.DataFrame
    explained: tuple[NearTie, ...]
    failing: tuple[dict[str, Any], ...]
    left_out: int
    trust: Trust
    acceptances: tuple[Acceptance, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether every recorded structure is exact or explained."""
        return not self.failing

    def to_dict(self) -> dict[str, Any]:
        """For JSON. Errors as magnitudes, median and 90th percentile over cells; null where nothing was measured."""
        exact = self.cells["exact"].dropna().astype(bool)
        return {
            "structure": {
                "runs": len(exact),
                "exact": int(exact.sum()),
                "explained": len({(tie.design, tie.prompt) for tie in self.explained}),
            },
            **{name: spread(self.cells[name]) for name in ERRORS},
            "repeats": {name: spread(self.cells[name]) for name in DIFFERENCES},
            "left_out": self.left_out,
            "acceptances": [asdict(one) for one in self.acceptances],
            "designs": by_design(self.cells).replace({np.nan: None}).to_dict("records"),
            "explained": [asdict(tie) for tie in self.explained],
            "failing": list(self.failing),
        }


def spread(errors: pd.Series[float]) -> dict[str, float | None]:
    """Median and 90th percentile of the magnitudes of signed errors; None of none."""
    sizes = errors.abs().dropna().to_numpy(dtype=np.float64)
    if not len(sizes):
        return {"median": None, "p90": None}
    return {"median": float(np.median(sizes)), "p90": float(np.percentile(sizes, 90))}


def by_design(cells: pd.DataFrame) -> pd.DataFrame:
    """One row per design: cells, exact, median error magnitudes, and over all its prompts: measured and predicted TPOT (seconds) and speedup."""
    rows: list[dict[str, Any]] = []
    totals = cells[cells["measured_s"].notna()]
    times = {
        str(label): part[["measured_s", "predicted_s"]].sum() / (part["n_tokens"] - 1).sum()
        for label, part in totals.groupby("design", sort=False)
    }
    vanilla = times.get(str(Policy.VANILLA))
    for label, part in cells.groupby("design", sort=False):
        row: dict[str, Any] = {
            "design": label,
            "runs": len(part),
            "exact": int(part["exact"].fillna(0).astype(bool).sum()),
        }
        row["modelled"] = float(part["modelled"].mean())
        row |= {name: spread(part[name])["median"] for name in ERRORS}
        tpot = times.get(str(label))
        row |= {
            "measured_tpot_s": np.nan,
            "predicted_tpot_s": np.nan,
            "measured_speedup": np.nan,
            "predicted_speedup": np.nan,
        }
        if tpot is not None:
            row |= {
                "measured_tpot_s": float(tpot["measured_s"]),
                "predicted_tpot_s": float(tpot["predicted_s"]),
            }
            if vanilla is not None:
                row["measured_speedup"] = float(vanilla["measured_s"] / tpot["measured_s"])
                row["predicted_speedup"] = float(vanilla["predicted_s"] / tpot["predicted_s"])
        rows.append(row)
    return pd.DataFrame(rows)


def validate(profile: Profile, latency: Latencies | None = None) -> Validation:
    """Hold the simulator against a profile's measured runs. latency: in place of the profile's own.

    Raises ProfileError where the profile holds no measured run at all, or a verified one that is not as long as the trace's text; and
    what a replay raises.
    """
    predictor = Predictor.of(profile)
    comparing = _Comparing(predictor, latency or predictor.latency, draws_of(profile))
    rounds, timed, lengths = rounds_of(profile), timed_runs(profile), lengths_of(profile)
    instrumented = list(instrumented_runs(profile))
    if not (rounds or timed or instrumented):
        raise ProfileError(
            f"{profile.path} holds no measured runs to compare with: record some with `adadecode-profile`"
        )
    for cell in dict.fromkeys([*timed, *rounds, *(cell for cell, _, _ in instrumented)]):
        comparing.cell(cell, lengths.get(cell, frozenset()))
    for cell, measured in rounds.items():
        comparing.structure(cell, measured)
    for cell, decode_s, works in instrumented:
        comparing.durations(cell, decode_s, works)
    for cell, runs in timed.items():
        comparing.times(cell, runs)
    return comparing.result(profile, acceptances(predictor, rounds) if profile.sampled else ())


class _Comparing:
    """A comparison under way: one row of ``cells`` for each cell, filled tier by tier."""

    def __init__(
        self,
        predictor: Predictor,
        latency: Latencies,
        draws: Mapping[Cell, Sequence[Draft | Verdict]],
    ) -> None:
        self.predictor, self.trace, self.latency, self.draws = (
            predictor,
            predictor.trace,
            latency,
            draws,
        )
        self.pricers: dict[Design, Pricer] = {}
        self.replays: dict[Cell, ReplayedRun] = {}  # those whose text is the trace's
        self.rows: dict[Cell, dict[str, Any]] = {}
        self.replay_errors: dict[Cell, list[float]] = {}
        self.seconds: dict[Cell, Seconds] = {}
        self.explained: list[NearTie] = []
        self.failing: list[dict[str, Any]] = []
        self.left_out = 0

    def cell(self, cell: Cell, lengths: frozenset[int]) -> None:
        """Replay a cell once, by the latency table. lengths: of its measured texts."""
        design, prompt = cell
        run = self._replay(cell)
        others = sorted(lengths - {run.n_tokens})
        if others and design.verify:
            raise ProfileError(
                f"wanted runs of {run.n_tokens} tokens, the length of the trace's text, of {design.label} on prompt {prompt}, got {others[0]}: "
                "every verified text is the trace's; record it again"
            )
        if run.left_text or others:
            self.left_out += 1
            return
        self.replays[cell] = run
        modelled = run.modelled_seconds / run.seconds if run.seconds else 0.0
        self.rows[cell] = {
            "design": design.label,
            "policy": str(design.policy),
            "prompt": prompt,
            "n_tokens": run.n_tokens,
            "modelled": modelled,
        }

    def structure(self, cell: Cell, measured: Sequence[Round]) -> None:
        """T0."""
        if cell not in self.replays:
            return
        run = self.replays[cell]
        self.rows[cell]["exact"] = run.rounds == tuple(measured)
        if run.rounds == tuple(measured):
            return
        differs = next(
            (
                k
                for k, (ours, theirs) in enumerate(zip(run.rounds, measured, strict=False))
                if ours != theirs
            ),
            None,
        )
        first = min(len(run.rounds), len(measured)) if differs is None else differs
        ties = self._near_ties(cell, first)
        self.explained += ties
        if not ties:
            design, prompt = cell
            wanted = asdict(measured[first]) if first < len(measured) else None
            got = asdict(run.rounds[first]) if first < len(run.rounds) else None
            self.failing.append(
                {
                    "prompt": prompt,
                    "design": design.label,
                    "round": first,
                    "measured": wanted,
                    "replayed": got,
                }
            )

    def durations(self, cell: Cell, decode_s: float, works: list[tuple[str, float]]) -> None:
        """T1. A run whose structure differs cannot be replayed; T0 has said so."""
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

    def times(self, cell: Cell, runs: pd.DataFrame) -> None:
        """T2: the median over repeats against the latency table."""
        run, measured_s = self.replays.get(cell), float(runs["decode_s"].median())
        if run is not None and run.n_tokens > 1:
            self.rows[cell] |= {
                "measured_s": measured_s,
                "predicted_s": run.seconds,
                "prediction_error": run.seconds / measured_s - 1,
            }
            self.seconds[cell] = runs.groupby("repeat")["decode_s"].median()
            self.rows[cell]["time_difference"] = halves_differ(self.seconds[cell])

    def result(self, profile: Profile, acceptances: tuple[Acceptance, ...]) -> Validation:
        """Return the validation of ``profile``: the cells, one row each, and what follows from them."""
        columns = [
            "design",
            "policy",
            "prompt",
            "n_tokens",
            "modelled",
            "exact",
            "replay_error",
            "measured_s",
            "predicted_s",
            "prediction_error",
            "speedup",
            "predicted_speedup",
            "speedup_error",
            "time_difference",
            "speedup_difference",
        ]
        for cell, errors in self.replay_errors.items():
            self.rows[cell]["replay_error"] = float(np.median(errors))
        self._speedups()
        cells = pd.DataFrame(list(self.rows.values()), columns=columns)
        return Validation(
            cells=cells,
            explained=tuple(self.explained),
            failing=tuple(self.failing),
            left_out=self.left_out,
            trust=judge(
                profile,
                differing_structures=len(self.failing),
                **{
                    name: spread(cells[column])["median"]
                    for name, column in (
                        ("time_error", "prediction_error"),
                        ("time_noise", "time_difference"),
                        ("speedup_error", "speedup_error"),
                        ("speedup_noise", "speedup_difference"),
                    )
                },
            ),
            acceptances=acceptances,
        )

    def _speedups(self) -> None:
        """Over vanilla on the same prompt, in turn. Vanilla's own is always right, and has no error."""
        vanilla = {cell[1]: cell for cell in self.seconds if cell[0].policy is Policy.VANILLA}
        for cell in self.seconds:
            base, row = vanilla.get(cell[1]), self.rows[cell]
            if base is None:
                continue
            measured = ratios(self.seconds[base], self.seconds[cell])
            longer = (row["n_tokens"] - 1) / (
                self.rows[base]["n_tokens"] - 1
            )  # sampled texts differ; speedups are per token
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

    def _drawn(self, cell: Cell) -> Sequence[Draft | Verdict] | None:
        return self.draws.get(cell, ()) if self.trace.sampled else None

    def _near_ties(self, cell: Cell, number: int) -> list[NearTie]:
        """The heads tested in this round of the replay that were as sure as their gamma, to rounding."""
        design, prompt = cell
        ties = []
        for event in _round_events(self._replay(cell, events=True).events, number):
            if isinstance(event.work, Check) and isinstance(event.outcome, Draft):
                gamma, confidence = design.threshold(event.work.depth), event.outcome.confidence
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


def _round_events(events: Sequence[Event], number: int) -> list[Event]:
    """The events of one round, counted from 0; a Verify ends a round."""
    rounds: list[list[Event]] = [[]]
    for event in events:
        rounds[-1].append(event)
        if isinstance(event.work, Verify):
            rounds.append([])
    return rounds[number] if number < len(rounds) else []
