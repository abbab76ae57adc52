"""The decoder: it drives the scheduler with tensors, from the prefill to the end of the text."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
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
from adadecode.engine.decoding.tokenizer_output import without_padding
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
from adadecode.sim.core.design import DEFAULT_CAP, RUNNABLE, Design, Policy
from adadecode.sim.core.scheduler import Round, Schedule


@dataclass(frozen=True, kw_only=True)
class Generation:
    """A decoded text and how it came about; what `AdaDecoder.generate` returns.

    Attributes:
        tokens: The new token ids, the one that ended the text included.
        rounds: What was done between each two verifications: drafts, exits and accepted drafts.
        seed: The seed that gives a sampled text again; None for a greedy one.
    """

    tokens: list[int]
    rounds: list[Round]
    seed: int | None = None


class AdaDecoder:
    """A causal LM with exit heads, decoded with AdaDecode (arXiv 2506.03700) without loss.

    A greedy text is the model's own, token for token; a sampled one is distributed as the model's
    own samples. Of the model's generation settings, the end-of-text tokens and the stop strings are
    read at each call. No other is applied: a warning names those that would change the text (see
    `adadecode.engine.decoding.generation_settings`). The model is used as it is, is never changed,
    and stays usable by itself, also by other threads at the same time. Threads may share a decoder:
    its texts take turns. On a GPU one setting of the whole process changes while a text is decoded:
    torch does without cuDNN's attention, so what other threads compute meanwhile may be rounded
    otherwise.

    Example:
        ::

            from transformers import AutoModelForCausalLM, AutoTokenizer
            from adadecode.engine import AdaDecoder, ExitHeads

            model = AutoModelForCausalLM.from_pretrained(name)
            tokenizer = AutoTokenizer.from_pretrained(name)
            decoder = AdaDecoder(model, ExitHeads.load("heads", model))
            ids = tokenizer("The sea is", return_tensors="pt")["input_ids"]
            print(tokenizer.decode(decoder.generate(ids, max_new_tokens=64).tokens))

    Args:
        model: A decoder-only model of ``transformers`` with a language-modelling head. It is put
            into evaluation mode.
        heads: Its exit heads, of this very model. Without any, every design decodes as vanilla.
        numerics: ``native``, or ``canonical``: vanilla and every design then agree bit for bit in
            any dtype, at a cost in time (see `adadecode.engine.model.canonical`).
        graphs: How segments are run: ``eager``, ``static``, ``compile``, ``cuda`` or
            ``cuda+compile`` (see `adadecode.engine.model.cuda_graphs`). What cannot be run so runs
            another way, with a warning.

    Raises:
        InputError: ``model`` is no model, or ``numerics`` or ``graphs`` is unknown or does not go
            with the model's device.
        UnsupportedModel: The model cannot be taken apart exactly; the message says why.
        HeadsError: The heads belong to another model.
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

    def generate(
        self,
        input_ids: torch.Tensor,
        max_new_tokens: int = 128,
        gamma: float | Sequence[float] = 0.75,
        placement: Sequence[int] | None = None,
        cap: int = DEFAULT_CAP,
        policy: str | Policy = Policy.ADADECODE,
        verify: bool = True,
        eos_token_id: EndTokens = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_strings: StopTexts = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        gate: float | Sequence[float] = 0.0,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> Generation:
        """Decode one sequence and return it whole.

        The text ends with the first of its new tokens that is one of ``eos_token_id`` or completes
        one of ``stop_strings``, which is kept as its last token, or after ``max_new_tokens``
        tokens. To stop on any other condition, take tokens from `stream` and leave the loop.

        Example:
            ::

                decoder.generate(ids, 64)  # ends at the model's own end of text
                decoder.generate(ids, 64, eos_token_id=13)  # at this token
                decoder.generate(ids, 64, eos_token_id=[2, 13])  # at either of two tokens
                decoder.generate(ids, 64, eos_token_id=())  # always 64 tokens
                decoder.generate(ids, 64, stop_strings="User:", tokenizer=tokenizer)

                inputs = tokenizer.apply_chat_template(
                    chat, add_generation_prompt=True, return_tensors="pt"
                )
                decoder.generate(**inputs, max_new_tokens=64)

        Args:
            input_ids: Token ids of the prompt, shape ``(1, n)``, n >= 1, on any device.
            max_new_tokens: The most tokens to add, 1 or more. Keys and values of all positions
                must fit into memory.
            gamma: The confidence, in [0, 1], that a draft must exceed (the paper's gamma): one for
                all heads, or one for each head of the placement. 0 takes every draft, 1 none.
            placement: Rising depths, in layers, of the heads to use; all heads by default.
            cap: The most drafts in a round, 1 or more (paper, appendix D).
            policy: ``adadecode``, ``vanilla`` (no drafts) or ``fixed`` (``cap`` drafts a round from
                the one head of the placement, however unsure).
            verify: Whether the last layer verifies drafts. Without it texts differ from the
                model's own (the paper's ablation, table 3).
            eos_token_id: The tokens that end the text: an id, several of them, or an empty sequence
                for none. By default those of the model's generation settings.
            temperature: 0 for a greedy text. Above it the text is sampled, and gamma is held
                against the head's distribution after temperature, top-k and top-p.
            top_k: Sample only from the k most likely tokens; 0, -1 or None for all.
            top_p: Sample only from the most likely tokens that make up this probability, in (0, 1];
                1 or None for all.
            seed: Seed of a sampled text, 0 or more; a random one by default.
            stop_strings: Strings that end the text: one, several, or an empty list for none. By
                default those of the model's generation settings. They are found as ``generate`` of
                ``transformers`` finds them: the token that completes one is kept whole, whatever it
                holds behind the string.
            tokenizer: The model's tokenizer, which stop strings need. Where it is given, a warning
                says so if its end-of-text token ends none of the model's texts.
            gate: The score, in [0, 1], that the gate before a head must exceed for the head to be
                asked: one for all heads, or one for each head of the placement. 0 asks the heads
                without their gates, 1 asks none.
            attention_mask: The tokenizer's, shape ``(1, n)``: 0 for padding, which is cut off at
                the left and refused elsewhere.
            token_type_ids: The tokenizer's, all 0: they are taken, and say nothing.

        Raises:
            InputError: ``input_ids`` or ``eos_token_id`` are no token ids of this model,
                ``attention_mask`` or ``token_type_ids`` tell of padding behind text or of segments,
                ``stop_strings`` are no strings or lack the tokenizer, or the text takes more memory
                than is free or more positions than the model has.
            DesignError: ``max_new_tokens``, ``gamma``, ``placement``, ``cap``, ``policy``,
                ``verify`` or ``gate`` makes no sense.
            HeadsError: The placement names a depth that has no head, or ``gate`` is above 0 and
                the heads have no gates.
            SamplingError: ``temperature``, ``top_k``, ``top_p`` or ``seed`` makes no sense.
        """
        design = self.design(
            gamma=gamma, placement=placement, cap=cap, policy=policy, verify=verify, gate=gate
        )
        sampling = Sampling.of(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        stop = self._stop_criteria(stop_strings, tokenizer)
        if eos_token_id is None:
            self._warn_of_missing_end(tokenizer)
        self.warn_of_settings(sampled=sampling is not None, given=_given(top_k=top_k, top_p=top_p))
        text = self._text(input_ids, attention_mask, token_type_ids)
        with self.parts.turns:
            decoding = self.start(
                text,
                design,
                max_new_tokens=max_new_tokens,
                eos_token_id=eos_token_id,
                sampling=sampling,
                stop=stop,
            )
            decoding.run_to_end()
        return Generation(
            tokens=decoding.schedule.tokens,
            rounds=decoding.schedule.rounds,
            seed=None if sampling is None else sampling.seed,
        )

    def stream(
        self,
        input_ids: torch.Tensor,
        max_new_tokens: int = 128,
        gamma: float | Sequence[float] = 0.75,
        placement: Sequence[int] | None = None,
        cap: int = DEFAULT_CAP,
        policy: str | Policy = Policy.ADADECODE,
        verify: bool = True,
        eos_token_id: EndTokens = None,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        stop_strings: StopTexts = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        gate: float | Sequence[float] = 0.0,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> Iterator[int]:
        """Decode one sequence and yield each new token as soon as it is committed.

        Tokens are those of `generate` with the same arguments. A committed token is never taken
        back, so it may be shown at once; several come together where drafts were accepted.
        Arguments are checked at the call, and the prompt is computed when the first token is
        taken. Between two tokens the model may be used for other texts, also by this decoder, and
        the next token may be taken in another thread. Leaving the loop early frees the text's
        buffers for the next one.

        Example:
            Print a text as it grows, and leave it after the first full stop::

                for token in decoder.stream(ids, max_new_tokens=256, gamma=0.8):
                    piece = tokenizer.decode(token)
                    print(piece, end="", flush=True)
                    if "." in piece:
                        break

        Args:
            input_ids: As of `generate`, and so are all other arguments.
            max_new_tokens: See `generate`.
            gamma: See `generate`.
            placement: See `generate`.
            cap: See `generate`.
            policy: See `generate`.
            verify: See `generate`.
            eos_token_id: See `generate`; the token that ends the text is yielded too.
            temperature: See `generate`.
            top_k: See `generate`.
            top_p: See `generate`.
            seed: See `generate`.
            stop_strings: See `generate`; the token that completes one is yielded too.
            tokenizer: See `generate`.
            gate: See `generate`.
            attention_mask: See `generate`.
            token_type_ids: See `generate`.

        Raises:
            InputError: See `generate`; where the text does not fit into memory, with its first
                token.
            DesignError: See `generate`.
            HeadsError: See `generate`.
            SamplingError: See `generate`.
        """
        design = self.design(
            gamma=gamma, placement=placement, cap=cap, policy=policy, verify=verify, gate=gate
        )
        sampling = Sampling.of(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        text = self._text(input_ids, attention_mask, token_type_ids)
        stop = self._stop_criteria(stop_strings, tokenizer)
        if eos_token_id is None:
            self._warn_of_missing_end(tokenizer)
        self.warn_of_settings(sampled=sampling is not None, given=_given(top_k=top_k, top_p=top_p))
        return self._stream(
            text,
            design,
            max_new_tokens=checked_new_tokens(max_new_tokens),
            eos=checked_end_tokens(eos_token_id, lambda: self.eos, self.parts),
            sampling=sampling,
            stop=stop,
        )

    def _stream(
        self,
        input_ids: torch.Tensor,
        design: Design,
        *,
        max_new_tokens: int,
        eos: frozenset[int],
        sampling: Sampling | None,
        stop: StopCriteria | None,
    ) -> Iterator[int]:
        """Yield the tokens of a text whose arguments are checked."""
        with self.parts.turns:
            decoding = self.start(
                input_ids,
                design,
                max_new_tokens=max_new_tokens,
                eos_token_id=eos,
                sampling=sampling,
                stop=stop,
            )
            own = self.parts.detach()  # another text may be decoded between two tokens of this one
        tokens, given = decoding.schedule.tokens, 0
        steps = decoding.steps()
        over = False
        try:
            while True:
                yield from tokens[given:]
                given = len(tokens)
                if over:
                    return
                # no session is open while the caller has the token
                with self.parts.attached(own), self.parts.session():
                    while len(tokens) == given and not over:
                        over = next(steps, None) is None
        finally:
            self.parts.give_back(own)

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

    def _text(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the token ids of a prompt (1, n), checked and without padding."""
        check_input_ids(input_ids, self.parts)
        return without_padding(input_ids, attention_mask, token_type_ids, self.parts)

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

    def _warn_of_missing_end(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        """Warn once where the tokenizer ends texts with a token that ends none here."""
        if tokenizer is not None and "tokenizer" not in self._warned:
            self._warned.add("tokenizer")
            warn_of_missing_end(tokenizer, self.eos)

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


def _given(**arguments: object) -> set[str]:
    """Return the names of the arguments that were given."""
    return {name for name, value in arguments.items() if value is not None}
