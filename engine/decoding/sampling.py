"""How tokens are chosen: greedily, or sampled without loss by modified rejection sampling.

A draft x is drawn from the head's distribution q and accepted with probability min(1, p(x) / q(x)), p the last layer's; at the first
rejection the token is drawn from max(0, p - q), normalised (Leviathan et al. 2022, arXiv 2211.17192; Chen et al. 2023, arXiv
2302.01318). Committed tokens are then distributed as p, if nothing but the text so far decided that a token leaves at this head: the
scheduler compares the head's *confidence*, the highest probability in q, and never looks at the draft to decide. p and q are the
distributions after temperature, top-k and top-p, in this order, as the warpers of ``transformers`` have them.

Probabilities are FP64 from FP32 logits. Randomness is a stream of uniform numbers from the seed, used in the order of the work, so the text
does not depend on how long anything takes, nor on the device's own generators.
"""

from __future__ import annotations

import math
import operator
import random
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol, SupportsIndex

import torch

from adadecode.engine.runtime.distributed import processes
from adadecode.profiles.errors import SamplingError
from adadecode.sim.core.scheduler import Draft, Verdict, Verify


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample a text; checks itself.

    temperature: above 0; logits are divided by it. top_k: only the k most likely tokens (and those as likely as the last of them), None for
    all. top_p: only the most likely tokens that make up this probability, the one that crosses it included, None or 1 for all. seed: >= 0;
    the same one gives the same text again. Raises SamplingError.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise SamplingError(
                f"a temperature is a finite number of 0 or more, got {self.temperature}: 0 is greedy, 1 samples the model as it is"
            )
        if self.top_k is not None and self.top_k < 1:
            raise SamplingError(
                f"top_k keeps at least 1 token, got {self.top_k}: leave it out to keep all"
            )
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise SamplingError(
                f"top_p is a probability in (0, 1], got {self.top_p}: leave it out to keep all tokens"
            )
        if self.seed < 0:
            raise SamplingError(
                f"a seed is a whole number of 0 or more, got {self.seed}: the same one gives the same text again"
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
        """From what a user gives; None for temperature 0, which is greedy. Without a seed, a random one is drawn. Raises SamplingError."""
        warmth = _number("temperature", temperature)
        if warmth == 0.0 and (top_k is not None or top_p is not None):
            raise SamplingError(
                "top_k and top_p shape what is sampled, and temperature 0 takes the most likely token: give a temperature above 0 too"
            )
        if warmth == 0.0 and seed is not None:
            raise SamplingError(
                "a seed is of what is sampled, and temperature 0 takes the most likely token: give a temperature above 0 too"
            )
        if warmth and seed is None and processes() > 1:
            raise SamplingError(
                f"the model is spread over {processes()} processes, and each would draw a seed of its own: give them one"
            )
        sampling = cls(
            temperature=warmth or 1.0,
            top_k=None if top_k is None else _whole("top_k", top_k),
            top_p=None if top_p is None else _number("top_p", top_p),
            seed=random.SystemRandom().getrandbits(32) if seed is None else _whole("seed", seed),
        )
        return sampling if warmth else None

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Temperature, top-k, top-p on logits (..., V): the probabilities (..., V) that are sampled from, in FP64."""
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
    """Tokens (...) by their weights (..., V), which need not sum to 1, with uniform numbers (...) in [0, 1). Never one of weight 0."""
    mass = weights.cumsum(-1)
    whole = mass[..., -1:].contiguous()
    last = torch.searchsorted(
        mass, whole
    )  # the last token of any weight: rounding may carry a number up to the whole
    return torch.minimum(torch.searchsorted(mass, uniform[..., None] * whole, right=True), last)[
        ..., 0
    ]


def judge(
    final: torch.Tensor, drafted: torch.Tensor, drafts: torch.Tensor, uniform: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Modified rejection sampling of k drafts in n rows, k = n - 1, or k = n where the last draft would end the text.

    final (..., n, V): the last layer's probabilities. drafted (..., k, V): those that each draft was drawn from. drafts (..., k). uniform
    (..., k + 1) in [0, 1). Returns how many drafts of the first n - 1 hold (...), and the token (...) that follows them.
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
    """Chooses the tokens of one text from logits in FP32. One read from the device each.

    packed: whether it takes in place of logits what `packed_draft` and the greediest tokens tell of them, which a device may compute before it is read.
    """

    packed: bool

    def first(self, logits: torch.Tensor) -> int:
        """The first token, from the last layer's logits (V,)."""

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        """What a head proposes after ``position``, from its logits (V,)."""

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """How many drafts hold, and what follows them, from the last layer's logits (n, V)."""


class Greedy:
    """Takes the most likely token, the lowest on a tie (so has ``argmax`` it, on CPUs and GPUs); a draft holds where it is that."""

    packed = True

    def first(self, logits: torch.Tensor) -> int:
        """The most likely token."""
        return int(logits.argmax(-1))

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        """The most likely token and its probability."""
        return read_draft(logits)

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """Drafts hold as long as they are the last layer's own tokens."""
        return verify_greedily(logits.argmax(-1).tolist(), work)


class Sampler:
    """Samples one text. Keeps the distribution that each draft was drawn from until it is judged."""

    packed = False

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = random.Random(sampling.seed)
        self._drafted: dict[
            int, torch.Tensor
        ] = {}  # by position: what the last head asked there drew from

    def first(self, logits: torch.Tensor) -> int:
        """Drawn from the last layer's distribution."""
        probabilities = self.sampling.probabilities(logits)
        return int(draw(probabilities, self._uniform(1, probabilities)[0]))

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        """A token drawn from the head's distribution, and the highest probability in it, which does not depend on what was drawn."""
        return unpacked_draft(self.drafted(logits, position).tolist())

    def drafted(self, logits: torch.Tensor, position: int) -> torch.Tensor:
        """The same as one tensor (2,) in FP64, which nothing was read of yet."""
        probabilities = self.sampling.probabilities(logits)
        token = draw(probabilities, self._uniform(1, probabilities)[0])
        self._drafted[position] = probabilities
        return torch.stack((token.double(), probabilities.amax()))

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        """By `judge`."""
        final = self.sampling.probabilities(logits)
        drafted = [self._drafted[work.start + k] for k in range(len(work.drafts))]
        self._drafted.clear()
        drafts = torch.tensor(work.drafts, dtype=torch.long, device=final.device)
        uniform = self._uniform(len(drafted) + 1, final)
        accepted, token = judge(
            final, torch.stack(drafted) if drafted else final[:0], drafts, uniform
        )
        both = torch.stack((accepted, token)).tolist()
        return Verdict(accepted=both[0], token=both[1])

    def _uniform(self, count: int, like: torch.Tensor) -> torch.Tensor:
        """The next numbers of the stream (count,) in FP64. A single one is written on the device: no copy from the host waits."""
        numbers = [self._random.random() for _ in range(count)]
        if count == 1:
            return torch.full((1,), numbers[0], dtype=torch.float64, device=like.device)
        return torch.tensor(numbers, dtype=torch.float64, device=like.device)


def make_token_selector(sampling: Sampling | None) -> TokenSelector:
    """What chooses the tokens of a text that is sampled so; greedily without."""
    return Greedy() if sampling is None else Sampler(sampling)


def read_draft(logits: torch.Tensor) -> Draft:
    """Top token (the lowest on a tie) of logits (V,) and its probability. One read from the device."""
    return unpacked_draft(packed_draft(logits).tolist())


def packed_draft(logits: torch.Tensor) -> torch.Tensor:
    """Top token (the lowest on a tie) of logits (V,) and its probability, as one tensor (2,) in FP64."""
    token = logits.argmax()
    confidence = torch.exp(logits.amax() - logits.logsumexp(0))
    return torch.stack((token.double(), confidence.double()))


def unpacked_draft(both: Sequence[float]) -> Draft:
    """The draft that was packed as (token, probability)."""
    return Draft(confidence=both[1], token=int(both[0]))


def verify_greedily(final: Sequence[int], work: Verify) -> Verdict:
    """Drafts against ``final``, the last layer's own tokens (n of them): they hold as long as they are the same."""
    accepted = 0
    while accepted < len(work.drafts) and work.drafts[accepted] == final[accepted]:
        accepted += 1
    return Verdict(accepted=accepted, token=final[accepted])


def _number(what: str, given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise SamplingError(f"{what} is a number, got {given!r}: give one like 0.7")
    return float(given)


def _whole(what: str, given: SupportsIndex) -> int:
    try:
        return operator.index(given)
    except TypeError:
        raise SamplingError(f"{what} is a whole number, got {given!r}: give an int") from None
