"""The measured runs of a profile as tidy tables: speeds, and the fates of tokens."""

from __future__ import annotations

from typing import Any

import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.measurements.runs import rounds_of
from adadecode.sim.measurements.speed import TimedRuns

ALL = ""
"""The domain that stands for the whole text."""

WHOLE = "all text"
"""How `ALL` is written for people."""


def domain_prompts(trace: Trace) -> dict[str, tuple[int, ...]]:
    """Return the prompts of each domain, after those of the whole text under `ALL`.

    A text of a single domain has no other entry.
    """
    found: dict[str, tuple[int, ...]] = {ALL: trace.prompts}
    for prompt in trace.prompts:
        found[trace.domain(prompt)] = (*found.get(trace.domain(prompt), ()), prompt)
    return {name: prompts for name, prompts in found.items() if name == ALL or len(found) > 2}


def speedups(profile: Profile, texts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """Return the measured speed of each design on the prompts of each domain.

    A domain has a row for each design that was run on every one of its prompts.

    Returns:
        Columns: design, policy, placement, gammas, gates, cap, verify, domain, prompts, repeats,
        tpot_s (median over repeats), speedup (median over repeats of vanilla's seconds per token
        divided by the design's, of the same repeat), low and high (its smallest and largest
        repeat).
        Speedups are NaN if vanilla was not run.
    """
    runs = TimedRuns.of(profile)
    rows = [
        {
            **design_columns(one.design),
            "domain": domain,
            "prompts": one.prompts,
            "repeats": one.repeats,
            "tpot_s": one.tpot_s,
            "speedup": one.speedup,
            "low": one.speedup_low,
            "high": one.speedup_high,
        }
        for domain, prompts in texts.items()
        for one in runs.speeds(prompts)
    ]
    names = ["design", "policy", "placement", "gammas", "gates", "cap", "verify"]
    return pd.DataFrame(
        rows, columns=[*names, "domain", "prompts", "repeats", "tpot_s", "speedup", "low", "high"]
    )


def fastest(designs: pd.DataFrame) -> dict[str, Any]:
    """Return the row with the highest speedup, by column."""
    row = designs.iloc[int(designs["speedup"].argmax())]
    return {str(name): value for name, value in row.items()}


def design_columns(design: Design) -> dict[str, Any]:
    """Return a design as the columns of a table."""
    return {
        "design": design.label,
        "policy": str(design.policy),
        "placement": design.placement,
        "gammas": design.gammas,
        "gates": design.gates,
        "cap": design.cap,
        "verify": design.verify,
    }


def fates(profile: Profile, texts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """Return what became of the tokens of the measured runs.

    Returns:
        One row for each design, domain and depth (L for the last layer). Columns: design, domain,
        depth, accepted and rejected (drafts), last (tokens from the last layer).
    """
    rows = []
    for (design, prompt), rounds in rounds_of(profile).items():
        tally = {depth: [0, 0, 0] for depth in (*design.placement, profile.n_layers)}
        for done in rounds:
            for number, depth in enumerate(done.exits):
                tally[depth][number >= done.accepted] += 1
            tally[profile.n_layers][2] += done.committed - done.accepted
        for depth, (accepted, rejected, last) in tally.items():
            rows.append((design.label, prompt, depth, accepted, rejected, last))
    names = ["accepted", "rejected", "last"]
    counts = pd.DataFrame(rows, columns=["design", "prompt", "depth", *names])
    parts = [
        counts[counts["prompt"].isin(prompts)].assign(domain=domain)
        for domain, prompts in texts.items()
    ]
    return (
        pd.concat(parts)
        .groupby(["design", "domain", "depth"], sort=False)[names]
        .sum()
        .reset_index()
    )
