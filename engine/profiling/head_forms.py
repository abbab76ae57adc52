"""Give the heads of a recording the form that its options name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.token_frequency import frequent_in
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.profiles.manifest import section
from adadecode.profiles.prompt_digest import prompt_digest
from adadecode.profiles.store import read_profile


def form_heads(
    heads: ExitHeads,
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    options: RecordingOptions,
    shortlist_from: str | None = None,
    notice: Callable[[str], None],
) -> ExitHeads:
    """Return the heads in the form that the options name; as they are where those name none.

    Args:
        heads: The heads as they were saved.
        model: The model that they belong to.
        tokenizer: The model's own; None where tokens are random, and all as frequent.
        prompts: What will be recorded, to mention it where the shortlist was counted on them.
        options: ``shortlist`` and ``head_dtype`` name the form; a shortlist of 0 is none.
        shortlist_from: A profile or a file of texts in which tokens are counted; the heads' own
            training texts where None.
        notice: Called with sentences for the user.

    Raises:
        HeadsError: No heads of this model can have this form.
    """
    if options.shortlist is None and options.head_dtype is None:
        return heads
    form = options.head_form(heads.form)
    frequent: Sequence[int] | None = None
    if tokenizer is None:
        frequent = range(len(model.get_output_embeddings().weight))
    elif shortlist_from is not None:
        frequent = frequent_in(shortlist_from, tokenizer)
    formed = heads.shaped(model, shortlist=form.shortlist, dtype=form.dtype, frequent=frequent)
    notice(f"heads: {formed.form.label}")
    size = formed.form.shortlist
    if size is not None and form.shortlist is not None and size < form.shortlist:
        notice(
            f"no more than {size} different tokens were counted, "
            f"so the shortlist holds these, and not {form.shortlist}"
        )
    if shortlist_from is not None and (n_counted := _counted(shortlist_from, prompts)):
        notice(
            f"the shortlist was counted on {n_counted} of these prompts themselves: "
            "it covers them better than it will others"
        )
    return formed


def _counted(source: str, prompts: Sequence[Prompt]) -> int:
    """Return how many of the prompts are in the profile ``source``; 0 where it is no profile."""
    if not Path(source).is_dir():
        return 0
    counted = read_profile(source)
    known, salt = set(counted.prompts["sha256"]), section(counted.manifest, "prompts").get("salt")
    return sum(prompt_digest(prompt.text, salt) in known for prompt in prompts)
