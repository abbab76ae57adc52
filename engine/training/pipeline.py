"""Train exit heads: at each depth a matrix T, from the identity, by KL(p_final || p_head) on the model's own greedy outputs (paper, section 2.2).

Four stages: greedy continuations, hidden states, epochs (all depths in one pass over the data, each on its own), measuring on
held-out prompts. Each goes on from what an interrupted run left in ``OUT/cache``.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.evaluation.head_coverage import coverage
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.token_frequency import by_frequency
from adadecode.engine.loading.model_loader import enough_memory
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.runtime import fingerprints
from adadecode.engine.training.hidden_state_store import continuations, write_states
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.engine.training.trainer import Trainer
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.sim.core.head_form import HeadForm

STATE, CACHE, CHECKPOINT = "train.json", "cache", "checkpoint.safetensors"
FORMAT = 1
LR_TIMES_WIDTH = 0.5
"""The default peak learning rate, times d: 2e-3 for d = 256, 1.2e-4 for d = 4096, so that a step moves T norm(h) about as far."""


def train_heads(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    depths: Sequence[int] | None,
    out: str | Path,
    *,
    max_new_tokens: int = 256,
    epochs: int = 8,
    batch_tokens: int = 1024,
    lr: float | None = None,
    seed: int = 0,
    held_out: float = 0.1,
    keep_cache: bool = False,
    shortlist: int | None = None,
    head_dtype: str | None = None,
    console: Console | None = None,
) -> ExitHeads:
    """Heads for ``model`` at ``depths`` (every 4th layer by default), trained, measured and saved in ``out``; returned as saved.

    batch_tokens: positions a step. lr: peak learning rate, LR_TIMES_WIDTH / d by default. held_out: share of the *prompts* that only the
    metrics see. keep_cache: leave the continuations and hidden states in ``out``. shortlist, head_dtype: the form that the heads are saved in
    (`adadecode.sim.core.head_form`), which training does not depend on; a shortlist is counted on the continuations trained on, and what the form loses is measured on the
    others. console: shows progress where given.

    Called again with the same arguments it goes on where it was stopped. Raises InputError (other settings in ``out``, absurd
    settings, too little memory or disk), PromptError, HeadsError, UnsupportedModel.
    """
    out = Path(out)
    decoder = AdaDecoder(model)
    parts = decoder.parts
    depths = default_depths(parts.n_layers) if depths is None else tuple(depths)
    lr = LR_TIMES_WIDTH / parts.hidden_size if lr is None else lr
    check_settings(
        depths,
        parts.n_layers,
        max_new_tokens=max_new_tokens,
        epochs=epochs,
        batch_tokens=batch_tokens,
        lr=lr,
        seed=seed,
        held_out=held_out,
    )
    encoded = _encode_all(tokenizer, prompts, model, max_new_tokens)
    settings: dict[str, Any] = {
        "model": parts.name,
        "weights": fingerprints.of_weights(model),
        "dtype": str(parts.dtype),
        "eos": sorted(decoder.eos),
    }
    settings |= {
        "prompts": fingerprints.of_json([ids.tolist() for ids in encoded]),
        "depths": list(depths),
        "max_new_tokens": max_new_tokens,
    }
    settings |= {
        "epochs": epochs,
        "batch_tokens": batch_tokens,
        "lr": lr,
        "seed": seed,
        "held_out": held_out,
    }
    trained, tested = _split(len(encoded), held_out, seed)
    vocabulary = Vocabulary.of(parts)
    form = HeadForm(shortlist=shortlist, dtype=head_dtype)
    if shortlist is not None and shortlist >= len(vocabulary.weight):
        raise HeadsError(
            f"a shortlist of {shortlist} tokens leaves out none of the {len(vocabulary.weight)} of this model: take fewer"
        )
    settings |= {} if form.is_full else {"form": form.to_dict()}
    if _claim(out, settings):
        return ExitHeads.load(out, model)
    cache = out / CACHE
    cache.mkdir(exist_ok=True)
    with _progress(console) as progress, enough_memory("lower --batch-tokens or --max-new-tokens"):
        with torch.inference_mode():
            parts.allocate(max(ids.shape[1] for ids in encoded) + max_new_tokens)
        texts = continuations(
            decoder,
            encoded,
            cache,
            max_new_tokens=max_new_tokens,
            advance=_stage(progress, "greedy continuations", len(encoded)),
        )
        positions = sum(len(text.output) for text in texts)
        dtype = parts.dtype if parts.dtype.itemsize == 2 else torch.float16
        _check_disk(cache, positions * (len(depths) + 1) * parts.hidden_size * dtype.itemsize)
        advance = _stage(progress, "hidden states", positions)
        seen = write_states(
            parts, [texts[i] for i in trained], depths, cache, "train", dtype=dtype, advance=advance
        )
        unseen = write_states(
            parts,
            [texts[i] for i in tested],
            depths,
            cache,
            "held-out",
            dtype=dtype,
            advance=advance,
        )
        trainer = Trainer(
            vocabulary, depths, lr=lr, epochs=epochs, batch_tokens=batch_tokens, seed=seed
        )
        trainer.fit(
            seen,
            cache / CHECKPOINT,
            _stage(progress, "training", epochs * seen.steps(batch_tokens)),
        )
        metrics = trainer.measure(
            unseen, _stage(progress, "held-out prompts", unseen.steps(batch_tokens))
        )
        frequent = by_frequency((texts[i].output for i in trained), decoder.eos)
        heads = ExitHeads(
            model,
            dict(zip(depths, trainer.transforms(), strict=True)),
            metrics,
            form=form,
            frequent=frequent,
        )
        if not form.is_full:
            found = coverage(parts, model, heads, [texts[i] for i in tested])
            heads.coverage = None if found is None else found.to_dict()
    heads.save(out)
    _write_state(out, settings, finished=True)
    if not keep_cache:
        shutil.rmtree(cache)
    return ExitHeads.load(out, model)


def default_depths(n_layers: int) -> tuple[int, ...]:
    """Every 4th layer, as the paper trains them; in a model of four layers or fewer, every layer."""
    step = 4 if n_layers > 4 else 1
    return tuple(range(step, n_layers, step))


# -- what is asked for ---------------------------------------------------------------------------------------------------


def check_settings(
    depths: Sequence[int],
    n_layers: int,
    *,
    max_new_tokens: int,
    epochs: int,
    batch_tokens: int,
    lr: float,
    seed: int,
    held_out: float,
) -> None:
    """Refuse what makes no sense. Raises HeadsError for depths, InputError for the rest."""
    if (
        not depths
        or list(depths) != sorted(set(depths))
        or not all(1 <= depth < n_layers for depth in depths)
    ):
        raise HeadsError(
            f"wanted rising depths between the {n_layers} layers of this model, 1..{n_layers - 1}, got {list(depths)}: see --depths"
        )
    for name, value in (
        ("max-new-tokens", max_new_tokens),
        ("epochs", epochs),
        ("batch-tokens", batch_tokens),
    ):
        if value < 1:
            raise InputError(f"wanted --{name} of 1 or more, got {value}")
    if not (math.isfinite(lr) and lr > 0):
        raise InputError(f"wanted a finite --lr above 0, got {lr}")
    if not 0 < held_out < 1:
        raise InputError(
            f"wanted --held-out between 0 and 1, the share of prompts kept for measuring, got {held_out}"
        )
    if seed < 0:
        raise InputError(f"wanted a --seed of 0 or more, got {seed}")


def _encode_all(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    model: PreTrainedModel,
    max_new_tokens: int,
) -> list[torch.Tensor]:
    """Token ids (1, n) of every different prompt, all of which must fit the model's positions and vocabulary.

    A prompt given twice counts once: it must not be trained on and held out.
    """
    config = model.config.get_text_config()
    longest = getattr(config, "max_position_embeddings", None) or math.inf
    found: dict[tuple[int, ...], torch.Tensor] = {}
    for number, prompt in enumerate(prompts, 1):
        ids = encode(tokenizer, prompt)
        if ids.shape[1] + max_new_tokens > longest:
            raise InputError(
                f"prompt {number} has {ids.shape[1]} tokens, and {max_new_tokens} more pass the model's {longest} positions: shorten it, or lower --max-new-tokens"
            )
        if int(ids.max()) >= config.vocab_size:
            raise InputError(
                f"prompt {number} has the token {int(ids.max())}, this model knows {config.vocab_size}: the tokenizer belongs to another model"
            )
        found[tuple(ids[0].tolist())] = ids
    if len(found) < 2:
        raise InputError(
            f"wanted 2 different prompts or more, some to train on and some held out, got {len(found)}"
        )
    return list(found.values())


def _split(count: int, held_out: float, seed: int) -> tuple[list[int], list[int]]:
    """Which prompts to train on, in random order so that neighbours in a shard are unrelated, and which are held out."""
    order = random.Random(seed).sample(range(count), count)
    kept = min(count - 1, max(1, round(held_out * count)))
    return order[kept:], order[:kept]


def _check_disk(folder: Path, wanted: int) -> None:
    """wanted: bytes of all hidden states, whatever of them is already there."""
    there = sum(path.stat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if wanted > free + there:
        raise InputError(
            f"the hidden states take {wanted / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB left: name another --out, or fewer --depths or prompts"
        )


# -- whose folder it is --------------------------------------------------------------------------------------------------


def _claim(out: Path, settings: dict[str, Any]) -> bool:
    """Make ``out`` this run's. True where these heads are already trained. Raises InputError where it is another run's."""
    path = out / STATE
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {out} ({error.strerror}): name another --out"
        ) from error
    if not path.exists():
        if any(entry.name != f"{STATE}.part" for entry in out.iterdir()):
            raise InputError(f"{out} is not empty and holds no training run: name another --out")
        _write_state(out, settings, finished=False)
        return False
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        before, finished = dict(state["settings"]), bool(state["finished"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}): name another --out"
        ) from error
    changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    if changed or state.get("format") != FORMAT:
        difference = (
            "; ".join(
                f"{name} was {before.get(name)}, is now {settings.get(name)}" for name in changed
            )
            or "another version of this program"
        )
        raise InputError(
            f"{out} holds a training run with other settings ({difference}): use the same, or name another --out"
        )
    return finished


def _write_state(out: Path, settings: dict[str, Any], *, finished: bool) -> None:
    partial = out / f"{STATE}.part"
    partial.write_text(
        json.dumps({"format": FORMAT, "settings": settings, "finished": finished}, indent=1) + "\n",
        encoding="utf-8",
    )
    partial.replace(out / STATE)


# -- progress ------------------------------------------------------------------------------------------------------------


def _progress(console: Console | None) -> Progress:
    """Stages with their time left; silent without a console."""
    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=console is None)


def _stage(progress: Progress, name: str, total: int) -> Callable[[int], None]:
    task = progress.add_task(name, total=total)
    return lambda done: progress.advance(task, done)
