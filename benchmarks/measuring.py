"""Measure designs, here and now, that a profile was not recorded with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from adadecode.engine import AdaDecoder, load_demo
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.plan import make_plan
from adadecode.engine.profiling.recorder import Recorder
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.profiles.manifest import has_gates
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.design import Design


def measure_designs(
    profile: Profile,
    designs: Sequence[Design],
    folder: Path,
    repeats: int,
    prompts: int | None = None,
) -> Profile:
    """Run vanilla and these designs, and return the demo profile with these runs.

    The runs that it was recorded with are left out.

    Args:
        profile: A recording of the demo model.
        designs: To run.
        folder: Where the new profile is written.
        repeats: Of each run.
        prompts: How many of the profile's prompts, from the first; all by default.

    Raises:
        SystemExit: If the profile was recorded with other prompts, weights or heads.
    """
    demo = load_demo()
    heads = demo.heads if has_gates(profile.manifest) else demo.heads.gated(demo.model, None)
    decoder = AdaDecoder(demo.model, heads)
    request = RecordingRequest.from_settings({**profile.manifest["settings"], "repeats": repeats})
    plan = make_plan(
        decoder,
        demo.tokenizer,
        demo.examples,
        request.options,
        source=request.source,
    )
    for digest in ("prompts_digest", "weights_digest", "heads_digest"):
        if plan.settings[digest] != profile.manifest["settings"][digest]:
            raise SystemExit(
                f"{profile.path} was recorded with other {digest[:-7]}: "
                "record it again with adadecode-profile --demo"
            )
    plan = replace(
        plan,
        designs=(Design.of("vanilla"), *designs),
        prompts=plan.prompts[:prompts],
        encoded=plan.encoded[:prompts],
    )
    pieces = PieceStore.open(folder / "recording", plan.settings, resume=False)
    for _ in track(Recorder(decoder, plan, pieces).run(("runs", "works")), "measuring"):
        pass
    recorded = {
        name: getattr(profile, name) for name in ("latency", "prompts", "trace", "branches")
    }
    measured = {name: pieces.table(name) for name in ("runs", "rounds", "works")}
    return write_profile(folder / "profile", profile.manifest, recorded | measured)
