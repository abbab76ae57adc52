"""A complete small profile of random numbers: no model, no clock, the same for the same seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from adadecode.profiles import TABLES, Profile, write_profile
from adadecode.profiles.columns import COLUMNS
from adadecode.profiles.schema import ALL_TABLES

EOS = 0
VOCABULARY = 50
DOMAINS = ("arithmetic", "code")


def synthetic_profile(
    path: str | Path,
    *,
    n_layers: int = 8,
    depths: Sequence[int] = (2, 4, 6),
    prompts: int = 3,
    outputs: int = 24,
    max_tokens: int = 8,
    contexts: Sequence[int] = (),
    repeats: int = 3,
    noise: float = 0.05,
    branches: bool = True,
    gates: bool = False,
    seed: int = 0,
    runs: pd.DataFrame | None = None,
    rounds: pd.DataFrame | None = None,
    works: pd.DataFrame | None = None,
    draws: pd.DataFrame | None = None,
    sampling: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> Profile:
    """Write a valid profile to ``path``, and read it back.

    Args:
        path: Folder of the profile.
        n_layers: Of the model.
        depths: Of the heads, the last layer excluded.
        prompts: How many, of 8 to 15 tokens, their domains in turn. The first ends by itself 4
            outputs early, the others fill their budget.
        outputs: The budget.
        max_tokens: Largest batch measured.
        contexts: Those measured, by default enough for every prompt.
        repeats: Samples of each latency point.
        noise: Their relative spread; with 0 each sample is `layer_seconds` and its like.
        branches: Whether to record the outputs of every head after each single wrong draft, and
            after one more draft by the shallowest head.
        gates: Whether the heads have gates, which score high where their head is sure and right,
            and sometimes elsewhere.
        seed: Of the random numbers.
        runs: Table of measured runs; empty by default, as the next three.
        rounds: Table of their rounds.
        works: Table of their pieces of work.
        draws: What the runs drew, where texts were sampled.
        sampling: How the texts were sampled; greedily by default.
        manifest: Further keys of the manifest.
    """
    random = np.random.default_rng(seed)
    texts = [_text(random, prompt, outputs, (*depths, n_layers)) for prompt in range(prompts)]
    trace = pd.concat([text for _, text in texts], ignore_index=True)
    frames = {
        "latency": _latency(
            random,
            n_layers,
            depths,
            max_tokens,
            contexts or (max_tokens, 24, 16 + outputs),
            repeats,
            noise,
        ),
        "prompts": pd.DataFrame([prompt for prompt, _ in texts], columns=required("prompts")),
        "trace": trace,
        "branches": _branches(random, trace, (*depths, n_layers)) if branches else None,
        "runs": runs,
        "rounds": rounds,
        "works": works,
    }
    about = _manifest(n_layers, depths, prompts, outputs, seed)
    if gates:
        about["heads"]["gates"] = True
        add_gates(frames, n_layers, seed)
    if sampling is not None:
        frames["draws"], about["sampling"] = draws, dict(sampling)
    tables = {
        name: ALL_TABLES[name].empty_table() if table is None else table
        for name, table in frames.items()
    }
    return write_profile(path, {**about, **(manifest or {})}, tables)


def _manifest(
    n_layers: int, depths: Sequence[int], prompts: int, outputs: int, seed: int
) -> dict[str, Any]:
    """Return the manifest of `synthetic_profile`, by its arguments."""
    return {
        "name": "synthetic",
        "created": "2025-01-01T00:00:00+00:00",
        "model": {
            "name": "synthetic",
            "n_layers": n_layers,
            "n_parameters": 1_000_000,
            "config": {"vocab_size": VOCABULARY},
        },
        "heads": {"depths": list(depths), "fingerprint": hashlib.sha256(b"synthetic").hexdigest()},
        "hardware": {"device": "none", "host": {}},
        "software": {},
        "dtype": "float32",
        "seed": seed,
        "prompts": {
            "sha256": hashlib.sha256(b"prompts").hexdigest(),
            "count": prompts,
            "domains": sorted(DOMAINS[:prompts]),
        },
        "settings": {},
        "limitations": ["random numbers"],
        "eos_token_ids": [EOS],
        "max_new_tokens": outputs,
    }


def required(table: str) -> list[str]:
    """Return the columns that a table must have."""
    return [column.name for column in COLUMNS[table].columns if not column.optional]


GATE_SECONDS = 2e-5
"""What every gate takes, without noise."""


def add_gates(frames: dict[str, Any], n_layers: int, seed: int) -> None:
    """Add scores and latencies of gates to the tables of a profile."""
    random = np.random.default_rng([seed, 1])
    for name in ("trace", "branches"):
        frame = frames[name]
        if frame is None or frame.empty:
            continue
        good = (frame["confidence"] > 0.5).to_numpy() & frame.get("agrees", True)
        score = np.clip(0.25 + 0.4 * good + random.normal(0, 0.2, len(frame)), 0.0, 1.0)
        frames[name] = frame.assign(gate=np.where(frame["depth"] < n_layers, score, np.nan))
    heads = frames["latency"].query("kind == 'head'").drop_duplicates(["layer", "repeat"])
    timed = heads.assign(kind="gate", reuse=0, seconds=GATE_SECONDS)
    frames["latency"] = pd.concat([frames["latency"], timed], ignore_index=True)


def full_profile(path: str | Path) -> Profile:
    """Write a small profile with two rows in each of runs, rounds and works; read it back."""
    bare = synthetic_profile(path)
    design = {
        "policy": "adadecode",
        "placement": (2, 4),
        "gammas": (0.75, 0.5),
        "cap": 5,
        "verify": True,
        "prompt": 0,
    }
    run = {"repeat": 0, "n_tokens": 5, "prefill_s": 0.1, "decode_s": 0.5, "energy_j": math.nan}
    done = {
        "exits": (2,),
        "accepted": 1,
        "committed": 2,
        "segments": (0, 0, 1),
        "batches": (1, 1, 2),
        "checks": (2, 2),
    }
    start = int(bare.prompts["n_prompt"].iloc[0])
    runs, rounds, works = (
        pd.DataFrame([{**design, **row, **own} for own in (first, second)])
        for row, first, second in (
            (run, {"instrumented": False}, {"instrumented": True}),
            (done, {"round": 0, "start": start}, {"round": 1, "start": start + 2}),
            ({"repeat": 0, "kind": "run", "seconds": 0.01}, {"index": 0}, {"index": 1}),
        )
    )
    return synthetic_profile(path, runs=runs, rounds=rounds, works=works)


def tables_of(profile: Profile) -> dict[str, pd.DataFrame]:
    """Return copies of all tables, by name."""
    return {name: getattr(profile, name).copy() for name in TABLES}


def layer_seconds(layer: int, n_tokens: int, context: int, reuse: int, n_layers: int) -> float:
    """Return the seconds of one layer without noise.

    They grow with the tokens, the context, the depth, and the walk since the layer was last run.
    """
    return (
        4e-4 * (1 + 0.02 * layer)
        + 2e-5 * n_tokens
        + 1e-7 * context
        + 1e-4 * min(reuse, n_layers) / n_layers
    )


def head_seconds(reuse: int, n_layers: int) -> float:
    """Return the seconds of one head check without noise."""
    return 1.5e-4 + 5e-5 * min(reuse, n_layers) / n_layers


def _latency(
    random: np.random.Generator,
    n_layers: int,
    depths: Sequence[int],
    max_tokens: int,
    contexts: Sequence[int],
    repeats: int,
    noise: float,
) -> pd.DataFrame:
    points: list[tuple[str, int, int, int, int, float]] = []
    for walk in (*depths, n_layers):  # walks of the lowest layers, round and round
        for n_tokens in range(1, max_tokens + 1):
            for context in sorted({max(context, n_tokens) for context in contexts}):
                points += [
                    (
                        "layer",
                        i,
                        n_tokens,
                        context,
                        walk,
                        layer_seconds(i, n_tokens, context, walk, n_layers),
                    )
                    for i in range(walk)
                ]
        points += [
            ("head", depth, 1, 0, walk, head_seconds(walk, n_layers))
            for depth in depths
            if depth <= walk
        ]
    for n_tokens in range(1, max_tokens + 1):
        points += [
            ("embed", -1, n_tokens, 0, 0, 5e-6 * n_tokens),
            ("verify", -1, n_tokens, 0, 0, 2e-4 + 1e-5 * n_tokens),
        ]
    points += [("prefill", -1, n_tokens, 0, 0, 2e-3 + 3e-4 * n_tokens) for n_tokens in (4, 16, 64)]
    points.append(("host", -1, 1, 0, 0, 1e-5))
    rows = [
        (*p[:5], repeat, p[5] * (1 + noise * random.random()))
        for repeat in range(repeats)
        for p in points
    ]
    return pd.DataFrame(rows, columns=TABLES["latency"].names)


def _text(
    random: np.random.Generator, prompt: int, outputs: int, depths: Sequence[int]
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return a prompt, and the outputs of every depth along its text.

    The deeper a head, the surer it is and the more often right.
    """
    ended = prompt == 0 and outputs > 5
    n_output = outputs - 4 if ended else outputs
    committed = random.integers(1, VOCABULARY, n_output)
    if ended:
        committed[-1] = EOS
    domain = DOMAINS[prompt % len(DOMAINS)]
    row = {
        "prompt": prompt,
        "domain": domain,
        "n_prompt": int(random.integers(8, 16)),
        "n_output": n_output,
        "ended": ended,
        "max_new_tokens": outputs,
        "first_token": int(committed[0]),
        "sha256": hashlib.sha256(f"{prompt}".encode()).hexdigest(),
    }
    rows = []
    for output in range(1, n_output):
        final = int(committed[output])
        for depth in depths:
            sure = float(random.beta(1 + 4 * depth / depths[-1], 1.0))
            right = depth == depths[-1] or random.random() < sure
            token = final if right else _wrong(random, final)
            rows.append((prompt, output, depth, token, sure, token == final, min(1.0, sure + 0.1)))
    return row, pd.DataFrame(rows, columns=required("trace"))


def _branches(
    random: np.random.Generator, trace: pd.DataFrame, depths: Sequence[int]
) -> pd.DataFrame:
    """Return the outputs of every depth after wrong drafts.

    These are each distinct wrong draft, and one more draft by the shallowest head after it.
    """
    rows: list[tuple[Any, ...]] = []
    wrong = trace.loc[~trace["agrees"], ["prompt", "output", "token"]].drop_duplicates()
    for prompt, output, token in wrong.itertuples(index=False, name=None):
        path: tuple[int, ...] = (token,)
        for _ in range(2):
            outputs = [
                (
                    prompt,
                    output,
                    path,
                    d,
                    int(random.integers(1, VOCABULARY)),
                    float(random.random()),
                )
                for d in depths
            ]
            rows += outputs
            path = (*path, outputs[0][4])
    return pd.DataFrame(rows, columns=required("branches"))


def _wrong(random: np.random.Generator, right: int) -> int:
    """Return some token other than the right one, and not the end."""
    token = int(random.integers(1, VOCABULARY - 1))
    return token + (token >= right > 0)
