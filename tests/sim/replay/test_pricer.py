"""Pricing equals the direct sum over layers, with the reuse counted layer by layer."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.core.scheduler import Check, Gate, Run, Verify, Work
from adadecode.sim.replay.pricer import Pricer
from tests.support.property_tests import examples


class Formula:
    """Latencies from a formula with a different value for every argument; seconds."""

    def layer(self, layer: int, n_tokens: int, context: int, reuse: int) -> float:
        return (
            1e-3
            + 1e-4 * layer
            + 1e-5 * n_tokens
            + 1e-7 * context
            + 1e-6 * reuse
            + 1e-8 * layer * reuse * n_tokens
        )

    def layers(self, start: int, stop: int, n_tokens: int, context: int, reuse: int) -> float:
        return sum(self.layer(layer, n_tokens, context, reuse) for layer in range(start, stop))

    def head(self, depth: int, reuse: int) -> float:
        return 3e-4 + 1e-5 * depth + 1e-6 * reuse

    def gate(self, depth: int) -> float:
        return 2e-6 + 1e-7 * depth

    def verify(self, n_tokens: int) -> float:
        return 2e-4 + 1e-5 * n_tokens

    def embed(self, n_tokens: int) -> float:
        return 1e-5 * n_tokens

    def prefill(self, n_tokens: int) -> float:
        return 1e-2 * n_tokens

    def host(self) -> float:
        return 7e-6


class DirectSum:
    """The definition, layer by layer: reuse = layers run since this one last ran, itself included,
    at most L, at first L.
    """

    def __init__(self, boundaries: list[int]) -> None:
        self.boundaries, self.n_layers = boundaries, boundaries[-1]
        self.passes = 0
        self.last: list[int | None] = [None] * self.n_layers
        self.reuse = [self.n_layers] * self.n_layers

    def price(self, work: Work) -> float:
        table = Formula()
        match work:
            case Run(segment, start, stop):
                seconds = table.embed(1) if segment == 0 else 0.0
                for layer in range(self.boundaries[segment], self.boundaries[segment + 1]):
                    self.passes += 1
                    last = self.last[layer]
                    self.reuse[layer] = (
                        self.n_layers if last is None else min(self.n_layers, self.passes - last)
                    )
                    self.last[layer] = self.passes
                    seconds += table.layer(layer, stop - start, stop, self.reuse[layer])
                return seconds + table.host()
            case Check(depth, _):
                return table.head(depth, self.reuse[depth - 1]) + table.host()
            case Gate(depth, _):
                return table.gate(depth) + table.host()
            case Verify(start, stop, _):
                return table.verify(stop - start) + table.host()


@st.composite
def walks(draw: st.DrawFn) -> tuple[list[int], list[Work]]:
    """Boundaries, and work such as a schedule hands out: any segments in order of depth, a gate and
    a check right after the segment below it.
    """
    n_layers = draw(st.integers(1, 10))
    inner = (
        draw(st.sets(st.integers(1, max(1, n_layers - 1)), max_size=3)) if n_layers > 1 else set()
    )
    boundaries = [0, *sorted(inner), n_layers]
    works: list[Work] = []
    for position in range(10, 10 + draw(st.integers(1, 12))):
        reached = draw(st.integers(1, len(boundaries) - 1))
        for segment in range(reached):
            waiting = 1 if segment == 0 else draw(st.integers(1, 4))
            works.append(Run(segment, position + 1 - waiting, position + 1))
            if segment < len(boundaries) - 2 and draw(st.booleans()):
                works.append(Gate(boundaries[segment + 1], position))
            if segment < len(boundaries) - 2 and draw(st.booleans()):
                works.append(Check(boundaries[segment + 1], position))
        if reached == len(boundaries) - 1:
            works.append(Verify(position - draw(st.integers(0, 3)), position + 1, ()))
    return boundaries, works


@examples(100)
@given(walks())
def test_pricing_is_the_direct_sum(case: tuple[list[int], list[Work]]) -> None:
    """Each piece of work costs what the definition says, to 1e-12."""
    boundaries, works = case
    pricer, direct = Pricer(Formula(), boundaries), DirectSum(boundaries)
    for work in works:
        assert math.isclose(pricer(work), direct.price(work), rel_tol=1e-12)


def test_vanilla_reuses_each_layer_after_the_whole_stack() -> None:
    """Walking all 4 layers again and again, every reuse is 4."""
    table, pricer = Formula(), Pricer(Formula(), [0, 4])
    for position in (5, 6, 7):
        expected = (
            sum(table.layer(layer, 1, position + 1, 4) for layer in range(4))
            + table.embed(1)
            + table.host()
        )
        assert math.isclose(pricer(Run(0, position, position + 1)), expected, rel_tol=1e-12)


def test_a_shallow_exit_comes_back_to_a_warm_layer() -> None:
    """After an exit at depth 1 of 4 the first layer runs again at reuse 1, not 4."""
    table, pricer = Formula(), Pricer(Formula(), [0, 1, 4])
    pricer(Run(0, 5, 6))
    assert math.isclose(
        pricer(Run(0, 6, 7)), table.layer(0, 1, 7, 1) + table.embed(1) + table.host(), rel_tol=1e-12
    )


def test_a_check_is_as_warm_as_the_layer_below_it() -> None:
    """The second exit in a row checks its head at reuse 1."""
    table, pricer = Formula(), Pricer(Formula(), [0, 1, 4])
    pricer(Run(0, 5, 6))
    assert math.isclose(pricer(Check(1, 5)), table.head(1, 4) + table.host(), rel_tol=1e-12)
    pricer(Run(0, 6, 7))
    assert math.isclose(pricer(Check(1, 6)), table.head(1, 1) + table.host(), rel_tol=1e-12)


def test_reset_makes_the_device_cold() -> None:
    """The same work costs the same again after a reset."""
    pricer = Pricer(Formula(), [0, 1, 4])
    works = [Run(0, 5, 6), Check(1, 5), Run(0, 6, 7)]
    first = [pricer(work) for work in works]
    assert [pricer(work) for work in works] != first
    pricer.reset()
    assert [pricer(work) for work in works] == first
