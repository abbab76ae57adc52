"""The baselines of a recording: held against generate's text first, then timed in turn with the designs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from adadecode.engine.baselines.baseline import Baseline, TimedRun, n_same
from adadecode.engine.baselines.designs import DesignBaseline, attempt
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.profiling.piece_store import Row
from adadecode.engine.runtime.environment import EnergyMeter
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design

CHECK = -1
"""The repeat of runs that check and are not counted as timed."""


class Contest:
    """Runs baselines, the first of them plain ``generate``, whose texts are the reference. designs: ours, to be held against it too."""

    def __init__(
        self,
        decoder: AdaDecoder,
        baselines: Sequence[Baseline],
        designs: Sequence[Design],
        meter: EnergyMeter,
    ) -> None:
        self.decoder, self.baselines, self.designs, self.meter = (
            decoder,
            tuple(baselines),
            tuple(designs),
            meter,
        )
        self._texts: dict[int, list[int]] = {}
        self._warm: set[str] = set()

    def check(self, p: int, ids: torch.Tensor, max_new_tokens: int) -> list[Row]:
        """Every baseline and design once on prompt number p, ids (1, n), before any is timed: its row of the table baselines.

        Raises what our own designs raise, and whatever says that memory ran out.
        """
        ours = [DesignBaseline(decoder=self.decoder, design=design) for design in self.designs]
        return [self._row(one, p, CHECK, ids, max_new_tokens) for one in (*self.baselines, *ours)]

    def entrants(self, checked: Sequence[Row]) -> list[Baseline]:
        """The baselines that ran on a prompt when they were checked."""
        ran = {row["name"] for row in checked if not row["error"]}
        return [baseline for baseline in self.baselines if baseline.name in ran]

    def timed(
        self, baseline: Baseline, repeat: int, p: int, ids: torch.Tensor, max_new_tokens: int
    ) -> Row:
        """One timed run. Whatever is run for the first time in this process is run once before, uncounted."""
        if baseline.name not in self._warm:
            attempt(baseline, ids, max_new_tokens)
            self._warm.add(baseline.name)
        return self._row(baseline, p, repeat, ids, max_new_tokens)

    def about(self) -> dict[str, Any]:
        """The settings of each baseline, for the manifest."""
        return {baseline.name: baseline.about() for baseline in self.baselines}

    def _row(
        self, baseline: Baseline, p: int, repeat: int, ids: torch.Tensor, max_new_tokens: int
    ) -> Row:
        reference = self._text(p, ids, max_new_tokens)
        joules = self.meter.joules()
        done = attempt(baseline, ids, max_new_tokens)
        spent = self.meter.joules() - joules
        self._warm.add(baseline.name)
        row = {"name": baseline.name, "prompt": p, "repeat": repeat}
        if isinstance(done, str):
            nothing = dict.fromkeys(("n_tokens", "n_same", "n_first"), 0)
            seconds = {
                "prefill_s": math.nan,
                "decode_s": math.nan,
                "compile_s": 0.0,
                "energy_j": math.nan,
            }
            return {**row, **nothing, "exact": False, **seconds, "error": done}
        text = {
            "n_tokens": len(done.tokens),
            "n_same": n_same(done.tokens, reference),
            "exact": done.tokens == reference,
        }
        seconds = {
            "prefill_s": done.prefill_s,
            "decode_s": done.decode_s,
            "compile_s": done.compile_s,
        }
        energy = math.nan if done.uncounted else spent
        return {**row, **text, "n_first": done.n_first, **seconds, "energy_j": energy, "error": ""}

    def _text(self, p: int, ids: torch.Tensor, max_new_tokens: int) -> list[int]:
        """What plain ``generate`` writes. Raises InputError where it fails."""
        if p not in self._texts:
            done: TimedRun | str = attempt(self.baselines[0], ids, max_new_tokens)
            if isinstance(done, str):
                raise InputError(
                    f"generate itself fails on this model ({done}): record without --baselines"
                )
            self._texts[p] = done.tokens
        return self._texts[p]
