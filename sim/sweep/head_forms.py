"""The form of the heads as a choice among several: designs that name one, and what evaluates them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from adadecode.profiles.errors import HeadsError
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import DTYPES, FULL, HeadForm
from adadecode.sim.prediction.evaluator import Evaluator, PricedDevice
from adadecode.sim.replay.work_histogram import WorkHistogram

NO_HEADS = "none"
"""In place of a form, of a design without heads."""

_FORM = re.compile(rf"shortlist:(\d+)(?:[ +]({'|'.join(DTYPES)}))?|({'|'.join(DTYPES)})")


@dataclass(frozen=True, kw_only=True)
class FormedDesign(Design):
    """A design with heads of this form, where there are several to choose from."""

    form: HeadForm

    @property
    def label(self) -> str:
        """Like ``adadecode 4/8 gamma 0.75 heads int8``."""
        return label_in(super().label, self.form.label)


def label_in(design: str, form: str) -> str:
    """The label of a design with heads of a form, from the labels of both."""
    return f"{design} heads {form}"


def in_forms(design: Design, forms: Sequence[HeadForm]) -> Iterator[Design]:
    """The design with heads of each form; as it is where there are none to choose from, or no heads."""
    if not forms or not design.placement:
        yield design
    else:
        yield from (FormedDesign(**_fields(design), form=form) for form in forms)


def form_named(name: str) -> HeadForm:
    """The form of a `HeadForm.label`, in which ``+`` may stand for the space. Raises HeadsError."""
    if name == FULL.label:
        return FULL
    found = _FORM.fullmatch(name)
    if found is None:
        raise HeadsError(
            f"wanted a form of heads like full, int8, shortlist:4096 or shortlist:4096+int8, got {name!r}"
        )
    size, beside, alone = found.groups()
    return HeadForm(shortlist=None if size is None else int(size), dtype=beside or alone)


@dataclass(frozen=True, kw_only=True, eq=False)
class FormedEvaluator:
    """Evaluates `FormedDesign`s: an evaluator for each form, all of the same prompts and devices. Designs without heads are the first one's."""

    evaluators: Mapping[HeadForm, Evaluator]

    @property
    def prompts(self) -> tuple[int, ...]:
        """The prompts chosen."""
        return self._first.prompts

    @property
    def devices(self) -> tuple[PricedDevice, ...]:
        """As the first form has them."""
        return self._first.devices

    def evaluate(self, designs: Sequence[Design]) -> pd.DataFrame:
        """As `Evaluator.evaluate`, and beside the design its form. What heads with the same shortlist do is counted once, whatever their format."""
        bare = [Design(**_fields(design)) for design in designs]
        asked: dict[HeadForm, list[int]] = {}
        for place, design in enumerate(designs):
            asked.setdefault(self._form(design), []).append(place)
        alike: dict[tuple[int | None, tuple[int, ...]], list[int]] = {}
        for form, places in asked.items():
            alike.setdefault(self._counted_as(form), []).extend(places)
        counted: dict[tuple[int | None, tuple[int, ...]], tuple[WorkHistogram, WorkHistogram]] = {}
        parts = []
        for form, places in asked.items():
            one, key = self.evaluators[form], self._counted_as(form)
            if key not in counted:
                counted[key] = one.halves(list(dict.fromkeys(bare[place] for place in alike[key])))
            row = {design: number for number, design in enumerate(counted[key][0].designs)}
            wanted = [(device, place) for device in range(len(one.devices)) for place in places]
            rows = one.priced(counted[key]).iloc[
                [device * len(row) + row[bare[place]] for device, place in wanted]
            ]
            rows = rows.assign(design=[designs[place].label for _, place in wanted])
            rows.insert(
                1,
                "form",
                [form.label if bare[place].placement else NO_HEADS for _, place in wanted],
            )
            parts.append(rows.set_axis(pd.MultiIndex.from_tuples(wanted)))
        return pd.concat(parts).sort_index().reset_index(drop=True)

    def details(self, design: Design, device: str) -> dict[str, Any]:
        """As `Evaluator.details`."""
        return self.evaluators[self._form(design)].details(design, device)

    def over_prompts(self, design: Design, device: str) -> dict[str, float | None]:
        """As `Evaluator.over_prompts`."""
        return self.evaluators[self._form(design)].over_prompts(design, device)

    @property
    def _first(self) -> Evaluator:
        return next(iter(self.evaluators.values()))

    def _form(self, design: Design) -> HeadForm:
        return design.form if isinstance(design, FormedDesign) else next(iter(self.evaluators))

    def _counted_as(self, form: HeadForm) -> tuple[int | None, tuple[int, ...]]:
        """Forms of which this is the same do the same work, counted at the same contexts."""
        return form.shortlist, self.evaluators[form].contexts


AnyEvaluator = Evaluator | FormedEvaluator


def _fields(design: Design) -> dict[str, Any]:
    """Of a `Design`, whatever else this one has."""
    return {one.name: getattr(design, one.name) for one in fields(Design)}
