"""Record runs that follow another recording's decisions, with the times of this model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from adadecode.engine.baselines.baseline import Baseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.profiling.piece_store import PieceStore, Row
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.recorder import Recorder
from adadecode.engine.profiling.timed_runs import Prefill
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.core.design import Design


class ScriptedRecorder(Recorder):
    """A recording of a plan made of a script's prompts.

    Text, outcomes of the heads and branches are the script's; runs and latencies are measured.

    Args:
        decoder: The model with its heads.
        plan: What to record.
        parts: Where finished pieces are kept.
        script: The decisions that the runs follow.
        shape: The shape of a model with random weights; None for a real model.
        baselines: See `Recorder`.
        notice: See `Recorder`.
    """

    own_text = False

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        parts: PieceStore,
        script: Script,
        shape: ModelShape | None = None,
        baselines: Sequence[Baseline] = (),
        *,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(decoder, plan, parts, baselines, notice=notice)
        self.script, self.shape = script, shape

    def _start(
        self, ids: torch.Tensor, design: Design, prompt: int, prefill: Prefill | None = None
    ) -> Decoding:
        kept = None if prefill is None else prefill.prompt
        return self.script.start(self.decoder, ids, design, prompt, kept)

    def _trace(self, prompt: int) -> dict[str, Sequence[Row]]:
        return {name: self.script.rows(name, prompt) for name in ("prompts", "trace")}

    def _branches(self, prompt: int) -> dict[str, Sequence[Row]]:
        return {"branches": self.script.rows("branches", prompt)}

    def _coverage(self) -> None:
        """Return None: random heads cover no text."""

    def _manifest(self, samples: int) -> dict[str, Any]:
        manifest = super()._manifest(samples)
        about, source = self.script.about(), self.script.source
        if self.shape is not None:
            manifest["model"] |= {
                "name": f"{self.shape.name}, random weights",
                "shape": self.shape.record(),
            }
            manifest["heads"] |= {"name": "random matrices"}
        manifest["limitations"] = [*self._script_limitations(about), *manifest["limitations"]]
        manifest["prompts"] |= {key: source["prompts"].get(key) for key in ("sha256", "salt")}
        return manifest | {"scripted": about, "eos_token_ids": sorted(self.script.trace.eos)}

    def _script_limitations(self, about: dict[str, Any]) -> list[str]:
        """Return what a reader of a scripted recording must know, a sentence each."""
        source = f"{about['profile']} ({about['model']})"
        limitations = [
            (
                f"scripted: exits, accepts and tokens are those of {source}; "
                "the model that ran did all the work and decided nothing"
            ),
            "times are this model's own; speedups are those of that text and its heads",
            "prompts are random tokens, as many as were recorded",
        ]
        timed, decided = self.decoder.heads.form, self.script.form
        if timed != decided:
            limitations.append(
                f"heads {timed.label} were timed, heads {decided.label} decided: exits and accepts "
                "are those of the latter, so that no speedup shows what the form loses"
            )
        if self.shape is not None:
            limitations.append(
                "weights are random: what depends on them, such as which experts are chosen, "
                "is not as in a trained model"
            )
        return limitations
