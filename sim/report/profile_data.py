"""What a report on a profile is made of, read and computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import replay
from adadecode.sim.report import profile_tables
from adadecode.sim.report.profile_tables import ALL, TIME_SHARES
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate


@dataclass(kw_only=True, eq=False)
class Recording:
    """A profile, and what is worked out of it once. What it does not hold is empty."""

    profile: Profile
    latency: LatencyTable = field(init=False)

    def __post_init__(self) -> None:
        self.latency = profile_tables.whole_table(self.profile)

    @cached_property
    def predictor(self) -> Predictor | None:
        """None where the profile holds latencies alone."""
        return None if self.profile.prompts.empty else Predictor.of(self.profile)

    @cached_property
    def texts(self) -> dict[str, tuple[int, ...]]:
        """Prompts by domain; all of them under ALL."""
        return {} if self.predictor is None else profile_tables.domains(self.predictor.trace)

    @cached_property
    def speeds(self) -> pd.DataFrame:
        """`measured.speedups`, and what was predicted for the same."""
        speeds = profile_tables.speedups(self.profile, self.texts)
        return speeds.merge(self._predicted(), how="left", on=["design", "domain"])

    @cached_property
    def comparison(self) -> Validation | None:
        """The tiers; None where nothing was run."""
        return (
            validate(self.profile)
            if self.predictor is not None and len(self.profile.runs)
            else None
        )

    def _predicted(self) -> pd.DataFrame:
        """Predicted speedups of the measured designs, from the cells of the comparison, by domain."""
        rows = []
        if self.comparison is not None:
            cells = self.comparison.cells[self.comparison.cells["predicted_s"].notna()]
            for domain, prompts in self.texts.items():
                part = cells[cells["prompt"].isin(prompts)]
                sums = (
                    part.assign(tokens=part["n_tokens"] - 1)
                    .groupby("design")[["predicted_s", "tokens"]]
                    .sum()
                )
                tpot = sums["predicted_s"] / sums["tokens"]
                vanilla = tpot.get(str(Policy.VANILLA), float("nan"))
                rows += [(name, domain, vanilla / seconds) for name, seconds in tpot.items()]
        return pd.DataFrame(rows, columns=["design", "domain", "predicted"])

    def best(self, domain: str = ALL) -> dict[str, Any] | None:
        """The verified design that was measured to be fastest on a domain; None where none was."""
        speeds = self.speeds
        rows = speeds[(speeds["domain"] == domain) & speeds["verify"] & speeds["speedup"].notna()]
        return None if rows.empty else profile_tables.fastest(rows)

    def split(self, designs: Sequence[Design]) -> pd.DataFrame:
        """Seconds of an output token by part, as predicted: design and the columns of PARTS. Designs that cannot be priced are left out."""
        rows = []
        assert self.predictor is not None
        for design in designs:
            try:
                runs = replay(
                    self.predictor.trace,
                    self.latency,
                    design,
                    model=self.predictor.model,
                    events=True,
                )
            except LatencyError:
                continue
            rows.append({"design": design.label, **profile_tables.time_split(runs, self.latency)})
        return pd.DataFrame(rows, columns=["design", *TIME_SHARES])
