"""Loads that toy models served (`tests.support.batched_toys`), as an engine would record them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Verdict
from adadecode.sim.serving.batching.batcher import Span
from adadecode.sim.serving.batching.recorded_load import (
    EngineSettings,
    LoadRequest,
    LoadRun,
    load_tables,
)
from adadecode.sim.serving.batching.step_record import StepRecord
from adadecode.sim.serving.request import Request, ServedRequest
from tests.support.batched_toys import Arrival, Pattern, ToyRun
from tests.support.hash_model import N_PROMPT, dice

DESIGN = Design.of("adadecode", gamma=0.3, placement=[1, 2])
EARLY = 1e-3
"""Seconds by which a request arrives before the step that finds it there."""


def toy_pattern(design: Design = DESIGN, *, count: int = 8, apart: int = 3) -> Pattern:
    """Return requests that come every so many steps, with little memory and no end token."""
    return Pattern(
        design=design,
        n_layers=4,
        arrivals=tuple(
            Arrival(step=apart * number, seed=number, budget=4 + number % 7)
            for number in range(count)
        ),
        order="lockstep",
        kv_blocks=9,
        block_size=2,
        max_num_seqs=4,
        max_batched_tokens=6,
        eos=frozenset(),
    )


def toy_load(pattern: Pattern) -> LoadRun:
    """Return a load of toy models on a clock of its own, counted by hand from its verdicts."""
    record = ToyRun(pattern=pattern).run().record
    now, left = 0.0, 0
    steps: list[StepRecord] = []
    arrival_s: dict[str, float] = {}
    scheduled_s: dict[str, float] = {}
    token_s: dict[str, list[float]] = {}
    preempted: dict[str, int] = {}
    for one in record:
        gap = dice("gap", one.batch.step) % 100 / 1e5
        now += gap if left else 1.0  # an idle engine waits
        seconds = (1 + dice("seconds", one.batch.step) % 100) / 1e4
        for name in one.arrived:
            arrival_s[name] = now - EARLY
        for span in one.batch.spans:
            scheduled_s.setdefault(span.name, now)
        for name in one.batch.preempted:
            preempted[name] = preempted.get(name, 0) + 1
        for name, outcome in one.outcomes:
            if isinstance(outcome, Verdict):
                times = token_s.setdefault(name, [])
                times += [now + seconds] * (outcome.accepted + 1)
        left += len(one.arrived) - len(one.ended)
        steps.append(_renamed(replace(one, begun_s=now, seconds=seconds)))
        now += seconds
    return LoadRun(
        settings=EngineSettings(
            design=pattern.design,
            kv_blocks=pattern.kv_blocks,
            block_size=pattern.block_size,
            max_num_seqs=pattern.max_num_seqs,
            max_batched_tokens=pattern.max_batched_tokens,
            order=pattern.order,
            age_limit=3,
        ),
        requests=tuple(
            LoadRequest(
                served=ServedRequest(
                    request=Request(
                        name=_number(name),
                        arrival_s=arrival_s[name],
                        n_prompt=N_PROMPT,
                        n_output=len(token_s[name]),
                    ),
                    scheduled_s=scheduled_s[name],
                    token_s=tuple(token_s[name]),
                    preemptions=preempted.get(name, 0),
                ),
                prompt=0,
                max_new_tokens=pattern.arrivals[int(_number(name))].budget,
            )
            for name in arrival_s
        ),
        steps=tuple(steps),
        n_layers=pattern.n_layers,
        eos=pattern.eos,
    )


def with_loads(
    profile: Profile, runs: list[LoadRun], pieces: pd.DataFrame | None = None
) -> Profile:
    """Return a profile that holds loads."""
    tables: dict[str, Any] = dict(load_tables(runs))
    if pieces is not None:
        tables["load_pieces"] = pieces
    about = {"source": "toys", "runs": [run.settings.parts() for run in runs]}
    return replace(profile, manifest={**profile.manifest, "load": about}, **tables)


def _number(name: str) -> str:
    return name.removeprefix("r")


def _renamed(one: StepRecord) -> StepRecord:
    """Return a step whose requests are named by their numbers."""

    def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_number, names))

    batch = one.batch
    return replace(
        one,
        batch=replace(
            batch,
            spans=tuple(Span(_number(name), start, stop) for name, start, stop in batch.spans),
            admitted=renamed(batch.admitted),
            preempted=renamed(batch.preempted),
        ),
        outcomes=tuple((_number(name), outcome) for name, outcome in one.outcomes),
        arrived=renamed(one.arrived),
        ended=renamed(one.ended),
    )
