"""What still works with a shared copy, found by trying it next to the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pandas as pd

from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import DEFAULT_CAP, Design
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.core.number_format import percent
from adadecode.sim.measurements.runs import timed_runs
from adadecode.sim.prediction.scenario import ScenarioOptions
from adadecode.sim.sweep.design_sweep import sweep
from adadecode.sim.sweep.space import Space
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.validation.predictions import predict
from adadecode.sim.validation.tiers import validate

DEVICE = "h100-sxm"
"""The device to which latencies are carried, or for which they are estimated."""

SAME = "the same figures"

NEITHER = "not with the recording either"

Figures = Mapping[str, float | None]
"""Numbers by what they are of."""


class Trial(NamedTuple):
    """What was tried, and what came of it with the copy.

    Attributes:
        what: What was tried.
        works: Whether there are figures with the copy.
        outcome: The outcome in words.
    """

    what: str
    works: bool
    outcome: str


def try_copy(recording: Profile, copy: Profile) -> list[Trial]:
    """Try everything that a recording is for on a recording and its copy.

    Args:
        recording: The recording.
        copy: Its shared copy.
    """
    return [_tried(what, figures, recording, copy) for what, figures in _WAYS.items()]


def _tried(what: str, figures: Callable[[Profile], Figures], one: Profile, other: Profile) -> Trial:
    wanted, refused = _figures(figures, one)
    got, why = _figures(figures, other)
    if wanted is None:
        return Trial(what=what, works=got is not None, outcome=f"{NEITHER}: {refused}")
    if got is None:
        return Trial(what=what, works=False, outcome=f"no longer: {why}")
    if wanted == got:
        return Trial(what=what, works=True, outcome=SAME)
    off = max(_differences(wanted, got), default=float("inf"))
    outcome = f"other figures, by up to {percent(off, 1)}: modelled branches differ"
    return Trial(what=what, works=True, outcome=outcome)


def _figures(figures: Callable[[Profile], Figures], profile: Profile) -> tuple[Figures | None, str]:
    """Return the figures of a profile, or None and why there are none."""
    try:
        return figures(profile), ""
    except InputError as error:
        return None, str(error)


def _differences(wanted: Figures, got: Figures) -> Iterator[float]:
    """Yield by how much numbers differ, as a share; nothing where one is not known."""
    for key in wanted.keys() | got.keys():
        one, other = wanted.get(key), got.get(key)
        if one is not None and other is not None and one != other:
            yield abs(other / one - 1) if one else float("inf")


def _designs(profile: Profile) -> list[Design]:
    """Return the designs that were run with heads, or all where none were."""
    ran = list(dict.fromkeys(design for design, _ in timed_runs(profile)))
    return [design for design in ran if design.placement] or ran


def _validated(profile: Profile) -> Figures:
    found = validate(profile)
    structure = found.to_dict()["structure"]
    return {
        **{f"structure {key}": value for key, value in structure.items()},
        **_numbers(found.cells.drop(columns=["exact"])),
        "trusted": float(found.trust.trusted),
    }


def _predicted(profile: Profile) -> Figures:
    return _numbers(predict(profile, _designs(profile)).to_frame())


def _carried(profile: Profile) -> Figures:
    designs, options = _designs(profile)[:3], ScenarioOptions(device=DEVICE)
    try:
        found = predict(profile, designs, options=options)
    except InputError:  # nothing is carried from a machine that the catalogue does not know
        found = predict(None, designs, trace=profile, options=options)
    return _numbers(found.to_frame())


def _swept(profile: Profile) -> Figures:
    cap = max((design.cap for design in _designs(profile)), default=DEFAULT_CAP)
    space = Space(max_heads=2, gammas=(0.3, 0.6, 0.9), caps=(cap,))
    return _numbers(sweep(profile, space, threads=1).designs)


def _fitted(profile: Profile) -> Figures:
    model = fit_trace(Trace.from_profile(profile))
    return _numbers(pd.json_normalize(model.to_dict()))


def _shortlisted(profile: Profile) -> Figures:
    designs = _designs(profile)[-1:]
    options = ScenarioOptions(device=DEVICE, form=HeadForm(shortlist=64))
    return _numbers(predict(None, designs, trace=profile, options=options).to_frame())


_WAYS: dict[str, Callable[[Profile], Figures]] = {
    "replay the measured runs, and trust (validate)": _validated,
    "predict the designs that were run (predict)": _predicted,
    "predict them on another device (predict --to)": _carried,
    "predict other designs, find the best (sweep)": _swept,
    "draw texts like this one (synthesize --like)": _fitted,
    "predict heads with a shortlist (--shortlist)": _shortlisted,
}
"""What is tried, and how."""


def _numbers(frame: pd.DataFrame) -> dict[str, float | None]:
    """Return all numbers of a table by their column and row; None for NaN."""
    found: dict[str, float | None] = {}
    for name in frame.columns:
        values: list[Any] = frame[name].tolist()
        for row, value in enumerate(values):
            if isinstance(value, int | float):
                found[f"{name} {row}"] = None if pd.isna(value) else float(value)
    return found
