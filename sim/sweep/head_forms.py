"""The form of the heads as a choice among several: designs that name one, and their evaluator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import HeadForm
from adadecode.sim.prediction.evaluator import Evaluator, PricedDevice
from adadecode.sim.replay.work_histogram import WorkHistogram

NO_HEADS = "none"
"""In the place of a form, for a design without heads."""

_WorkKey = tuple[tuple[int | None, bool], tuple[int, ...]]
"""Shortlist and contexts: forms with the same ones do the same work, counted alike."""


@dataclass(frozen=True, kw_only=True)
class FormedDesign(Design):
    """A design with heads of this form, where there are several forms to choose from."""

    form: HeadForm

    @property
    def label(self) -> str:
        """A label like ``adadecode 4/8 gamma 0.75 heads int8``."""
        return label_in(super().label, self.form.label)


def label_in(design: str, form: str) -> str:
    """Return the label of a design with heads of a form, from the labels of both."""
    return f"{design} heads {form}"


def in_forms(design: Design, forms: Sequence[HeadForm]) -> Iterator[Design]:
    """Yield the design with heads of each form.

    A design is yielded as it is where there are no forms to choose from, or no heads.
    """
    if not forms or not design.placement:
        yield design
    else:
        yield from (FormedDesign(**_design_fields(design), form=form) for form in forms)


@dataclass(frozen=True, kw_only=True, eq=False)
class FormedEvaluator:
    """Evaluates `FormedDesign`s by an evaluator for each form.

    Attributes:
        evaluators: All of the same prompts and devices. Designs without heads go to the first.
    """

    evaluators: Mapping[HeadForm, Evaluator]

    @property
    def prompts(self) -> tuple[int, ...]:
        """The prompts that are replayed."""
        return self._first.prompts

    @property
    def devices(self) -> tuple[PricedDevice, ...]:
        """The devices, priced with heads of the first form."""
        return self._first.devices

    def evaluate(self, designs: Sequence[Design]) -> pd.DataFrame:
        """Evaluate designs as `Evaluator.evaluate` does, with the column ``form`` after ``design``.

        What heads with the same shortlist do is counted once, whatever their number format.
        """
        bare = [Design(**_design_fields(design)) for design in designs]
        places: dict[HeadForm, list[int]] = {}
        for place, design in enumerate(designs):
            places.setdefault(self._form(design), []).append(place)
        counted = self._count(bare, places)
        parts = []
        for form, wanted in places.items():
            halves = counted[self._work_key(form)]
            rows, order = self._price(form, halves, [bare[place] for place in wanted])
            index = [(device, wanted[number]) for device, number in order]
            rows = rows.assign(design=[designs[place].label for _, place in index])
            labels = [form.label if bare[place].placement else NO_HEADS for _, place in index]
            rows.insert(1, "form", labels)
            parts.append(rows.set_axis(pd.MultiIndex.from_tuples(index)))
        return pd.concat(parts).sort_index().reset_index(drop=True)

    def details(self, design: Design, device: str) -> dict[str, Any]:
        """Return the details of one design, as `Evaluator.details` does."""
        return self.evaluators[self._form(design)].details(design, device)

    def over_prompts(self, design: Design, device: str) -> dict[str, float | None]:
        """Return how far other prompts would differ, as `Evaluator.over_prompts` does."""
        return self.evaluators[self._form(design)].over_prompts(design, device)

    @property
    def _first(self) -> Evaluator:
        return next(iter(self.evaluators.values()))

    def _form(self, design: Design) -> HeadForm:
        return design.form if isinstance(design, FormedDesign) else next(iter(self.evaluators))

    def _work_key(self, form: HeadForm) -> _WorkKey:
        return form.tokens, self.evaluators[form].contexts

    def _count(
        self, bare: Sequence[Design], places: Mapping[HeadForm, Sequence[int]]
    ) -> dict[_WorkKey, tuple[WorkHistogram, WorkHistogram]]:
        """Count the work of the designs, once for all forms that do the same work."""
        alike: dict[_WorkKey, list[HeadForm]] = {}
        for form in places:
            alike.setdefault(self._work_key(form), []).append(form)
        counted = {}
        for key, forms in alike.items():
            designs = dict.fromkeys(bare[place] for form in forms for place in places[form])
            counted[key] = self.evaluators[forms[0]].halves(list(designs))
        return counted

    def _price(
        self,
        form: HeadForm,
        halves: tuple[WorkHistogram, WorkHistogram],
        designs: Sequence[Design],
    ) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
        """Price counted work with heads of one form.

        Returns:
            The rows, device by device, and for each the numbers of its device and its design.
        """
        evaluator = self.evaluators[form]
        row_of = {design: number for number, design in enumerate(halves[0].designs)}
        order = [
            (device, number)
            for device in range(len(evaluator.devices))
            for number in range(len(designs))
        ]
        rows = [device * len(row_of) + row_of[designs[number]] for device, number in order]
        return evaluator.priced(halves).iloc[rows], order


AnyEvaluator = Evaluator | FormedEvaluator


def _design_fields(design: Design) -> dict[str, Any]:
    """Return the fields of a `Design`, without those that a subclass adds."""
    return {one.name: getattr(design, one.name) for one in fields(Design)}
