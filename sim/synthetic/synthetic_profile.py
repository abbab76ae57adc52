"""Write a synthetic trace as an ordinary profile without latencies and runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.profiles.profile_folder import new_profile
from adadecode.profiles.schema import TABLES
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.design import DEFAULT_CAP
from adadecode.sim.synthetic.head_model import HeadModel
from adadecode.sim.synthetic.trace_check import compare_with_models
from adadecode.sim.synthetic.trace_generator import FOLLOWED, SyntheticPrompt, draw


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
    """Write a synthetic trace as a profile without latencies and runs.

    The same arguments give the same bytes.

    Args:
        out: An empty or new directory.
        models: See `draw`, as for the others.
        prompts: See `draw`.
        seed: See `draw`.
        followed: See `draw`.
        cap: See `draw`.
        origin: Where the parameters are from, for the manifest.

    Returns:
        The profile, and what it shows, by `compare_with_models`.

    Raises:
        SyntheticError: If the arguments make no sense.
        InputError: If ``out`` is in use, or cannot be written into.
    """
    with new_profile(out):
        drawn = draw(models, prompts, seed=seed, followed=followed, cap=cap)
        tables: dict[str, Any] = {
            name: drawn.get(name, schema.empty_table()) for name, schema in TABLES.items()
        }
        manifest = _manifest(
            models,
            prompts,
            {"seed": seed, "followed": followed, "cap": cap, "origin": dict(origin or {})},
        )
        profile = write_profile(out, manifest, tables)
    return profile, compare_with_models(models, drawn)


def _manifest(
    models: Mapping[str, HeadModel], prompts: Sequence[SyntheticPrompt], drawn: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest of a synthetic profile.

    Args:
        models: The heads by domain.
        prompts: What was drawn.
        drawn: How it was drawn, for the settings.
    """
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
        "heads": {
            "name": "synthetic",
            "depths": list(first.depths),
            **({"gates": True} if first.gates else {}),
        },
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
            (
                "a synthetic trace: no model wrote this text, and every prediction from it is "
                "hypothetical; how its heads were drawn is in settings"
            ),
            (
                "tokens mean nothing; heads that are wrong all say the same token, and off the "
                "text all heads do"
            ),
            (
                f"wrong drafts are followed after the first {drawn['followed']} outputs, by "
                f"{drawn['cap'] - 1} others"
            ),
            (
                "after a wrong draft that is not followed one of these branches stands in, and "
                "counts as modelled"
            ),
            "acceptance, which only sampling asks for, is estimated from two confidences",
            "no text ends by itself",
        ],
        "eos_token_ids": [],
        "max_new_tokens": max(prompt.n_output for prompt in prompts),
    }
