"""Loads that a batched engine served in real time, as a profile holds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from adadecode.profiles.errors import AdaDecodeError, ProfileError
from adadecode.profiles.manifest import section
from adadecode.profiles.schema import ALL_TABLES
from adadecode.profiles.store import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Schedule
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import (
    DEFAULT_MAX_BATCHED_TOKENS,
    DEFAULT_MAX_NUM_SEQS,
    Batch,
    Batcher,
    Span,
)
from adadecode.sim.serving.batching.block_pool import DEFAULT_BLOCK_SIZE, BlockPool
from adadecode.sim.serving.batching.segment_order import DEFAULT_AGE_LIMIT, segment_order
from adadecode.sim.serving.batching.step_record import StepRecord, columns_of, outcomes_of
from adadecode.sim.serving.request import Request, ServedRequest

NONE = -1
"""Stands for a token or a count that nobody was asked for."""

RECORD = "record the load again with `adadecode-load`"


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """How a batched engine forms its batches; see `Batcher`.

    Attributes:
        design: How every text is decoded.
        kv_blocks: Blocks of keys and values.
        block_size: Positions of a block.
        max_num_seqs: Texts that run at once.
        max_batched_tokens: Positions of a step.
        order: Which segment runs next.
        age_limit: Steps that a text waits for its segment under the order ``largest``.
    """

    design: Design
    kv_blocks: int
    block_size: int = DEFAULT_BLOCK_SIZE
    max_num_seqs: int = DEFAULT_MAX_NUM_SEQS
    max_batched_tokens: int = DEFAULT_MAX_BATCHED_TOKENS
    order: str = "lockstep"
    age_limit: int = DEFAULT_AGE_LIMIT

    @classmethod
    def read(cls, parts: Mapping[str, Any]) -> EngineSettings:
        """Return the settings that `parts` wrote. Raises TypeError, KeyError, AdaDecodeError."""
        design = parts["design"]
        rest = {name: parts[name] for name in cls.__dataclass_fields__ if name != "design"}
        found = cls(
            design=Design.of(
                design["policy"],
                gamma=design["gammas"] or 0.0,
                placement=design["placement"],
                cap=design["cap"],
                verify=design["verify"],
                gate=design.get("gates") or 0.0,
            ),
            **rest,
        )
        found.batcher()
        return found

    def parts(self) -> dict[str, Any]:
        """Return the settings by name, as JSON holds them."""
        return {"design": self.design.parts(), **self.limits()}

    def limits(self) -> dict[str, Any]:
        """Return all settings but the design, by name."""
        names = (name for name in self.__dataclass_fields__ if name != "design")
        return {name: getattr(self, name) for name in names}

    def check(self, texts: Iterable[tuple[int, int]]) -> None:
        """Refuse texts that could never be run to their ends.

        Args:
            texts: Tokens of each prompt, and of its text at most.

        Raises:
            InputError: One of them never fits into the blocks.
        """
        batcher = self.batcher()
        for n_prompt, new_tokens in texts:
            batcher.check(n_prompt, n_prompt + new_tokens - 1)

    def batcher(self) -> Batcher:
        """Return a new batcher with these limits."""
        return Batcher(
            order=segment_order(self.order, self.age_limit),
            pool=BlockPool(self.kv_blocks, self.block_size),
            max_num_seqs=self.max_num_seqs,
            max_batched_tokens=self.max_batched_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """One request of a load, and what became of it.

    Attributes:
        served: When what happened to it; its name is its number.
        prompt: The number of its prompt in the profile.
        max_new_tokens: The most tokens that it was to be answered with.
    """

    served: ServedRequest
    prompt: int
    max_new_tokens: int


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadRun:
    """One load, served once. Times are in seconds from its beginning.

    Attributes:
        settings: How the engine was set.
        requests: The requests, in the order in which they arrived.
        steps: What every step did.
        n_layers: Layers of the model.
        eos: Tokens that end a text.
    """

    settings: EngineSettings
    requests: tuple[LoadRequest, ...]
    steps: tuple[StepRecord, ...]
    n_layers: int
    eos: frozenset[int]
    _by_name: dict[str, LoadRequest] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_name = {one.served.request.name: one for one in self.requests}
        object.__setattr__(self, "_by_name", by_name)

    @property
    def served(self) -> tuple[ServedRequest, ...]:
        """When what happened to each request."""
        return tuple(one.served for one in self.requests)

    def sequence(self, name: str) -> BatchedSequence:
        """Return a new sequence of a request, as the engine made it."""
        one = self._by_name[name]
        n_prompt, design = one.served.request.n_prompt, self.settings.design

        def schedule(first_token: int) -> Schedule:
            return Schedule(
                design=design,
                n_layers=self.n_layers,
                n_prompt=n_prompt,
                first_token=first_token,
                max_new_tokens=one.max_new_tokens,
                eos=self.eos,
            )

        return BatchedSequence(
            name,
            n_prompt=n_prompt,
            most_positions=n_prompt + one.max_new_tokens - 1,
            n_segments=len(design.boundaries(self.n_layers)) - 1,
            make_schedule=schedule,
        )


# -- in a profile --------------------


def load_tables(runs: Sequence[LoadRun]) -> dict[str, pd.DataFrame]:
    """Return runs as the tables of a profile that hold them."""
    rows: dict[str, list[dict[str, Any]]] = {
        "load_requests": [row for number, run in enumerate(runs) for row in _requests(number, run)],
        "load_steps": [_step(number, one) for number, run in enumerate(runs) for one in run.steps],
        "load_work": [
            row
            for number, run in enumerate(runs)
            for one in run.steps
            for row in _work(number, one)
        ],
    }
    return {name: pd.DataFrame(rows[name], columns=ALL_TABLES[name].names) for name in rows}


def load_runs(profile: Profile) -> tuple[LoadRun, ...]:
    """Return the loads that a profile holds; none where it holds none.

    Raises:
        ProfileError: What is said of them contradicts itself.
    """
    runs = section(profile.manifest, "load").get("runs")
    if runs is None:
        return ()
    try:
        return tuple(_run(profile, number, one) for number, one in enumerate(runs))
    except (KeyError, TypeError, ValueError, AttributeError, AdaDecodeError) as error:
        raise ProfileError(
            f"wanted loads that were served in {profile.path}, got contradictions "
            f"({type(error).__name__}: {error}): {RECORD}"
        ) from error


def _run(profile: Profile, number: int, about: Mapping[str, Any]) -> LoadRun:
    requests, steps, work = (
        table[table["run"] == number]
        for table in (profile.load_requests, profile.load_steps, profile.load_work)
    )
    of_step: dict[int, list[Mapping[Any, Any]]] = {}
    for row in work.to_dict("records"):
        of_step.setdefault(row["step"], []).append(row)
    run = LoadRun(
        settings=EngineSettings.read(about),
        requests=tuple(_request(row) for row in requests.to_dict("records")),
        steps=tuple(
            _record(row, of_step[row["step"]])
            for row in steps.sort_values("step").to_dict("records")
        ),
        n_layers=profile.n_layers,
        eos=frozenset(profile.manifest["eos_token_ids"]),
    )
    known = {one.served.request.name for one in run.requests}
    named = {span.name for step in run.steps for span in step.batch.spans}
    arrived = [name for step in run.steps for name in step.arrived]
    if not known or named - known or sorted(arrived) != sorted(known):
        raise ProfileError(f"the requests of run {number} are not those of its steps")
    return run


def _requests(number: int, run: LoadRun) -> Iterable[dict[str, Any]]:
    for one in run.requests:
        request = one.served.request
        yield {
            "run": number,
            "request": int(request.name),
            "prompt": one.prompt,
            "n_prompt": request.n_prompt,
            "max_new_tokens": one.max_new_tokens,
            "arrival_s": request.arrival_s,
            "scheduled_s": one.served.scheduled_s,
            "token_s": one.served.token_s,
            "preemptions": one.served.preemptions,
        }


def _request(row: Mapping[Any, Any]) -> LoadRequest:
    times = tuple(row["token_s"])
    known = (row["arrival_s"], row["scheduled_s"], *times)
    if not times or list(known) != sorted(known):
        raise ProfileError(f"the times of request {row['request']} do not rise")
    return LoadRequest(
        served=ServedRequest(
            request=Request(
                name=str(row["request"]),
                arrival_s=float(row["arrival_s"]),
                n_prompt=int(row["n_prompt"]),
                n_output=len(times),
            ),
            scheduled_s=float(row["scheduled_s"]),
            token_s=times,
            preemptions=int(row["preemptions"]),
        ),
        prompt=int(row["prompt"]),
        max_new_tokens=int(row["max_new_tokens"]),
    )


def _step(number: int, one: StepRecord) -> dict[str, Any]:
    events = {name: tuple(map(int, names)) for name, names in one.events()}
    return {
        "run": number,
        "step": one.batch.step,
        "segment": one.batch.segment,
        "begun_s": one.begun_s,
        "seconds": one.seconds,
        **{name: events[name] for name in ("arrived", "admitted", "preempted", "ended")},
    }


def _work(number: int, one: StepRecord) -> Iterable[dict[str, Any]]:
    nothing: dict[str, Any] = {
        **dict.fromkeys(("score", "confidence"), float("nan")),
        **dict.fromkeys(("draft", "accepted", "token"), NONE),
    }
    for name, start, stop in one.batch.spans:
        told = [outcome for asked, outcome in one.outcomes if asked == name]
        row: dict[str, Any] = {
            "run": number,
            "step": one.batch.step,
            "request": int(name),
            "start": start,
            "stop": stop,
            **nothing,
        }
        for outcome in told:
            row |= columns_of(outcome)
        yield row


def _record(row: Mapping[Any, Any], work: Sequence[Mapping[Any, Any]]) -> StepRecord:
    happened = {
        name: tuple(map(str, row[name])) for name in ("arrived", "admitted", "preempted", "ended")
    }
    return StepRecord(
        batch=Batch(
            step=int(row["step"]),
            segment=int(row["segment"]),
            spans=tuple(Span(str(one["request"]), one["start"], one["stop"]) for one in work),
            admitted=happened["admitted"],
            preempted=happened["preempted"],
        ),
        outcomes=tuple((str(one["request"]), told) for one in work for told in _told(one)),
        arrived=happened["arrived"],
        ended=happened["ended"],
        begun_s=float(row["begun_s"]),
        seconds=float(row["seconds"]),
    )


def _told(work: Mapping[Any, Any]) -> Iterable[Any]:
    """Return the outcomes in a row of the table ``load_work``."""
    asked = {name: None if work[name] == NONE else work[name] for name in ("draft", "token")}
    return outcomes_of({**work, **asked})
