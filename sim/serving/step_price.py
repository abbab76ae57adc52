"""What a step of a server takes, and what several steps take that follow each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from adadecode.sim.serving.scheduling.step import StepWork


@runtime_checkable
class RunPrice(Protocol):
    """Prices steps, and knows a quicker way for those that are alike."""

    def __call__(self, work: StepWork) -> float:
        """Return the seconds of a step."""
        ...

    def decoding(self, contexts: Sequence[int], n_steps: int) -> list[float]:
        """Return the seconds of steps in which all sequences compute one token each.

        Args:
            contexts: For each sequence, the positions before its token in the first step. It has
                one more in every step that follows.
            n_steps: How many steps.
        """
        ...

    def count(self, contexts: Sequence[int], n_steps: int) -> None:
        """Note that so many of these steps were in fact made."""
        ...


StepPrice = Callable[[StepWork], float] | RunPrice
"""Returns the seconds that a device takes for a step, which depend on nothing else."""


class EachPriced:
    """A `RunPrice` that asks for each step by itself.

    Args:
        price: What it asks.
    """

    def __init__(self, price: StepPrice) -> None:
        self._price = price

    def __call__(self, work: StepWork) -> float:
        """Return the seconds of a step."""
        return self._price(work)

    def decoding(self, contexts: Sequence[int], n_steps: int) -> list[float]:
        """Return the seconds of steps in which all sequences compute one token each."""
        return [
            self._price(StepWork(contexts=[context + step for context in contexts]))
            for step in range(n_steps)
        ]

    def count(self, contexts: Sequence[int], n_steps: int) -> None:
        """Do nothing."""


def run_price(price: StepPrice) -> RunPrice:
    """Return a price that knows steps that are alike."""
    return price if isinstance(price, RunPrice) else EachPriced(price)
