"""Give the heads of a recording the form that its options name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.token_frequency import CountedTokens, frequent_in
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.model.end_tokens import own_end_tokens
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.profiles.errors import HeadsError
from adadecode.sim.core.head_form import form_named

TRAINED_ON = "the texts that the heads were trained on"
"""What the frequent tokens of heads were counted in where no other source is named."""


def form_heads(
    heads: ExitHeads,
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    options: RecordingOptions,
    shortlist_from: str | None = None,
    field: str | None = None,
    notice: Callable[[str], None],
) -> ExitHeads:
    """Return the heads in the form that the options name; as they are where those name none.

    Args:
        heads: The heads as they were saved.
        model: The model that they belong to.
        tokenizer: The model's own; None where tokens are random, and all as frequent.
        prompts: What will be recorded: nothing of it is counted.
        options: ``shortlist`` and ``head_dtype`` name the form; a shortlist of 0 is none.
        shortlist_from: A profile or a file of texts in which tokens are counted; the heads' own
            training texts where None.
        field: A field of a JSON file that may hold these texts besides those that are known.
        notice: Called with sentences for the user.

    Raises:
        HeadsError: No heads of this model can have this form.
    """
    named = {options.shortlist, options.head_dtype, options.shortlist_prompt} != {None}
    if not named and shortlist_from is None:
        return heads
    form = options.head_form(heads.form)
    if options.shortlist_prompt and form.shortlist is None:
        raise HeadsError(
            "--shortlist-prompt adds the tokens of a prompt to a shortlist: say how many tokens it "
            "has with --shortlist"
        )
    frequent: Sequence[int] | None = None
    if tokenizer is None:
        frequent = ()
    elif shortlist_from is not None:
        found = _counted(shortlist_from, model, tokenizer, prompts, field, notice)
        frequent = found.frequent if found.texts else ()
    formed = heads.shaped(
        model,
        shortlist=form.shortlist,
        dtype=form.dtype,
        prompt=form.prompt,
        frequent=frequent,
    )
    if named:
        notice(f"heads: {formed.form.label}")
    n_counted, size = len(formed.ranked(model).counted), formed.form.shortlist
    if size is not None and size > n_counted and tokenizer is not None:
        notice(
            f"{n_counted} different tokens were counted: the shortlist holds these and "
            f"{size - n_counted} more by id, the lowest first"
        )
    return formed


def _counted(
    source: str,
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    field: str | None,
    notice: Callable[[str], None],
) -> CountedTokens:
    ends = own_end_tokens(model, len(model.get_output_embeddings().weight))
    found = frequent_in(source, tokenizer, prompts, ends=ends, field=field)
    if found.left_out:
        notice(
            f"{found.left_out} of the texts in {source} are recorded here, and were left out "
            f"where tokens were counted: {found.texts} texts were"
        )
    return found


def other_forms(
    heads: ExitHeads, model: PreTrainedModel, names: Sequence[str]
) -> tuple[ExitHeads, ...]:
    """Return the heads in other forms, each once, and none in the form that they have.

    Args:
        heads: The heads that decode.
        model: The model that they belong to.
        names: The forms, as `adadecode.sim.core.head_form.form_named` reads them.

    Raises:
        HeadsError: There is no such form, or no heads of this model can have it.
    """
    wanted = map(form_named, names)
    shaped = [
        heads.shaped(model, shortlist=form.shortlist, dtype=form.dtype, prompt=form.prompt)
        for form in dict.fromkeys(wanted)
        if form != heads.form
    ]
    # Where no product reads int8, such heads are wide ones again.
    known = {each.form: each for each in shaped if each.form != heads.form}
    return tuple(known.values())


def describe_ranking(
    heads: ExitHeads, model: PreTrainedModel, shortlist_from: str | None
) -> dict[str, Any]:
    """Return the order in which shortlists take tokens, as a manifest holds it.

    Args:
        heads: The heads that were recorded.
        model: The model that they belong to.
        shortlist_from: Where their frequent tokens were counted; in the heads' own training texts
            where None.
    """
    named = TRAINED_ON if shortlist_from is None else Path(shortlist_from).name
    ranked = replace(heads.ranked(model), source=named if heads.frequent else "")
    return ranked.to_manifest()
