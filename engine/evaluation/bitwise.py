"""Is one run the other, bit for bit? Fingerprints of what the last layer says after every token, and of every layer's keys and values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Greedy
from adadecode.engine.model.attention import KeyValues
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Verdict, Verify


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """One text. tokens: the new ones. logits: digests of what each but the first was chosen from. states: digests of keys and values, all layers, by position."""

    tokens: tuple[int, ...]
    logits: tuple[str, ...]
    states: tuple[str, ...]

    def differing(self, other: Fingerprint) -> int:
        """How many places of the two differ in a token, in the logits, or in a position's keys and values; a place that one of them lacks differs."""
        pairs = (
            (self.tokens, other.tokens),
            (self.logits, other.logits),
            (self.states, other.states),
        )
        return sum(
            sum(a != b for a, b in zip(x, y, strict=False)) + abs(len(x) - len(y)) for x, y in pairs
        )


class _Listening(Greedy):
    """Greedy, and keeps a digest of the logits after each committed position."""

    packed = False

    def __init__(self) -> None:
        self.heard: dict[int, str] = {}

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """Greedy's."""
        verdict = super().verdict(logits, work)
        for row in range(verdict.accepted + 1):
            self.heard[work.start + row] = _digest([logits[row]])
        return verdict


def fingerprint(
    decoder: AdaDecoder, prompt: Sequence[int], design: Design, max_new_tokens: int
) -> Fingerprint:
    """Decode greedily after ``prompt`` (token ids). The prompt's own positions are in ``states`` too. Raises as AdaDecoder.start does."""
    decoding = decoder.start(torch.tensor([list(prompt)]), design, max_new_tokens=max_new_tokens)
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
    """Digests of the first n positions' keys and values in all layers."""
    whole = [tensor[0, :, :n].cpu() for tensor in (*kv.keys, *kv.values) if tensor is not None]
    return tuple(_digest([tensor[:, position] for tensor in whole]) for position in range(n))


def _digest(tensors: Sequence[torch.Tensor]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for tensor in tensors:
        found.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
