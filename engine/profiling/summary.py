"""What a recording measured, a row for each design."""

from __future__ import annotations

import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Round
from adadecode.sim.measurements.runs import rounds_of, timed_runs


def summarize(profile: Profile) -> pd.DataFrame:
    """Return what a recording measured, a row for each design.

    Returns:
        design, policy, tpot_s (from the median run of each prompt), tokens_per_s, speedup (over
        vanilla), tokens_per_round, drafts, and rejected (share of the drafts).
    """
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
