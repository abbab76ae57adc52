"""The tables that end a recording."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import pandas as pd
from rich.table import Table

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Round
from adadecode.sim.hardware.provenance import form_of, sampling_of, script_of
from adadecode.sim.measurements.baselines import same_text, standings
from adadecode.sim.measurements.runs import rounds_of, timed_runs


def summarize(profile: Profile) -> pd.DataFrame:
    """One row per design: design, tpot_s, tokens_per_s, speedup over vanilla, tokens_per_round, drafts, rejected (share of the drafts)."""
    seconds: dict[Design, list[tuple[float, int]]] = {}
    for (design, _), runs in timed_runs(profile).items():
        seconds.setdefault(design, []).append(
            (float(runs["decode_s"].median()), int(runs["n_tokens"].iloc[0]))
        )
    rounds: dict[Design, list[Round]] = {}
    for (design, _), done in rounds_of(profile).items():
        rounds.setdefault(design, []).extend(done)
    rows = []
    for design, cells in seconds.items():
        own = rounds.get(design, [])
        drafts, accepted = sum(len(r.exits) for r in own), sum(r.accepted for r in own)
        tpot = sum(s for s, _ in cells) / max(1, sum(n - 1 for _, n in cells))
        per_round = sum(r.committed for r in own) / len(own) if own else 0.0
        row = {
            "design": design.label,
            "policy": design.policy,
            "tpot_s": tpot,
            "tokens_per_s": 1 / tpot,
            "tokens_per_round": per_round,
        }
        rows.append(
            {**row, "drafts": drafts, "rejected": (drafts - accepted) / drafts if drafts else 0.0}
        )
    table = pd.DataFrame(rows)
    table["speedup"] = (
        table.loc[table["policy"] == Policy.VANILLA, "tpot_s"].iloc[0] / table["tpot_s"]
    )
    return table


def summary_table(profile: Profile) -> Table:
    """What was measured, for a terminal."""
    said = script_of(profile)
    whose = "" if said is None else f"\n{said}"
    name, count = profile.manifest["model"]["name"], profile.manifest["prompts"]["count"]
    table = Table(
        title=", ".join([f"measured: {name}", f"{count} prompts", *_ways(profile)]) + whose
    )
    for heading in ("design", "ms/tok", "tok/s", "speedup", "tok/round", "rejected"):
        table.add_column(heading, justify="left" if heading == "design" else "right", no_wrap=True)
    for row in summarize(profile).to_dict("records"):
        table.add_row(
            row["design"],
            f"{row['tpot_s'] * 1e3:.2f}",
            f"{row['tokens_per_s']:.1f}",
            f"{row['speedup']:.2f}x",
            f"{row['tokens_per_round']:.2f}",
            f"{row['rejected']:.1%}" if row["drafts"] else "-",
        )
    return table


def _ways(profile: Profile) -> list[str]:
    """What is not plain about a recording: how texts were sampled, numerics, graphs, the heads' form."""
    numerics, graphs, form = (
        profile.manifest.get("numerics", "native"),
        profile.manifest["graphs"],
        form_of(profile),
    )
    return [
        *([said] if (said := sampling_of(profile)) else []),
        *([f"{numerics} numerics"] if numerics != "native" else []),
        *([f"graphs {graphs}"] if graphs != "eager" else []),
        *([] if form.is_full else [f"heads {form.label}"]),
    ]


def baseline_tables(profile: Profile) -> list[Table]:
    """Baselines beside the designs, for a terminal; none where none were recorded."""
    found = standings(profile, {"": tuple(profile.prompts["prompt"])})
    if found.empty:
        return []
    failed = [
        f"{row['name']} did not run: {row['error']}"
        for row in found.to_dict("records")
        if row["error"]
    ]
    table = Table(
        title="in turn with the designs: median (lowest .. highest) of the repeats",
        caption="\n".join(failed) or None,
    )
    table.caption_justify = "left"
    table.add_column("", overflow="fold")
    for heading in ("ms/tok", "/ vanilla", "/ generate", "same text"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.sort_values("over_vanilla", ascending=False, kind="stable").to_dict("records"):
        if not math.isnan(row["tpot_s"]):
            ratios = (_spread(row, over) for over in ("vanilla", "generate"))
            table.add_row(
                row["name"],
                f"{row['tpot_s'] * 1e3:.2f}",
                *ratios,
                same_text(row) if row["checked"] else "-",
            )
    return [table]


def _spread(row: dict[Hashable, Any], over: str) -> str:
    middle, low, high = (row[f"over_{over}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(middle):
        return "-"
    return f"{middle:.2f} ({low:.2f}..{high:.2f})" if low < high else f"{middle:.2f}"
