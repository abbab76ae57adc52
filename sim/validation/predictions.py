"""Predictions of designs with their intervals: what `adadecode.sim.predict` returns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, overload

import pandas as pd

from adadecode.profiles.errors import DesignError
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.prediction.predictor import Prediction, Predictor
from adadecode.sim.prediction.scenario import Scenario, ScenarioOptions, find_scenario
from adadecode.sim.validation.intervals import MeasuredMisses, PredictionInterval, corner_interval


@dataclass(frozen=True, kw_only=True)
class PredictedDesign(Prediction):
    """A prediction with its interval, and what it rests on.

    The interval of carried and estimated latencies is that of the device, and of a profile of
    kernel tables that of its kernels; of other measured ones it covers nine in ten of the profile's
    own timed runs. Its ends are None where nothing tells.

    Attributes:
        tpot_s_low: Fewest seconds per output token.
        tpot_s_high: Most seconds per output token.
        speedup_low: Lowest speedup over vanilla.
        speedup_high: Highest speedup over vanilla.
        device: Name of the device.
        basis: Where its latencies are from: "measured", "carried" or "datasheet".
        regime: How kernels are started: "eager", "graphs" or "engine"; None for assumed latencies.
        limited_by: "host" or "device" by kind of work: which decides how long it takes.
        model: Name of the model whose layers run.
        hypothetical: Whether the text or its heads are another model's.
        notes: What was assumed, a sentence each.
    """

    tpot_s_low: float | None
    tpot_s_high: float | None
    speedup_low: float | None
    speedup_high: float | None
    device: str
    basis: str
    regime: str | None
    limited_by: dict[str, str]
    model: str
    hypothetical: bool
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the document that ``adadecode-sim predict --json`` prints."""
        return {**self.to_dict(), "notes": list(self.notes)}

    def to_frame(self) -> pd.DataFrame:
        """Return one row; see `Predictions.to_frame`."""
        return pd.DataFrame([self.to_row()])

    def to_row(self) -> dict[str, Any]:
        """Return the row of `to_frame`; what is not known is NaN."""
        parts = self.design.parts()
        figures = {**self.to_json(), "policy": str(self.design.policy)}
        del figures["design"], figures["limited_by"]
        known = {name: math.nan if value is None else value for name, value in figures.items()}
        return {"design": self.design.label, **parts, **known, "regime": self.regime}


@dataclass(frozen=True, kw_only=True)
class Predictions(Sequence[PredictedDesign]):
    """Predictions of several designs on one device, in the order in which they were given.

    Attributes:
        scenario: What they rest on.
        designs: The predictions.
    """

    scenario: Scenario
    designs: tuple[PredictedDesign, ...]

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        designs: Design | Sequence[Design],
        domains: str | Sequence[str] | None = None,
    ) -> Predictions:
        """Predict designs on a scenario.

        Args:
            scenario: The text, its heads, and the latencies of the device.
            designs: One design or several.
            domains: Replay only the prompts of these domains; by default all.

        Raises:
            DesignError: If a design needs a head that was not trained, or there is no design.
            DeviceError: If the model with the heads of a design does not fit on the device.
            LatencyError: If a design needs a latency that is not known.
            ProfileError: If a domain has no prompts, or no prompt has a second output token.
        """
        wanted = [designs] if isinstance(designs, Design) else list(designs)
        if not wanted:
            raise DesignError("wanted one design or more to predict, got none")
        for design in wanted:
            scenario.check_fits(design.placement)
        predictor = Predictor(
            trace=scenario.trace, latency=scenario.latencies.middle, rejecting=scenario.rejecting
        )
        prompts = predictor.prompts([domains] if isinstance(domains, str) else domains)
        predictions = [predictor.predict(design, prompts) for design in wanted]
        intervals = _intervals(scenario, predictor, predictions, prompts)
        return cls(
            scenario=scenario,
            designs=tuple(
                _predicted(scenario, prediction, interval)
                for prediction, interval in zip(predictions, intervals, strict=True)
            ),
        )

    def __len__(self) -> int:
        return len(self.designs)

    @overload
    def __getitem__(self, place: int) -> PredictedDesign: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[PredictedDesign, ...]: ...

    def __getitem__(self, place: int | slice) -> PredictedDesign | tuple[PredictedDesign, ...]:
        return self.designs[place]

    def __iter__(self) -> Iterator[PredictedDesign]:
        return iter(self.designs)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per design.

        The columns are the design's label and parts, and the fields of `PredictedDesign`.
        """
        return pd.DataFrame([one.to_row() for one in self.designs])

    def to_json(self) -> list[dict[str, Any]]:
        """Return the document of each design, as ``adadecode-sim predict --json`` prints it."""
        return [one.to_json() for one in self.designs]


def predict(
    profile: Profile | None,
    designs: Design | Sequence[Design],
    *,
    trace: Profile | None = None,
    heads_at: Mapping[int, int] | None = None,
    options: ScenarioOptions | None = None,
    domain: str | Sequence[str] | None = None,
) -> Predictions:
    """Predict the speed of one design or several, with intervals.

    Args:
        profile: Where the latencies come from; None takes them from the device's datasheet.
        designs: What to predict.
        trace: The profile whose text is replayed, where it is another one.
        heads_at: Where each head of the text stands in the model, by the depth it was trained at.
        options: The device, the model and their number formats; by default as recorded.
        domain: Replay only the prompts of this domain, or of these; by default all.

    Raises:
        InputError: As `adadecode.sim.prediction.scenario.find_scenario` and `Predictions.of` do.
    """
    wanted = [designs] if isinstance(designs, Design) else list(designs)
    cap = max((design.cap for design in wanted), default=1)
    scenario = find_scenario(profile, options, trace=trace, heads_at=heads_at, cap=cap)
    return Predictions.of(scenario, wanted, domain)


def _intervals(
    scenario: Scenario,
    predictor: Predictor,
    predictions: Sequence[Prediction],
    prompts: Sequence[int],
) -> list[PredictionInterval]:
    if scenario.measured is not None and not scenario.latencies.has_ends:
        misses = MeasuredMisses.of(scenario.measured)
        return [misses.interval(prediction) for prediction in predictions]
    return [
        corner_interval(predictor.model, scenario.latencies.tables, prediction.design, prompts)
        for prediction in predictions
    ]


def _predicted(
    scenario: Scenario, prediction: Prediction, interval: PredictionInterval
) -> PredictedDesign:
    fields = {name: getattr(prediction, name) for name in Prediction.__dataclass_fields__}
    return PredictedDesign(
        **fields,
        **asdict(interval),
        device=scenario.latencies.device,
        basis=scenario.latencies.basis,
        regime=scenario.latencies.regime and str(scenario.latencies.regime),
        limited_by=dict(scenario.latencies.limits),
        model=scenario.model,
        hypothetical=scenario.hypothetical,
        notes=scenario.notes,
    )
