"""Train exit heads: at each depth a matrix T, from the closed form, by KL(p_final || p_head).

The data are the model's own greedy outputs (paper, section 2.2). There are five stages: greedy
continuations, hidden states, the start (`closed_form`), epochs (all depths in one pass over the
data, each on its own), and measuring on held-out prompts. Each goes on from what an interrupted run
left in ``OUT``. Gates are fitted to the same hidden states at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.model_loader import enough_memory
from adadecode.engine.loading.prompts import Prompt, as_prompts
from adadecode.engine.runtime import fingerprints
from adadecode.engine.training.continuation_store import ContinuationStore
from adadecode.engine.training.encoded_prompts import encode_all
from adadecode.engine.training.estimate import Forecast
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.engine.training.options import DEFAULTS, TrainingOptions
from adadecode.engine.training.run_folder import check_folder, claim_folder, run_id, write_state
from adadecode.engine.training.training_run import Progress, TrainingRun
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.folder_lock import lock_folder
from adadecode.profiles.output_errors import refusing
from adadecode.profiles.output_folder import make_folder, remove_folder
from adadecode.profiles.output_path import check_output_directory

CACHE = "cache"
"""The folder of what a run keeps until its heads are done, within theirs."""


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
        vocabulary = Vocabulary.of(decoder.parts)
        depths = options.depths_in(decoder.parts.n_layers) if given is None else given.depths
        check_shortlist(options, len(vocabulary.weight))
        encoded = encode_all(tokenizer, as_prompts(prompts), model, options.max_new_tokens)
        writer = _writer(decoder, model)
        settings = {**writer, **_settings(decoder, encoded, options, given)}
        cache = folder / CACHE
        if not claim_folder(folder, settings):
            with refusing(cache):
                make_folder(cache)
            with enough_memory("lower --batch-prompts, --batch-tokens or --max-new-tokens"):
                store = ContinuationStore(
                    folder,
                    run_id({**writer, "max_new_tokens": options.max_new_tokens}),
                    None if options.reuse is None else Path(options.reuse),
                )
                run = TrainingRun(
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


def _writer(decoder: AdaDecoder, model: PreTrainedModel) -> dict[str, Any]:
    """Return what tells the model that writes the continuations from others.

    Args:
        decoder: The model, taken apart.
        model: The model as it was given.
    """
    return {
        "model": decoder.parts.name,
        "weights": fingerprints.of_weights(model),
        "dtype": str(decoder.parts.dtype),
        "eos": sorted(decoder.eos),
    }


def _settings(
    decoder: AdaDecoder,
    encoded: Sequence[torch.Tensor],
    options: TrainingOptions,
    given: ExitHeads | None,
) -> dict[str, Any]:
    """Return what, beside the model, a run that goes on must have again.

    Args:
        decoder: The model.
        encoded: The prompts, each (1, n).
        options: Which heads are trained and how.
        given: Heads that are trained already; None where all are to be.
    """
    return {
        "prompts": fingerprints.of_json([ids.tolist() for ids in encoded]),
        **options.to_settings(decoder.parts.n_layers, decoder.parts.hidden_size),
        **({} if given is None else {"depths": list(given.depths), "heads": given.sha256()}),
    }


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
