"""A model with its exit heads, in which texts are begun: designs, ends of texts and prefills."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from adadecode.engine.decoding.arguments import (
    check_heads,
    check_input_ids,
    check_model,
    checked_new_tokens,
)
from adadecode.engine.decoding.generation_settings import bending, in_words
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sampling import Sampling, make_token_selector
from adadecode.engine.decoding.sequence import (
    Decoding,
    gate_score,
    greedy_draft,
    greedy_tokens,
    head_logits,
)
from adadecode.engine.decoding.stop_strings import (
    StopCriteria,
    StopTexts,
    check_tokenizer,
    checked_stop_strings,
)
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.canonical import check_numerics, take_apart
from adadecode.engine.model.cuda_graphs import take_apart_static
from adadecode.engine.model.end_tokens import (
    EndTokens,
    checked_end_tokens,
    own_end_tokens,
    warn_of_missing_end,
)
from adadecode.engine.model.segmented_model import most_positions
from adadecode.profiles.errors import DesignError
from adadecode.sim.core.design import RUNNABLE, Design, Policy
from adadecode.sim.core.scheduler import Schedule


class ModelWithHeads:
    """A causal LM and its exit heads, taken apart: prompts are run, and their texts begun.

    What a text is begun with stands here too: its design, the tokens and strings that end it, and
    warnings of what it goes without. `adadecode.engine.decoding.decoder.AdaDecoder` describes the
    arguments.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        heads: ExitHeads | None = None,
        *,
        numerics: str = "native",
        graphs: str = "eager",
    ) -> None:
        check_model(model)
        check_heads(heads, model)
        check_numerics(numerics)
        model.eval()
        self.numerics, self.graphs = numerics, graphs
        self._warned: set[str] = set()
        self._ends: frozenset[int] | None = None
        self._stop: StopCriteria | None = None
        self.parts = (
            take_apart(model, numerics)
            if graphs == "eager"
            else take_apart_static(model, graphs, numerics)
        )
        self.heads = heads if heads is not None else ExitHeads.identity(model, ())
        self.warn_of_settings(sampled=False)

    @property
    def eos(self) -> frozenset[int]:
        """The tokens that end a text where no others are given.

        They are those of the model's generation settings as they are now, or what this was set to.
        """
        if self._ends is not None:
            return self._ends
        return own_end_tokens(self.parts.model, self.parts.n_embeddings)

    @eos.setter
    def eos(self, tokens: frozenset[int]) -> None:
        self._ends = tokens

    def design(
        self,
        *,
        gamma: float | Sequence[float],
        placement: Sequence[int] | None,
        cap: int,
        policy: str | Policy,
        verify: bool = True,
        gate: float | Sequence[float] = 0.0,
    ) -> Design:
        """Return the design that these options of `generate` name.

        Raises:
            DesignError: An option makes no sense, or the policy is the oracle, which only a
                simulation can follow.
            HeadsError: The placement names a depth that has no head, or gates are to be asked that
                the heads do not have.
        """
        design = Design.of(
            policy,
            gamma=gamma,
            placement=self.heads.depths if placement is None else placement,
            cap=cap,
            verify=verify,
            gate=gate,
        )
        if design.policy not in RUNNABLE:
            raise DesignError(
                f"the policy {design.policy} must know the text in advance: simulate it from a "
                f"recorded trace with adadecode-sim, or run one of {', '.join(RUNNABLE)}"
            )
        self.heads.require_design(design)
        return design

    def prepare(self, designs: Sequence[Design], longest: int, *, sampled: bool = False) -> None:
        """Compile and capture what the first runs of these designs would otherwise make.

        Args:
            designs: The designs that will be run.
            longest: Positions of the longest text. There must be room for it already.
            sampled: Whether texts will be sampled.
        """
        parts, heads = self.parts, self.heads
        gated = {depth for design in designs for depth in design.placement if design.gate(depth)}

        def follow(depth: int, hidden: torch.Tensor) -> None:
            if depth == parts.n_layers:
                parts.logits(hidden) if sampled else greedy_tokens(parts, hidden, 0)
            elif hidden.shape[1] == 1:
                if depth in gated:
                    gate_score(parts, heads, depth, hidden)
                head_logits(parts, heads, depth, hidden) if sampled else greedy_draft(
                    parts, heads, depth, hidden
                )

        bounds = {design.boundaries(parts.n_layers) for design in designs}
        parts.prepare(sorted({pair for each in bounds for pair in pairwise(each)}), longest, follow)

    def start(
        self,
        input_ids: torch.Tensor,
        design: Design,
        *,
        max_new_tokens: int,
        eos_token_id: EndTokens = None,
        sampling: Sampling | None = None,
        stop: StopCriteria | None = None,
        prefilled: PrefilledPrompt | None = None,
    ) -> Decoding:
        """Run the prompt through all layers, take the first token, and return the decoding.

        Args:
            input_ids: Token ids of the prompt, shape ``(1, n)``.
            design: How to decode.
            max_new_tokens: The most tokens to add.
            eos_token_id: The tokens that end the text; the model's own by default.
            sampling: How to sample; greedy by default.
            stop: Stop strings that end the text; none by default.
            prefilled: This prompt, run by `prefill` and kept: it is restored in place of being run.

        Returns:
            The decoding, of which the first token is committed.

        Raises:
            InputError: As `generate` does.
            DesignError: ``max_new_tokens`` is no whole number from 1 on.
        """
        parts = self.parts
        check_input_ids(input_ids, parts)
        new_tokens = checked_new_tokens(max_new_tokens)
        eos = checked_end_tokens(eos_token_id, lambda: self.eos, parts)
        selector = make_token_selector(sampling)
        self.warn_of_settings(sampled=sampling is not None)
        n_prompt = input_ids.shape[1]
        positions = n_prompt + new_tokens - 1  # the last token is not computed
        with torch.inference_mode():
            parts.allocate(positions)
        self._warn_of_length(positions)
        with parts.session():
            if prefilled is None:
                prefilled = self._prefilled(input_ids)
            else:
                prefilled.restore(parts)
            first = selector.first(prefilled.logits)
        schedule = Schedule(
            design=design,
            n_layers=parts.n_layers,
            n_prompt=n_prompt,
            first_token=first,
            max_new_tokens=new_tokens,
            eos=eos,
            sampled=sampling is not None,
            stops=None if stop is None else stop.after(input_ids[0].tolist()),
        )
        return Decoding(parts, prefilled.heads or self.heads, schedule, selector)

    def prefill(self, input_ids: torch.Tensor, max_new_tokens: int) -> PrefilledPrompt:
        """Run a prompt, from which several texts can go on; keep it by its `keep`.

        The heads of its texts are made once too: of a shortlist, rows of the prompt's tokens.

        Args:
            input_ids: Token ids of the prompt, shape ``(1, n)``.
            max_new_tokens: The most tokens that a text will add.
        """
        with torch.inference_mode():
            self.parts.allocate(input_ids.shape[1] + max_new_tokens - 1)
        with self.parts.session():
            return self._prefilled(input_ids)

    def _prefilled(self, input_ids: torch.Tensor) -> PrefilledPrompt:
        parts = self.parts
        hidden = parts.run(0, parts.n_layers, parts.embed(input_ids.to(parts.device), 0), 0)
        logits = parts.logits(hidden[:, -1:])[0, -1]
        heads = self.heads.for_text(input_ids[0].tolist())
        return PrefilledPrompt(n_tokens=input_ids.shape[1], logits=logits, heads=heads)

    def _stop_criteria(
        self, stop_strings: StopTexts, tokenizer: PreTrainedTokenizerBase | None
    ) -> StopCriteria | None:
        """Return the stop strings of a text, prepared; None where there are none.

        They are prepared anew only for other strings or another tokenizer.
        """
        own = getattr(self.parts.model.generation_config, "stop_strings", None)
        strings = checked_stop_strings(stop_strings, own)
        check_tokenizer(tokenizer, strings, own=stop_strings is None)
        if tokenizer is None or not strings:
            return None
        stop = self._stop
        if stop is None or not stop.serves(strings, tokenizer):
            self._stop = stop = StopCriteria(strings, tokenizer)
        return stop

    def warn_of_settings(
        self, *, sampled: bool, given: Collection[str] = ("top_k", "top_p")
    ) -> None:
        """Warn once of each of the generation settings that change what ``generate`` writes.

        Args:
            sampled: Whether the text is sampled.
            given: Settings in place of which the user gave an argument.
        """
        found = bending(self.parts.model.generation_config, sampled=sampled, given=given)
        words = [in_words(name, value) for name, value in found.items()]
        fresh = [one for one in words if one not in self._warned]
        if fresh:
            self._warned.update(fresh)
            warnings.warn(
                f"the model's generation settings bend what generate writes ({', '.join(fresh)}); "
                "AdaDecoder decodes without them",
                stacklevel=3,
            )

    def _warn_of_missing_end(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        """Warn once where the tokenizer ends texts with a token that ends none here."""
        if tokenizer is not None and "tokenizer" not in self._warned:
            self._warned.add("tokenizer")
            warn_of_missing_end(tokenizer, self.eos)

    def _warn_of_length(self, positions: int) -> None:
        """Warn once of a text beyond the positions that the model was made for.

        Rotary positions go on beyond them, though the text need not stay good. Learned positions do
        not: such a text is refused where room is made for it.
        """
        limit = most_positions(self.parts.model)
        if limit is None or positions <= limit or "length" in self._warned:
            return
        self._warned.add("length")
        warnings.warn(
            f"the text takes {positions} positions, the model was made for {limit}: ask for fewer "
            "tokens",
            stacklevel=4,
        )
