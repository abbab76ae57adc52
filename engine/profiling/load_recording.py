"""Serve a load with the model of a profile, and keep it beside what the profile holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import encode
from adadecode.engine.profiling.head_forms import form_heads
from adadecode.engine.profiling.planned_load import PlannedLoad
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.profiling.setup import LoadedModel, Notice, load_named, silent
from adadecode.engine.runtime import fingerprints
from adadecode.engine.runtime.environment import describe_machine, describe_software
from adadecode.engine.runtime.timing_lock import timing_alone
from adadecode.engine.serving.real_load import serve_load
from adadecode.engine.serving.timed_pieces import timed_steps
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.profile_folder import new_profile
from adadecode.profiles.schema import ALL_TABLES, LOAD_TABLES
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.measurements.speed import measured_speeds
from adadecode.sim.serving.batching.recorded_load import EngineSettings, LoadRun, load_tables
from adadecode.sim.serving.load_validation.serving_table import serving_of_pieces

Progress = Callable[[str, int, int], None]
"""Called with what is being served, how many requests have ended, and how many there are."""

FROM_PYTHON = "given in Python"

ALONE = 4
"""Texts that are timed one after the other."""

TURNS = 2
"""Texts of a burst for each that runs at once."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """The model of a profile, loaded again.

    Attributes:
        loaded: The model and what belongs to it.
        heads: Its heads in the profile's form.
        prompts: Token ids of each prompt of the profile.
        profile: The profile.
    """

    loaded: LoadedModel
    heads: ExitHeads
    prompts: Sequence[Sequence[int]]
    profile: Profile

    @property
    def eos(self) -> frozenset[int]:
        """The tokens that end a text, as they did in the recording."""
        return frozenset(self.profile.manifest["eos_token_ids"])


def check_servable(profile: Profile) -> RecordingRequest:
    """Return what a profile was recorded with.

    Raises:
        ProfileError: Its model cannot be loaded again by that, or its texts are not the model's
            own greedy ones.
    """
    manifest = profile.manifest
    why = None
    if manifest.get("scripted"):
        why = "follows the decisions of another one"
    elif profile.sampled:
        why = "holds sampled texts"
    elif manifest.get("shared"):
        why = "is a shared copy without its text"
    elif manifest.get("weights_digest", manifest["settings"].get("weights_digest")) is None:
        why = "was not recorded with a model of this program"
    elif manifest["settings"].get("heads") == FROM_PYTHON:
        why = "was recorded from Python, and does not name its heads"
    if why is not None:
        raise ProfileError(
            f"wanted a recording whose model can serve its prompts again, got {profile.path}, "
            f"which {why}: record one with `adadecode-profile --model` or `--demo`"
        )
    return RecordingRequest.from_settings(manifest["settings"])


def load_again(profile: Profile, notice: Notice = silent) -> ServedModel:
    """Load the model, heads and prompts that a profile was recorded with.

    Raises:
        ProfileError: They are not there any more, or others.
    """
    request = check_servable(profile)
    loaded = load_named(request, notice)
    heads = form_heads(
        loaded.heads,
        loaded.model,
        loaded.tokenizer,
        loaded.prompts,
        options=request.options,
        shortlist_from=request.source.shortlist_from,
        field=request.source.prompt_field,
        notice=notice,
    )
    if not profile.has_gates:  # gates may have come to the heads since
        heads = heads.gated(loaded.model, None)
    prompts = [encode(loaded.tokenizer, one)[0].tolist() for one in loaded.prompts]
    settings = profile.manifest["settings"]
    same = {
        "weights": (settings["weights_digest"], fingerprints.of_weights(loaded.model)),
        "heads": (settings.get("heads_digest"), heads.digest()),
        "prompts": (profile.prompts["n_prompt"].tolist(), list(map(len, prompts))),
    }
    if changed := [name for name, (before, now) in same.items() if before not in (None, now)]:
        raise ProfileError(
            f"the {' and the '.join(changed)} of {profile.path} were others than those that are "
            "loaded now: record it again"
        )
    return ServedModel(loaded=loaded, heads=heads, prompts=prompts, profile=profile)


def fastest_design(profile: Profile) -> Design:
    """Return the AdaDecode design that the profile measured to be the fastest.

    Raises:
        ProfileError: It measured none.
    """
    found = [one for one in measured_speeds(profile) if one.design.policy is Policy.ADADECODE]
    if not found:
        raise ProfileError(
            f"{profile.path} measured no design of the policy adadecode: name its heads with "
            "--heads and its threshold with --gamma"
        )
    return min(found, key=lambda one: one.tpot_s).design


def record_load(
    served: ServedModel,
    load: PlannedLoad,
    settings: Sequence[EngineSettings],
    *,
    out: Path,
    repeats: int,
    progress: Progress | None = None,
    notice: Notice = silent,
) -> Profile:
    """Serve a load in real time, several times, and write a profile that holds it too.

    Args:
        served: The model.
        load: The requests.
        settings: How the engine is set; each serves the load in turn.
        out: The directory of the new profile: missing or empty.
        repeats: How often each serves it.
        progress: Called as requests end.
        notice: Called with sentences for the user.

    Raises:
        InputError: A request could never fit, or the directory holds something.
    """
    with new_profile(out), timing_alone(notice):
        runs: list[LoadRun] = []
        timed: list[dict[str, Any]] = []
        for repeat, (number, one) in itertools.product(range(repeats), enumerate(settings)):
            called = f"{one.design.label}, {repeat + 1}"
            runs.append(_served(served, load, one, called, progress))
            timed += ({"run": number, **row} for row in _timed(served, load, one, repeat, progress))
        pieces = pd.DataFrame(timed, columns=ALL_TABLES["load_pieces"].names)
        return _write(served, load, runs, pieces, out)


def _served(
    served: ServedModel,
    load: PlannedLoad,
    settings: EngineSettings,
    called: str,
    progress: Progress | None,
) -> LoadRun:
    return serve_load(
        served.loaded.model,
        served.heads,
        settings,
        served.prompts,
        load.requests,
        n_layers=served.profile.n_layers,
        eos=served.eos,
        progress=None if progress is None else lambda done, count: progress(called, done, count),
    )


def _timed(
    served: ServedModel,
    load: PlannedLoad,
    settings: EngineSettings,
    repeat: int,
    progress: Progress | None,
) -> Iterator[dict[str, Any]]:
    """Yield the pieces of steps of bursts of more and more texts, as long as those of the load.

    The bursts are drawn from the prompts of the load, and no arrival of it is used. Every text is
    of another length than the one before, so that others begin while the rest goes on. It is done
    after every run of the load, as the machine is not always as fast (decision 0006).
    """
    most = settings.max_num_seqs
    texts = (
        (served.prompts[one.prompt], max(1, one.max_new_tokens * (8 - number % 4) // 8))
        for number, one in enumerate(itertools.cycle(reversed(load.requests)), repeat)
    )
    counts = sorted({min(2**power, most) for power in range(most.bit_length() + 1)})
    for done, count in enumerate(counts, 1):
        sizes = [1] * (1 + ALONE) if count == 1 else [count, TURNS * count]
        bursts = [list(itertools.islice(texts, size)) for size in sizes]
        yield from timed_steps(
            served.loaded.model,
            served.heads,
            replace(settings, max_num_seqs=count),
            bursts,
            served.eos,
        )
        if progress is not None:
            progress(f"{settings.design.label}, {repeat + 1}, in pieces", done, len(counts))


def _write(
    served: ServedModel,
    load: PlannedLoad,
    runs: Sequence[LoadRun],
    pieces: pd.DataFrame,
    out: Path,
) -> Profile:
    """Write the profile with the runs of the load in place of those that it may hold."""
    profile = served.profile
    about: dict[str, Any] = {
        "source": load.source,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": describe_machine(served.loaded.model.device),
        "software": describe_software(),
        "runs": [run.settings.parts() for run in runs],
    }
    kept = ("schema", "schema_version", "tables", "digest")
    manifest = {key: value for key, value in profile.manifest.items() if key not in kept}
    held = (name for name in ALL_TABLES if name in profile.manifest["tables"])
    tables = {name: getattr(profile, name) for name in held if name not in LOAD_TABLES}
    bounds = {
        number: run.settings.design.boundaries(profile.n_layers) for number, run in enumerate(runs)
    }
    tables["serving"] = serving_of_pieces(pieces, bounds)
    return write_profile(
        out,
        {**manifest, "name": out.name, "load": about},
        {**tables, **load_tables(runs), "load_pieces": pieces},
    )
