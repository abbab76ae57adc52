"""Whether a recording holds the runs that its manifest promises.

A recording from which runs are missing proves nothing of what it promises: those that are gone may
be the ones that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pandas as pd

from adadecode.profiles.columns import DESIGN
from adadecode.profiles.design_label import design_label
from adadecode.profiles.manifest import section
from adadecode.profiles.store import Profile

CHECKED = -1
"""The repeat of a baseline that was run to compare its text, and not to be timed."""

_TODO = "record again, or copy the whole recording"

_Runs = set[tuple[Any, ...]]


def missing_evidence(profile: Profile) -> list[str]:
    """Return what the manifest of a recording promises and its tables lack, a sentence each.

    Promised are all its prompts; every design that its settings name on each of them, timed as
    often as they say and once with every piece of work timed; the rounds of each design; and all
    baselines. A manifest that names no designs promises no runs; see `missing_promises`.

    Args:
        profile: The recording.
    """
    settings = section(profile.manifest, "settings")
    designs, repeats = settings.get("designs"), settings.get("repeats")
    if not isinstance(designs, list) or not isinstance(repeats, int):
        return []
    labels = list(map(str, designs))
    prompts = profile.prompts["prompt"].tolist()
    return [
        *_prompts(profile, settings.get("n_prompts")),
        *_runs(profile, labels, prompts, repeats),
        *_rounds(profile, labels),
        *_baselines(profile, prompts, repeats),
    ]


def missing_promises(profile: Profile) -> list[str]:
    """Return what a manifest does not promise, in a sentence: then nothing shows what is missing.

    The recorder writes it of every recording. Without it a profile can be used, but proves nothing.

    Args:
        profile: The recording.
    """
    settings = section(profile.manifest, "settings")
    kinds = {"designs": list, "repeats": int, "n_prompts": int}
    lacking = [key for key, kind in kinds.items() if not isinstance(settings.get(key), kind)]
    if not lacking:
        return []
    names = ", ".join(lacking)
    return [f"The settings in the manifest lack {names}: nothing shows what is missing: {_TODO}."]


def _prompts(profile: Profile, promised: object) -> Iterator[str]:
    count = len(profile.prompts)
    if isinstance(promised, int) and promised != count:
        yield f"The manifest promises {promised} prompts, the recording holds {count}: {_TODO}."


def _runs(
    profile: Profile, labels: Sequence[str], prompts: Sequence[int], repeats: int
) -> Iterator[str]:
    runs = _labelled(profile.runs)
    instrumented = runs["instrumented"].astype(bool)
    timed = _keys(runs[~instrumented], "label", "prompt", "repeat")
    wanted = list(product(labels, prompts, range(repeats)))
    yield from _lacking("timed runs", wanted, timed, "{0} on prompt {1}, repeat {2}")
    found = _keys(runs[instrumented], "label", "prompt")
    yield from _lacking(
        "runs with every piece of work timed",
        list(product(labels, prompts)),
        found,
        "{0} on prompt {1}",
    )


def _rounds(profile: Profile, labels: Sequence[str]) -> Iterator[str]:
    """Yield what is missing of the rounds: those of every run that went beyond its first token."""
    runs = _labelled(profile.runs)
    went_on = runs[(runs["n_tokens"] > 1) & ~runs["instrumented"].astype(bool)]
    wanted = [cell for cell in dict.fromkeys(_cells(went_on)) if cell[0] in labels]
    found = set(_cells(_labelled(profile.rounds)))
    yield from _lacking("runs with their rounds", wanted, found, "{0} on prompt {1}")


def _baselines(profile: Profile, prompts: Sequence[int], repeats: int) -> Iterator[str]:
    """Yield what is missing of baselines: a check of each, and the repeats of those that ran."""
    names = list(section(profile.manifest, "baselines"))
    rows = profile.baselines
    found = _keys(rows, "name", "prompt", "repeat")
    checks = list(product(names, prompts, [CHECKED]))
    yield from _lacking("baselines that were checked", checks, found, "{0} on prompt {1}")
    ran = rows[(rows["repeat"] == CHECKED) & (rows["error"] == "") & rows["name"].isin(names)]
    cells = ran[["name", "prompt"]].itertuples(index=False, name=None)
    wanted = [(*cell, repeat) for cell in cells for repeat in range(repeats)]
    yield from _lacking("runs of baselines", wanted, found, "{0} on prompt {1}, repeat {2}")


def _lacking(
    what: str, wanted: Sequence[tuple[Any, ...]], found: _Runs, name: str
) -> Iterator[str]:
    """Yield a sentence where some of what is wanted is not found."""
    lacking = [one for one in wanted if one not in found]
    if lacking:
        yield (
            f"Of {len(wanted):,} {what} that the manifest promises {len(lacking):,} are missing, "
            f"the first is {name.format(*lacking[0])}: {_TODO}."
        )


def _labelled(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the label of the design of each row."""
    known: dict[tuple[Any, ...], str] = {}
    labels = []
    for row in zip(*(table[name].tolist() for name in DESIGN), strict=True):
        if row not in known:
            policy, placement, gammas, cap, verify, gates = row
            known[row] = design_label(policy, placement, gammas, cap, verify=verify, gates=gates)
        labels.append(known[row])
    return table.assign(label=pd.Series(labels, index=table.index, dtype=object))


def _cells(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    yield from table[["label", "prompt"]].itertuples(index=False, name=None)


def _keys(table: pd.DataFrame, *columns: str) -> _Runs:
    return set(table[list(columns)].itertuples(index=False, name=None))
