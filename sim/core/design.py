"""A design: which policy, with the heads where, how sure they must be, how many drafts a round."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from numbers import Real
from typing import SupportsIndex, TypeVar

from adadecode.profiles.errors import DesignError

_Item = TypeVar("_Item")

DEFAULT_CAP = 5
"""At most this many drafts a round (paper, appendix D)."""


class Policy(StrEnum):
    """What decides that a token leaves the stack early."""

    VANILLA = "vanilla"
    ADADECODE = "adadecode"
    FIXED = "fixed"
    ORACLE = "oracle"


RUNNABLE = tuple(policy for policy in Policy if policy is not Policy.ORACLE)
"""The policies that an engine can follow; the oracle needs to know the text in advance."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """One point of the design space; checks itself.

    placement: rising depths of the heads in use, each in 1..L-1. gammas: one confidence threshold per head, in [0, 1]; a draft
    is taken when its probability *exceeds* the threshold. cap: most drafts in a round. verify: False commits drafts unseen by
    the last layer (the paper's ablation, table 3).

    ``fixed`` drafts ``cap`` tokens a round from its one head, however unsure (LayerSkip); its gamma is not used. ``oracle`` leaves every token at
    its earliest available depth, from which on every head of the placement is right (DEX), and asks no head in vain. It is never wrong, but no
    bound: fewer heads may do better, and a head may be right before deeper ones are. It exists in simulation only. Raises DesignError.
    """

    policy: Policy
    placement: tuple[int, ...] = ()
    gammas: tuple[float, ...] = ()
    cap: int = DEFAULT_CAP
    verify: bool = True

    def __post_init__(self) -> None:
        if list(self.placement) != sorted(set(self.placement)) or any(
            d < 1 for d in self.placement
        ):
            raise DesignError(
                f"a placement is a rising list of depths from 1 on, got {list(self.placement)}: list each depth once, shallowest first"
            )
        if len(self.gammas) != len(self.placement):
            raise DesignError(
                f"wanted one gamma per head ({len(self.placement)} at {list(self.placement)}), got {len(self.gammas)}: give one gamma, or one per head"
            )
        for gamma in self.gammas:
            if not (math.isfinite(gamma) and 0.0 <= gamma <= 1.0):
                raise DesignError(
                    f"gamma is a probability in [0, 1], got {gamma}: 0 always exits early, 1 never does"
                )
        if self.cap < 1:
            raise DesignError(
                f"the cap is at least 1 draft a round, got {self.cap}: for no drafts at all use the policy vanilla"
            )
        if self.policy is Policy.FIXED and len(self.placement) != 1:
            raise DesignError(
                f"the policy fixed drafts from exactly one head, got heads at {list(self.placement)}: name one depth"
            )

    @classmethod
    def of(
        cls,
        policy: str | Policy = Policy.ADADECODE,
        *,
        gamma: float | Sequence[float] = 0.75,
        placement: Sequence[int] = (),
        cap: int = DEFAULT_CAP,
        verify: bool = True,
    ) -> Design:
        """A design from what a user types: a policy by name, one gamma for all heads or one for each. Raises DesignError."""
        try:
            named = Policy(policy)
        except ValueError:
            raise DesignError(f"unknown policy {policy!r}: known are {', '.join(Policy)}") from None
        if verify not in (True, False):
            raise DesignError(f"verify is True or False, got {verify!r}: leave it out for True")
        depths, most = () if named is Policy.VANILLA else _depths(placement), _whole("the cap", cap)
        gammas = _gammas(gamma, max(1, len(depths)))
        if named is not Policy.ADADECODE or not depths:  # unused, but still checked
            cls(
                policy=Policy.ADADECODE,
                placement=depths or tuple(range(1, len(gammas) + 1)),
                gammas=gammas,
                cap=most,
            )
            gammas = (0.0,) * len(depths)
        return cls(policy=named, placement=depths, gammas=gammas, cap=most, verify=verify)

    def boundaries(self, n_layers: int) -> tuple[int, ...]:
        """The segment boundaries 0 = b0 < ... < bS = n_layers.

        A head with gamma 1 is never tested (no probability exceeds 1), so it splits nothing: with gamma 1 everywhere the work is
        vanilla's. Raises DesignError where a head lies at or beyond the last layer.
        """
        if self.placement and self.placement[-1] >= n_layers:
            raise DesignError(
                f"a head lies between the layers of a model with {n_layers}: depths 1..{n_layers - 1}, got {list(self.placement)}"
            )
        return (
            0,
            *(
                d
                for d, g in zip(self.placement, self.gammas, strict=True)
                if not self.asks_confidence or g < 1.0
            ),
            n_layers,
        )

    @property
    def asks_confidence(self) -> bool:
        """Whether gammas decide."""
        return self.policy is Policy.ADADECODE

    def threshold(self, depth: int) -> float:
        """The confidence that a draft from the head at this depth must exceed."""
        if not self.asks_confidence:
            return -1.0
        return self.gammas[self.placement.index(depth)]

    @property
    def label(self) -> str:
        """A short, unique name: ``adadecode 4/8 gamma 0.75``."""
        if not self.placement:
            return str(self.policy)
        heads = "/".join(map(str, self.placement))
        gammas = "/".join(
            f"{g:g}" for g in (self.gammas if len(set(self.gammas)) > 1 else self.gammas[:1])
        )
        words = [f"{self.policy} {heads}"]
        if self.asks_confidence:
            words.append(f"gamma {gammas}")
        if self.cap != DEFAULT_CAP or self.policy is Policy.FIXED:
            words.append(f"cap {self.cap}")
        if not self.verify:
            words.append("unverified")
        return " ".join(words)


def _depths(given: Iterable[SupportsIndex]) -> tuple[int, ...]:
    return tuple(
        _whole("a depth", depth)
        for depth in _items(given, "a placement is a rising list of depths")
    )


def _whole(what: str, given: SupportsIndex) -> int:
    """Return an integer of any kind as an int; refuse what would have to be rounded, and flags."""
    try:
        if not isinstance(given, bool):
            return operator.index(given)
    except TypeError:
        pass
    raise DesignError(f"{what} is a whole number, got {given!r}: give an int")


def _gammas(given: float | Iterable[float], heads: int) -> tuple[float, ...]:
    """Return one gamma for all heads, or those of a list."""
    if isinstance(given, Real) and not isinstance(given, bool):
        return (float(given),) * heads
    if isinstance(given, (str, bytes, bool)):
        raise DesignError(f"gamma is a number or a list of numbers, got {given!r}: give 0.75")
    return tuple(map(_gamma, _items(given, "gamma is a number or a list of numbers")))


def _gamma(given: object) -> float:
    if isinstance(given, bool) or not isinstance(given, Real):
        raise DesignError(f"a gamma is a number, got {given!r}: give a probability in [0, 1]")
    return float(given)


def _items(given: Iterable[_Item], what: str) -> tuple[_Item, ...]:
    """Return the items of a list of any kind; ``what`` says what was wanted."""
    try:
        if not isinstance(given, (str, bytes, Mapping)):  # their items are no numbers
            return tuple(given)
    except TypeError:
        pass
    raise DesignError(f"{what}, got {given!r}: give a list, also of one")
