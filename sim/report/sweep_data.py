"""What a report on a sweep is made of, read and computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.hardware.provenance import form_of
from adadecode.sim.report import sweep_tables
from adadecode.sim.report.profile_data import Recording
from adadecode.sim.report.profile_tables import ALL
from adadecode.sim.sweep.head_forms import label_in
from adadecode.sim.sweep.store import Sweep


@dataclass(kw_only=True, eq=False)
class SweepData:
    """A sweep, and what is worked out of it once. recording: of the profile it was made from, where that is at hand."""

    sweep: Sweep
    recording: Recording | None = None
    designs: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self.designs = sweep_tables.with_places(
            self.sweep.designs, rounded=self.about["method"] != "exhaustive"
        )

    @cached_property
    def fitting(self) -> pd.DataFrame:
        """The designs that fit their device."""
        return sweep_tables.fitting(self.designs)

    @property
    def about(self) -> dict[str, Any]:
        """What the sweep says of itself."""
        return self.sweep.about

    @cached_property
    def devices(self) -> dict[str, dict[str, Any]]:
        """Each device as the sweep describes it, by name, in its order; where there are forms to choose from, with heads of the first."""
        told: dict[str, dict[str, Any]] = {}
        for one in self.about["devices"]:
            told.setdefault(str(one["device"]), one)
        return {
            **told,
            **{
                name: {"device": name, "basis": "unknown", "notes": []}
                for name in self.designs["device"].unique()
                if name not in told
            },
        }

    def device(self, name: str, form: str | None) -> dict[str, Any]:
        """The device with heads of this form."""
        return next(
            (
                one
                for one in self.about["devices"]
                if (one["device"], one.get("form")) == (name, form)
            ),
            self.devices[name],
        )

    @property
    def measured(self) -> str | None:
        """The first device with measured latencies; None where there is none."""
        return next(
            (str(one["device"]) for one in self.about["devices"] if one["basis"] == "measured"),
            None,
        )

    @cached_property
    def forms(self) -> list[str]:
        """Forms of the heads that there were to choose from; none of a sweep that did not choose."""
        return list(self.about.get("space", {}).get("forms", ()))

    @property
    def is_own(self) -> bool:
        """Whether text and latencies were recorded together, so that runs of the one are runs of the other."""
        source, trace = (self.about.get(name) or {} for name in ("profile", "trace"))
        return not self.about.get("hypothetical") and source.get("digest") == trace.get("digest")

    @cached_property
    def table(self) -> pd.DataFrame:
        """The best design of each device, with its basis and notes."""
        rows = sweep_tables.devices(self.designs, list(self.devices), next(iter(self.devices)))
        told = [self.device(row["device"], row.get("form")) for row in rows.to_dict("records")]
        return rows.assign(
            basis=[str(one["basis"]) for one in told],
            notes=["; ".join(map(str, one.get("notes") or ())) for one in told],
        )

    def best(self, device: str) -> dict[str, Any]:
        """The best design on a device, as the sweep worked it out; without details where it did not."""
        found: dict[str, Any] = self.about.get("best", {}).get(device, {})
        return found

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Measured speedups of the designs of this profile on the sweep's prompts, with places; empty without a profile or runs."""
        if not self.is_own or self.recording is None or self.recording.speeds.empty:
            return pd.DataFrame(
                columns=[
                    "place",
                    "x",
                    "speedup",
                    "low",
                    "high",
                    "design",
                    "form",
                    "policy",
                    "cap",
                    "gamma",
                ]
            )
        speeds = self.recording.speeds
        mine = speeds[
            (speeds["domain"] == self._domain())
            & speeds["verify"]
            & speeds["speedup"].notna()
            & (speeds["policy"] != Policy.VANILLA)
        ]
        if self.forms:
            form = form_of(self.recording.profile).label
            mine = mine.assign(
                form=form, design=[label_in(label, form) for label in mine["design"]]
            )
        return sweep_tables.with_places(mine)

    def _domain(self) -> str:
        """The domain whose prompts were swept; ALL where these were all, and no domain at all where they were others."""
        assert self.recording is not None
        count = self.about.get("prompts", {}).get("count")
        domain = self.about.get("prompts", {}).get("domain")
        if domain:
            return str(domain)
        return ALL if count in {None, len(self.recording.texts.get(ALL, ()))} else "?"
