"""The data that a report on a sweep is made of, read and computed once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.core.number_format import UNKNOWN
from adadecode.sim.prediction.evaluator import ENERGY
from adadecode.sim.report.profile.profile_data import ProfileData
from adadecode.sim.report.profile.run_tables import ALL
from adadecode.sim.report.sweep import design_tables
from adadecode.sim.report.sweep.regime_words import limit_words
from adadecode.sim.sweep.head_forms import label_in
from adadecode.sim.sweep.store import Sweep

_RUN_COLUMNS = "place x speedup low high design form policy cap gamma".split()


@dataclass(kw_only=True, eq=False)
class SweepData:
    """A sweep, and what is computed from it once.

    Attributes:
        sweep: The sweep.
        recording: The profile it was made from, where that is at hand.
        designs: The designs, with columns to group by (`design_tables.with_places`).
    """

    sweep: Sweep
    recording: ProfileData | None = None
    designs: pd.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        self.designs = design_tables.with_places(
            self.sweep.designs, rounded=self.about["method"] != "exhaustive"
        )

    @cached_property
    def fitting(self) -> pd.DataFrame:
        """The designs that fit the memory of their device."""
        return design_tables.fitting(self.designs)

    @property
    def about(self) -> dict[str, Any]:
        """The description that is stored with the sweep."""
        return self.sweep.about

    @cached_property
    def devices(self) -> dict[str, dict[str, Any]]:
        """The description of each device, by name, in the sweep's order.

        If there are forms of heads to choose from, it is that with heads of the first form.
        """
        described: dict[str, dict[str, Any]] = {}
        for device in self.about["devices"]:
            described.setdefault(str(device["device"]), device)
        for name in self.designs["device"].unique():
            described.setdefault(name, {"device": name, "basis": "unknown", "notes": []})
        return described

    def device(self, name: str, form: str | None) -> dict[str, Any]:
        """Return the description of a device with heads of a form."""
        return next(
            (
                device
                for device in self.about["devices"]
                if (device["device"], device.get("form")) == (name, form)
            ),
            self.devices[name],
        )

    @property
    def measured(self) -> str | None:
        """The first device with measured latencies; None if there is none."""
        return next(
            (
                str(device["device"])
                for device in self.about["devices"]
                if device["basis"] == "measured"
            ),
            None,
        )

    @cached_property
    def forms(self) -> list[str]:
        """The forms of heads that there were to choose from; empty if there was no choice."""
        return list(self.about.get("space", {}).get("forms", ()))

    @property
    def is_own(self) -> bool:
        """Whether text and latencies were recorded together.

        Then runs with the one are runs with the other.
        """
        source, trace = (self.about.get(name) or {} for name in ("profile", "trace"))
        return not self.about.get("hypothetical") and source.get("digest") == trace.get("digest")

    @cached_property
    def table(self) -> pd.DataFrame:
        """The best design of each device, with the basis and the notes of its latencies.

        Sweeps of the first versions of this program hold no regime and no interval of the energy.
        """
        rows = design_tables.devices(self.designs, list(self.devices), next(iter(self.devices)))
        described = [self.device(row["device"], row.get("form")) for row in rows.to_dict("records")]
        absent = [name for name in ENERGY if name not in rows]
        return rows.assign(
            **dict.fromkeys(absent, float("nan")),
            basis=[str(device["basis"]) for device in described],
            regime=[str(device.get("regime") or UNKNOWN) for device in described],
            limit=[limit_words(device.get("limited_by") or {}) for device in described],
            notes=["; ".join(map(str, device.get("notes") or ())) for device in described],
        )

    def best(self, device: str) -> dict[str, Any]:
        """Return the details of the best design on a device; empty if the sweep has none."""
        details: dict[str, Any] = self.about.get("best", {}).get(device, {})
        return details

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The measured speedups of the profile's designs on the sweep's prompts, with places.

        Empty without a profile, or without runs.
        """
        if not self.is_own or self.recording is None or self.recording.speeds.empty:
            return pd.DataFrame(columns=_RUN_COLUMNS)
        speeds = self.recording.speeds
        runs = speeds[
            (speeds["domain"] == self._domain())
            & speeds["verify"]
            & speeds["speedup"].notna()
            & (speeds["policy"] != Policy.VANILLA)
        ]
        if self.forms:
            form = self.recording.provenance.timed_form.label
            labels = [label_in(label, form) for label in runs["design"]]
            runs = runs.assign(form=form, design=labels)
        return design_tables.with_places(runs)

    def _domain(self) -> str:
        """Return the domain that was swept; `ALL` for the whole text, ``?`` for other prompts."""
        assert self.recording is not None
        prompts = self.about.get("prompts", {})
        if prompts.get("domain"):
            return str(prompts["domain"])
        every = len(self.recording.texts.get(ALL, ()))
        return ALL if prompts.get("count") in {None, every} else "?"
