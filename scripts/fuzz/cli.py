"""The command line of the fuzzer."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from scripts.fuzz.campaign import Campaign, recipes_in
from scripts.fuzz.readers.every import READERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the fuzzer; return 1 where it found something."""
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as folder:
        campaign = Campaign(
            {name: READERS[name] for name in options.reader or READERS},
            Path(folder),
            seed=options.seed,
            save=options.save,
        )
        recipes = recipes_in(options.recipes) if options.recipes else None
        if recipes is not None and options.reader:
            recipes = [one for one in recipes if one.reader in options.reader]
        with contextlib.suppress(KeyboardInterrupt):
            campaign.run(recipes, seconds=60 * options.minutes, cases=options.cases)
    print(campaign.tally.table())
    if options.out is not None:
        campaign.tally.write(options.out, seed=options.seed, seconds=campaign.seconds)
    return 1 if campaign.tally.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="how long [30]")
    parser.add_argument("--cases", type=int, help="at most this many cases of each reader")
    parser.add_argument("--seed", type=int, default=0, help="of the recipes [0]")
    parser.add_argument("--reader", action="append", choices=[*READERS], help="[all]")
    parser.add_argument("--recipes", action="append", type=Path, help="run these and no others")
    parser.add_argument("--save", type=Path, help="write the recipes that were run")
    parser.add_argument("--out", type=Path, help="write the table as JSON")
    return parser


def _memory_disk() -> str | None:
    """Return a folder in memory, where there is one: a case writes and removes many small files."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
