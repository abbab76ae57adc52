"""The best designs of a sweep, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType

from adadecode.sim.cli.tables.layout import BASIS_WORDS, notes, table, titled
from adadecode.sim.cli.tables.prediction import INTERVAL_WORDS
from adadecode.sim.cli.tables.regime import regime_lines
from adadecode.sim.core.number_format import UNKNOWN, Scale, times
from adadecode.sim.prediction.caveats import ONE_PROMPT
from adadecode.sim.sweep.store import Sweep

MOST_OF_FRONT = 10
"""Designs of a Pareto front that are listed; the report shows all."""

_UNITS = {
    "memory": ("memory_bytes", "B"),
    "flops": ("flops_per_token", "FLOP"),
    "bytes": ("bytes_per_token", "B"),
    "energy": ("energy_j_per_token", "J"),
}
"""The objectives that have a column of their own: where the figure is, and its plain unit."""

_HEADINGS = {"memory": "memory", "flops": "a token", "bytes": "moved a token", "energy": "a token"}


def sweep_tables(sweep: Sweep) -> Iterator[RenderableType]:
    """Yield the best design on each device, the Pareto fronts, and notes on them."""
    yield _best(sweep)
    if len(sweep.about["objectives"]) > 1:
        for device in sweep.about["best"]:
            yield _front(sweep, device)
    yield from notes(_notes(sweep))


def _best(sweep: Sweep) -> Group:
    about, rows = sweep.about, list(sweep.about["best"].values())
    objectives = _Objectives.of(about["objectives"], rows)
    body = table(
        "device",
        "best design",
        "speedup",
        "interval",
        "ms a token",
        *objectives.headings,
        texts=("best design",),
    )
    bases = _bases(about)
    for device, best in about["best"].items():
        body.add_row(
            f"{device}{BASIS_WORDS[bases[device]]}",
            best["design"],
            times(best["speedup"]),
            _interval(best),
            f"{best['tpot_s'] * 1e3:.3f}",
            *objectives.cells(best),
        )
    known = dict.fromkeys(
        bases[device] for device, best in about["best"].items() if best["speedup_low"] is not None
    )
    how = (
        "every design of the space was tried"
        if about["optimal"]
        else "a search, so that a better one may be left"
    )
    return titled(
        f"best by {about['objectives'][0]} of {about['designs']:,} designs ({how})",
        body,
        [INTERVAL_WORDS[basis] for basis in known],
        hypothetical=bool(about["hypothetical"]),
    )


def _front(sweep: Sweep, device: str) -> Group:
    """Return the designs of a device of which none is worse in every objective."""
    rows = sweep.designs
    there = rows[(rows["device"] == device) & rows["pareto"].astype(bool)]
    records = there.sort_values("tpot_s").to_dict("records")
    front = [{str(name): figure for name, figure in record.items()} for record in records]
    objectives = _Objectives.of(sweep.about["objectives"], front)
    body = table("design", "speedup", "ms a token", *objectives.headings, names=True)
    for row in front[:MOST_OF_FRONT]:
        body.add_row(
            row["design"],
            times(row["speedup"]),
            f"{row['tpot_s'] * 1e3:.3f}",
            *objectives.cells(row),
        )
    captions = []
    if len(front) > MOST_OF_FRONT:
        captions.append(
            f"the fastest {MOST_OF_FRONT} of {len(front)} designs; the report shows all"
        )
    names = ", ".join(sweep.about["objectives"])
    return titled(f"Pareto front on {device} by {names}", body, captions)


class _Objectives:
    """The columns of the objectives besides time, each in one unit."""

    def __init__(self, names: Sequence[str], scales: Mapping[str, Scale | None]) -> None:
        self.names, self.scales = names, scales

    @classmethod
    def of(cls, objectives: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> _Objectives:
        names = [name for name in objectives if name in _UNITS]
        return cls(names, {name: _scale(name, rows) for name in names})

    @property
    def headings(self) -> list[str]:
        units = {name: scale.unit if scale else "" for name, scale in self.scales.items()}
        return [f"{units[name]} {_HEADINGS[name]}".strip() for name in self.names]

    def cells(self, row: Mapping[str, Any]) -> list[str]:
        cells = []
        for name in self.names:
            figure, scale = row[_UNITS[name][0]], self.scales[name]
            known = scale is not None and figure is not None and not pd.isna(figure)
            cells.append(scale.text(figure) if scale is not None and known else UNKNOWN)
        return cells


def _scale(name: str, rows: Sequence[Mapping[str, Any]]) -> Scale | None:
    """Return the unit for a figure of all rows; None where no row knows it."""
    column, unit = _UNITS[name]
    known = [row[column] for row in rows if row[column] is not None and not pd.isna(row[column])]
    return Scale.of(max(known), unit) if known else None


def _bases(about: Mapping[str, Any]) -> dict[str, str]:
    """Return where the latencies of each device are from, for the format of its best heads."""
    bases: dict[str, str] = {}
    for device, best in about["best"].items():
        there = [one for one in about["devices"] if one["device"] == device]
        same = [one for one in there if one.get("form") == best.get("form")]
        bases[device] = str((same or there)[0]["basis"])
    return bases


def _interval(best: Mapping[str, Any]) -> str:
    low, high = best["speedup_low"], best["speedup_high"]
    return UNKNOWN if low is None or high is None else f"{low:.2f} .. {high:.2f}"


def _notes(sweep: Sweep) -> Iterator[str]:
    about = sweep.about
    of_devices = {note for one in about["devices"] for note in one["notes"]}
    yield from (note for note in about["notes"] if note not in of_devices)
    yield from about.get("rate_notes", ())
    yield from _regime_notes(about)
    for device, best in about["best"].items():
        yield f"{device}: {'; '.join(_best_notes(best, optimal=about['optimal']))}"


def _regime_notes(about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the launch regime of the devices that have a host, and what limits their work."""
    told: dict[str, list[str]] = {}
    for one in about["devices"]:
        for line in regime_lines(one.get("regime"), one.get("limited_by") or {}):
            devices = told.setdefault(line, [])
            if one["device"] not in devices:
                devices.append(one["device"])
    yield from (f"{', '.join(devices)}: {line}" for line, devices in told.items())


def _best_notes(best: Mapping[str, Any], *, optimal: bool) -> Iterator[str]:
    """Yield notes on the best design on a device."""
    yield _other_prompts(best["prompts"])
    if refined := best["refined_from"]:
        proof = "proven the best of the space" if optimal else "the best found"
        yield (
            f"{refined} is {proof} ({times(best['unrefined_speedup'])}), its thresholds were then "
            "changed one at a time"
        )
    elif optimal:
        yield "proven the best of the space"
    if best.get("energy_over_vanilla") is not None:
        low, high = best["energy_over_low"], best["energy_over_high"]
        ends = "" if low is None or high is None else f" ({low:.2f} .. {high:.2f})"
        yield f"energy over vanilla's {times(best['energy_over_vanilla'])}{ends}"
    if forms := best.get("forms"):
        each = ", ".join(f"{form} {times(one['speedup'])}" for form, one in forms.items())
        yield f"the best with each form of heads: {each}"
    if ceiling := best["oracle"].get("same_heads"):
        yield f"an oracle on the same heads {times(ceiling['speedup'])}"
    if held := best["held_out"]:
        yield (
            f"chosen on half of the prompts {times(held['chosen'])}, the same on the other half "
            f"{times(held['elsewhere'])}"
        )


def _other_prompts(prompts: Mapping[str, Any]) -> str:
    """Return how far the speedup would differ with other prompts."""
    if prompts["count"] < 2:
        return ONE_PROMPT
    low, high = prompts["speedup_low"], prompts["speedup_high"]
    return f"other prompts like these would give {low:.2f} .. {times(high)}"
