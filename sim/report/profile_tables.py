"""What a profile itself says, as tidy tables: speeds, fates of tokens, trust in heads, seconds of each piece of work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Check, Run
from adadecode.sim.measurements.repeats import ratios
from adadecode.sim.measurements.runs import rounds_of, timed_runs
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.simulation import ReplayedRun

ALL = ""
"""The domain that stands for the whole text."""

BINS = np.linspace(0.0, 1.0, 11)
"""Edges of the bins of confidence: tenths, as reliability diagrams have them."""

TIME_SHARES = ("layers_useful", "layers_discarded", "heads", "verify", "host")
"""Where time goes, in the order it is drawn."""


def domains(trace: Trace) -> dict[str, tuple[int, ...]]:
    """The prompts of each domain, those of all text first, under ALL."""
    found: dict[str, tuple[int, ...]] = {ALL: trace.prompts}
    for prompt in trace.prompts:
        found[trace.domain(prompt)] = (*found.get(trace.domain(prompt), ()), prompt)
    return {name: prompts for name, prompts in found.items() if name == ALL or len(found) > 2}


def speedups(profile: Profile, texts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """Measured speed of each design on the prompts of each domain, as far as every one of these was run.

    Columns: design, policy, placement, gammas, cap, verify, domain, prompts, repeats, tpot_s (median over repeats), speedup (median over repeats of
    vanilla's seconds per token / the design's, in turn), low, high (its smallest and largest). Speedups are NaN where vanilla was not run.
    """
    seconds: dict[Design, dict[int, pd.Series[float]]] = {}
    for (design, prompt), runs in timed_runs(profile).items():
        mean = runs.groupby("repeat")[["decode_s", "n_tokens"]].mean()
        if (mean["n_tokens"] > 1).all():
            seconds.setdefault(design, {})[prompt] = mean["decode_s"] / (mean["n_tokens"] - 1)
    rows = []
    tokens = {row["prompt"]: row["n_output"] - 1 for row in profile.prompts.to_dict("records")}
    vanilla = next(
        (by_prompt for design, by_prompt in seconds.items() if design.policy is Policy.VANILLA), {}
    )
    for domain, prompts in texts.items():
        wanted = [prompt for prompt in prompts if tokens[prompt] > 0]
        base = _weighted(vanilla, wanted, tokens)
        for design, by_prompt in seconds.items():
            took = _weighted(by_prompt, wanted, tokens)
            if took is None:
                continue
            ratio = ratios(base, took) if base is not None else pd.Series(dtype=np.float64)
            row = {
                "domain": domain,
                "prompts": len(wanted),
                "repeats": len(took),
                "tpot_s": took.median(),
            }
            rows.append(
                {
                    **design_columns(design),
                    **row,
                    "speedup": ratio.median(),
                    "low": ratio.min(),
                    "high": ratio.max(),
                }
            )
    names = ["design", "policy", "placement", "gammas", "cap", "verify"]
    return pd.DataFrame(
        rows, columns=[*names, "domain", "prompts", "repeats", "tpot_s", "speedup", "low", "high"]
    )


def fastest(designs: pd.DataFrame) -> dict[str, Any]:
    """The row with the highest speedup, by column."""
    return {
        str(name): value for name, value in designs.iloc[int(designs["speedup"].argmax())].items()
    }


def design_columns(design: Design) -> dict[str, Any]:
    """A design as the columns of a table."""
    return {
        "design": design.label,
        "policy": str(design.policy),
        "placement": design.placement,
        "gammas": design.gammas,
        "cap": design.cap,
        "verify": design.verify,
    }


def fates(profile: Profile, texts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """What became of the tokens of the measured runs.

    One row per design, domain and depth: design, domain, depth (L for the last layer), accepted, rejected (drafts), last (tokens from the last layer).
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


def calibration(trace: Trace, texts: dict[str, tuple[int, ...]]) -> pd.DataFrame:
    """How often a head is right when it is so sure.

    One row per domain, depth of a head, and tenth of confidence with any output in it: domain, depth, outputs, confidence (mean), agree (share that
    the last layer says too), low, high (its 95 % Wilson interval).
    """
    from scipy.stats import binomtest  # takes longer to import than all the rest

    rows = []
    for domain, prompts in texts.items():
        confidence = np.concatenate([trace.confidences(prompt)[1:] for prompt in prompts])
        tokens = np.concatenate([trace.tokens(prompt)[1:] for prompt in prompts])
        for column, depth in enumerate(trace.depths):
            sure, right = confidence[:, column], tokens[:, column] == tokens[:, -1]
            place = np.clip(np.digitize(sure, BINS) - 1, 0, len(BINS) - 2)
            for tenth in np.unique(place).tolist():
                inside = place == tenth
                interval = binomtest(int(right[inside].sum()), int(inside.sum())).proportion_ci(
                    method="wilson"
                )
                row = {
                    "domain": domain,
                    "depth": depth,
                    "outputs": int(inside.sum()),
                    "confidence": float(sure[inside].mean()),
                }
                rows.append(
                    {
                        **row,
                        "agree": float(right[inside].mean()),
                        "low": float(interval.low),
                        "high": float(interval.high),
                    }
                )
    return pd.DataFrame(
        rows, columns=["domain", "depth", "outputs", "confidence", "agree", "low", "high"]
    )


def agreement(trace: Trace) -> pd.DataFrame:
    """`Trace.agreement`, of the heads alone, and over all text under the domain ALL."""
    by_domain = trace.agreement()
    heads = by_domain[by_domain["depth"] < trace.n_layers]
    if heads["domain"].nunique() < 2:
        return heads.assign(domain=ALL)
    shares = heads[["agree", "confidence"]].mul(heads["outputs"], axis=0)
    sums = (
        pd.concat([heads[["depth", "outputs"]], shares], axis=1).groupby("depth", sort=True).sum()
    )
    whole = (
        sums[["agree", "confidence"]]
        .div(sums["outputs"], axis=0)
        .join(sums["outputs"])
        .reset_index()
        .assign(domain=ALL)
    )
    return pd.concat([whole[heads.columns], heads], ignore_index=True)


def layer_seconds(points: pd.DataFrame) -> pd.DataFrame:
    """Seconds of one decoder layer by batch and context, after a walk of the whole stack, from `LatencyTable.points`.

    Columns: context, n_tokens, seconds (mean over the layers measured), low, high (the fastest and the slowest layer).
    """
    layers = points[points["kind"] == "layer"]
    cold = layers[layers["reuse"] == layers.groupby("layer")["reuse"].transform("max")]
    spread = cold.groupby(["context", "n_tokens"])["seconds"].agg(
        seconds="mean", low="min", high="max"
    )
    return spread.reset_index()


def piece_seconds(points: pd.DataFrame) -> pd.DataFrame:
    """Seconds of each kind of work on one token at the shortest context, after a walk of the whole stack: kind, seconds, low, high (over layers or heads)."""
    one = points[(points["n_tokens"] == 1) & (points["kind"] != "prefill")]
    cold = one[one["reuse"] == one.groupby(["kind", "layer"])["reuse"].transform("max")]
    near = cold[cold["context"] == cold.groupby("kind")["context"].transform("min")]
    spread = near.groupby("kind")["seconds"].agg(seconds="mean", low="min", high="max")
    return spread.reindex(
        [kind for kind in ("layer", "head", "verify", "embed", "host") if kind in spread.index]
    ).reset_index()


def time_split(runs: Iterable[ReplayedRun], latency: Latencies) -> dict[str, float]:
    """Seconds per output token after the first, by PARTS; the runs need their events.

    A batch's time is shared evenly by its tokens; that of drafts discarded later is ``layers_discarded``. Embedding counts with the layers.
    """
    split, tokens, host = dict.fromkeys(TIME_SHARES, 0.0), 0, latency.host()
    for run in runs:
        tokens += run.n_tokens - 1
        rounds = iter(run.rounds)
        done = next(rounds, None)
        for event in run.events:
            seconds = event.seconds - host
            split["host"] += host
            if isinstance(event.work, Check):
                split["heads"] += seconds
            elif isinstance(event.work, Run) and done is not None:
                kept = _kept(event.work, done.start + done.accepted)
                split["layers_useful"] += seconds * kept
                split["layers_discarded"] += seconds * (1 - kept)
            else:
                split["verify"] += seconds
                done = next(rounds, None)
    return {part: seconds / tokens for part, seconds in split.items()} if tokens else split


def whole_table(profile: Profile) -> LatencyTable:
    """The profile's latencies as a table of points."""
    return LatencyTable.from_samples(profile.latency, profile.n_layers)


def _kept(work: Run, last: int) -> float:
    """The share of a batch's positions up to ``last``, the last whose token was right."""
    return min(max(last + 1 - work.start, 0), work.stop - work.start) / (work.stop - work.start)


def _weighted(
    by_prompt: dict[int, pd.Series[float]], prompts: Sequence[int], tokens: dict[int, int]
) -> pd.Series[float] | None:
    """Seconds per token over these prompts by repeat, in the repeats that all have; None where one was not run."""
    if not prompts or not all(prompt in by_prompt for prompt in prompts):
        return None
    total = sum(
        (by_prompt[prompt] * tokens[prompt] for prompt in prompts),
        start=pd.Series(0.0, index=by_prompt[prompts[0]].index),
    )
    weight = sum(tokens[prompt] for prompt in prompts)
    return (total / weight).dropna() if weight else None
