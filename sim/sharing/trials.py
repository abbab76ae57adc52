"""What still works with a shared copy, found by trying it next to the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from adadecode.sim.sweep.space import NO_GATES, Space
from adadecode.sim.synthetic.trace_fitting import fit_trace
from adadecode.sim.validation.predictions import predict
from adadecode.sim.validation.tiers import validate

DEVICE = "h100-sxm"
"""The device to which latencies are carried, or for which they are estimated."""

SAME = "the same figures"

NEITHER = "not with the recording either"

CLOSE = 0.05
"""By how much figures may differ, as a share, where modelled branches draw other rows."""

_RATES = ("early_rate", "reject_rate", "tokens_per_round")

_SPEEDS = ("ttft_s", "tpot_s", "tokens_per_s", "speedup")

_Key = tuple[Any, ...]

Figures = Mapping[_Key, float | None]
"""Numbers by what they are of: the name of the figure, then the design, device or prompt."""


class Trial(NamedTuple):
    """What was tried, and what came of it with the copy.

    Attributes:
        what: What was tried.
        works: Whether the copy gives figures that are those of the recording, or close to them.
        outcome: The outcome in words.
    """

    what: str
    works: bool
    outcome: str


def try_copy(
    recording: Profile, copy: Profile, progress: Callable[[int, int], None] = lambda *_: None
) -> list[Trial]:
    """Try everything that a recording is for on a recording and its copy.

    Args:
        recording: The recording.
        copy: Its shared copy.
        progress: Called with the number of trials that are done, and of all.
    """
    trials = []
    for what, figures in _WAYS.items():
        trials.append(_tried(what, figures, recording, copy))
        progress(len(trials), len(_WAYS))
    return trials


def _tried(what: str, figures: Callable[[Profile], Figures], one: Profile, other: Profile) -> Trial:
    wanted, refused = _figures(figures, one)
    got, why = _figures(figures, other)
    if wanted is None:
        return Trial(what=what, works=got is not None, outcome=f"{NEITHER}: {refused}")
    if got is None:
        return Trial(what=what, works=False, outcome=f"no longer: {why}")
    if wanted == got:
        return Trial(what=what, works=True, outcome=SAME)
    return _compared(what, wanted, got)


def _compared(what: str, wanted: Figures, got: Figures) -> Trial:
    """Compare figures that are not all the same, by what they are of."""
    both = [key for key in wanted if key in got]
    lost = [key for key in both if (wanted[key] is None) != (got[key] is None)]
    if lost or not both:
        where = " ".join(map(str, lost[0])) if lost else "any design"
        return Trial(
            what=what, works=False, outcome=f"other figures: none, or one more, of {where}"
        )
    off = max(_difference(key, wanted[key], got[key]) for key in both)
    outcome = f"other figures, by up to {percent(off, 2)}"
    if off > CLOSE:
        return Trial(what=what, works=False, outcome=f"{outcome}: more than modelled branches make")
    refined = "" if len(both) == len(wanted) == len(got) else ", and other designs were refined"
    return Trial(what=what, works=True, outcome=f"{outcome}{refined}: modelled branches differ")


def _figures(figures: Callable[[Profile], Figures], profile: Profile) -> tuple[Figures | None, str]:
    """Return the figures of a profile, or None and why there are none."""
    try:
        return figures(profile), ""
    except InputError as error:
        return None, str(error)


def _difference(key: _Key, one: float | None, other: float | None) -> float:
    """Return by how much two figures differ: as a share of the larger one, rates as they are."""
    if one is None or other is None or one == other:
        return 0.0
    return abs(one - other) / (1.0 if key[0] in _RATES[:2] else max(abs(one), abs(other)))


def _designs(profile: Profile) -> list[Design]:
    """Return the designs that were run with heads, or all where none were."""
    ran = list(dict.fromkeys(design for design, _ in timed_runs(profile)))
    return [design for design in ran if design.placement] or ran


def _validated(profile: Profile) -> Figures:
    found = validate(profile)
    columns = ("n_tokens", "measured_s", "predicted_s", "speedup", "predicted_speedup")
    return {
        **{("structure", key): value for key, value in found.to_dict()["structure"].items()},
        **_of_rows(found.cells, columns),
        ("trusted",): float(found.trust.trusted),
    }


def _predicted(profile: Profile) -> Figures:
    return _of_rows(predict(profile, _designs(profile)).to_frame())


def _carried(profile: Profile) -> Figures:
    designs, options = _designs(profile)[:3], ScenarioOptions(device=DEVICE)
    try:
        found = predict(profile, designs, options=options)
    except InputError:  # nothing is carried from a machine that the catalogue does not know
        found = predict(None, designs, trace=profile, options=options)
    return _of_rows(found.to_frame())


def _swept(profile: Profile) -> Figures:
    cap = max((design.cap for design in _designs(profile)), default=DEFAULT_CAP)
    gates = (0.0, 0.3) if profile.has_gates else NO_GATES
    space = Space(max_heads=2, gammas=(0.3, 0.6, 0.9), caps=(cap,), gates=gates)
    return _of_rows(sweep(profile, space, threads=1).designs)


def _fitted(profile: Profile) -> Figures:
    return dict(_in_document(fit_trace(Trace.from_profile(profile)).to_dict()))


def _shortlisted(profile: Profile) -> Figures:
    designs = _designs(profile)[-1:]
    options = ScenarioOptions(device=DEVICE, form=HeadForm(shortlist=64))
    return _of_rows(predict(None, designs, trace=profile, options=options).to_frame())


_WAYS: dict[str, Callable[[Profile], Figures]] = {
    "replay the measured runs, and trust (validate)": _validated,
    "predict the designs that were run (predict)": _predicted,
    "predict them on another device (predict --to)": _carried,
    "predict other designs, find the best (sweep)": _swept,
    "draw texts like this one (synthesize --like)": _fitted,
    "predict heads with a shortlist (--shortlist)": _shortlisted,
}
"""What is tried, and how."""


def _of_rows(rows: pd.DataFrame, figures: Sequence[str] = (*_SPEEDS, *_RATES)) -> Figures:
    """Return figures of a table by the design of their row, its device and prompt; None for NaN."""
    names = [name for name in ("design", "device", "prompt") if name in rows]
    keys = list(zip(*(rows[name].tolist() for name in names), strict=True))
    return {
        (figure, *key): None if pd.isna(value) else float(value)
        for figure in figures
        for key, value in zip(keys, rows[figure].tolist(), strict=True)
    }


def _in_document(value: object, *way: object) -> Iterator[tuple[_Key, float]]:
    """Yield all numbers of a document by where they stand."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _in_document(item, *way, key)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _in_document(item, *way, place)
    elif isinstance(value, int | float):
        yield way, float(value)
