"""How far the branch model errs: recorded branches are withheld, and drawn ones take their place.

Every measured cell that was seen to reject is replayed twice: as recorded, and as if no branch of
its prompt had been recorded. What stands in then comes from other prompts' branches only (leave one
prompt out), as it would for a branch without a recording. The text, and so where a round fails, is
the same; how many drafts follow a wrong one, and how many heads are checked, may differ.

A recording keeps the likely branches: what is measured on them is carried over to the unlikely ones
that a prediction has to model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import HeadOutput, Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.measurements.runs import Cell
from adadecode.sim.replay.branch_model import BranchModel, Row
from adadecode.sim.replay.pricer import Latencies
from adadecode.sim.replay.simulation import ReplayedRun, replay

MOST_CELLS = 256
"""More cells than these are sampled, so that a prediction stays fast on any profile."""

ERRORS = ("seconds_error", "speedup_error", "discarded_error", "checks_error")
COLUMNS = ("design", "policy", "prompt", "share", *ERRORS)


class Withheld(BranchModel):
    """A branch model that uses no recorded branch of a prompt, but draws from other prompts'."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(trace)
        self._others: dict[tuple[int, int], list[tuple[int, Row]]] = {}

    def recorded(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> HeadOutput | None:
        """Return None, as if nothing was recorded. Raises DesignError for an untrained depth."""
        super().recorded(prompt, output, path, depth)
        return None

    def recorded_gate(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> float | None:
        """Return None, as if nothing was recorded."""
        super().recorded_gate(prompt, output, path, depth)
        return None

    def branch(self, prompt: int, output: int, path: tuple[int, ...]) -> Row:
        """Return a row of another prompt's branch, chosen as by any `BranchModel`."""
        return self._draw(self.others(prompt, len(path)), prompt, output, path)

    def others(self, prompt: int, steps: int) -> list[tuple[int, Row]]:
        """Return what a branch of ``prompt`` with ``steps`` drafts is drawn from: (prompt, row).

        The list is empty where no other prompt has a branch.
        """
        key = (prompt, steps)
        if key not in self._others:
            pools = self.by_steps.get(steps, []), self.any
            self._others[key] = next(
                filter(None, ([pair for pair in pool if pair[0] != prompt] for pool in pools)), []
            )
        return self._others[key]


@dataclass(frozen=True, kw_only=True, eq=False)
class BranchErrors:
    """What withholding the recorded branches does.

    Attributes:
        cells: One row for each design and prompt whose replay rests on withheld branches and on
            none that is not recorded. Columns: design, policy, prompt, share (of the time, in
            rounds that rest on drawn branches), and signed errors relative to the exact replay:
            seconds_error, speedup_error, discarded_error (drafts discarded) and checks_error (heads
            checked).
    """

    cells: pd.DataFrame

    def per_share(self, policy: Policy) -> float | None:
        """Return the mean magnitude of the error of a cell's seconds / its mean share.

        Policies are kept apart: ``fixed`` drafts on whatever its head says, so that its shares are
        large and its errors none. None where no cell of this policy was measured.
        """
        part = self.cells[self.cells["policy"] == str(policy)]
        return float(part["seconds_error"].abs().sum() / part["share"].sum()) if len(part) else None

    def expected(self, design: Design, share: float) -> float | None:
        """Return the relative error of the run time to expect, in the mean, either way.

        Args:
            design: The design.
            share: Share of its time that is modelled; 0 has no error.

        Returns:
            The error; None where it was not measured: for a policy whose cells never rested on
            recorded branches, and for unverified designs, of which nothing recorded tells how they
            go on.
        """
        if share == 0:
            return 0.0
        per_share = self.per_share(design.policy) if design.verify else None
        return None if per_share is None else share * per_share

    def to_dict(self) -> dict[str, Any]:
        """Return all cells and those of each policy as JSON holds them.

        Errors are magnitudes; None where nothing was measured.
        """
        policies = [Policy(name) for name in dict.fromkeys(self.cells["policy"])]
        return {
            **_summary(self.cells),
            "policies": {
                str(policy): {
                    **_summary(self.cells[self.cells["policy"] == str(policy)]),
                    "error_per_share": self.per_share(policy),
                }
                for policy in policies
            },
        }


def rejecting_cells(profile: Profile) -> tuple[Cell, ...]:
    """Return the verified designs and prompts with a measured round that discarded a draft.

    They are at most MOST_CELLS, chosen by a hash of what they are.
    """
    rounds = profile.rounds
    rejected = rounds[
        rounds["verify"].astype(bool) & (rounds["exits"].map(len) > rounds["accepted"])
    ]
    columns: Iterable[list[Any]] = (
        rejected[name].tolist()
        for name in ("policy", "placement", "gammas", "cap", "prompt", "gates")
    )
    found = dict.fromkeys(
        (policy, tuple(heads), tuple(gammas), cap, prompt, tuple(gates))
        for policy, heads, gammas, cap, prompt, gates in zip(*columns, strict=True)
    )
    kept = found if len(found) <= MOST_CELLS else sorted(found, key=_number)[:MOST_CELLS]
    return tuple(
        (
            Design(policy=Policy(policy), placement=heads, gammas=gammas, cap=cap, gates=gates),
            prompt,
        )
        for policy, heads, gammas, cap, prompt, gates in kept
    )


def _number(cell: tuple[Any, ...]) -> bytes:
    """Return a hash to sample by; without gates that of the parts that designs always had."""
    if not cell[-1]:
        cell = cell[:-1]
    return hashlib.blake2b(repr(cell).encode(), digest_size=8).digest()


def branch_errors(model: BranchModel, latency: Latencies, cells: Iterable[Cell]) -> BranchErrors:
    """Replay cells with the recorded branches of the model's trace, and without.

    Designs that cannot be replayed with these latencies are left out, and so are prompts when no
    other one has a recorded branch.

    Args:
        model: The branch model.
        latency: What the work takes.
        cells: Measured cells that rejected a draft.
    """
    withheld = Withheld(model.trace)
    prompts: dict[Design, list[int]] = {}
    for design, prompt in cells:
        if withheld.others(prompt, 1):
            prompts.setdefault(design, []).append(prompt)
    rows = chain.from_iterable(
        _rows(design, chosen, model, withheld, latency) for design, chosen in prompts.items()
    )
    return BranchErrors(cells=pd.DataFrame(list(rows), columns=list(COLUMNS)))


def _rows(
    design: Design,
    prompts: Sequence[int],
    model: BranchModel,
    withheld: Withheld,
    latency: Latencies,
) -> list[dict[str, Any]]:
    try:
        exact, drawn = (
            replay(model.trace, latency, design, prompts, model=which)
            for which in (model, withheld)
        )
    except InputError:
        return []
    return [
        _row(design, a, b)
        for a, b in zip(exact, drawn, strict=True)
        if a.modelled_seconds == 0 < b.modelled_seconds
    ]


def _row(design: Design, exact: ReplayedRun, drawn: ReplayedRun) -> dict[str, Any]:
    (discarded, checks), (drawn_discarded, drawn_checks) = _counts(exact), _counts(drawn)
    return {
        "design": design.label,
        "policy": str(design.policy),
        "prompt": exact.prompt,
        "share": drawn.modelled_seconds / drawn.seconds,
        "seconds_error": drawn.seconds / exact.seconds - 1,
        "speedup_error": exact.seconds / drawn.seconds - 1,  # vanilla has no branches
        "discarded_error": drawn_discarded / discarded - 1,
        "checks_error": drawn_checks / checks - 1,
    }


def _counts(run: ReplayedRun) -> tuple[int, int]:
    """Count the drafts discarded and the heads checked."""
    return sum(len(r.exits) - r.accepted for r in run.rounds), sum(
        len(r.checks) for r in run.rounds
    )


def _summary(cells: pd.DataFrame) -> dict[str, Any]:
    if not len(cells):
        return {
            "cells": 0,
            "share": None,
            **{name: {"median": None, "p90": None} for name in ERRORS},
        }
    sizes = {name: cells[name].abs() for name in ERRORS}
    spreads = {
        name: {"median": float(size.median()), "p90": float(size.quantile(0.9))}
        for name, size in sizes.items()
    }
    return {"cells": len(cells), "share": float(cells["share"].mean()), **spreads}
