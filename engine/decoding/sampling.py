"""How tokens are chosen: greedily, or sampled without loss by modified rejection sampling.

A draft x is drawn from the head's distribution q and accepted with probability
min(1, p(x) / q(x)), where p is the last layer's. At the first rejection the token is drawn from
max(0, p - q), normalised (Leviathan et al. 2022, arXiv 2211.17192; Chen et al. 2023, arXiv
2302.01318). Committed tokens are then distributed as p, if nothing but the text so far decided that
a token leaves at this head: the scheduler compares the head's *confidence*, the highest probability
in q, and never looks at the draft to decide. p and q are the distributions after temperature, top-k
and top-p, in this order, as the warpers of ``transformers`` have them.

Probabilities are FP64 from FP32 logits. Randomness is a stream of uniform numbers from the seed,
used in the order of the work. So the text depends neither on how long anything takes nor on the
device's own generators.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, SupportsIndex

import torch

from adadecode.engine.runtime.choices import ALL_TOKENS
from adadecode.engine.runtime.distributed import processes
from adadecode.profiles.errors import SamplingError
from adadecode.sim.core.scalars import real_number, whole_number
from adadecode.sim.core.scheduler import Draft, Verdict, Verify


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample a text; checks itself.

    Attributes:
        temperature: Above 0; logits are divided by it.
        top_k: Sample only from the k most likely tokens, and those as likely as the last of them;
            None for all.
        top_p: Sample only from the most likely tokens that make up this probability, the one that
            crosses it included; None or 1 for all.
        seed: 0 or more; the same seed gives the same text again.

    Raises:
        SamplingError: A value makes no sense.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise SamplingError(
                f"a temperature is a finite number of 0 or more, got {self.temperature}: 0 is "
                "greedy, 1 samples the model as it is"
            )
        if self.top_k is not None and self.top_k < 1:
            raise SamplingError(
                f"top_k keeps at least 1 token, got {self.top_k}: give 0 or -1 to keep all"
            )
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise SamplingError(
                f"top_p is a probability in (0, 1], got {self.top_p}: leave it out to keep all "
                "tokens"
            )
        if self.seed < 0:
            raise SamplingError(
                f"a seed is a whole number of 0 or more, got {self.seed}: the same one gives the "
                "same text again"
            )

    @classmethod
    def of(
        cls,
        *,
        temperature: float = 0.0,
        top_k: SupportsIndex | None = None,
        top_p: float | None = None,
        seed: SupportsIndex | None = None,
    ) -> Sampling | None:
        """Return the sampling that a user wants; None for temperature 0, which is greedy.

        Args:
            temperature: 0 or more.
            top_k: 1 or more; 0, -1 or None for all tokens, as elsewhere.
            top_p: In (0, 1]; 1 or None for all tokens.
            seed: 0 or more; a random one by default.

        Raises:
            SamplingError: A value makes no sense, or is given with temperature 0.
        """
        above_zero = _number("temperature", temperature)
        kept = None if top_k is None else _whole("top_k", top_k)
        kept = None if kept in ALL_TOKENS else kept
        mass = None if top_p is None else _number("top_p", top_p)
        if above_zero == 0.0 and (kept is not None or mass not in (None, 1.0)):
            raise SamplingError(
                "top_k and top_p shape what is sampled, and temperature 0 takes the most likely "
                "token: give a temperature above 0 too"
            )
        if above_zero == 0.0 and seed is not None:
            raise SamplingError(
                "a seed belongs to a sampled text, and temperature 0 takes the most likely token: "
                "give a temperature above 0 too"
            )
        if above_zero and seed is None and processes() > 1:
            raise SamplingError(
                f"the model is spread over {processes()} processes, and each would draw a seed of "
                "its own: give them one"
            )
        sampling = cls(
            temperature=above_zero or 1.0,
            top_k=kept,
            top_p=mass,
            seed=random.SystemRandom().getrandbits(32) if seed is None else _whole("seed", seed),
        )
        return sampling if above_zero else None

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Apply temperature, top-k and top-p.

        Args:
            logits: Shape ``(..., V)``.

        Returns:
            The probabilities that are sampled from, in FP64, of the same shape.
        """
        scores = logits.double()
        scores = (
            scores - scores.amax(-1, keepdim=True)
        ) / self.temperature  # the largest first, or a low temperature overflows
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            scores = scores.masked_fill(
                scores < scores.topk(self.top_k).values[..., -1:], -math.inf
            )
        if self.top_p is not None and self.top_p < 1.0:
            rising, order = scores.sort(-1)
            drop = rising.softmax(-1).cumsum(-1) <= 1.0 - self.top_p
            drop[..., -1] = False
            scores = scores.masked_fill(drop.scatter(-1, order, drop), -math.inf)
        return scores.softmax(-1)


def draw(weights: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Draw tokens by their weights, and never one of weight 0.

    Args:
        weights: Shape ``(..., V)``; they need not sum to 1.
        uniform: Numbers in [0, 1), shape ``(...)``.

    Returns:
        Tokens, shape ``(...)``.
    """
    mass = weights.cumsum(-1)
    whole = mass[..., -1:].contiguous()
    last = torch.searchsorted(
        mass, whole
    )  # the last token of any weight: rounding may carry a number up to the whole
    return torch.minimum(torch.searchsorted(mass, uniform[..., None] * whole, right=True), last)[
        ..., 0
    ]


def rejection_sample(
    final: torch.Tensor, drafted: torch.Tensor, drafts: torch.Tensor, uniform: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Verify k drafts in n rows by modified rejection sampling.

    k is n - 1, or n where the last draft would end the text.

    Args:
        final: The last layer's probabilities, shape ``(..., n, V)``.
        drafted: The probabilities that each draft was drawn from, shape ``(..., k, V)``.
        drafts: The drafts, shape ``(..., k)``.
        uniform: Numbers in [0, 1), shape ``(..., k + 1)``.

    Returns:
        How many of the first n - 1 drafts are accepted, and the token that follows them, both of
        shape ``(...)``.
    """
    rows, k = final.shape[-2], drafts.shape[-1]
    at = drafts[..., None]
    holds = (
        uniform[..., :k] * drafted.gather(-1, at)[..., 0] < final[..., :k, :].gather(-1, at)[..., 0]
    )
    held = holds.long().cumprod(-1).sum(-1)
    accepted = held.clamp(max=rows - 1)
    row = accepted[..., None, None].expand(*accepted.shape, 1, final.shape[-1])
    own = final.gather(-2, row)[..., 0, :]
    taken = torch.nn.functional.pad(drafted, (0, 0, 0, rows + 1 - k)).gather(-2, row)[
        ..., 0, :
    ]  # nothing was drafted from a row without a draft
    rest = (own - taken).clamp(min=0.0)
    rest = torch.where(
        rest.sum(-1, keepdim=True) > 0, rest, own
    )  # a rejection that is all rounding leaves nothing
    token = draw(rest, uniform[..., k])
    return accepted, torch.where(held == rows, drafts[..., -1], token) if k == rows else token


class TokenSelector(Protocol):
    """Chooses the tokens of one text from logits in FP32, with one read from the device each.

    Attributes:
        packed: Whether it takes what `packed_draft` and the most likely tokens say in place of
            logits, which a device may compute before it is read.
    """

    packed: bool

    def first(self, logits: torch.Tensor) -> int:
        """Return the first token, from the last layer's logits ``(V,)``."""

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        """Return what a head proposes after ``position``, from its logits ``(V,)``."""

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """Return how many drafts are accepted and what follows, from final logits ``(n, V)``."""


class Greedy:
    """Takes the most likely token, the lowest on a tie, as ``argmax`` does on CPUs and GPUs.

    A draft is accepted where it is that token.
    """

    packed = True

    def first(self, logits: torch.Tensor) -> int:
        """Return the most likely token."""
        return int(logits.argmax(-1))

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        """Return the most likely token and its probability."""
        return read_draft(logits)

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """Accept drafts as long as they are the last layer's own tokens."""
        return verify_greedily(logits.argmax(-1).tolist(), work)


class Sampler:
    """Samples one text, and keeps the distribution of each draft until it is verified."""

    packed = False

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = random.Random(sampling.seed)
        # by position, the distribution that the last head checked there drew from
        self._drafted: dict[int, torch.Tensor] = {}
        self._marked = self._random.getstate()

    def mark(self) -> None:
        """Remember this moment, between two rounds, for `rewind`."""
        self._marked = self._random.getstate()

    def rewind(self) -> None:
        """Forget the open round: what is drawn next is what was drawn since `mark`."""
        self._random.setstate(self._marked)
        self._drafted.clear()

    def first(self, logits: torch.Tensor) -> int:
        """Draw the first token from the last layer's distribution."""
        probabilities = self.sampling.probabilities(logits)
        return int(draw(probabilities, self._uniform(1, probabilities)[0]))

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        """Draw a token from the head's distribution.

        Its confidence is the highest probability there, which does not depend on what was drawn.
        """
        return unpacked_draft(self.drafted(logits, position).tolist())

    def drafted(self, logits: torch.Tensor, position: int) -> torch.Tensor:
        """Return what `draft` returns as a tensor ``(2,)`` in FP64 that nothing was read of yet."""
        probabilities = self.sampling.probabilities(logits)
        token = draw(probabilities, self._uniform(1, probabilities)[0])
        self._drafted[position] = probabilities
        return torch.stack((token.double(), probabilities.amax()))

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """Verify the drafts by rejection sampling (see `rejection_sample`)."""
        final = self.sampling.probabilities(logits)
        drafted = [self._drafted[work.start + k] for k in range(len(work.drafts))]
        self._drafted.clear()
        drafts = torch.tensor(work.drafts, dtype=torch.long, device=final.device)
        uniform = self._uniform(len(drafted) + 1, final)
        accepted, token = rejection_sample(
            final, torch.stack(drafted) if drafted else final[:0], drafts, uniform
        )
        both = torch.stack((accepted, token)).tolist()
        return Verdict(accepted=both[0], token=both[1])

    def _uniform(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """Return the next numbers of the stream, shape ``(count,)``, in FP64.

        A single one is written on the device, so no copy from the host has to be waited for.
        """
        numbers = [self._random.random() for _ in range(count)]
        if count == 1:
            return torch.full((1,), numbers[0], dtype=torch.float64, device=like.device)
        return torch.tensor(numbers, dtype=torch.float64, device=like.device)


def make_token_selector(sampling: Sampling | None) -> TokenSelector:
    """Return what chooses the tokens of a text: greedily without ``sampling``."""
    return Greedy() if sampling is None else Sampler(sampling)


def read_draft(logits: torch.Tensor) -> Draft:
    """Return the most likely token of logits ``(V,)``, the lowest on a tie, and its probability.

    The device is read once.
    """
    return unpacked_draft(packed_draft(logits).tolist())


def packed_draft(logits: torch.Tensor, tokens: torch.Tensor | None = None) -> torch.Tensor:
    """Return what `read_draft` returns as an FP64 tensor ``(..., 2)``, without reading the device.

    Args:
        logits: Shape ``(..., n)``.
        tokens: The rising id of each logit's token, shape ``(n,)``; None where logits are of all.
    """
    highest = logits.argmax(-1)
    token = highest if tokens is None else tokens.take(highest)
    confidence = torch.exp(logits.amax(-1) - logits.logsumexp(-1))
    return torch.stack((token.double(), confidence.double()), -1)


def unpacked_draft(both: Sequence[float]) -> Draft:
    """Return the draft that was packed as (token, probability)."""
    return Draft(confidence=both[1], token=int(both[0]))


def verify_greedily(final: Sequence[int], work: Verify) -> Verdict:
    """Accept drafts as long as they equal ``final``, the last layer's own n tokens."""
    accepted = 0
    while accepted < len(work.drafts) and work.drafts[accepted] == final[accepted]:
        accepted += 1
    return Verdict(accepted=accepted, token=final[accepted])


def _number(what: str, given: object) -> float:
    """Return a number as a float. Raises SamplingError for anything else."""
    value = real_number(given)
    if value is None:
        raise SamplingError(f"{what} is a number, got {given!r}: give one like 0.7")
    return value


def _whole(what: str, given: object) -> int:
    """Return a whole number as an int. Raises SamplingError for anything else."""
    value = whole_number(given)
    if value is None:
        raise SamplingError(f"{what} is a whole number, got {given!r}: give an int")
    return value
