"""Train exit heads: at each depth a matrix T, from the closed form, by KL(p_final || p_head).

The data are the model's own greedy outputs (paper, section 2.2). There are five stages: greedy
continuations, hidden states, the start (`closed_form`), epochs (all depths in one pass over the
data, each on its own), and measuring on held-out prompts. Each goes on from what an interrupted run
left in ``OUT``. Gates are fitted to the same hidden states at the end.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.evaluation.head_coverage import measure_coverage
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.token_frequency import by_frequency
from adadecode.engine.loading.model_loader import enough_memory
from adadecode.engine.loading.prompts import Prompt, as_prompts, encode
from adadecode.engine.runtime import fingerprints
from adadecode.engine.training.checkpoint import Checkpoint
from adadecode.engine.training.closed_form import kept_closed_form
from adadecode.engine.training.continuation_store import Advance, ContinuationStore
from adadecode.engine.training.estimate import Forecast, TrainingPlan, forecast
from adadecode.engine.training.gates import train_gates
from adadecode.engine.training.hidden_state_store import (
    N_LIKELY,
    States,
    texts_digest,
    write_states,
)
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.engine.training.options import DEFAULTS, HeadStart, TrainingOptions
from adadecode.engine.training.run_folder import check_folder, claim_folder, run_id, write_state
from adadecode.engine.training.trainer import Trainer
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import make_folder, remove_folder
from adadecode.profiles.output_path import check_output_directory

CACHE, CHECKPOINT = "cache", "checkpoint.safetensors"

Progress = Callable[[str, int, int], None]
"""Called with a stage, how many of its steps are done, and how many there are."""


def train_heads(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | Prompt],
    *,
    out: str | Path,
    options: TrainingOptions = DEFAULTS,
    progress: Progress | None = None,
    announce: Callable[[Forecast], None] | None = None,
) -> ExitHeads:
    """Train exit heads of a model, measure them, and save them.

    Called again with the same arguments, it goes on where it was stopped.

    Args:
        model: A causal LM, where it is to run. Its weights are left as they are.
        tokenizer: The model's own.
        prompts: Texts whose greedy continuations the heads are trained on.
        out: The folder of the heads: missing, empty, or this run's.
        options: Which heads are trained and how. The form that they are saved in does not change
            their training. A shortlist is counted on the continuations trained on, and what the
            form loses is measured on the others. With ``gates_only`` the heads are those of that
            folder, and only gates are trained.
        progress: Called with a stage, how many of its steps are done, and how many there are.
        announce: Called before the first stage with the time and the disk that all will need at
            most; a short probe finds out.

    Returns:
        The heads as they were saved, with what was measured on held-out prompts.

    Raises:
        InputError: ``out`` holds something else or cannot be written into, the prompts cannot be
            used, memory or disk space runs out, or training diverges.
        HeadsError: A depth lies outside the model, no heads of it can have the form, or there are
            no heads of this model where ``gates_only`` says.
        UnsupportedModel: The model cannot be run layer by layer, or has no plain LM head.
    """
    with holding(out) as folder:
        given = _given_heads(options.gates_only, model)
        decoder = AdaDecoder(model)
        parts, vocabulary = decoder.parts, Vocabulary.of(decoder.parts)
        depths = options.depths_in(parts.n_layers) if given is None else given.depths
        check_shortlist(options, len(vocabulary.weight))
        encoded = _encode_all(tokenizer, as_prompts(prompts), model, options.max_new_tokens)
        written_by: dict[str, Any] = {
            "model": parts.name,
            "weights": fingerprints.of_weights(model),
            "dtype": str(parts.dtype),
            "eos": sorted(decoder.eos),
        }
        settings = {
            **written_by,
            "prompts": fingerprints.of_json([ids.tolist() for ids in encoded]),
            **options.to_settings(parts.n_layers, parts.hidden_size),
            **({} if given is None else {"depths": list(depths), "heads": given.sha256()}),
        }
        cache = folder / CACHE
        if not claim_folder(folder, settings):
            with refusing(cache):
                make_folder(cache)
            with enough_memory("lower --batch-prompts, --batch-tokens or --max-new-tokens"):
                store = ContinuationStore(
                    folder,
                    run_id({**written_by, "max_new_tokens": options.max_new_tokens}),
                    None if options.reuse is None else Path(options.reuse),
                )
                run = _Run(
                    decoder,
                    vocabulary,
                    depths,
                    cache,
                    store,
                    options,
                    progress or _silent,
                    name=run_id(settings),
                )
                if announce is not None and (found := run.forecast(encoded)):
                    announce(found)
                heads = run.heads(encoded, given)
            heads.save(folder)
            write_state(folder, settings, finished=True)
        if not options.keep_cache:
            with refusing(cache):
                remove_folder(cache)
        return ExitHeads.load(folder, model)


def _given_heads(folder: str | None, model: PreTrainedModel) -> ExitHeads | None:
    """Return the trained heads in a folder, without gates they may have; None without a folder."""
    return None if folder is None else ExitHeads.load(folder, model).gated(model, None)


@contextmanager
def holding(out: str | Path) -> Iterator[Path]:
    """Hold the folder of a training run, in which one can begin or go on.

    Raises:
        InputError: It cannot be written into, another process writes into it, or it holds
            something else.
    """
    check_output_directory(out)
    with lock_folder(out) as folder:
        check_folder(folder)
        yield folder


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


class _Run:
    """The stages of one training run."""

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
        trained, held_out = _split(len(encoded), options.held_out, options.seed)
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
            self.cache, about, self.depths, seen, self.vocabulary, self._stage("closed form", 1)
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


def _silent(_stage: str, _done: int, _count: int) -> None:
    """Show no progress."""


def check_shortlist(options: TrainingOptions, n_tokens: int) -> None:
    """Check that a shortlist leaves out some of the model's tokens.

    Raises:
        HeadsError: It leaves out none.
    """
    size = options.shortlist
    if size is not None and size >= n_tokens:
        raise HeadsError(
            f"a shortlist of {size} tokens leaves out none of the {n_tokens} of this model: "
            "take fewer"
        )


def _encode_all(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    model: PreTrainedModel,
    max_new_tokens: int,
) -> list[torch.Tensor]:
    """Return the token ids (1, n) of every different prompt.

    A prompt given twice counts once: it must not be trained on and held out.

    Raises:
        InputError: A prompt does not fit the model's positions or vocabulary, or all are the same.
    """
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None) or math.inf
    found: dict[tuple[int, ...], torch.Tensor] = {}
    for number, prompt in enumerate(prompts, 1):
        ids = encode(tokenizer, prompt)
        if ids.shape[1] + max_new_tokens > longest:
            raise InputError(
                f"prompt {number} has {ids.shape[1]} tokens, and {max_new_tokens} more pass the "
                f"model's {longest} positions: shorten it, or lower --max-new-tokens"
            )
        if int(ids.max()) >= config.vocab_size:
            raise InputError(
                f"prompt {number} has the token {int(ids.max())}, this model knows "
                f"{config.vocab_size}: the tokenizer belongs to another model"
            )
        found[tuple(ids[0].tolist())] = ids
    if len(found) < 2:
        raise InputError(
            "wanted 2 different prompts or more, some to train on and some held out, "
            f"got {len(found)}"
        )
    return list(found.values())


def _split(count: int, held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Return which prompts to train on, and which are held out.

    Their order is random, so that neighbours in a shard are unrelated.
    """
    order = random.Random(seed).sample(range(count), count)
    kept = min(count - 1, max(1, round(held_out * count)))
    return order[kept:], order[:kept]


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
