"""What the options of the engine's commands say by their own text alone: read, and refused where they make no sense, before a model is loaded."""

from __future__ import annotations

from typing import Any

from adadecode.engine.baselines.factory import named_baselines
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.loading.model_loader import find_dtype
from adadecode.engine.runtime.environment import torch_device
from adadecode.profiles.errors import DesignError, InputError
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.head_form import FULL, HeadForm
from adadecode.sim.core.parsing import rising_integers


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
            rising_integers(f"--{name}", chosen[name])
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
        [rising_integers("--placements", part) for part in str(chosen["placements"]).split(";")]
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


def check_baselines(chosen: dict[str, Any]) -> None:
    """Raises InputError for baselines that no model could have."""
    given = chosen["draft_model"] is not None
    if chosen["baselines"] is None:
        if given:
            raise InputError(
                "--draft-model is for the baseline draft: add --baselines all, or --baselines draft"
            )
        return
    if chosen["temperature"]:
        raise InputError("baselines decode greedily: record them with --temperature 0")
    named_baselines(str(chosen["baselines"]), drafts=given, scripted=chosen["scripted"] is not None)


OWN = "own"
"""As --head-dtype: the model's own format, whatever the heads were saved with."""


def check_form(chosen: dict[str, Any]) -> None:
    """Raises InputError or HeadsError for a form that no heads can have."""
    if chosen["shortlist_from"] is not None and not chosen["shortlist"]:
        raise InputError(
            "--shortlist-from names what a shortlist is counted in: say how many tokens it holds with --shortlist"
        )
    wanted_form(FULL, chosen)


def wanted_form(own: HeadForm, chosen: dict[str, Any]) -> HeadForm:
    """The form that the options name for heads of the form ``own``. Raises HeadsError."""
    size, dtype = chosen["shortlist"], chosen["head_dtype"]
    return HeadForm(
        shortlist=own.shortlist if size is None else size or None,
        dtype=own.dtype if dtype is None else None if dtype == OWN else dtype,
    )


def check_scripted(chosen: dict[str, Any]) -> None:
    """Raises InputError where options of scripted recordings meet others that they do not go with."""
    named_once(demo=bool(chosen["demo"]), model=chosen["model"], shape=chosen["shape"])
    if chosen["scripted"] is None:
        for name in ("shape", "layers", "mapping"):
            if chosen[name] is not None:
                raise InputError(
                    f"--{name.replace('mapping', 'map')} is for decisions that another recording made: name its profile with --scripted; "
                    "random weights alone have nothing to say"
                )
        return
    if not (chosen["shape"] or chosen["demo"]):
        raise InputError(
            "--scripted says what happens, not what computes it: name a shape with --shape, or the bundled model with --demo"
        )
    for name in ("heads", "prompts"):
        if chosen[name] is not None:
            raise InputError(
                f"with --scripted, {name} are those of the recording: leave --{name} out"
            )
    for name in ("temperature", "top_k", "top_p", "sample_seed"):
        if chosen[name]:
            raise InputError(f"a script is followed greedily: leave --{name.replace('_', '-')} out")
    if chosen["layers"] is not None and not chosen["shape"]:
        raise InputError("--layers cuts a --shape; the demo model is run whole")
