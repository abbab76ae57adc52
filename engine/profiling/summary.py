"""What a recording measured, a row for each design."""

from __future__ import annotations

import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Round
from adadecode.sim.measurements.runs import rounds_of
from adadecode.sim.measurements.speed import measured_speeds

COLUMNS = (
    "design",
    "policy",
    "tpot_s",
    "tokens_per_s",
    "tokens_per_round",
    "drafts",
    "rejected",
    "speedup",
)


def summarize(profile: Profile) -> pd.DataFrame:
    """Return what a recording measured, a row for each design.

    Returns:
        design, policy, tpot_s, tokens_per_s and speedup (over vanilla, in turn) as
        `adadecode.sim.measurements.speed` defines them; tokens_per_round, drafts, and rejected
        (share of the drafts).
    """
    rounds: dict[Design, list[Round]] = {}
    for (design, _), done in rounds_of(profile).items():
        rounds.setdefault(design, []).extend(done)
    rows = []
    for speed in measured_speeds(profile):
        own = rounds.get(speed.design, [])
        drafts, accepted = sum(len(r.exits) for r in own), sum(r.accepted for r in own)
        rows.append(
            {
                "design": speed.design.label,
                "policy": speed.design.policy,
                "tpot_s": speed.tpot_s,
                "tokens_per_s": 1 / speed.tpot_s,
                "tokens_per_round": sum(r.committed for r in own) / len(own) if own else 0.0,
                "drafts": drafts,
                "rejected": (drafts - accepted) / drafts if drafts else 0.0,
                "speedup": speed.speedup,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
