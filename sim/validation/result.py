"""The result of a validation: what was simulated against what was measured."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from adadecode.sim.core.design import Policy
from adadecode.sim.measurements.speed import MeasuredSpeed
from adadecode.sim.validation.acceptance_rate import Acceptance
from adadecode.sim.validation.criteria import Trust

ERRORS = ("replay_error", "prediction_error", "speedup_error")
"""Columns of `Validation.cells` with the signed errors of T1, and of times and speedups (T2)."""

DIFFERENCES = ("time_difference", "speedup_difference")
"""Columns of `Validation.cells` with what even repeats measured relative to odd ones."""

CELL_COLUMNS = (
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
    *DIFFERENCES,
)


@dataclass(frozen=True, kw_only=True)
class NearTie:
    """Why a measured run may differ from its replay: a head as confident as its gamma.

    Attributes:
        prompt: Number of the prompt.
        design: Label of the design.
        output: Position of the output, from 0, in the first round that differs.
        confidence: What the head was recorded with.
        gamma: What the confidence was compared with.
    """

    prompt: int
    design: str
    output: int
    confidence: float
    gamma: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """A profile's own measured runs against the simulator.

    Attributes:
        cells: One row per design and prompt, with the columns below. Errors are signed, relative
            to what was measured, and NaN where nothing was measured.
        explained: Near-ties in runs that are not exact.
        failing: The runs that are neither exact nor explained.
        left_out: Unverified cells whose text is not the trace's, which nothing recorded can replay.
        missing: What the manifest promises and the recording lacks, a sentence each.
        trust: Whether the recording can be trusted.
        speeds: How fast each design was measured to be, on all prompts together.
        acceptances: Of a sampled profile, how often each design's drafts held, as measured and as
            the trace predicts without the recorded draws.

    ======================  ======================================================================
    column of ``cells``
    ======================  ======================================================================
    design, policy, prompt  Which run.
    n_tokens                Output tokens.
    modelled                Share of the time in rounds that rest on drawn branches.
    exact                   T0: whether all rounds are the measured ones; missing without rounds.
    replay_error            T1.
    measured_s              Decoding time, the median over repeats.
    predicted_s             The same from the latency table.
    prediction_error        T2, of the time.
    speedup                 The median over repeats, each against vanilla in the same repeat.
    predicted_speedup       The same from the latency table.
    speedup_error           T2, of the speedup.
    time_difference         What even repeats measured / what odd ones did - 1. No prediction can
                            be held to much less than half of it.
    speedup_difference      The same of speedups.
    ======================  ======================================================================
    """

    cells: pd.DataFrame
    explained: tuple[NearTie, ...]
    failing: tuple[dict[str, Any], ...]
    left_out: int
    missing: tuple[str, ...]
    trust: Trust
    speeds: tuple[MeasuredSpeed, ...]
    acceptances: tuple[Acceptance, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether all promised runs are there, and each structure is exact or explained.

        A recording without any structure does not hold: nothing of it was compared.
        """
        return bool(self.cells["exact"].notna().any()) and not self.failing and not self.missing

    def by_design(self) -> pd.DataFrame:
        """Summarise the cells, one row per design.

        Returns:
            The columns below; NaN where nothing was measured.

        ================================  ========================================================
        column                            meaning
        ================================  ========================================================
        design                            Label.
        runs, exact                       Cells, and how many of them are exact.
        modelled                          Mean share of the time that rests on drawn branches.
        replay_error, prediction_error,   Median magnitudes over the cells.
        speedup_error
        measured_tpot_s,                  From the median run of each prompt: a ratio of medians.
        measured_speedup
        predicted_tpot_s,                 The same, predicted.
        predicted_speedup
        tpot_s, speedup, speedup_low,     The measured speed, as
        speedup_high                      `adadecode.sim.measurements.speed` defines it: what people
                                          read.
        ================================  ========================================================
        """
        rows = _by_design(self.cells)
        speeds = {one.design.label: one for one in self.speeds}
        for name in ("tpot_s", "speedup", "speedup_low", "speedup_high"):
            rows[name] = [
                getattr(speeds[label], name) if label in speeds else np.nan
                for label in rows["design"]
            ]
        return rows

    def to_frame(self) -> pd.DataFrame:
        """Return one row per design and prompt; the columns are those of `cells`."""
        return self.cells.copy()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``adadecode-sim validate --json`` prints of the tiers.

        Errors are magnitudes, as median and 90th percentile over cells; None where nothing was
        measured.
        """
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
            "designs": self.by_design().replace({np.nan: None}).to_dict("records"),
            "explained": [asdict(tie) for tie in self.explained],
            "failing": list(self.failing),
            "missing": list(self.missing),
        }


def spread(errors: pd.Series[float]) -> dict[str, float | None]:
    """Return the median and the 90th percentile of the magnitudes of signed errors.

    Missing errors are left out; both are None where there is no error.
    """
    sizes = errors.abs().dropna().to_numpy(dtype=np.float64)
    if not len(sizes):
        return {"median": None, "p90": None}
    return {"median": float(np.median(sizes)), "p90": float(np.percentile(sizes, 90))}


def _by_design(cells: pd.DataFrame) -> pd.DataFrame:
    """Summarise cells, one row per design, without the measured speeds."""
    timed = cells[cells["measured_s"].notna()]
    tpots = {
        str(label): part[["measured_s", "predicted_s"]].sum() / (part["n_tokens"] - 1).sum()
        for label, part in timed.groupby("design", sort=False)
    }
    vanilla = tpots.get(str(Policy.VANILLA))
    return pd.DataFrame(
        [
            _design_row(str(label), part, tpots.get(str(label)), vanilla)
            for label, part in cells.groupby("design", sort=False)
        ]
    )


def _design_row(
    label: str,
    part: pd.DataFrame,
    tpot: pd.Series[float] | None,
    vanilla: pd.Series[float] | None,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "design": label,
        "runs": len(part),
        "exact": int(part["exact"].fillna(0).astype(bool).sum()),
        "modelled": float(part["modelled"].mean()),
        **{name: spread(part[name])["median"] for name in ERRORS},
        "measured_tpot_s": np.nan,
        "predicted_tpot_s": np.nan,
        "measured_speedup": np.nan,
        "predicted_speedup": np.nan,
    }
    for kind in ("measured", "predicted") if tpot is not None else ():
        assert tpot is not None
        row[f"{kind}_tpot_s"] = float(tpot[f"{kind}_s"])
        if vanilla is not None:
            row[f"{kind}_speedup"] = float(vanilla[f"{kind}_s"] / tpot[f"{kind}_s"])
    return row
