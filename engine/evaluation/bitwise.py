"""Whether one run is another, bit for bit, by digests of logits, keys and values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sampling import Greedy
from adadecode.engine.model.attention import KeyValues
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Verdict, Verify


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One text.

    Attributes:
        tokens: The new tokens.
        logits: Digests of the logits that each token but the first was chosen from.
        states: Digests of keys and values of all layers, by position.
    """

    tokens: tuple[int, ...]
    logits: tuple[str, ...]
    states: tuple[str, ...]

    def differing(self, other: Fingerprint) -> int:
        """Return how many places differ in a token, in the logits, or in keys and values.

        A place that one of the two texts lacks differs.
        """
        pairs = (
            (self.tokens, other.tokens),
            (self.logits, other.logits),
            (self.states, other.states),
        )
        return sum(
            sum(a != b for a, b in zip(x, y, strict=False)) + abs(len(x) - len(y)) for x, y in pairs
        )


class _Listening(Greedy):
    """Greedy, with a digest of the logits after each committed position."""

    packed = False

    def __init__(self) -> None:
        self.heard: dict[int, str] = {}

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """Verify greedily, and keep digests of the logits."""
        verdict = super().verdict(logits, work)
        for row in range(verdict.accepted + 1):
            self.heard[work.start + row] = _digest([logits[row]])
        return verdict


def fingerprint(
    decoder: AdaDecoder,
    prompt: Sequence[int],
    design: Design,
    max_new_tokens: int,
    prefilled: PrefilledPrompt | None = None,
) -> Fingerprint:
    """Decode greedily and return the text's fingerprint. It raises what `AdaDecoder.start` raises.

    Args:
        decoder: Decodes.
        prompt: Token ids. The prompt's own positions are in ``states`` too.
        design: How to decode.
        max_new_tokens: The most tokens to add.
        prefilled: This prompt, run and kept, for designs that go on from it.
    """
    decoding = decoder.start(
        torch.tensor([list(prompt)]), design, max_new_tokens=max_new_tokens, prefilled=prefilled
    )
    decoding.selector = heard = _Listening()
    with decoder.parts.session():
        for _ in decoding.steps():
            pass
    tokens = tuple(decoding.schedule.tokens)
    return Fingerprint(
        tokens=tokens,
        logits=tuple(heard.heard[position] for position in sorted(heard.heard)),
        states=_states(decoder.parts.kv, len(prompt) + len(tokens) - 1),
    )


def _states(kv: KeyValues, n: int) -> tuple[str, ...]:
    """Return digests of the first n positions' keys and values in all layers."""
    whole = [tensor[0, :, :n].cpu() for tensor in (*kv.keys, *kv.values) if tensor is not None]
    return tuple(_digest([tensor[:, position] for tensor in whole]) for position in range(n))


def _digest(tensors: Sequence[torch.Tensor]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
