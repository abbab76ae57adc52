"""Compare baselines and designs: how fast each was, and whether its text was that of generate."""

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
"""Name of the baseline whose text is the reference."""

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
    """Return how every baseline and design did on the prompts of each domain.

    Args:
        profile: The recording.
        texts: The prompts of each domain.

    Returns:
        One row per domain and name; empty where no baseline was recorded.

        * ``ours``: whether it is a design.
        * ``tpot_s``: median over repeats of the seconds per output after those of the first step.
        * ``over_vanilla``, ``over_generate``: median over repeats of the other's seconds per token
          divided by its own, with ``_low`` and ``_high``, the smallest and the largest.
        * ``over_generate_whole``: the same for whole runs, prefill included. All of these are NaN
          where not every prompt was run.
        * ``compile_s``: spent compiling, apart from all of these.
        * ``checked``: prompts whose text was compared with that of generate; ``exact``: how many
          were the same; ``until``: fewest tokens before the first difference, -1 without one.
        * ``error``: why it did not run; empty where it did.
    """
    if profile.baselines.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    runs, checks = _runs(profile), profile.baselines
    vanilla = next((name for name in runs["name"] if name == Policy.VANILLA), None)
    written = dict(zip(profile.prompts["prompt"], profile.prompts["n_output"], strict=True))
    names = {
        **dict.fromkeys(_baseline_names(checks), False),
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
    """Return in words whether a row of `standings` wrote the text of generate.

    Like ``16 of 16``, ``15 of 16, first after 41`` or ``not compared``.
    """
    if not row["checked"]:
        return "not compared"
    count = f"{row['exact']} of {row['checked']}"
    return count if row["until"] < 0 else f"{count}, first after {row['until']}"


def _runs(profile: Profile) -> pd.DataFrame:
    """Return the timed runs of designs and baselines in one table.

    Columns: name, ours, prompt, repeat, decode_s, after (outputs after those of the first step),
    whole_s, n_tokens.
    """
    columns = ["name", "ours", "prompt", "repeat", "decode_s", "after", "whole_s", "n_tokens"]
    parts = []
    for (design, _), runs in timed_runs(profile).items():
        parts.append(runs.assign(name=design.label, ours=True, after=runs["n_tokens"] - 1))
    baselines = profile.baselines[
        (profile.baselines["repeat"] >= 0) & (profile.baselines["error"] == "")
    ]
    after = baselines["n_tokens"] - baselines["n_first"]
    parts.append(baselines.assign(ours=False, after=after))
    return pd.concat(
        [part.assign(whole_s=part["prefill_s"] + part["decode_s"])[columns] for part in parts],
        ignore_index=True,
    )


def _baseline_names(checks: pd.DataFrame) -> list[str]:
    """Return the names of the baselines, failed ones too.

    Rows of designs are checks alone, so what was timed or has failed is a baseline.
    """
    timed = set(checks.loc[checks["repeat"] >= 0, "name"]) | set(
        checks.loc[checks["error"] != "", "name"]
    )
    return [name for name in dict.fromkeys(checks["name"]) if name in timed]


def _seconds(runs: pd.DataFrame, prompts: Sequence[int]) -> pd.DataFrame:
    """Return the seconds per output of every repeat that ran all prompts.

    ``token``: per output after the first step; ``whole``: per output, with everything.
    """
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
    """Return how the texts compare with those of generate, over checking and timed runs."""
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
