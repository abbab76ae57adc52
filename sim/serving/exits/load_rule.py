"""Drafting by load: at every round, the design that promises most tokens a second, or none.

The same estimate that `adadecode.sim.serving.exits.expected_rate` makes of a pass decides: with few
sequences the weights are read for few tokens, and layers that are saved are time that is saved;
with many, a pass is bound by arithmetic, and heads and rejected drafts only add to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Schedule
from adadecode.sim.serving.exits.adaptive_schedule import AdaptiveSchedule
from adadecode.sim.serving.exits.descent_shares import DescentShares, shares_of
from adadecode.sim.serving.exits.expected_rate import LoadPoint, seconds_per_token
from adadecode.sim.serving.exits.served_text import MakeSchedule
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.latency.segment_times import SegmentTimes
from adadecode.sim.serving.request import Request

PLAIN = DescentShares(
    reach=(1.0,),
    tokens=(1.0,),
    checks=(0.0,),
    gates=(0.0,),
    verified=1.0,
    committed=1.0,
    ahead=(1.0,),
)
"""The descents of vanilla."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DraftingByLoad:
    """Picks a design by the load. Build it with `of`.

    Attributes:
        texts: What heads say.
        times: What steps take.
        layers: Layers of each segment.
        menu: The designs to choose from, with what each does on average.
    """

    texts: Texts
    times: SegmentTimes
    layers: tuple[int, ...]
    menu: Mapping[Design, DescentShares]
    _chosen: dict[LoadPoint, Design | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, texts: Texts, times: SegmentTimes, designs: Sequence[Design]) -> DraftingByLoad:
        """Return the rule.

        Args:
            texts: What heads say.
            times: What steps take.
            designs: The designs to choose from, one or more, whose segments are the same.

        Raises:
            DesignError: If a head was not trained, or has no gate where one is to be asked.
        """
        bounds = designs[0].boundaries(texts.trace.n_layers)
        return cls(
            texts=texts,
            times=times,
            layers=tuple(stop - start for start, stop in pairwise(bounds)),
            menu={design: shares_of(texts, design) for design in designs},
        )

    def best(self, load: LoadPoint) -> Design | None:
        """Return the design that promises most tokens a second; None where vanilla does."""
        if load not in self._chosen:
            found: Design | None = None
            least = seconds_per_token(self.times, PLAIN, (sum(self.layers),), load)
            for design, shares in self.menu.items():
                seconds = seconds_per_token(self.times, shares, self.layers, load)
                if seconds < least:
                    found, least = design, seconds
            self._chosen[load] = found
        return self._chosen[load]

    def schedules(self, load: Callable[[], tuple[int, float, int]]) -> MakeSchedule:
        """Return what makes the schedules of one server.

        Args:
            load: Returns its sequences that decode, their mean context, and the tokens of prompts
                in its latest pass.
        """

        def choose() -> Design | None:
            sequences, context, prompt = load()
            return self.best(
                LoadPoint(
                    sequences=max(sequences, 1),
                    context=_power_of_two(context),
                    prompt=_power_of_two(prompt),
                )
            )

        def make(request: Request) -> Schedule:
            plain = self.texts.schedule(request, next(iter(self.menu)))
            return AdaptiveSchedule(
                design=plain.design,
                n_layers=plain.n_layers,
                n_prompt=plain.n_prompt,
                first_token=plain.first_token,
                max_new_tokens=plain.max_new_tokens,
                eos=plain.eos,
                sampled=plain.sampled,
                choose=choose,
            )

        return make


def _power_of_two(size: float) -> float:
    """Return the nearest power of two, so that few loads have to be told apart; 0 stays 0."""
    return 2.0 ** round(math.log2(size)) if size >= 1 else 0.0
