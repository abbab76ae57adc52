"""A schedule that decides anew at each round whether, and how, it drafts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Outcome, Schedule, Work


@dataclass(kw_only=True)
class AdaptiveSchedule(Schedule):
    """A schedule whose design may change between two rounds.

    Attributes:
        choose: Returns the design of the next round, with the segments of the first one; None where
            nothing is to be drafted.
        drafting: Whether the open round drafts.
    """

    choose: Callable[[], Design | None]
    drafting: bool = field(init=False, default=False)

    def _round(self) -> Generator[Work, Outcome, None]:
        chosen = self.choose()
        self.drafting = chosen is not None
        self.design = chosen or self.design
        yield from super()._round()

    def _may_draft(self, drafts: int) -> bool:
        return self.drafting and super()._may_draft(drafts)
