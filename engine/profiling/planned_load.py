"""Which requests a load consists of: arrivals that a user typed, with the prompts of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adadecode.engine.serving.real_load import PlannedRequest
from adadecode.profiles.errors import InputError
from adadecode.profiles.input_file import is_there
from adadecode.sim.core.shown_text import shown
from adadecode.sim.serving.workloads import arrivals, read_requests
from adadecode.sim.serving.workloads.arrival_spec import is_specification, parse_arrivals

EXAMPLE = "poisson:5,count=200"

_ALL = 10**6
"""More tokens than any budget: texts are then as long as the profile's."""


@dataclass(frozen=True, kw_only=True)
class PlannedLoad:
    """Requests with prompts of a profile.

    Attributes:
        source: The specification, or the file.
        requests: The requests, in the order in which they arrive.
    """

    source: str
    requests: tuple[PlannedRequest, ...]

    @property
    def seconds(self) -> float:
        """Seconds from the beginning to the last arrival."""
        return self.requests[-1].arrival_s


def plan_load(text: str, budgets: Sequence[int], *, seed: int | None = None) -> PlannedLoad:
    """Return the load that a user typed.

    Prompts come in a random order, all of them before one comes again, and each text is as long as
    the profile's, or as its request asks where that is less.

    Args:
        text: Arrivals as ``adadecode-sim serve`` takes them, without the lengths of prompts, which
            are the profile's; or a file of requests, of which arrivals and outputs are taken.
        budgets: The most new tokens of each prompt of the profile.
        seed: Of the draws. By default that of the specification, or 0.

    Raises:
        InputError: It is neither, or a closed loop, names lengths of prompts, or a seed beside
            ``seed``.
    """
    found, seed = _requests(text, seed)
    order = np.random.default_rng([seed, len(budgets)])
    turns = -(-len(found) // len(budgets))
    prompts = [int(one) for _ in range(turns) for one in order.permutation(len(budgets))]
    return PlannedLoad(
        source=text,
        requests=tuple(
            PlannedRequest(
                arrival_s=arrival_s,
                prompt=prompt,
                max_new_tokens=min(n_output, budgets[prompt]),
            )
            for (arrival_s, n_output), prompt in zip(found, prompts, strict=False)
        ),
    )


def _requests(text: str, seed: int | None) -> tuple[list[tuple[float, int]], int]:
    """Return when requests arrive and the tokens that each asks for at most, and the seed."""
    if not is_specification(text):
        if not is_there(text):
            raise InputError(
                f"wanted arrivals like {EXAMPLE}, or a file of requests, got {shown(text)[:80]!r}, "
                "which is neither: check the name"
            )
        return [(one.arrival_s, one.n_output) for one in read_requests(text)], seed or 0
    parsed = parse_arrivals(text)
    if parsed.in_flight is not None:
        raise InputError(
            f"wanted arrivals at times of their own, got the closed loop {text!r}: give a rate, "
            f"like {EXAMPLE}"
        )
    if wrong := [word for word in ("prompt", "lengths") if word in parsed.words]:
        raise InputError(
            f"wanted arrivals for the prompts of the profile, got {wrong[0]} in {text!r}: leave it "
            "out, and say with output= how long texts are at most"
        )
    if seed is not None and "seed" in parsed.words:
        raise InputError(f"wanted one seed, got {seed} beside the seed in {text!r}: leave one out")
    known = "" if "output" in parsed.words else f",output={_ALL}"
    drawn = arrivals(f"{text},prompt=1{known}", seed=seed)
    return [(one.arrival_s, one.n_output) for one in drawn.requests], drawn.seed or 0
