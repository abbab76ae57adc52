"""Our own designs, run as baselines are, and the attempt to run any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from adadecode.engine.baselines.baseline import Baseline, TimedRun
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.runtime.environment import out_of_memory
from adadecode.engine.runtime.timer import synchronized_now
from adadecode.sim.core.design import Design


@dataclass(frozen=True, kw_only=True)
class DesignBaseline:
    """One of our own designs, run as a baseline is."""

    decoder: AdaDecoder
    design: Design
    needs: str = "exit heads"
    lacks: str = ""

    @property
    def name(self) -> str:
        """The label of the design."""
        return self.design.label

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        """Decode one sequence, token ids ``(1, n)``."""
        devices, session = self.decoder.parts.devices, self.decoder.parts.session
        begun = synchronized_now(*devices)
        decoding = self.decoder.start(ids, self.design, max_new_tokens=max_new_tokens)
        prefilled = synchronized_now(*devices)
        with session():
            for _ in decoding.steps():
                pass
        ended = synchronized_now(*devices)
        return TimedRun(
            tokens=list(decoding.schedule.tokens),
            n_first=1,
            prefill_s=prefilled - begun,
            decode_s=ended - prefilled,
        )

    def about(self) -> dict[str, Any]:
        """Return what the baseline needs, and its design."""
        return {"needs": self.needs, "design": self.name}


def attempt(baseline: Baseline, ids: torch.Tensor, max_new_tokens: int) -> TimedRun | str:
    """Run a baseline; return the run, or in a sentence why there is none.

    Args:
        baseline: What to run.
        ids: Token ids, shape ``(1, n)``.
        max_new_tokens: The most tokens to add.

    Raises:
        Exception: Whatever our own designs raise, and what says that memory ran out or that the
            device broke: the state of a machine is no result.
    """
    if baseline.lacks:
        return baseline.lacks
    if isinstance(baseline, DesignBaseline):
        return baseline.run(ids, max_new_tokens)
    try:
        return baseline.run(ids, max_new_tokens)
    except Exception as error:  # a variant of generate that fails does not end the recording
        if out_of_memory(error) or isinstance(error, torch.AcceleratorError):
            raise
        reason = " ".join(str(error).split())
        return f"{type(error).__name__}: {reason[:300]}" if reason else type(error).__name__
