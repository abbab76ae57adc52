"""Drafting by load: at every round, the design that promises most tokens a second, or none.

Passes of as many sequences through recorded descents tell what a committed token takes. With few
sequences the weights are read for few tokens, and layers that are saved are time that is saved.
With many a pass is bound by arithmetic, and heads and rejected drafts only add to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Schedule
from adadecode.sim.serving.exits.adaptive_schedule import AdaptiveSchedule
from adadecode.sim.serving.exits.descent_shares import rounds_of
from adadecode.sim.serving.exits.descents import PLAIN, Descents
from adadecode.sim.serving.exits.expected_rate import LoadPoint
from adadecode.sim.serving.exits.served_text import MakeSchedule
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.latency.segment_times import SegmentTimes
from adadecode.sim.serving.request import Request


@dataclass(frozen=True, kw_only=True, eq=False)
class DraftingByLoad:
    """Picks a design by the load. Build it with `of`.

    Attributes:
        times: What steps take.
        layers: Layers of each segment.
        menu: The designs to choose from, with the descents of each.
    """

    times: SegmentTimes
    layers: tuple[int, ...]
    menu: Mapping[Design, Descents]
    _chosen: dict[LoadPoint, Design | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        texts: Texts,
        times: SegmentTimes,
        designs: Sequence[Design],
        requests: Sequence[Request],
    ) -> DraftingByLoad:
        """Return the rule.

        Args:
            texts: What heads say.
            times: What steps take.
            designs: The designs to choose from, one or more, whose segments are the same.
            requests: The requests, whose texts tell what each design does.

        Raises:
            DesignError: If a head was not trained, or has no gate where one is to be asked.
        """
        bounds = designs[0].boundaries(texts.trace.n_layers)
        return cls(
            times=times,
            layers=tuple(stop - start for start, stop in pairwise(bounds)),
            menu={
                design: Descents.of(rounds_of(texts, design, requests), bounds)
                for design in designs
            },
        )

    def best(self, load: LoadPoint) -> Design | None:
        """Return the design that promises most tokens a second; None where vanilla does."""
        if load not in self._chosen:
            found: Design | None = None
            least = PLAIN.seconds_per_token(self.times, (sum(self.layers),), load)
            for design, descents in self.menu.items():
                seconds = descents.seconds_per_token(self.times, self.layers, load)
                if seconds < least:
                    found, least = design, seconds
            self._chosen[load] = found
        return self._chosen[load]

    def schedules(self, load: Callable[[], tuple[int, float, int]], texts: Texts) -> MakeSchedule:
        """Return what makes the schedules of one server.

        Args:
            load: Returns its sequences that decode, their mean context, and the tokens of prompts
                in its latest pass.
            texts: What heads say.
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
            plain = texts.schedule(request, next(iter(self.menu)))
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
