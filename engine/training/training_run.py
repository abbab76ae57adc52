"""The stages of a training run, from the prompts to trained heads with their gates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.evaluation.head_coverage import measure_coverage
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.token_frequency import by_frequency
from adadecode.engine.training.checkpoint import Checkpoint
from adadecode.engine.training.closed_form import kept_closed_form
from adadecode.engine.training.continuation_store import Advance, ContinuationStore
from adadecode.engine.training.encoded_prompts import split
from adadecode.engine.training.estimate import Forecast, TrainingPlan, forecast
from adadecode.engine.training.gates import train_gates
from adadecode.engine.training.hidden_state_store import (
    N_LIKELY,
    States,
    texts_digest,
    write_states,
)
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.engine.training.options import HeadStart, TrainingOptions
from adadecode.engine.training.trainer import Trainer
from adadecode.profiles.errors import InputError

CHECKPOINT = "checkpoint.safetensors"

Progress = Callable[[str, int, int], None]
"""Called with a stage, how many of its steps are done, and how many there are."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingMaterial:
    """What heads are trained and measured on.

    Attributes:
        vocabulary: The model's LM head.
        depths: D depths of heads.
        seen: Normed hidden states (n, D + 1, d) of the texts trained on, the last layer's last.
        unseen: Those of the texts held out.
    """

    vocabulary: Vocabulary
    depths: tuple[int, ...]
    seen: States
    unseen: States


class TrainingRun:
    """The stages of one training run, each of which goes on from what it left in the cache.

    Args:
        decoder: The model.
        vocabulary: Its LM head.
        depths: Depths of the heads.
        cache: The folder of hidden states and checkpoints.
        store: The continuations.
        options: How heads are trained.
        progress: Called with a stage, how many of its steps are done, and how many there are.
        name: What tells the run from others.
    """

    def __init__(
        self,
        decoder: AdaDecoder,
        vocabulary: Vocabulary,
        depths: tuple[int, ...],
        cache: Path,
        store: ContinuationStore,
        options: TrainingOptions,
        progress: Progress,
        *,
        name: str,
    ) -> None:
        self.decoder, self.vocabulary, self.depths = decoder, vocabulary, depths
        self.cache, self.store = cache, store
        self.options, self.progress, self.name = options, progress, name

    def forecast(self, encoded: Sequence[torch.Tensor]) -> Forecast | None:
        """Return what the run will need; None where all texts are there, and little is left."""
        missing = self.store.missing(encoded)
        if not missing:
            return None
        plan = TrainingPlan(
            prompts=tuple(ids.shape[1] for ids in encoded),
            depths=len(self.depths),
            options=self.options,
        )
        return forecast(self.decoder, plan, missing, self._dtype.itemsize)

    def heads(self, encoded: Sequence[torch.Tensor], given: ExitHeads | None = None) -> ExitHeads:
        """Return the trained heads with their metrics.

        Args:
            encoded: The prompts, each (1, n).
            given: Heads that are trained already, which get gates and nothing else.
        """
        options = self.options
        trained, held_out = split(len(encoded), options.held_out, options.seed)
        texts = self._continuations(encoded)
        seen = [texts[index] for index in trained]
        unseen = [texts[index] for index in held_out]
        positions = sum(len(text.output) for text in texts)
        _check_disk(self.cache, positions * self._row_bytes)
        advance = self._stage("hidden states", positions)
        material = TrainingMaterial(
            vocabulary=self.vocabulary,
            depths=self.depths,
            seen=self._states(seen, "train", advance),
            unseen=self._states(unseen, "held-out", advance),
        )
        heads = self._trained(material, seen, unseen) if given is None else given
        return self._gated(heads, material)

    def _trained(
        self,
        material: TrainingMaterial,
        seen: Sequence[Continuation],
        unseen: Sequence[Continuation],
    ) -> ExitHeads:
        """Return heads trained on the material of these texts, those seen and those held out."""
        options, model = self.options, self.decoder.parts.model
        transforms, metrics = self._train(material, texts_digest(seen))
        heads = ExitHeads(
            model,
            dict(zip(self.depths, transforms, strict=True)),
            metrics,
            form=options.form(),
            frequent=by_frequency((text.output for text in seen), self.decoder.eos),
        )
        if not heads.form.is_full:
            found = measure_coverage(self.decoder.parts, model, heads, unseen)
            heads.coverage = None if found is None else found.to_dict()
        return heads

    def _continuations(self, encoded: Sequence[torch.Tensor]) -> list[Continuation]:
        n_new = self.options.max_new_tokens
        with torch.inference_mode():
            self.decoder.parts.allocate(max(ids.shape[1] for ids in encoded) + n_new)
        return self.store.continuations(
            self.decoder,
            encoded,
            max_new_tokens=n_new,
            batch=self.options.batch_prompts,
            advance=self._stage("greedy continuations", len(encoded)),
        )

    @property
    def _dtype(self) -> torch.dtype:
        """The format in which hidden states are kept."""
        own = self.decoder.parts.dtype
        return own if own.itemsize == 2 else torch.float16

    @property
    def _row_bytes(self) -> int:
        """The bytes of the hidden states of a position."""
        states = (len(self.depths) + 1) * self.decoder.parts.hidden_size * self._dtype.itemsize
        return states + N_LIKELY * torch.int32.itemsize

    def _states(self, texts: Sequence[Continuation], name: str, advance: Advance) -> States:
        """Return the hidden states of these texts, kept under this name."""
        return write_states(
            self.decoder.parts,
            texts,
            self.depths,
            self.cache,
            name,
            run=self.name,
            dtype=self._dtype,
            advance=advance,
        )

    def _train(
        self, material: TrainingMaterial, texts: str
    ) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
        """Return the matrices of the heads, and what was measured on the texts held out.

        Args:
            material: What they are trained on.
            texts: The digest of the texts trained on.
        """
        options, seen, unseen = self.options, material.seen, material.unseen
        about = {"run": self.name, "texts": texts}
        trainer = Trainer(
            self.vocabulary,
            self.depths,
            starts=self._starts(seen, about),
            lr=options.peak_lr(self.decoder.parts.hidden_size),
            epochs=options.epochs,
            batch_tokens=options.batch_tokens,
            seed=options.seed,
        )
        steps = options.epochs * seen.steps(options.batch_tokens)
        checkpoint = Checkpoint(path=self.cache / CHECKPOINT, about=about)
        trainer.fit(seen, checkpoint, self._stage("training", steps))
        batches = unseen.steps(options.batch_tokens)
        metrics = trainer.measure(unseen, self._stage("held-out prompts", batches))
        return trainer.transforms(), metrics

    def _starts(self, seen: States, about: Mapping[str, str]) -> list[torch.Tensor]:
        """Return the matrix (d, d) from which each head starts."""
        if self.options.start == HeadStart.IDENTITY:
            eye = torch.eye(self.decoder.parts.hidden_size)
            return [eye for _ in self.depths]
        return kept_closed_form(
            self.cache,
            about,
            self.depths,
            seen,
            self.vocabulary,
            self._stage("closed form", 1),
            run=self.cache.parent,
        )

    def _gated(self, heads: ExitHeads, material: TrainingMaterial) -> ExitHeads:
        """Return the trained heads with gates, fitted to the same hidden states.

        Args:
            heads: The trained heads in their form.
            material: What they were trained on, and what was held out.
        """
        if self.options.gate_confidence == 1:
            return heads
        parts = self.decoder.parts
        gates = train_gates(
            parts,
            heads,
            material.seen,
            material.unseen,
            confidence=self.options.gate_confidence,
            advance=self._stage("gates", len(heads.depths)),
        )
        return heads.gated(parts.model, gates)

    def _stage(self, name: str, count: int) -> Advance:
        """Return a function that counts the steps of a stage as they are done."""
        done = 0

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            self.progress(name, done, count)

        return advance


def _check_disk(folder: Path, wanted: int) -> None:
    """Raise InputError unless all hidden states fit on the disk.

    Args:
        folder: Where they are written, and where some may be already.
        wanted: Bytes of all of them.
    """
    there = sum(path.lstat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if wanted > free + there:
        raise InputError(
            f"the hidden states take {wanted / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB left: "
            "name another --out, or fewer --depths or prompts"
        )
