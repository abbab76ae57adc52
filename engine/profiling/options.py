"""What the options of the engine's commands say by their own text alone: read, and refused where they make no sense, before a model is loaded."""

from __future__ import annotations

from typing import Any

from adadecode.engine.baselines.factory import check_baselines
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.loading.model_loader import find_dtype
from adadecode.engine.profiling.form_options import check_form
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.errors import DesignError, InputError
from adadecode.sim.core.design import Design, Policy


def check_plain(chosen: dict[str, Any]) -> None:
    """Raises InputError, DesignError, SamplingError or HeadsError for what no model and no prompt could make sensible."""
    for name in ("max_new_tokens", "repeats", "samples", "max_tokens", "limit"):
        if chosen[name] is not None and int(chosen[name]) < 1:
            raise InputError(f"wanted --{name.replace('_', '-')} of at least 1, got {chosen[name]}")
    if not 0.0 < float(chosen["branch_floor"]) <= 1.0:
        raise InputError(
            f"wanted --branch-floor as a probability in (0, 1], got {chosen['branch_floor']}"
        )
    for name in ("contexts", "walks"):
        if chosen[name]:
            integers(chosen[name], f"--{name}")
    find_dtype(chosen["dtype"], torch_device(chosen["device"]))
    check_designs(chosen)
    cap, most = int(chosen["cap"]), chosen["max_tokens"]
    if most is not None and int(most) < cap + 1:
        raise InputError(
            f"a cap of {cap} drafts makes batches of up to {cap + 1} tokens, got --max-tokens {most}"
        )
    sampling_of(chosen)
    check_form(chosen)
    check_baselines(chosen)


def check_designs(chosen: dict[str, Any]) -> None:
    """Raises InputError or DesignError where --gammas, --placements, --cap or --fixed-drafts make no design of any model."""
    cap, fixed = int(chosen["cap"]), int(chosen["fixed_drafts"])
    for gamma in gammas_of(chosen):
        Design.of(Policy.ADADECODE, gamma=gamma, placement=(1,), cap=cap)
    if fixed:
        Design.of(Policy.FIXED, placement=(1,), cap=min(cap, fixed))
    placements_of(chosen)


def gammas_of(chosen: dict[str, Any]) -> list[float]:
    """The thresholds of --gammas. Raises DesignError."""
    try:
        return [float(gamma) for gamma in str(chosen["gammas"]).split(",")]
    except ValueError:
        raise DesignError(
            f"wanted --gammas as numbers in [0, 1], like 0.5,0.75, got {chosen['gammas']!r}"
        ) from None


def placements_of(chosen: dict[str, Any]) -> list[tuple[int, ...]]:
    """The placements of --placements, none where it is left out. Raises InputError."""
    return (
        [integers(part, "--placements") for part in str(chosen["placements"]).split(";")]
        if chosen["placements"]
        else []
    )


def sampling_of(chosen: dict[str, Any]) -> Sampling | None:
    """How texts are sampled, None where they are greedy; the seed is 0 where none is given, so that a resumption draws the same. Raises SamplingError."""
    temperature, seed = chosen["temperature"] or 0.0, chosen["sample_seed"]
    return Sampling.of(
        temperature=temperature,
        top_k=chosen["top_k"],
        top_p=chosen["top_p"],
        seed=0 if temperature and seed is None else seed,
    )


def named_once(*, demo: bool, model: str | None, shape: str | None = None) -> None:
    """Raises InputError where more than one of --demo, --model and --shape is given."""
    named = [
        *(["--demo"] if demo else []),
        *([f"--model {model}"] if model else []),
        *([f"--shape {shape}"] if shape else []),
    ]
    if len(named) > 1:
        raise InputError(
            f"{' and '.join(named)} each say what computes: not both, leave one of them out"
        )


def integers(text: str, option: str) -> tuple[int, ...]:
    """A comma list of positive integers, rising. Raises InputError."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(
            f"wanted {option} as whole numbers with commas, like 4,8, got {text!r}"
        ) from None
    if min(numbers) < 1:
        raise InputError(f"wanted {option} as numbers from 1 on, got {text!r}")
    return tuple(sorted(numbers))
