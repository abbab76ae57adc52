"""The counts of a campaign, and its findings."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scripts.fuzz.outcome import End, Outcome
from scripts.fuzz.recipe import Recipe

_ENDS = tuple(End)


class Tally:
    """Counts the outcomes of each reader, and keeps one recipe of each distinct finding."""

    def __init__(self) -> None:
        self.ends: dict[str, Counter[End]] = {}
        self.reasons: Counter[str] = Counter()
        self.findings: dict[tuple[str, ...], dict[str, Any]] = {}

    def count(self, recipe: Recipe, outcome: Outcome, reason: str | None) -> bool:
        """Count an outcome.

        Args:
            recipe: What was run.
            outcome: What it came to.
            reason: Why its answer may be another one; None where that is a finding.

        Returns:
            Whether it is a finding that was not there yet.
        """
        self.ends.setdefault(recipe.reader, Counter())[outcome.end] += 1
        if outcome.end in {End.REFUSED, End.SAME}:
            return False
        if outcome.end == End.OTHER and reason is not None:
            self.reasons[reason] += 1
            return False
        where = outcome.where or _where(recipe)
        entry = self.findings.setdefault(
            (recipe.reader, str(outcome.end), where),
            {
                "end": outcome.end,
                "where": where,
                "detail": outcome.detail,
                "recipe": asdict(recipe),
                "times": 0,
            },
        )
        entry["times"] += 1
        return entry["times"] == 1

    def table(self) -> str:
        """Return the counts as a table, and the findings below it."""
        width = max([6, *map(len, self.ends)])
        lines = [f"{'reader':{width}} {'cases':>7} " + " ".join(f"{end:>14}" for end in _ENDS)]
        for name, ends in self.ends.items():
            counts = " ".join(f"{ends[end] or '-':>14}" for end in _ENDS)
            lines.append(f"{name:{width}} {ends.total():>7} {counts}")
        for reason, times in self.reasons.most_common():
            lines.append(f"another answer, {times} times: {reason}")
        for entry in self.findings.values():
            lines.append(f"{entry['end']}: {entry['where']} ({entry['times']} times)")
            lines.append(f"    {json.dumps(entry['recipe'])}")
            lines.append("    " + entry["detail"].strip().replace("\n", "\n    "))
        return "\n".join(lines)

    def write(self, path: Path, *, seed: int, seconds: float) -> None:
        """Write the counts and the findings as JSON, with the machine and the time."""
        from adadecode.engine.runtime.environment import describe_software
        from adadecode.profiles.host import describe_host

        document = {
            "seed": seed,
            "seconds": round(seconds),
            "readers": {
                name: {"cases": ends.total(), **{str(end): ends[end] for end in _ENDS}}
                for name, ends in self.ends.items()
            },
            "reasons": dict(self.reasons.most_common()),
            "findings": list(self.findings.values()),
            "machine": describe_host(),
            "software": describe_software(),
            "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        }
        path.write_text(json.dumps(document, indent=1) + "\n")


def _where(recipe: Recipe) -> str:
    """Return what was changed, in a few words."""
    names = (
        f"{one.file} {'.'.join(str(key) for key in one.at if not isinstance(key, int))} "
        f"{one.change}"
        for one in recipe.mutations
    )
    return f"{'sealed' if recipe.sealed else 'unsealed'}: {'; '.join(sorted(names))}"
