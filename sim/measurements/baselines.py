"""Baselines and designs side by side: how fast each was, in turn with the others, and whether its text was generate's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Policy
from adadecode.sim.measurements.repeats import ratios
from adadecode.sim.measurements.runs import timed_runs

GENERATE = "generate"
"""The baseline whose text is the reference."""

COLUMNS = (
    "domain",
    "name",
    "ours",
    "prompts",
    "repeats",
    "tpot_s",
    *(
        f"over_{of}{end}"
        for of in ("vanilla", "generate", "generate_whole")
        for end in ("", "_low", "_high")
    ),
    "compile_s",
    "checked",
    "exact",
    "until",
    "error",
)


def standings(profile: Profile, texts: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    """Every baseline and design on the prompts of each domain; empty where no baseline was recorded.

    A row per domain and name. ours: a design. tpot_s: median over repeats of seconds per output after those of the first step. over_vanilla,
    over_generate: median over repeats of the other's seconds per token / its own, in turn, with ``_low`` and ``_high``, the smallest and the
    largest; over_generate_whole: the same of whole runs, prefill included. All NaN where not every prompt was run. compile_s: spent compiling, apart from
    all of these. checked: prompts whose text was held against generate's; exact: how many were the same; until: fewest tokens before the
    first difference, -1 without one. error: why it did not run, empty where it did.
    """
    if profile.baselines.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    runs, checks = _runs(profile), profile.baselines
    vanilla = next((name for name in runs["name"] if name == Policy.VANILLA), None)
    written = dict(zip(profile.prompts["prompt"], profile.prompts["n_output"], strict=True))
    names = {
        **dict.fromkeys(_beside(checks), False),
        **dict.fromkeys(runs.loc[runs["ours"], "name"], True),
    }
    rows: list[dict[str, Any]] = []
    for domain, prompts in texts.items():
        wanted = [prompt for prompt in prompts if written[prompt] > 1]
        seconds = {name: _seconds(runs[runs["name"] == name], wanted) for name in names}
        for name, ours in names.items():
            own = seconds[name]
            row: dict[str, Any] = {
                "domain": domain,
                "name": name,
                "ours": ours,
                "prompts": len(wanted),
                "repeats": len(own),
            }
            row |= {"tpot_s": own["token"].median()}
            for column, other, of in (
                ("vanilla", vanilla, "token"),
                ("generate", GENERATE, "token"),
                ("generate_whole", GENERATE, "whole"),
            ):
                ratio = (
                    pd.Series(dtype=float) if other is None else ratios(seconds[other][of], own[of])
                )
                row |= {
                    f"over_{column}": ratio.median(),
                    f"over_{column}_low": ratio.min(),
                    f"over_{column}_high": ratio.max(),
                }
            rows.append(
                {**row, **_text(checks[(checks["name"] == name) & checks["prompt"].isin(prompts)])}
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def same_text(row: Mapping[Any, Any]) -> str:
    """Whether a row of `standings` wrote generate's text, in words: ``16 of 16``, ``15 of 16, first after 41``; ``not held against it``."""
    if not row["checked"]:
        return "not held against it"
    told = f"{row['exact']} of {row['checked']}"
    return told if row["until"] < 0 else f"{told}, first after {row['until']}"


def _runs(profile: Profile) -> pd.DataFrame:
    """Timed runs of both kinds: name, ours, prompt, repeat, decode_s, after (outputs after the first step's), whole_s, n_tokens."""
    columns = ["name", "ours", "prompt", "repeat", "decode_s", "after", "whole_s", "n_tokens"]
    parts = []
    for (design, _), runs in timed_runs(profile).items():
        parts.append(runs.assign(name=design.label, ours=True, after=runs["n_tokens"] - 1))
    beside = profile.baselines[
        (profile.baselines["repeat"] >= 0) & (profile.baselines["error"] == "")
    ]
    parts.append(beside.assign(ours=False, after=beside["n_tokens"] - beside["n_first"]))
    return pd.concat(
        [part.assign(whole_s=part["prefill_s"] + part["decode_s"])[columns] for part in parts],
        ignore_index=True,
    )


def _beside(checks: pd.DataFrame) -> list[str]:
    """The names of the baselines, failed ones too. Rows of designs are checks alone, so what was timed or has failed tells them apart."""
    timed = set(checks.loc[checks["repeat"] >= 0, "name"]) | set(
        checks.loc[checks["error"] != "", "name"]
    )
    return [name for name in dict.fromkeys(checks["name"]) if name in timed]


def _seconds(runs: pd.DataFrame, prompts: Sequence[int]) -> pd.DataFrame:
    """By repeat, of those that ran every prompt: seconds per output after the first step (token), and per output with everything (whole)."""
    part = runs[runs["prompt"].isin(prompts)]
    sums = part.groupby("repeat")[["decode_s", "after", "whole_s", "n_tokens"]].sum()
    sums = (
        sums[part.groupby("repeat")["prompt"].nunique() == len(prompts)]
        if prompts
        else sums.iloc[:0]
    )
    after = sums["after"].where(sums["after"] > 0, math.nan)
    return pd.DataFrame(
        {"token": sums["decode_s"] / after, "whole": sums["whole_s"] / sums["n_tokens"]}
    )


def _text(checks: pd.DataFrame) -> dict[str, Any]:
    """What holding the texts against generate's gave: over all runs, checking and timed ones."""
    ran, failed = checks[checks["error"] == ""], checks[checks["error"] != ""]
    exact = ran.groupby("prompt")["exact"].all()
    differing = ran[~ran["exact"].astype(bool)]
    return {
        "compile_s": float(ran["compile_s"].sum()),
        "checked": len(exact),
        "exact": int(exact.sum()),
        "until": int(differing["n_same"].min()) if len(differing) else -1,
        "error": "" if failed.empty else str(failed["error"].iloc[0]),
    }
