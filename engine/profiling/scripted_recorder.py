"""Records runs whose decisions are another recording's: its text, its heads' answers and its branches; runs and latencies of this model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from adadecode.engine.baselines.generate import Baseline
from adadecode.engine.decoding.decoder import AdaDecoder, Decoding
from adadecode.engine.decoding.scripted import Script
from adadecode.engine.profiling.piece_store import Parts, Row
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.recorder import Recorder
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.sim.core.design import Design


class ScriptedRecorder(Recorder):
    """Records a plan made of a script's prompts. shape: of a model with random weights, None for a real one."""

    own_text = False

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        parts: Parts,
        script: Script,
        shape: ModelShape | None = None,
        baselines: Sequence[Baseline] = (),
    ) -> None:
        super().__init__(decoder, plan, parts, baselines)
        self.script, self.shape = script, shape

    def _start(self, ids: torch.Tensor, design: Design, p: int) -> Decoding:
        return self.script.start(self.decoder, ids, design, p)

    def _trace(self, p: int) -> dict[str, Sequence[Row]]:
        return {name: self.script.rows(name, p) for name in ("prompts", "trace")}

    def _branches(self, p: int) -> dict[str, Sequence[Row]]:
        return {"branches": self.script.rows("branches", p)}

    def _coverage(self) -> None:
        """Random heads cover no text."""

    def _manifest(self, samples: int) -> dict[str, Any]:
        manifest = super()._manifest(samples)
        about, source = self.script.about(), self.script.source
        whose = f"{about['profile']} ({about['model']})"
        said = [
            f"scripted: exits, accepts and tokens are those of {whose}; the model that ran did all the work and decided nothing",
            "times are this model's own; speedups are those of that text and its heads",
            "prompts are random tokens, as many as were recorded",
        ]
        timed, decided = self.decoder.heads.form, self.script.form
        if timed != decided:
            said.append(
                f"heads {timed.label} were timed, heads {decided.label} decided: exits and accepts are those of the latter, so that no speedup shows what the form loses"
            )
        if self.shape is not None:
            manifest["model"] |= {
                "name": f"{self.shape.name}, random weights",
                "shape": asdict(self.shape),
            }
            manifest["heads"] |= {"name": "random matrices"}
            said.append(
                "weights are random: what depends on them, such as which experts are chosen, is not as in a trained model"
            )
        manifest["limitations"] = [*said, *manifest["limitations"]]
        manifest["prompts"] |= {"sha256": source["prompts"].get("sha256")}
        return manifest | {"scripted": about, "eos_token_ids": sorted(self.script.trace.eos)}
