"""``adadecode-sim share``: a copy of a profile without its text, to give away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.interruption import left_in, on_interrupt
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.inspection import KeepDomains, NoTry
from adadecode.sim.cli.options.output import Json, NewProfile
from adadecode.sim.cli.options.scenario import ProfileDirectory
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.cli.progress import showing_progress
from adadecode.sim.cli.say import say
from adadecode.sim.sharing.share import share as share_profile
from adadecode.sim.sharing.trials import Trial, try_copy


@takes_option_sets
def share(
    path: ProfileDirectory,
    *,
    out: NewProfile,
    keep_domains: KeepDomains = False,
    no_try: NoTry = False,
    as_json: Json = False,
) -> None:
    """Write a copy of a profile without its text, to give away.

    Tokens become stand-ins, digests of prompts are left out, and so are paths, names and what the
    machine says of its system. Says what still works with the copy, by trying it; that takes
    longer than the copy, which is complete before.
    """
    profile = read_profile(path)
    with on_interrupt(left_in(out)):
        copy = share_profile(profile, out, keep_domains=keep_domains)
        trials = [] if no_try else _trials(profile, copy, out)
        if as_json:
            print_json(
                {
                    "path": str(copy.path),
                    "digest": copy.manifest["digest"],
                    "trials": [trial._asdict() for trial in trials],
                }
            )
            return
        if trials:
            _print(trials)
        say(
            f"{out}: read its manifest.json before you give it away; what is in it stands in the "
            "docs"
        )


def _trials(profile: Profile, copy: Profile, out: Path) -> list[Trial]:
    """Try the copy, which is complete, whatever becomes of the trials."""
    done = f"the copy in {out} is complete; what works with it was not tried to the end"
    with on_interrupt(done), showing_progress("trials") as progress:
        return try_copy(profile, copy, progress)


def _print(trials: Sequence[Trial]) -> None:
    """Print what came of each trial."""
    from adadecode.sim.cli.tables.layout import console, table, titled

    body = table("tried", "with the copy", texts=("with the copy",))
    for trial in trials:
        body.add_row(trial.what, trial.outcome)
    console().print(titled("what still works", body))
