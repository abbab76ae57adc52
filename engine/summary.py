"""The table that ends a recording."""

from __future__ import annotations

import pandas as pd
from rich.table import Table

from profiles.store import Profile
from sim.design import Design, Policy
from sim.recorded import rounds_of, timed_runs
from sim.scheduler import Round


def summarize(profile: Profile) -> pd.DataFrame:
    """One row per design: design, tpot_s, tokens_per_s, speedup over vanilla, tokens_per_round, drafts, rejected (share of the drafts)."""
    seconds: dict[Design, list[tuple[float, int]]] = {}
    for (design, _), runs in timed_runs(profile).items():
        seconds.setdefault(design, []).append((float(runs["decode_s"].median()), int(runs["n_tokens"].iloc[0])))
    rounds: dict[Design, list[Round]] = {}
    for (design, _), done in rounds_of(profile).items():
        rounds.setdefault(design, []).extend(done)
    rows = []
    for design, cells in seconds.items():
        own = rounds.get(design, [])
        drafts, accepted = sum(len(r.exits) for r in own), sum(r.accepted for r in own)
        tpot = sum(s for s, _ in cells) / max(1, sum(n - 1 for _, n in cells))
        per_round = sum(r.committed for r in own) / len(own) if own else 0.0
        row = {"design": design.label, "policy": design.policy, "tpot_s": tpot, "tokens_per_s": 1 / tpot, "tokens_per_round": per_round}
        rows.append({**row, "drafts": drafts, "rejected": (drafts - accepted) / drafts if drafts else 0.0})
    table = pd.DataFrame(rows)
    table["speedup"] = table.loc[table["policy"] == Policy.VANILLA, "tpot_s"].iloc[0] / table["tpot_s"]
    return table


def summary_table(profile: Profile) -> Table:
    """What was measured, for a terminal."""
    table = Table(title=f"measured: {profile.manifest['model']['name']}, {profile.manifest['prompts']['count']} prompts")
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
