"""The parameters of a synthetic trace, found from published rates by replaying it.

This is plain least squares on the same random numbers throughout, so that a difference between two
models is never luck.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.hardware.device_latency import DeviceLatencies
from adadecode.sim.hardware.uniform import uniform_latencies
from adadecode.sim.prediction.evaluator import Evaluator
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.synthetic.free_parameters import FREE, START, FreeParameters, least
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError, check_depths
from adadecode.sim.synthetic.trace_generator import SyntheticPrompt, alike, synthetic_trace

_Array = NDArray[np.float64]

FOLLOWED = 2_000
"""Outputs whose wrong drafts are followed in a fit, which is twice as fast as all of them.

Rates move by 0.005 at most (Llama-3.1-8B in figure 5).
"""

_RATE_COLUMNS = {"early": "early_rate", "rejected": "reject_rate", "speedup": "speedup"}


class Target(NamedTuple):
    """What is wanted at one gamma; None where it is unknown.

    Attributes:
        gamma: The threshold.
        early: Drafts / tested positions, in 0..1.
        rejected: Drafts discarded / drafts, in 0..1.
        speedup: Over vanilla.
    """

    gamma: float
    early: float | None = None
    rejected: float | None = None
    speedup: float | None = None


@dataclass(frozen=True, kw_only=True)
class RateFit:
    """A model fitted to rates.

    That fitted rates come out says nothing for the model unless ``n_free`` is well below
    ``informative``.

    Attributes:
        model: The heads.
        rows: One row for each figure that was wanted: gamma, what (early, rejected, speedup),
            asked, got, residual (got - asked; of a speedup, got / asked - 1), and informative
            (whether any model could miss it).
        free: How many numbers were fitted, by name.
    """

    model: HeadModel
    rows: pd.DataFrame
    free: Mapping[str, int]

    @property
    def n_free(self) -> int:
        """How many numbers were fitted."""
        return sum(self.free.values())

    @property
    def informative(self) -> int:
        """Targets that could have been missed."""
        return int(self.rows["informative"].sum())

    @property
    def largest(self) -> float:
        """The magnitude of the largest residual of a rate; 0 where no rate was wanted."""
        return max(
            self.rows.loc[self.rows["what"] != "speedup", "residual"].abs().tolist(), default=0.0
        )

    def __str__(self) -> str:
        names = ", ".join(f"{name} ({count})" for name, count in self.free.items())
        return (
            f"{self.n_free} numbers fitted to {self.informative} figures that could be missed: "
            f"{names}; rates within {self.largest:.3f}"
        )


def evaluated(
    trace: Trace,
    latency: LatencyTable,
    designs: Sequence[Design],
    prompts: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Evaluate designs on a trace.

    Args:
        trace: The text.
        latency: What work takes.
        designs: The designs.
        prompts: What to replay; by default all.

    Returns:
        A row for each design, as `adadecode.sim.prediction.evaluator.Evaluator.evaluate` has them.

    Raises:
        DesignError: If a design uses a head that the trace does not have.
        LatencyError: If a latency is not known.
    """
    device = DeviceLatencies(device="one", basis="measured", tables={"middle": latency})
    most = 1 + max(design.cap for design in designs)
    evaluator = Evaluator.of(CompiledReplay.of(trace), [device], prompts=prompts, max_tokens=most)
    return evaluator.evaluate(designs)


def fit_rates(
    targets: Iterable[Target],
    *,
    n_layers: int,
    depths: Sequence[int],
    cap: int = DEFAULT_CAP,
    free: Mapping[str, int] = FREE,
    fixed: Mapping[str, Any] | None = None,
    start: Mapping[str, tuple[float, float]] | None = None,
    latency: LatencyTable | None = None,
    speedup_weight: float = 1.0,
    prompts: Sequence[SyntheticPrompt] | None = None,
    seed: int = 0,
) -> RateFit:
    """Fit the heads whose replays come nearest to some rates.

    Args:
        targets: The rates.
        n_layers: Layers of the model.
        depths: Depths of the heads.
        cap: Most drafts in a round.
        free: What is fitted; see `FreeParameters`.
        fixed: Values of other parameters; their defaults where not given.
        start: Where to begin, for some of the curves.
        latency: What work takes, for targets that are speedups.
        speedup_weight: How many times a relative error of a speedup counts as one of a rate.
        prompts: What is replayed at every step; by default 16 of 512 outputs.
        seed: Of the draws.

    Raises:
        SyntheticError: If no model has such rates, or more numbers are free than there are targets
            that could be missed.
    """
    check_depths(n_layers, depths)
    wanted = list(targets)
    rows = _rows(wanted, with_speedups=latency is not None)
    parameters = FreeParameters(
        n_layers=n_layers,
        depths=tuple(depths),
        free=dict(free),
        fixed=dict(fixed or {}),
        begin={**START, **(start or {})},
    )
    _require_informative(parameters, rows)
    texts = prompts or alike(16)
    replayed = _Replayed(
        texts=texts,
        latency=latency or _any_latencies(n_layers, depths, cap, texts),
        designs=[Design.of(gamma=one.gamma, placement=depths, cap=cap) for one in wanted],
        gammas=[one.gamma for one in wanted],
        rows=rows,
        seed=seed,
        cap=cap,
    )
    goal, relative = rows["asked"].to_numpy(), (rows["what"] == "speedup").to_numpy()
    scale, weights = (
        np.where(relative, goal, 1.0),
        np.where(relative, speedup_weight, 1.0),
    )

    def residuals(vector: _Array) -> _Array:
        missed: _Array = weights * ((replayed.rates(parameters.model(vector)) - goal) / scale)
        return missed

    vector = parameters.start()
    if parameters.count:
        vector = least(residuals, vector, parameters.steps())
    model = parameters.model(vector)
    got = replayed.rates(model)
    rows = rows.assign(got=got, residual=(got - goal) / scale)
    columns = ["gamma", "what", "asked", "got", "residual", "informative"]
    return RateFit(model=model, rows=rows[columns], free=dict(free))


@dataclass(frozen=True, kw_only=True)
class _Replayed:
    """The rates that heads show when they are replayed, in the order of ``rows``."""

    texts: Sequence[SyntheticPrompt]
    latency: LatencyTable
    designs: Sequence[Design]
    gammas: Sequence[float]
    rows: pd.DataFrame
    seed: int
    cap: int

    def rates(self, model: HeadModel) -> _Array:
        """Replay heads and return their rates."""
        trace = synthetic_trace(
            {self.texts[0].domain: model},
            self.texts,
            seed=self.seed,
            followed=FOLLOWED,
            cap=self.cap,
        )
        shown = evaluated(trace, self.latency, self.designs).set_index(pd.Index(self.gammas))
        wanted = zip(self.rows["gamma"], self.rows["what"], strict=True)
        return np.array(
            [shown.loc[gamma, _RATE_COLUMNS[what]] for gamma, what in wanted], dtype=np.float64
        )


def _any_latencies(
    n_layers: int, depths: Sequence[int], cap: int, texts: Sequence[SyntheticPrompt]
) -> LatencyTable:
    """Return latencies that reach far enough; rates do not depend on them."""
    longest = max(one.n_prompt + one.n_output for one in texts)
    return uniform_latencies(n_layers, depths, head=1.0, max_tokens=cap + 1, max_context=longest)


def _require_informative(parameters: FreeParameters, rows: pd.DataFrame) -> None:
    """Raise SyntheticError where more numbers are free than targets could be missed."""
    informative = int(rows["informative"].sum())
    if parameters.count > informative:
        raise SyntheticError(
            f"{parameters.count} numbers ({', '.join(parameters.free)}) cannot be fitted to "
            f"{informative} figures that could be missed: give rates at more gammas, or say some "
            "of these instead"
        )


def _rows(targets: Sequence[Target], *, with_speedups: bool) -> pd.DataFrame:
    """Return a row for each figure that is wanted. Raises SyntheticError."""
    rows = [row for one in targets for row in _target_rows(one, with_speedups=with_speedups)]
    if len({one.gamma for one in targets}) < len(targets):
        raise SyntheticError("wanted each gamma once among the rates, got one twice")
    if not rows:
        raise SyntheticError(
            "wanted a rate or more to fit heads to, got none: give one like 0.24 at gamma 0.6"
        )
    return pd.DataFrame(rows, columns=["gamma", "what", "asked", "informative"])


def _target_rows(one: Target, *, with_speedups: bool) -> list[tuple[float, str, float, bool]]:
    if not 0 <= one.gamma <= 1:
        raise SyntheticError(f"gamma is a probability in 0..1, got {one.gamma:g}")
    rows = []
    for what, share in (("early", one.early), ("rejected", one.rejected)):
        if share is None:
            continue
        if not 0 <= share <= 1:
            raise SyntheticError(
                f"a rate is a share in 0..1, got {share:g} ({what} at gamma {one.gamma:g}): 0.24 "
                "for 24 %"
            )
        informative = one.gamma < 1 and (one.gamma > 0 or what == "rejected")
        rows.append((one.gamma, what, share, informative))
    if one.speedup is not None:
        if not (with_speedups and one.speedup > 0):
            raise SyntheticError(
                "a speedup is above 0 and needs latencies to be fitted to, got "
                f"{one.speedup:g}: give them, or leave it out"
            )
        rows.append((one.gamma, "speedup", one.speedup, one.gamma < 1))
    return rows
