"""What of a load no server would take, and whether two loads can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import Request

ALIKE = 0.01
"""Share by which mean lengths of two loads may differ, as texts that ended a little earlier do."""


def check_positions(requests: Sequence[Request], shape: ModelShape | None) -> None:
    """Refuse a request that is longer than the model has positions for.

    Raises:
        InputError: If there is one; nothing is known where there is no shape.
    """
    if shape is None or shape.max_positions is None:
        return
    longest = max(requests, key=lambda one: one.n_prompt + one.n_output)
    if (positions := longest.n_prompt + longest.n_output) > shape.max_positions:
        raise InputError(
            f"{shape.name} has {shape.max_positions:,} positions, got request {longest.name} of "
            f"{positions:,} (prompt and answer together): leave it out, or shorten it"
        )


def other_load(requests: Sequence[Request], measured: Sequence[Request]) -> str | None:
    """Return a sentence where what was measured is another load; None where it is the same.

    Args:
        requests: What is simulated.
        measured: What a server was measured on.
    """
    ours, theirs = _described(requests), _described(measured)
    near = all(abs(here - there) <= ALIKE * there for here, there in zip(ours, theirs, strict=True))
    if near:
        return None
    return (
        f"what was measured is another load ({_words(theirs)}; simulated: {_words(ours)}): errors "
        "compare the two loads too, so give the measured requests with --requests"
    )


def _described(requests: Sequence[Request]) -> tuple[float, float, float]:
    """Return how many requests there are, and the mean lengths of prompts and answers."""
    count = len(requests)
    return (
        float(count),
        sum(one.n_prompt for one in requests) / count,
        sum(one.n_output for one in requests) / count,
    )


def _words(described: tuple[float, float, float]) -> str:
    count, prompt, output = described
    return f"{count:,.0f} requests of {prompt:,.0f} and {output:,.0f} tokens"
