"""``--shortlist``, ``--head-dtype`` and ``--shortlist-from``: another form of heads that are there already."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PreTrainedModel

from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.token_frequency import frequent_in
from adadecode.engine.loading.prompts import Prompt
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import read_profile
from adadecode.sim.core.head_form import FULL, HeadForm

OWN = "own"
"""As --head-dtype: the model's own format, whatever the heads were saved with."""


def formed(
    heads: ExitHeads,
    model: PreTrainedModel,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    chosen: dict[str, Any],
    console: Console,
) -> ExitHeads:
    """The heads in the form that the options name, each as it is where its option is None; a shortlist of 0 is none.

    tokenizer: None where tokens are random and all as frequent. prompts: what will be recorded, to say so where the shortlist was counted on them. Raises InputError.
    """
    size, dtype, source = chosen["shortlist"], chosen["head_dtype"], chosen["shortlist_from"]
    if size is None and dtype is None:
        return heads
    if source is not None and tokenizer is None:
        raise InputError(
            "with --scripted, tokens are random and so is a shortlist: leave --shortlist-from out"
        )
    form = wanted_form(heads.form, chosen)
    wanted = form.shortlist
    frequent: Sequence[int] | None = None if source is None else frequent_in(source, tokenizer)
    if tokenizer is None:
        frequent = range(len(model.get_output_embeddings().weight))
    made = heads.shaped(model, shortlist=wanted, dtype=form.dtype, frequent=frequent)
    console.print(f"heads: {made.form.label}", highlight=False)
    if made.form.shortlist is not None and wanted is not None and made.form.shortlist < wanted:
        console.print(
            f"no more than {made.form.shortlist} different tokens were counted, so the shortlist holds these, and not {wanted}"
        )
    if source is not None and (own := _counted(source, prompts)):
        console.print(
            f"the shortlist was counted on {own} of these prompts themselves: it covers them better than it will others"
        )
    return made


def check_form(chosen: dict[str, Any]) -> None:
    """Raises InputError or HeadsError for a form that no heads can have."""
    if chosen["shortlist_from"] is not None and not chosen["shortlist"]:
        raise InputError(
            "--shortlist-from names what a shortlist is counted in: say how many tokens it holds with --shortlist"
        )
    wanted_form(FULL, chosen)


def wanted_form(own: HeadForm, chosen: dict[str, Any]) -> HeadForm:
    """The form that the options name for heads of the form ``own``. Raises HeadsError."""
    size, dtype = chosen["shortlist"], chosen["head_dtype"]
    return HeadForm(
        shortlist=own.shortlist if size is None else size or None,
        dtype=own.dtype if dtype is None else None if dtype == OWN else dtype,
    )


def _counted(source: str, prompts: Sequence[Prompt]) -> int:
    """How many of the prompts are in the profile ``source``; 0 where it is none."""
    if not Path(source).is_dir():
        return 0
    known = set(read_profile(source).prompts["sha256"])
    return sum(hashlib.sha256(prompt.text.encode()).hexdigest() in known for prompt in prompts)
