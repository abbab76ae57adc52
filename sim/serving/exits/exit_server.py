"""The simulation of servers with early exits (SimPy): batches of sequences at different depths.

A server runs one segment for all sequences that wait for it, as `Batcher` says, and waits while its
device does. Outcomes are recorded, so a step's work is known when it begins; its tokens come out,
and its blocks are free, when it is done. Who arrives in the meantime waits for the next step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol

import simpy

from adadecode.profiles.errors import LatencyError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Round, Verify
from adadecode.sim.serving.batching.batcher import Batch, Batcher, Question, Span
from adadecode.sim.serving.batching.block_pool import BlockPool
from adadecode.sim.serving.batching.segment_order import SegmentOrder
from adadecode.sim.serving.deployment import Deployment, check_load
from adadecode.sim.serving.exits.served_text import MakeSchedule, ServedText, plain_schedules
from adadecode.sim.serving.exits.texts import Texts
from adadecode.sim.serving.latency.segment_times import SegmentWork
from adadecode.sim.serving.metrics.server_use import ServerUse
from adadecode.sim.serving.request import Request, ServedRequest
from adadecode.sim.serving.routing import find_routing
from adadecode.sim.serving.scheduling.settings import ServerSettings
from adadecode.sim.serving.scheduling.step import Chunk
from adadecode.sim.serving.server import ServedLoad, StepRecord

SegmentPrice = Callable[[SegmentWork], float]
"""Returns the seconds that a device takes for a step."""


class LoadRule(Protocol):
    """Makes schedules that follow the load of their server."""

    def schedules(self, load: Callable[[], tuple[int, float, int]], texts: Texts) -> MakeSchedule:
        """Return what makes the schedules of one server.

        Args:
            load: Returns its sequences that decode, their mean context, and the tokens of prompts
                in its latest step.
            texts: What heads and the last layer say.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class ExitDecoding:
    """How servers with early exits decode.

    Attributes:
        design: The design of all texts, which says where segments end.
        texts: What heads and the last layer say.
        price: What steps take.
        order: Returns a new rule that picks the segment of each step.
        rule: What drafts by the load; None where all texts keep to the design.
    """

    design: Design
    texts: Texts
    price: SegmentPrice
    order: Callable[[], SegmentOrder]
    rule: LoadRule | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedExits:
    """What came of some requests.

    Attributes:
        load: Every request, and what the servers did.
        rounds: The rounds of all requests.
        modelled: How many of them rest on a branch that was not recorded.
    """

    load: ServedLoad
    rounds: tuple[Round, ...]
    modelled: int


@dataclass(kw_only=True)
class _Tally:
    """What the servers of a deployment leave behind."""

    keep_steps: bool
    served: list[ServedRequest] = field(default_factory=list)
    steps: list[StepRecord] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    modelled: int = 0
    n_steps: int = 0
    busy_s: float = 0.0
    block_seconds: float = 0.0
    most_blocks: int = 0


class _ExitServer:
    """One server: a batcher, and a device that does one step at a time."""

    def __init__(
        self,
        env: simpy.Environment,
        place: int,
        settings: ServerSettings,
        decoding: ExitDecoding,
        tally: _Tally,
        arrived: Callable[[], None],
        ended: Callable[[], None],
    ) -> None:
        self.env, self.place, self.decoding, self.tally = env, place, decoding, tally
        self.batcher = Batcher(
            order=decoding.order(),
            pool=BlockPool(settings.usable_blocks, settings.block_size),
            max_num_seqs=settings.max_num_seqs,
            max_batched_tokens=settings.max_batched_tokens,
        )
        self.arrived, self.ended = arrived, ended
        self.texts: dict[str, ServedText] = {}
        self.wake: simpy.Event | None = None
        self.counted_at = 0.0
        bounds = decoding.design.boundaries(decoding.texts.trace.n_layers)
        self.layers = [stop - start for start, stop in pairwise(bounds)]
        self.prompt_tokens = 0
        self._load, self._load_of = (0, 0.0, 0), -1
        self._unasked: tuple[int, frozenset[Span]] | None = None
        self.make_schedule = (
            plain_schedules(decoding.texts, decoding.design)
            if decoding.rule is None
            else decoding.rule.schedules(self.current_load, decoding.texts)
        )
        self._count = 0

    @property
    def n_unfinished(self) -> int:
        """Requests that are queued or run."""
        return len(self.texts)

    @property
    def n_used(self) -> int:
        """Blocks in use."""
        return self.batcher.pool.n_blocks - self.batcher.pool.free

    def current_load(self) -> tuple[int, float, int]:
        """Return sequences that decode, their mean context, and tokens of prompts in a pass."""
        if self._load_of != self.batcher.step:
            self._load_of = self.batcher.step
            running = self.batcher.running.values()
            lengths = [one.positions_to_begin() for one in running if one.schedule is not None]
            mean = sum(lengths) / max(len(lengths), 1)
            self._load = len(lengths), mean, self.prompt_tokens
        return self._load

    def add(self, request: Request) -> None:
        """Queue a request, and wake the server where it sleeps."""
        name = str(self._count)
        self._count += 1
        text = ServedText(name, request, self.decoding.texts, len(self.layers), self.make_schedule)
        self.batcher.arrive(text.sequence)
        self.texts[name] = text
        if self.wake is not None:
            self.wake.succeed()
            self.wake = None

    def run(self) -> Generator[simpy.Event, Any, None]:
        """Serve for ever."""
        env, batcher = self.env, self.batcher
        while True:
            self.count_blocks()
            batch = batcher.next_batch()
            if batch is None:
                self.wake = env.event()
                yield self.wake
                continue
            yield env.timeout(self._do(batch))
            self.count_blocks()
            for span in batch.spans:
                self.texts[span.name].stamp(env.now)
            for name in batcher.retire(batch):
                self._end(self.texts.pop(name))
            self.arrived()

    def count_blocks(self) -> None:
        """Count the blocks that have been in use since they were counted last."""
        self.tally.block_seconds += self.n_used * (self.env.now - self.counted_at)
        self.counted_at = self.env.now

    def _do(self, batch: Batch) -> float:
        """Do the work of a batch, and return the seconds that it takes."""
        for name in batch.preempted:
            self.texts[name].rewind()
        for name in batch.admitted:
            text = self.texts[name]
            if text.scheduled_s is None:
                text.scheduled_s = self.env.now
        work = self._work(batch)
        self.batcher.ran(batch)
        self._unasked = batch.segment, frozenset(batch.spans)
        while asked := self.batcher.asked(batch):
            self._unasked = None
            _count(work, asked)
            answers = [self.texts[name].answer(question) for name, question in asked]
            self.batcher.answer(asked, answers)
        seconds = self.decoding.price(work)
        if not 0 < seconds < float("inf"):
            raise LatencyError(f"wanted steps that take time, got one of {seconds!r} s")
        self._record(batch, work, seconds)
        return seconds

    def _work(self, batch: Batch) -> SegmentWork:
        """Return what a batch computes."""
        segment, running = batch.segment, self.batcher.running
        work = SegmentWork(segment, self.layers[segment])
        for name, start, stop in batch.spans:
            one = running[name]
            if one.prefilling:
                work.prompts.add(stop - start, start)
            else:
                work.waiting.append(Chunk(stop - start, start))
        if segment == 0:
            self.prompt_tokens = work.prompts.n_tokens
        work.goes_on = self._unasked == (segment - 1, frozenset(batch.spans))
        return work

    def _end(self, text: ServedText) -> None:
        """Keep what came of a request."""
        schedule, tally = text.sequence.schedule, self.tally
        assert schedule is not None
        tally.served.append(text.served())
        tally.rounds += schedule.rounds
        tally.modelled += text.modelled
        self.ended()

    def _record(self, batch: Batch, work: SegmentWork, seconds: float) -> None:
        """Keep what a step did."""
        tally, used = self.tally, self.n_used
        tally.n_steps += 1
        tally.busy_s += seconds
        tally.most_blocks = max(tally.most_blocks, used)
        if tally.keep_steps:
            tally.steps.append(
                StepRecord(
                    server=self.place,
                    start_s=self.env.now,
                    seconds=seconds,
                    n_tokens=work.n_tokens,
                    n_sequences=work.n_sequences,
                    running=len(self.batcher.running),
                    waiting=len(self.batcher.queue),
                    kv_blocks=used,
                    preempted=len(batch.preempted),
                    segment=batch.segment,
                )
            )


def serve_exits(
    requests: Sequence[Request],
    settings: ServerSettings,
    decoding: ExitDecoding,
    *,
    in_flight: int | None = None,
    replicas: int = 1,
    routing: str = "round-robin",
    seed: int | None = None,
    keep_steps: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> ServedExits:
    """Serve requests to the end by servers with early exits.

    The same arguments give the same result, bit for bit. Blocks hold no content that is found
    again, and a step is formed when the one before it is done, whatever the settings say.

    Args:
        requests: The requests, in the order of their arrival.
        settings: Limits of a step, and the blocks of each server.
        decoding: How the servers decode.
        in_flight: As in `adadecode.sim.serving.server.serve`.
        replicas: Servers, all alike.
        routing: The rule that picks the server of a request, of `ROUTINGS`.
        seed: What the requests were drawn with; None of recorded ones. Their texts are drawn with
            it, too.
        keep_steps: Whether to keep every step.
        progress: As in `adadecode.sim.serving.server.serve`.

    Raises:
        InputError: If there is no request, one is larger than the memory, they run backwards in
            time, or a number or name is wrong.
        DesignError: If the design needs heads or gates that were not recorded.
        LatencyError: If the price of a step is none.
    """
    check_load(requests, in_flight, replicas)
    design = decoding.design
    decoding.texts.trace.require(design.placement, gates=bool(design.gates))
    decoding = replace(decoding, texts=decoding.texts.drawn(seed))
    env, tally = simpy.Environment(0.0), _Tally(keep_steps=keep_steps)
    whole = Deployment(env, requests, in_flight, find_routing(routing), progress)
    servers = [
        _ExitServer(env, place, settings, decoding, tally, whole.arrive, whole.ended)
        for place in range(replicas)
    ]
    whole.servers = servers
    whole.start()
    env.run(whole.done)
    return _served(tally, servers, settings.usable_blocks, env.now)


def _served(tally: _Tally, servers: Sequence[_ExitServer], blocks: int, end: float) -> ServedExits:
    """Return what came of it until the last request ended."""
    for one in servers:
        one.count_blocks()
    span = end - min(one.request.arrival_s for one in tally.served)
    return ServedExits(
        load=ServedLoad(
            served=tuple(tally.served),
            use=ServerUse(
                devices=len(servers),
                busy_s=tally.busy_s,
                kv_mean=tally.block_seconds / (len(servers) * span * blocks),
                kv_peak=tally.most_blocks / blocks,
                rounds=sum(bool(one.exits) for one in tally.rounds),
                drafts=sum(len(one.exits) for one in tally.rounds),
                accepted=sum(one.accepted for one in tally.rounds),
            ),
            n_steps=tally.n_steps,
            hit_share=0.0,
            blocks_at_end=tuple(one.n_used for one in servers),
            steps=tuple(tally.steps),
        ),
        rounds=tuple(tally.rounds),
        modelled=tally.modelled,
    )


def _count(work: SegmentWork, asked: Sequence[tuple[str, Question]]) -> None:
    """Count the rows that are asked."""
    for _, question in asked:
        if isinstance(question, Gate):
            work.gates += 1
        elif isinstance(question, Check):
            work.checks += 1
        else:
            assert isinstance(question, Verify)
            work.verified += question.stop - question.start
