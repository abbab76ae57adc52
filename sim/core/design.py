"""A design: which policy, heads at which depths, their thresholds, and how many drafts a round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, SupportsIndex, cast

from adadecode.profiles.design_label import DEFAULT_CAP, design_label
from adadecode.profiles.errors import DesignError
from adadecode.sim.core.scalars import flag, real_number, whole_number

__all__ = ["DEFAULT_CAP", "RUNNABLE", "Design", "Policy"]


class Policy(StrEnum):
    """What decides that a token leaves the stack early.

    * ``vanilla``: nothing does; every token goes through all layers.
    * ``adadecode``: a head does, when the probability of its token exceeds its threshold.
    * ``fixed``: one head drafts ``cap`` tokens a round, however unsure it is (LayerSkip).
    * ``oracle``: every token leaves at its earliest available depth, from which on every head of
      the placement is right (DEX), and no head is tested in vain. It is never wrong, but it is no
      bound: fewer heads may do better, and a head may be right before deeper ones are. It exists in
      simulation only.
    """

    VANILLA = "vanilla"
    ADADECODE = "adadecode"
    FIXED = "fixed"
    ORACLE = "oracle"

    @classmethod
    def named(cls, policy: str | Policy) -> Policy:
        """Return the policy of this name.

        Raises:
            DesignError: If there is none.
        """
        try:
            return cls(policy)
        except ValueError:
            raise DesignError(f"unknown policy {policy!r}: known are {', '.join(cls)}") from None


RUNNABLE = tuple(policy for policy in Policy if policy is not Policy.ORACLE)
"""The policies that an engine can follow. The oracle needs to know the text in advance."""


@dataclass(frozen=True, kw_only=True)
class Design:
    """One point of the design space. It checks itself; `Design.of` is the convenient constructor.

    Attributes:
        policy: What decides that a token leaves early.
        placement: Depths of the heads in use, rising, each in 1..L-1.
        gammas: One confidence threshold per head, in [0, 1]. A draft is taken when its probability
            *exceeds* the threshold. Only the policy ``adadecode`` uses them.
        cap: Most drafts in a round.
        verify: Whether the last layer verifies the drafts. False commits them unseen (the paper's
            ablation, table 3).
        gates: One threshold per head, in [0, 1], for the gate that is asked before it: the head is
            asked only where the score of its gate *exceeds* the threshold. A gate at 0 is not
            asked, and its head always is. Empty where no gate is asked. Only the policy
            ``adadecode`` uses them.

    Raises:
        DesignError: If the parts do not make a design.
    """

    policy: Policy
    placement: tuple[int, ...] = ()
    gammas: tuple[float, ...] = ()
    cap: int = DEFAULT_CAP
    verify: bool = True
    gates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        depths = list(self.placement)
        if depths != sorted(set(depths)) or any(depth < 1 for depth in depths):
            raise DesignError(
                f"a placement is a rising list of depths from 1 on, got {depths}: "
                "list each depth once, shallowest first"
            )
        if len(self.gammas) != len(depths):
            raise DesignError(
                f"wanted one gamma per head ({len(depths)} at {depths}), got {len(self.gammas)}: "
                "give one gamma, or one per head"
            )
        for gamma in self.gammas:
            if not (math.isfinite(gamma) and 0.0 <= gamma <= 1.0):
                raise DesignError(
                    f"gamma is a probability in [0, 1], got {gamma}: "
                    "0 always exits early, 1 never does"
                )
        self._check_gates()
        if self.cap < 1:
            raise DesignError(
                f"the cap is at least 1 draft a round, got {self.cap}: "
                "for no drafts at all use the policy vanilla"
            )
        if self.policy is Policy.FIXED and len(depths) != 1:
            raise DesignError(
                f"the policy fixed drafts from exactly one head, got heads at {depths}: "
                "name one depth"
            )

    def _check_gates(self) -> None:
        if self.gates and len(self.gates) != len(self.placement):
            raise DesignError(
                f"wanted one gate threshold per head ({len(self.placement)} at "
                f"{list(self.placement)}), got {len(self.gates)}: give one, or one per head"
            )
        for gate in self.gates:
            if not (math.isfinite(gate) and 0.0 <= gate <= 1.0):
                raise DesignError(
                    f"a gate threshold is a probability in [0, 1], got {gate}: "
                    "0 always asks the head, 1 never does"
                )
        if not any(self.gates):  # gates that are not asked are none
            object.__setattr__(self, "gates", ())
        elif self.policy is not Policy.ADADECODE:
            raise DesignError(
                f"only the policy adadecode asks gates, got {self.policy} with the thresholds "
                f"{list(self.gates)}: leave them out"
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
        gate: float | Sequence[float] = 0.0,
    ) -> Design:
        """Make a design from what a user types.

        Args:
            policy: A policy, or its name.
            gamma: One threshold for all heads, or one for each.
            placement: Depths of the heads, rising. Vanilla ignores them.
            cap: Most drafts in a round.
            verify: Whether the last layer verifies the drafts.
            gate: One threshold for the gates of all heads, or one for each; 0 asks no gate.

        Raises:
            DesignError: If something is of a wrong type, or the parts do not make a design.
        """
        named = Policy.named(policy)
        verified = flag(verify)
        if verified is None:
            raise DesignError(f"verify is True or False, got {verify!r}: leave it out for True")
        depths = () if named is Policy.VANILLA else _depths(placement)
        most = _whole("the cap", cap)
        gammas = _thresholds("gamma", gamma, max(1, len(depths)), like=0.75)
        gates = _thresholds("a gate threshold", gate, max(1, len(depths)), like=0.3)
        if named is not Policy.ADADECODE or not depths:  # thresholds are unused, but still checked
            cls._check_unused(depths, gammas, gates, most)
            gammas, gates = (0.0,) * len(depths), ()
        return cls(
            policy=named,
            placement=depths,
            gammas=gammas,
            cap=most,
            verify=verified,
            gates=gates,
        )

    @classmethod
    def _check_unused(
        cls,
        depths: tuple[int, ...],
        gammas: tuple[float, ...],
        gates: tuple[float, ...],
        cap: int,
    ) -> None:
        """Check thresholds that a design ignores as one that uses them would."""
        for given, asked in ((gammas, ()), ((0.0,) * len(depths or gates), gates)):
            placement = depths or tuple(range(1, len(given) + 1))
            cls(policy=Policy.ADADECODE, placement=placement, gammas=given, cap=cap, gates=asked)

    def boundaries(self, n_layers: int) -> tuple[int, ...]:
        """Return the segment boundaries 0 = b0 < ... < bS = n_layers.

        A head with gamma 1 is never tested, because no probability exceeds 1, so it splits nothing:
        with gamma 1 everywhere the work is that of vanilla. So it is with a gate threshold of 1.

        Raises:
            DesignError: If a head lies at or beyond the last layer.
        """
        if self.placement and self.placement[-1] >= n_layers:
            raise DesignError(
                f"a head lies between the layers of a model with {n_layers}: "
                f"depths 1..{n_layers - 1}, got {list(self.placement)}"
            )
        inner = (depth for depth in self.placement if self._is_tested(depth))
        return (0, *inner, n_layers)

    @property
    def asks_confidence(self) -> bool:
        """Whether the confidence of a head decides, held against its gamma."""
        return self.policy is Policy.ADADECODE

    def threshold(self, depth: int) -> float:
        """Return the confidence that a draft from the head at this depth must exceed."""
        if not self.asks_confidence:
            return -1.0
        return self.gammas[self.placement.index(depth)]

    def gate(self, depth: int) -> float:
        """Return the score that the gate at this depth must exceed; 0 where none is asked."""
        return self.gates[self.placement.index(depth)] if self.gates else 0.0

    def _is_tested(self, depth: int) -> bool:
        """Whether the head at this depth may ever be asked: no probability exceeds 1."""
        return not self.asks_confidence or max(self.threshold(depth), self.gate(depth)) < 1.0

    def parts(self) -> dict[str, Any]:
        """Return the parts by name, as JSON holds a design; gates only where it asks any."""
        parts = asdict(self)
        if not self.gates:
            del parts["gates"]
        return parts

    @property
    def label(self) -> str:
        """A short, unique name: ``adadecode 4/8 gamma 0.75 gate 0.3``."""
        return design_label(
            self.policy,
            self.placement,
            self.gammas,
            self.cap,
            verify=self.verify,
            gates=self.gates,
        )


def _depths(given: Sequence[SupportsIndex]) -> tuple[int, ...]:
    return tuple(
        _whole("a depth", depth)
        for depth in _items(given, "a placement is a rising list of depths")
    )


def _whole(what: str, given: object) -> int:
    """Return an integer of any kind as an int; refuse what would have to be rounded, and flags."""
    value = whole_number(given)
    if value is None:
        raise DesignError(f"{what} is a whole number, got {given!r}: give an int")
    return value


def _thresholds(what: str, given: object, heads: int, *, like: float) -> tuple[float, ...]:
    """Return one threshold for all heads, or those of a list; ``like`` is an example."""
    alone = real_number(given)
    if alone is not None:
        return (alone,) * heads
    wanted = f"{what} is a number or a list of numbers"
    if isinstance(given, (str, bytes, bool)):
        raise DesignError(f"{wanted}, got {given!r}: give {like}")
    return tuple(_threshold(what, one) for one in _items(given, wanted))


def _threshold(what: str, given: object) -> float:
    value = real_number(given)
    if value is None:
        one = what if what.startswith("a ") else f"a {what}"
        raise DesignError(f"{one} is a number, got {given!r}: give a probability in [0, 1]")
    return value


def _items(given: object, what: str) -> tuple[Any, ...]:
    """Return the items of a list of any kind; ``what`` says what was wanted."""
    try:
        if not isinstance(given, (str, bytes, Mapping)):  # their items are no numbers
            return tuple(cast(Iterable[Any], given))  # what is not iterable raises
    except TypeError:
        pass
    raise DesignError(f"{what}, got {given!r}: give a list, also of one")
