"""The baselines of a recording: first compared with generate's text, then timed in turn."""

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
"""The repeat of runs that check a text and are not timed."""


class Contest:
    """Baselines and designs on the same prompts.

    Args:
        decoder: The model with its heads.
        baselines: Plain ``generate`` first, whose texts are the reference.
        designs: Designs whose texts are also compared with generate's.
        meter: Reads the energy that the device has taken.
    """

    def __init__(
        self,
        decoder: AdaDecoder,
        baselines: Sequence[Baseline],
        designs: Sequence[Design],
        meter: EnergyMeter,
    ) -> None:
        self.decoder, self.meter = decoder, meter
        self.baselines, self.designs = tuple(baselines), tuple(designs)
        self._texts: dict[int, list[int]] = {}
        self._warm: set[str] = set()

    def check(self, prompt: int, ids: torch.Tensor, max_new_tokens: int) -> list[Row]:
        """Run every baseline and design once on a prompt, before any is timed.

        Args:
            prompt: The number of the prompt.
            ids: Its token ids, (1, n).
            max_new_tokens: Longest text.

        Returns:
            A row of the table baselines for each.

        Raises:
            InputError: Plain ``generate`` or a design fails.
        """
        ours = [DesignBaseline(decoder=self.decoder, design=design) for design in self.designs]
        return [
            self._row(one, prompt, CHECK, ids, max_new_tokens) for one in (*self.baselines, *ours)
        ]

    def entrants(self, checked: Sequence[Row]) -> list[Baseline]:
        """Return the baselines that ran on a prompt when they were checked.

        Args:
            checked: The rows that `check` returned for the prompt.
        """
        ran = {row["name"] for row in checked if not row["error"]}
        return [baseline for baseline in self.baselines if baseline.name in ran]

    def timed(
        self, baseline: Baseline, repeat: int, prompt: int, ids: torch.Tensor, max_new_tokens: int
    ) -> Row:
        """Time one run, and return its row of the table baselines.

        A baseline that this process has not run yet is run once before, uncounted.

        Args:
            baseline: What decodes.
            repeat: The number of the repeat.
            prompt: The number of the prompt.
            ids: Its token ids, (1, n).
            max_new_tokens: Longest text.
        """
        if baseline.name not in self._warm:
            attempt(baseline, ids, max_new_tokens)
            self._warm.add(baseline.name)
        return self._row(baseline, prompt, repeat, ids, max_new_tokens)

    def about(self) -> dict[str, Any]:
        """Return the settings of each baseline, for the manifest."""
        return {baseline.name: baseline.about() for baseline in self.baselines}

    def _row(
        self, baseline: Baseline, prompt: int, repeat: int, ids: torch.Tensor, max_new_tokens: int
    ) -> Row:
        reference = self._text(prompt, ids, max_new_tokens)
        joules = self.meter.joules()
        done = attempt(baseline, ids, max_new_tokens)
        spent = self.meter.joules() - joules
        self._warm.add(baseline.name)
        row: Row = {"name": baseline.name, "prompt": prompt, "repeat": repeat}
        if isinstance(done, str):
            return row | {
                **dict.fromkeys(("n_tokens", "n_same", "n_first"), 0),
                "exact": False,
                **dict.fromkeys(("prefill_s", "decode_s", "energy_j"), math.nan),
                "compile_s": 0.0,
                "error": done,
            }
        return row | {
            "n_tokens": len(done.tokens),
            "n_same": n_same(done.tokens, reference),
            "exact": done.tokens == reference,
            "n_first": done.n_first,
            "prefill_s": done.prefill_s,
            "decode_s": done.decode_s,
            "compile_s": done.compile_s,
            "energy_j": math.nan if done.uncounted else spent,
            "error": "",
        }

    def _text(self, prompt: int, ids: torch.Tensor, max_new_tokens: int) -> list[int]:
        """Return what plain ``generate`` writes. Raise InputError where it fails."""
        if prompt not in self._texts:
            done: TimedRun | str = attempt(self.baselines[0], ids, max_new_tokens)
            if isinstance(done, str):
                raise InputError(
                    f"generate itself fails on this model ({done}): record without --baselines"
                )
            self._texts[prompt] = done.tokens
        return self._texts[prompt]
