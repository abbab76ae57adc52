"""Measured speed: the one estimator of TPOT and speedup that people read.

Within a repeat, every design runs on every prompt in turn. So a repeat gives each design one figure
over all prompts together: seconds per output token after the first. Then

- **TPOT** is the median of this figure over the repeats;
- **speedup** is the median over the repeats of vanilla's figure divided by the design's, of the
  same repeat.

A machine that is slow for a while slows vanilla and the designs of the same repeats alike, so that
the median of ratios is steadier than the ratio of two medians (see the decision record 0026).
Where a ratio of medians is needed too, its name says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.measurements.repeats import Seconds, ratios
from adadecode.sim.measurements.runs import timed_runs


@dataclass(frozen=True, kw_only=True)
class MeasuredSpeed:
    """How fast one design was measured to be, on some prompts together.

    Attributes:
        design: The design.
        prompts: Number of prompts.
        repeats: Number of repeats that ran all of them.
        tpot_s: Seconds per output token after the first, the median over repeats.
        speedup: The median over repeats of vanilla's seconds per token / the design's, in the same
            repeat; NaN where vanilla was not run.
        speedup_low: The smallest of these.
        speedup_high: The largest of these.
    """

    design: Design
    prompts: int
    repeats: int
    tpot_s: float
    speedup: float
    speedup_low: float
    speedup_high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class TimedRuns:
    """The timed runs of a profile, by design and prompt. Build with `of`.

    Attributes:
        seconds: Seconds per output token after the first, by repeat, for each design and prompt.
        tokens: Outputs after the first of each prompt's text.
    """

    seconds: Mapping[Design, Mapping[int, Seconds]]
    tokens: Mapping[int, int]

    @classmethod
    def of(cls, profile: Profile) -> TimedRuns:
        """Collect the runs of a profile that were timed without instruments."""
        seconds: dict[Design, dict[int, Seconds]] = {}
        for (design, prompt), runs in timed_runs(profile).items():
            mean = runs.groupby("repeat")[["decode_s", "n_tokens"]].mean()
            if (mean["n_tokens"] > 1).all():
                seconds.setdefault(design, {})[prompt] = mean["decode_s"] / (mean["n_tokens"] - 1)
        outputs = profile.prompts[["prompt", "n_output"]].itertuples(index=False, name=None)
        return cls(seconds=seconds, tokens={prompt: count - 1 for prompt, count in outputs})

    @property
    def prompts(self) -> tuple[int, ...]:
        """Every prompt that some design was timed on."""
        return tuple(sorted({prompt for cells in self.seconds.values() for prompt in cells}))

    def speeds(self, prompts: Sequence[int] | None = None) -> list[MeasuredSpeed]:
        """Measure the speed of every design that was run on all of these prompts.

        Args:
            prompts: The prompts; by default every one that some design was timed on. Those without
                a second output token are left out.
        """
        wanted = [p for p in (self.prompts if prompts is None else prompts) if self.tokens[p] > 0]
        vanilla = next((one for one in self.seconds if one.policy is Policy.VANILLA), None)
        base = None if vanilla is None else self._per_token(vanilla, wanted)
        speeds = []
        for design in self.seconds:
            took = self._per_token(design, wanted)
            if took is None:
                continue
            in_turn = pd.Series(dtype=np.float64) if base is None else ratios(base, took)
            speeds.append(
                MeasuredSpeed(
                    design=design,
                    prompts=len(wanted),
                    repeats=len(took),
                    tpot_s=float(took.median()),
                    speedup=float(in_turn.median()),
                    speedup_low=float(in_turn.min()),
                    speedup_high=float(in_turn.max()),
                )
            )
        return speeds

    def _per_token(self, design: Design, prompts: Sequence[int]) -> Seconds | None:
        """Return seconds per token over these prompts, for the repeats that ran all of them.

        None where one of the prompts was not run.
        """
        cells = self.seconds[design]
        if not prompts or not all(prompt in cells for prompt in prompts):
            return None
        total = sum(
            (cells[prompt] * self.tokens[prompt] for prompt in prompts),
            start=pd.Series(0.0, index=cells[prompts[0]].index),
        )
        weight = sum(self.tokens[prompt] for prompt in prompts)
        return (total / weight).dropna()


def measured_speeds(profile: Profile, prompts: Sequence[int] | None = None) -> list[MeasuredSpeed]:
    """Measure the speed of every design of a recording; see `TimedRuns.speeds`."""
    return TimedRuns.of(profile).speeds(prompts)
