"""The decoder: a model with its heads that returns texts, whole or token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from adadecode.engine.decoding.arguments import check_input_ids, checked_new_tokens
from adadecode.engine.decoding.model_with_heads import ModelWithHeads
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.decoding.stop_strings import StopCriteria, StopTexts
from adadecode.engine.decoding.tokenizer_output import without_padding
from adadecode.engine.model.end_tokens import EndTokens, checked_end_tokens
from adadecode.sim.core.design import DEFAULT_CAP, Design, Policy
from adadecode.sim.core.scheduler import Round


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


class AdaDecoder(ModelWithHeads):
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

    def _text(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        token_type_ids: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return the token ids of a prompt (1, n), checked and without padding."""
        check_input_ids(input_ids, self.parts)
        return without_padding(input_ids, attention_mask, token_type_ids, self.parts)


def _given(**arguments: object) -> set[str]:
    """Return the names of the arguments that were given."""
    return {name for name, value in arguments.items() if value is not None}
