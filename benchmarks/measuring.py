"""Runs made here and now, of designs that a profile was not recorded with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.cli.profile import DEFAULTS
from adadecode.engine.profiling.piece_store import Parts
from adadecode.engine.profiling.plan import make_plan
from adadecode.engine.profiling.recorder import Recorder
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.design import Design


def measured(
    profile: Profile,
    designs: Sequence[Design],
    folder: Path,
    repeats: int,
    prompts: int | None = None,
) -> Profile:
    """The demo profile with runs of vanilla and of these designs, made here and now, in place of those it was recorded with.

    prompts: how many of the profile's, from the first; all by default.
    """
    demo = load_demo()
    decoder = AdaDecoder(demo.model, demo.heads)
    plan = make_plan(
        decoder,
        demo.tokenizer,
        demo.examples,
        {**DEFAULTS, **profile.manifest["settings"], "repeats": repeats},
    )
    for digest in ("prompts_digest", "weights_digest", "heads_digest"):
        if plan.settings[digest] != profile.manifest["settings"][digest]:
            raise SystemExit(
                f"{profile.path} was recorded with other {digest[:-7]}: record it again with adadecode-profile --demo"
            )
    plan = replace(
        plan,
        designs=(Design.of("vanilla"), *designs),
        prompts=plan.prompts[:prompts],
        encoded=plan.encoded[:prompts],
    )
    parts = Parts.open(folder / "recording", plan.settings, resume=False)
    for _ in track(Recorder(decoder, plan, parts).run(("runs", "works")), "measuring"):
        pass
    kept = {name: getattr(profile, name) for name in ("latency", "prompts", "trace", "branches")}
    made = {name: parts.table(name) for name in ("runs", "rounds", "works")}
    return write_profile(folder / "profile", profile.manifest, kept | made)
