"""Baselines as a user names them: ``all``, or a list like ``generate,lookup:10,early-exit:4``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from transformers import PreTrainedModel

from adadecode.engine.baselines.generate import GenerateBaseline, why_no_early_exit
from adadecode.engine.baselines.static_cache import static_cache_baseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.runtime import fingerprints
from adadecode.profiles.errors import InputError

NAMES = {
    "generate": "transformers generate with its dynamic cache",
    "static": "the same with a static cache, compiled",
    "lookup": "drafts looked up in the text so far; lookup:N for N tokens at once (10)",
    "early-exit": "drafts from the model's own LM head at a depth; early-exit:D for depth D (a "
    "quarter of the layers)",
    "draft": "drafts from a second model (--draft-model)",
}
LOOKUP_TOKENS = 10
"""Drafts of a look-up, as the documentation of transformers has it."""

SCRIPTED = ("generate", "static")
"""Baselines whose time does not depend on which text a model writes."""


@dataclass(frozen=True, kw_only=True)
class DraftModel:
    """A second, smaller model that drafts.

    Attributes:
        name: Its name as the user gave it.
        model: The model.
        tokenizer: Its tokenizer.
    """

    name: str
    model: PreTrainedModel
    tokenizer: Any

    def about(self) -> dict[str, Any]:
        """Return the manifest's entries on the draft model."""
        config = self.model.config
        sizes = {
            "n_parameters": sum(t.numel() for t in self.model.parameters()),
            "weights_digest": fingerprints.of_weights(self.model),
        }
        return {
            "draft_model": self.name,
            "class": type(self.model).__name__,
            "revision": getattr(config, "_commit_hash", None),
            **sizes,
        }


def make_baselines(
    named: str,
    decoder: AdaDecoder,
    *,
    longest: int,
    draft: DraftModel | None = None,
    tokenizer: Any = None,
    scripted: bool = False,
) -> tuple[GenerateBaseline, ...]:
    """Return the baselines of a list; ``generate`` is always among them, and first.

    Args:
        named: The list.
        decoder: Holds the model.
        longest: Positions that a static cache must hold.
        draft: The draft model, if there is one.
        tokenizer: The model's own, for a draft model with another vocabulary.
        scripted: Whether to take only those that a scripted recording can have.

    Raises:
        InputError: A name is unknown, or lacks what it needs.
    """
    wanted = named_baselines(named, drafts=draft is not None, scripted=scripted)
    made = [
        _make(name, number, decoder, longest, draft, tokenizer) for name, number in wanted.items()
    ]
    if scripted:  # a scripted text does not end early either
        made = [replace(one, eos=frozenset()) for one in made]
    return tuple({one.name: one for one in made}.values())


def named_baselines(named: str, *, drafts: bool, scripted: bool) -> dict[str, int | None]:
    """Return the baselines of a list by name, each with its number, ``generate`` first.

    Args:
        named: The list.
        drafts: Whether there is a draft model.
        scripted: Whether to take only those that a scripted recording can have.

    Raises:
        InputError: A name is unknown, or lacks what it needs.
    """
    wanted: dict[str, int | None] = {"generate": None}
    for part in NAMES if named == "all" else named.split(","):
        name, _, number = part.strip().partition(":")
        if name not in NAMES:
            raise InputError(f"no baseline {part.strip()!r}: known are all, {', '.join(NAMES)}")
        if number and (
            name not in ("lookup", "early-exit") or not number.isdecimal() or int(number) < 1
        ):
            raise InputError(
                f"wanted --baselines like lookup:10 or early-exit:4, got {part.strip()!r}"
            )
        wanted[part.strip()] = int(number) if number else None
    if named != "all" and "draft" in wanted and not (drafts or scripted):
        raise InputError("the baseline draft needs a second model: name it with --draft-model")
    if scripted and (odd := [name for name in wanted if name not in SCRIPTED]):
        if named != "all":
            raise InputError(
                "a scripted recording has no text of its own to draft from: wanted --baselines "
                f"{','.join(SCRIPTED)}, got {', '.join(odd)}"
            )
        wanted = {name: None for name in wanted if name in SCRIPTED}
    return wanted


def _make(
    name: str,
    number: int | None,
    decoder: AdaDecoder,
    longest: int,
    draft: DraftModel | None,
    tokenizer: Any,
) -> GenerateBaseline:
    """Return the baseline of this name."""
    model, eos = decoder.parts.model, decoder.eos
    kind = name.partition(":")[0]
    if kind == "static":
        return static_cache_baseline(decoder, longest)
    if kind == "lookup":
        settings = {"prompt_lookup_num_tokens": number or LOOKUP_TOKENS}
        return GenerateBaseline(
            name=f"lookup:{number or LOOKUP_TOKENS}",
            model=model,
            eos=eos,
            options=settings,
            settings=settings,
        )
    if kind == "early-exit":
        return early_exit_baseline(decoder, number)
    if kind == "draft":
        return draft_model_baseline(decoder, draft, tokenizer)
    return GenerateBaseline(name=name, model=model, eos=eos)


def early_exit_baseline(decoder: AdaDecoder, depth: int | None = None) -> GenerateBaseline:
    """Return ``generate`` with drafts from the model's own LM head at a depth.

    Args:
        decoder: Holds the model.
        depth: The depth, in layers; a quarter of them by default.

    Raises:
        InputError: The model has no such depth.
    """
    n_layers = decoder.parts.n_layers
    depth = max(1, n_layers // 4) if depth is None else depth
    if depth >= n_layers:
        raise InputError(
            f"wanted the baseline early-exit at a depth 1..{n_layers - 1} of this model, got "
            f"{depth}"
        )
    settings = {"assistant_early_exit": depth}
    needs = "a model that walks layers[:num_hidden_layers], without layer_types"
    return GenerateBaseline(
        name=f"early-exit:{depth}",
        model=decoder.parts.model,
        eos=decoder.eos,
        options=settings,
        settings=settings,
        needs=needs,
        lacks=why_no_early_exit(decoder),
    )


def draft_model_baseline(
    decoder: AdaDecoder, draft: DraftModel | None, tokenizer: Any
) -> GenerateBaseline:
    """Return ``generate`` with drafts from a second model, with both tokenizers where they differ.

    Args:
        decoder: Holds the model.
        draft: The draft model; None makes a baseline that reports what it lacks.
        tokenizer: The model's own tokenizer.

    Raises:
        InputError: ``generate`` does not go with this draft model.
    """
    needs = "a smaller model of the same text (--draft-model)"
    if draft is None:
        return GenerateBaseline(
            name="draft",
            model=decoder.parts.model,
            eos=decoder.eos,
            needs=needs,
            lacks="no --draft-model was given",
        )
    options: dict[str, Any] = {"assistant_model": draft.model}
    own, drafts = (
        one.config.get_text_config().vocab_size for one in (decoder.parts.model, draft.model)
    )
    other = tokenizer is not None and tokenizer.get_vocab() != draft.tokenizer.get_vocab()
    if other != (own != drafts):  # generate translates between tokenizers, by sizes
        tokens = "other tokens" if other else "the same tokens"
        raise InputError(
            f"the draft model has a vocabulary of {drafts}, the model {own}, of {tokens}: take one "
            "of the same family"
        )
    if other:
        options |= {"tokenizer": tokenizer, "assistant_tokenizer": draft.tokenizer}
    return GenerateBaseline(
        name="draft",
        model=decoder.parts.model,
        eos=decoder.eos,
        options=options,
        settings=draft.about(),
        needs=needs,
    )


def load_draft(
    name: str, dtype: str, device: str, *, trust_remote_code: bool = False
) -> DraftModel:
    """Load the draft model of a folder or hub name. Raises InputError where there is none."""
    model, tokenizer = load_model(name, dtype, device, trust_remote_code=trust_remote_code)
    return DraftModel(name=name, model=model, tokenizer=tokenizer)
