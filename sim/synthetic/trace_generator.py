"""Synthetic traces: texts drawn from a model of the heads, as an ordinary profile without latencies and runs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.schema import TABLES
from adadecode.profiles.store import Profile, write_profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError

VOCABULARY = 32_000
"""Tokens are drawn from so many; nothing but their being equal or not is ever asked."""

FOLLOWED = 20_000
"""Outputs after which wrong drafts are followed, the first ones of the trace; after others one of these branches stands in (`adadecode.sim.replay.outcomes`)."""

_Array = NDArray[np.float64]


class SyntheticPrompt(NamedTuple):
    """One prompt of a synthetic trace: tokens of the prompt, and of the output, the prefill's included."""

    domain: str
    n_prompt: int
    n_output: int


def alike(
    count: int, *, n_prompt: int = 128, n_output: int = 512, domain: str = "synthetic"
) -> list[SyntheticPrompt]:
    """So many prompts of the same size; 512 outputs as in the paper."""
    return [SyntheticPrompt(domain, n_prompt, n_output)] * count


def draw(
    models: Mapping[str, HeadModel],
    prompts: Sequence[SyntheticPrompt],
    *,
    seed: int = 0,
    followed: int = FOLLOWED,
    cap: int = DEFAULT_CAP,
) -> dict[str, pd.DataFrame]:
    """The tables prompts, trace and branches of a profile, the same for the same seed. models: by domain, all with the same depths.

    followed: after the first so many outputs, every wrong draft is followed by cap - 1 others, all that designs with this cap can ask. The random
    numbers do not depend on what the models say, so that two models with as many heads are compared on the same draws. Raises SyntheticError.
    """
    _check(models, prompts, seed, followed, cap)
    parts: dict[str, list[pd.DataFrame]] = {"prompts": [], "trace": [], "branches": []}
    for place, (domain, model) in enumerate(models.items()):
        numbers = [k for k, prompt in enumerate(prompts) if prompt.domain == domain]
        if numbers:
            drawn = _draw(
                model,
                numbers,
                [prompts[k] for k in numbers],
                np.random.default_rng([seed, place]),
                followed,
                cap - 1,
            )
            followed = max(0, followed - sum(prompts[k].n_output - 1 for k in numbers))
            for name, frame in drawn.items():
                parts[name].append(frame)
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in parts.items()}
    tables["prompts"] = tables["prompts"].sort_values("prompt", ignore_index=True)
    return tables


def synthetic_trace(
    models: Mapping[str, HeadModel],
    prompts: Sequence[SyntheticPrompt],
    *,
    seed: int = 0,
    followed: int = FOLLOWED,
    cap: int = DEFAULT_CAP,
) -> Trace:
    """As `draw`, without a directory."""
    tables = draw(models, prompts, seed=seed, followed=followed, cap=cap)
    first = next(iter(models.values()))
    return Trace.from_frames(
        tables["prompts"],
        tables["trace"],
        tables["branches"],
        n_layers=first.n_layers,
        depths=first.depths,
        eos=(),
    )


def _check(
    models: Mapping[str, HeadModel],
    prompts: Sequence[SyntheticPrompt],
    seed: int,
    followed: int,
    cap: int,
) -> None:
    for what, number, least in (
        ("a seed", seed, 0),
        ("the number of outputs to follow wrong drafts after", followed, 0),
        ("a cap", cap, 1),
    ):
        if number < least:
            raise SyntheticError(f"{what} is a whole number, {least} or more, got {number}")
    if not models or len({(model.n_layers, model.depths) for model in models.values()}) > 1:
        raise SyntheticError(
            "wanted models of heads at the same depths, one or more: give each domain the same depths"
        )
    if not prompts or (strange := sorted({prompt.domain for prompt in prompts} - set(models))):
        raise SyntheticError(
            f"wanted prompts of the domains {', '.join(models)}, got {', '.join(strange) if prompts else 'none'}"
        )
    for prompt in prompts:
        if prompt.n_prompt < 1 or prompt.n_output < 2:
            raise SyntheticError(
                f"wanted a prompt of 1 token or more and 2 outputs or more, got {prompt.n_prompt} and {prompt.n_output}: heads speak from the second output on"
            )


def _draw(
    model: HeadModel,
    numbers: Sequence[int],
    prompts: Sequence[SyntheticPrompt],
    random: np.random.Generator,
    followed: int,
    steps: int,
) -> dict[str, pd.DataFrame]:
    """The tables of the prompts of one domain."""
    lengths = np.array([prompt.n_output for prompt in prompts])
    width, longest = len(model.depths) + 1, int(lengths.max())
    spoken = np.arange(1, longest) < lengths[:, None]  # [prompts, outputs from 1 on]
    tokens = random.integers(0, VOCABULARY, (len(prompts), longest), dtype=np.int32)
    scores = model.along(model.across(random.standard_normal((*spoken.shape, 2, width))))
    right, confidence = model.said(scores[..., 0, :], scores[..., 1, :])
    wrong = (
        (tokens + 1) % VOCABULARY
    )  # what every wrong head says: drafts that are wrong are dropped, whatever they were
    said = np.where(right, tokens[:, 1:, None], wrong[:, 1:, None])
    prompt, output = np.nonzero(spoken)
    number = np.array(numbers, dtype=np.int32)
    distance = np.abs(confidence - confidence[..., -1:])
    overlap = np.where(right, 1 - distance, 1 - np.maximum(confidence, confidence[..., -1:]))
    trace = {
        "prompt": np.repeat(number[prompt], width),
        "output": np.repeat((output + 1).astype(np.int32), width),
        "depth": np.tile(np.array((*model.depths, model.n_layers), dtype=np.int32), len(prompt)),
        "token": said[spoken].ravel(),
        "confidence": confidence[spoken].ravel(),
        "agrees": right[spoken].ravel(),
        "acceptance": overlap[spoken].ravel(),
    }
    about = [
        (
            k,
            one.domain,
            one.n_prompt,
            one.n_output,
            False,
            int(first),
            f"synthetic {k}",
            one.n_output,
        )
        for k, one, first in zip(numbers, prompts, tokens[:, 0], strict=True)
    ]
    kept = min(followed, len(prompt))
    noise = random.standard_normal((steps, kept, 2, width))
    drafts = random.integers(0, VOCABULARY, (kept, steps), dtype=np.int32)
    astray = np.flatnonzero(
        ~right[prompt[:kept], output[:kept]].all(axis=1)
    )  # of the outputs followed, those with a wrong draft
    places = prompt[astray], output[astray]
    branches = _branches(
        model,
        number[places[0]],
        places[1] + 1,
        wrong[:, 1:][places],
        scores[places],
        noise[:, astray],
        drafts[astray],
    )
    return {
        "prompts": pd.DataFrame(about, columns=TABLES["prompts"].names),
        "trace": pd.DataFrame(trace, columns=TABLES["trace"].names),
        "branches": branches,
    }


def _branches(
    model: HeadModel,
    prompt: NDArray[Any],
    output: NDArray[Any],
    wrong: NDArray[Any],
    scores: _Array,
    noise: _Array,
    drafts: NDArray[Any],
) -> pd.DataFrame:
    """What heads say after each wrong draft: the scores go on as along the text, and all heads say the same, so that one path is all there is.

    prompt, output, wrong: [places] where a head was wrong, and what it said. scores: [places, 2, heads + 1] there. noise: [steps, places, 2, heads + 1].
    drafts: [places, steps].
    """
    width = len(model.depths) + 1
    paths = np.concatenate([wrong[:, None], drafts], axis=1).tolist()
    parts = []
    for step, fresh in enumerate(noise, start=1):
        scores = model.along_text * scores + math.sqrt(1 - model.along_text**2) * model.across(
            fresh
        )
        _, confidence = model.said(scores[:, 0], scores[:, 1])
        so_far = np.empty(len(paths), dtype=object)
        so_far[:] = [tuple(path[:step]) for path in paths]
        columns = {
            "prompt": np.repeat(prompt, width),
            "output": np.repeat(output.astype(np.int32), width),
            "path": np.repeat(so_far, width),
            "depth": np.tile(np.array((*model.depths, model.n_layers), dtype=np.int32), len(paths)),
            "token": np.repeat(drafts[:, step - 1], width),
            "confidence": confidence.ravel(),
        }
        parts.append(pd.DataFrame(columns, columns=TABLES["branches"].names))
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else TABLES["branches"].empty_table().to_pandas()
    )


def write_synthetic(
    out: Path,
    models: Mapping[str, HeadModel],
    prompts: Sequence[SyntheticPrompt],
    *,
    seed: int = 0,
    followed: int = FOLLOWED,
    cap: int = DEFAULT_CAP,
    origin: Mapping[str, Any] | None = None,
) -> tuple[Profile, pd.DataFrame]:
    """Write a synthetic trace as a profile without latencies and runs, the same bytes for the same arguments; and what it shows, by `told`.

    origin: where the parameters are from, for the manifest. Raises SyntheticError, also where ``out`` is in use.
    """
    require_unused(out)
    drawn = draw(models, prompts, seed=seed, followed=followed, cap=cap)
    tables: dict[str, Any] = {
        name: drawn.get(name, schema.empty_table()) for name, schema in TABLES.items()
    }
    manifest = _manifest(
        models,
        prompts,
        {"seed": seed, "followed": followed, "cap": cap, "origin": dict(origin or {})},
    )
    return write_profile(out, manifest, tables), told(models, drawn)


def require_unused(out: Path) -> None:
    """Raises SyntheticError where something is there already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SyntheticError(
            f"{out} exists and is not an empty directory: name another one with --out"
        )


def told(models: Mapping[str, HeadModel], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What drawn tables show beside what was asked: a row for each domain, depth and figure.

    domain, depth, what (agreement, or mean confidence where right or where wrong), asked, got, margin (four standard errors of so much text,
    correlated as it is along the text), within (whether got lies within the margin of asked). Nothing is told of what never happened.
    """
    domains = tables["prompts"].set_index("prompt")["domain"]
    trace = tables["trace"].assign(domain=tables["trace"]["prompt"].map(domains))
    parts = dict(iter(trace.groupby(["domain", "depth"])))
    rows = []
    for domain, model in models.items():
        alone = (1 - model.along_text) / (
            1 + model.along_text
        )  # share of the outputs that tell something new
        for depth, share, right, wrong in zip(
            model.depths, model.agreement, model.right, model.wrong, strict=True
        ):
            part = parts.get((domain, depth), trace.iloc[:0])
            agrees, confidence = part["agrees"].to_numpy(), part["confidence"].to_numpy()
            figures = [("agreement", share, share * (1 - share), agrees)]
            for name, beta, which in (
                ("confidence, right", right, agrees),
                ("confidence, wrong", wrong, ~agrees),
            ):
                figures.append(
                    (
                        name,
                        beta.mean,
                        beta.mean * (1 - beta.mean) / (1 + beta.concentration),
                        confidence[which],
                    )
                )
            for what, asked, variance, values in figures:
                if len(values):
                    got, margin = (
                        float(values.mean()),
                        4 * math.sqrt(variance / (alone * len(values))),
                    )
                    rows.append(
                        (domain, depth, what, asked, got, margin, abs(got - asked) <= margin + 1e-6)
                    )
    return pd.DataFrame(
        rows, columns=["domain", "depth", "what", "asked", "got", "margin", "within"]
    )


def _manifest(
    models: Mapping[str, HeadModel], prompts: Sequence[SyntheticPrompt], drawn: Mapping[str, Any]
) -> dict[str, Any]:
    """drawn: how it was drawn, for the settings."""
    first = next(iter(models.values()))
    sizes = [list(prompt) for prompt in prompts]
    digest = hashlib.sha256(repr((sizes, drawn["seed"])).encode()).hexdigest()
    return {
        "name": "synthetic trace",
        "synthetic": True,
        "model": {
            "name": "synthetic",
            "n_layers": first.n_layers,
            "n_parameters": None,
            "config": {},
        },
        "heads": {"name": "synthetic", "depths": list(first.depths)},
        "hardware": {"device": "none"},
        "software": {"source": "adadecode-sim synthesize"},
        "dtype": "none",
        "seed": drawn["seed"],
        "prompts": {"sha256": digest, "count": len(prompts), "domains": sorted(models)},
        "settings": {
            "models": {domain: model.to_dict() for domain, model in models.items()},
            "prompts": sizes,
            **drawn,
        },
        "limitations": [
            "a synthetic trace: no model wrote this text, and every prediction from it is hypothetical; how its heads were drawn is in settings",
            "tokens mean nothing; heads that are wrong all say the same token, and off the text all heads do",
            f"wrong drafts are followed after the first {drawn['followed']} outputs, by {drawn['cap'] - 1} others",
            "after a wrong draft that is not followed one of these branches stands in, and counts as modelled",
            "acceptance, which only sampling asks for, is estimated from two confidences",
            "no text ends by itself",
        ],
        "eos_token_ids": [],
        "max_new_tokens": max(prompt.n_output for prompt in prompts),
    }
