"""Synthetic traces: texts drawn from a model of the heads.

They are written as an ordinary profile without latencies and runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.schema import REQUIRED_COLUMNS
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.synthetic.gate_model import good_exits
from adadecode.sim.synthetic.gate_model import scores as gate_scores
from adadecode.sim.synthetic.head_model import HeadModel, SyntheticError

VOCABULARY = 32_000
"""Tokens to draw from; nothing depends on them but whether two are equal."""

FOLLOWED = 20_000
"""Outputs after which wrong drafts are followed: the first ones of the trace.

After others, one of these branches stands in (`adadecode.sim.replay.outcomes`).
"""

_Array = NDArray[np.float64]


class SyntheticPrompt(NamedTuple):
    """One prompt of a synthetic trace.

    Attributes:
        domain: Name of its domain.
        n_prompt: Tokens of the prompt.
        n_output: Tokens of the output, the prefill's included.
    """

    domain: str
    n_prompt: int
    n_output: int


def alike(
    count: int, *, n_prompt: int = 128, n_output: int = 512, domain: str = "synthetic"
) -> list[SyntheticPrompt]:
    """Return prompts of the same size; by default 512 outputs, as in the paper."""
    return [SyntheticPrompt(domain, n_prompt, n_output)] * count


def draw(
    models: Mapping[str, HeadModel],
    prompts: Sequence[SyntheticPrompt],
    *,
    seed: int = 0,
    followed: int = FOLLOWED,
    cap: int = DEFAULT_CAP,
) -> dict[str, pd.DataFrame]:
    """Draw the tables prompts, trace and branches of a profile; the same for the same seed.

    The random numbers do not depend on the models, so that two models with as many heads
    are compared on the same draws.

    Args:
        models: The heads by domain, all at the same depths.
        prompts: What to draw.
        seed: Of the draws.
        followed: Outputs at the beginning of each text after which every wrong draft is followed by
            ``cap`` - 1 others, all that designs with this cap can reach.
        cap: The largest cap of the designs.

    Raises:
        SyntheticError: If the arguments make no sense.
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
            if model.gates:
                _add_gates(drawn, model, np.random.default_rng([seed, place, 1]))
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
    """Draw a trace without writing it; the arguments are those of `draw`."""
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
    if len({bool(model.gates) for model in models.values()}) > 1:
        raise SyntheticError("wanted gates in all domains or none: give each a quality")
    if not models or len({(model.n_layers, model.depths) for model in models.values()}) > 1:
        raise SyntheticError(
            "wanted models of heads at the same depths, one or more: give each domain the same "
            "depths"
        )
    if not prompts or (strange := sorted({prompt.domain for prompt in prompts} - set(models))):
        found = ", ".join(strange) if prompts else "none"
        raise SyntheticError(f"wanted prompts of the domains {', '.join(models)}, got {found}")
    for prompt in prompts:
        if prompt.n_prompt < 1 or prompt.n_output < 2:
            raise SyntheticError(
                f"wanted a prompt of 1 token or more and 2 outputs or more, got {prompt.n_prompt} "
                f"and {prompt.n_output}: heads speak from the second output on"
            )


def _draw(
    model: HeadModel,
    numbers: Sequence[int],
    prompts: Sequence[SyntheticPrompt],
    random: np.random.Generator,
    followed: int,
    steps: int,
) -> dict[str, pd.DataFrame]:
    """Draw the tables of the prompts of one domain."""
    lengths = np.array([prompt.n_output for prompt in prompts])
    width, longest = len(model.depths) + 1, int(lengths.max())
    spoken = np.arange(1, longest) < lengths[:, None]  # [prompts, outputs from 1 on]
    tokens = random.integers(0, VOCABULARY, (len(prompts), longest), dtype=np.int32)
    scores = model.along(model.across(random.standard_normal((*spoken.shape, 2, width))))
    right, confidence = model.outputs(scores[..., 0, :], scores[..., 1, :])
    # Every wrong head drafts the same token: drafts that are wrong are dropped, whatever they were.
    wrong = (tokens + 1) % VOCABULARY
    answers = np.where(right, tokens[:, 1:, None], wrong[:, 1:, None])
    prompt, output = np.nonzero(spoken)
    number = np.array(numbers, dtype=np.int32)
    distance = np.abs(confidence - confidence[..., -1:])
    overlap = np.where(right, 1 - distance, 1 - np.maximum(confidence, confidence[..., -1:]))
    trace = {
        "prompt": np.repeat(number[prompt], width),
        "output": np.repeat((output + 1).astype(np.int32), width),
        "depth": np.tile(np.array((*model.depths, model.n_layers), dtype=np.int32), len(prompt)),
        "token": answers[spoken].ravel(),
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
        "prompts": pd.DataFrame(about, columns=list(REQUIRED_COLUMNS["prompts"])),
        "trace": pd.DataFrame(trace),
        "branches": branches,
    }


def _add_gates(
    tables: dict[str, pd.DataFrame], model: HeadModel, random: np.random.Generator
) -> None:
    """Add the scores of gates to the trace and the branches of one domain.

    Off the text no output is right or wrong, and a gate there sees how sure the head is.
    """
    width = len(model.depths) + 1
    share = np.full(width, np.nan)
    for name in ("trace", "branches"):
        frame = tables[name]
        confidence = frame["confidence"].to_numpy().reshape(-1, width)
        right = np.ones_like(confidence, dtype=np.bool_)
        if name == "trace":
            right = frame["agrees"].to_numpy().reshape(-1, width)
        good = good_exits(right, confidence)
        if name == "trace":
            share = good.mean(axis=0)
        score = np.full(confidence.shape, np.nan)
        score[:, :-1] = gate_scores(
            good[:, :-1],
            share[:-1],
            np.array(model.gates),
            random.standard_normal(score[:, :-1].shape),
        )
        tables[name] = frame.assign(gate=score.ravel())


def _branches(
    model: HeadModel,
    prompt: NDArray[Any],
    output: NDArray[Any],
    wrong: NDArray[Any],
    scores: _Array,
    noise: _Array,
    drafts: NDArray[Any],
) -> pd.DataFrame:
    """Draw the outputs of heads after each wrong draft.

    The scores go on as along the text, and all heads draft the same, so that there is one path.

    Args:
        model: The heads.
        prompt: Where a head was wrong, shape ``(places,)``.
        output: The output there, likewise.
        wrong: The token that the head drafted there, likewise.
        scores: The scores there, shape ``(places, 2, heads + 1)``.
        noise: Independent scores, shape ``(steps, places, 2, heads + 1)``.
        drafts: The tokens that follow, shape ``(places, steps)``.
    """
    width = len(model.depths) + 1
    paths = np.concatenate([wrong[:, None], drafts], axis=1).tolist()
    parts = []
    for step, fresh in enumerate(noise, start=1):
        scores = model.along_text * scores + math.sqrt(1 - model.along_text**2) * model.across(
            fresh
        )
        _, confidence = model.outputs(scores[:, 0], scores[:, 1])
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
        parts.append(pd.DataFrame(columns))
    return (
        pd.concat(parts, ignore_index=True)
        if parts
        else pd.DataFrame(columns=list(REQUIRED_COLUMNS["branches"]))
    )
