"""The data that a report on a profile is made of, read and computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.hardware.provenance import Provenance
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.simulation import replay
from adadecode.sim.report.profile import latency_tables, run_tables
from adadecode.sim.report.profile.run_tables import ALL
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate
from adadecode.sim.validation.trust import Trust, assess


@dataclass(kw_only=True, eq=False)
class ProfileData:
    """A profile, and what is computed from it once. What it does not hold is empty or None."""

    profile: Profile

    @property
    def latency(self) -> LatencyTable:
        """The profile's latencies as a table of points."""
        return self.profile.latency_table

    @cached_property
    def provenance(self) -> Provenance:
        """What the figures were measured on, and how."""
        return Provenance.of(self.profile)

    @cached_property
    def predictor(self) -> Predictor | None:
        """The predictor; None for a profile of latencies alone."""
        return None if self.profile.prompts.empty else Predictor.of(self.profile)

    @cached_property
    def texts(self) -> dict[str, tuple[int, ...]]:
        """The prompts of each domain; all of them under `ALL`."""
        return {} if self.predictor is None else run_tables.domain_prompts(self.predictor.trace)

    @cached_property
    def speeds(self) -> pd.DataFrame:
        """The measured speedups (`run_tables.speedups`), and the predicted ones."""
        speeds = run_tables.speedups(self.profile, self.texts)
        return speeds.merge(self._predicted(), how="left", on=["design", "domain"])

    @cached_property
    def validation(self) -> Validation | None:
        """The simulator against the measured runs; None if nothing was run."""
        return (
            validate(self.profile)
            if self.predictor is not None and len(self.profile.runs)
            else None
        )

    @cached_property
    def trust(self) -> Trust | None:
        """Whether to trust the recording; None for a profile of latencies alone."""
        return None if self.predictor is None else assess(self.profile, self.validation)

    def _predicted(self) -> pd.DataFrame:
        """Return the predicted speedups of the measured designs by domain."""
        rows = []
        if self.validation is not None:
            cells = self.validation.cells[self.validation.cells["predicted_s"].notna()]
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
        """Return the design that was measured to be fastest on a domain; None if none was run.

        Vanilla and designs without verification are no candidates. The best may be slower than
        vanilla.
        """
        speeds = self.speeds
        drafting = speeds["verify"] & (speeds["policy"] != Policy.VANILLA)
        rows = speeds[(speeds["domain"] == domain) & drafting & speeds["speedup"].notna()]
        return None if rows.empty else run_tables.fastest(rows)

    @cached_property
    def vanilla_s(self) -> float | None:
        """Measured seconds per token of vanilla over all text; None if it was not run."""
        speeds = self.speeds
        rows = speeds[(speeds["policy"] == Policy.VANILLA) & (speeds["domain"] == ALL)]
        return float(rows["tpot_s"].iloc[0]) if len(rows) else None

    @cached_property
    def layer_s(self) -> float | None:
        """Seconds of one layer for one token, the mean over layers; None if it was not timed."""
        points = self.latency.points
        ones = points[(points["kind"] == "layer") & (points["n_tokens"] == 1)]
        return float(ones["seconds"].mean()) if len(ones) else None

    def time_split(self, designs: Sequence[Design]) -> pd.DataFrame:
        """Return the predicted seconds of an output token by part.

        Designs that cannot be priced are left out.

        Returns:
            The column ``design``, and those of `latency_tables.TIME_SHARES`.
        """
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
            rows.append({"design": design.label, **latency_tables.time_split(runs, self.latency)})
        return pd.DataFrame(rows, columns=["design", *latency_tables.TIME_SHARES])
