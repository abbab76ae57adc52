"""The table that ends a recording."""

from __future__ import annotations

import pandas as pd
from rich.table import Table

from profiles.store import Profile
from sim.design import Design

KEY = ["policy", "placement", "gammas", "cap", "verify"]


def design_of(key: tuple[str, tuple[int, ...], tuple[float, ...], int, bool]) -> Design:
    """The design that a row of the runs or rounds table names."""
    policy, placement, gammas, cap, verify = key
    return Design.of(policy, gamma=gammas, placement=placement, cap=cap, verify=verify) if placement else Design.of(policy)


def summarize(profile: Profile) -> pd.DataFrame:
    """One row per design: tpot_s, tokens_per_s, speedup over vanilla, tokens_per_round, drafts, rejected (share of the drafts)."""
    runs = profile.runs[~profile.runs["instrumented"]]
    medians = runs.groupby([*KEY, "prompt"], sort=False)[["decode_s", "n_tokens"]].median().reset_index()
    rounds = profile.rounds.assign(drafts=profile.rounds["exits"].map(len))
    rows = []
    for key, group in medians.groupby(KEY, sort=False):
        own = rounds[(rounds[KEY].apply(tuple, axis=1) == key)]
        drafts = int(own["drafts"].sum())
        rows.append(
            {
                "design": design_of(key).label,
                "tpot_s": group["decode_s"].sum() / (group["n_tokens"] - 1).sum(),
                "tokens_per_round": own["committed"].mean(),
                "drafts": drafts,
                "rejected": float((own["drafts"] - own["accepted"]).sum()) / drafts if drafts else 0.0,
            }
        )
    table = pd.DataFrame(rows)
    table["tokens_per_s"] = 1.0 / table["tpot_s"]
    table["speedup"] = table.loc[table["design"] == "vanilla", "tpot_s"].iloc[0] / table["tpot_s"]
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
