"""Toy models (`tests.support.hash_model`) behind a batcher: strict, and deterministic."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Gate, Outcome, Run, Schedule, Verdict, Verify, Work
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import Batch, Batcher
from adadecode.sim.serving.batching.block_pool import BlockPool
from adadecode.sim.serving.batching.segment_order import ORDERS, segment_order
from adadecode.sim.serving.batching.step_record import StepRecord, in_row_order
from tests.support.hash_model import FIRST, N_PROMPT, ToyModel, designs

EOS = frozenset({5})


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A request: the step before which it comes, its seed and its most tokens.

    ``leaves`` is how many steps later it is cancelled, if it is.
    """

    step: int
    seed: int
    budget: int
    leaves: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """What arrives, and the limits under which it runs."""

    design: Design
    n_layers: int
    arrivals: tuple[Arrival, ...]
    order: str
    kv_blocks: int
    block_size: int
    max_num_seqs: int
    max_batched_tokens: int
    eos: frozenset[int] = EOS

    def batcher(self) -> Batcher:
        return Batcher(
            order=segment_order(self.order, age_limit=3),
            pool=BlockPool(self.kv_blocks, self.block_size),
            max_num_seqs=self.max_num_seqs,
            max_batched_tokens=self.max_batched_tokens,
        )

    def sequence(self, number: int) -> BatchedSequence:
        budget = self.arrivals[number].budget
        return BatchedSequence(
            f"r{number}",
            n_prompt=N_PROMPT,
            most_positions=N_PROMPT + budget - 1,
            n_segments=len(self.design.boundaries(self.n_layers)) - 1,
            make_schedule=lambda first: Schedule(
                design=self.design,
                n_layers=self.n_layers,
                n_prompt=N_PROMPT,
                first_token=first,
                max_new_tokens=budget,
                eos=self.eos,
            ),
        )


@st.composite
def patterns(draw: st.DrawFn, *, cancelled: bool = True) -> Pattern:
    """Any design under any order, with requests that come at any step, and little memory."""
    design, n_layers = draw(designs())
    leaves = st.one_of(st.none(), st.integers(0, 30)) if cancelled else st.none()
    arrivals = draw(
        st.lists(
            st.builds(
                Arrival,
                step=st.integers(0, 40),
                seed=st.integers(0, 10**6),
                budget=st.integers(1, 14),
                leaves=leaves,
            ),
            min_size=1,
            max_size=7,
        )
    )
    block_size = draw(st.integers(1, 5))
    fewest = max(-(-(N_PROMPT + one.budget - 1) // block_size) for one in arrivals)
    return Pattern(
        design=design,
        n_layers=n_layers,
        arrivals=tuple(arrivals),
        order=draw(st.sampled_from(ORDERS)),
        kv_blocks=fewest + draw(st.integers(0, 12)),
        block_size=block_size,
        max_num_seqs=draw(st.integers(1, 7)),
        max_batched_tokens=draw(st.integers(1, 12)),
    )


@dataclass(kw_only=True)
class ToyRun:
    """A pattern being run by toy models.

    Attributes:
        sequences: Every sequence by name.
        record: What each step did.
    """

    pattern: Pattern
    sequences: dict[str, BatchedSequence] = field(default_factory=dict)
    record: list[StepRecord] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    _models: dict[str, ToyModel] = field(default_factory=dict)

    def run(self) -> ToyRun:
        """Run the pattern to its end."""
        batcher = self.pattern.batcher()
        tick = 0
        last = max(one.step + (one.leaves or 0) for one in self.pattern.arrivals)
        arrived: list[str] = []
        gone: list[str] = []
        while tick <= last or not batcher.idle:
            for number, one in enumerate(self.pattern.arrivals):
                if one.step == tick:
                    sequence = self.pattern.sequence(number)
                    self.sequences[sequence.name] = sequence
                    batcher.arrive(sequence)
                    arrived.append(sequence.name)
            for number, one in enumerate(self.pattern.arrivals):
                name = f"r{number}"
                if one.leaves is not None and one.step + one.leaves == tick:
                    if not self.sequences[name].done:
                        self.cancelled.add(name)
                        gone.append(name)
                    batcher.cancel(name)
            tick += 1
            batch = batcher.next_batch()
            if batch is None:
                continue
            self._step(batcher, batch, tuple(arrived), tuple(gone))
            arrived, gone = [], []
            self._check(batcher)
        assert batcher.pool.free == batcher.pool.n_blocks
        return self

    def _step(
        self, batcher: Batcher, batch: Batch, arrived: tuple[str, ...], gone: tuple[str, ...]
    ) -> None:
        for name in batch.preempted:
            model = self._models.get(name)
            if model is not None:
                model.computed = [{} for _ in model.computed]
                model.tokens = list(model.prefix(N_PROMPT + len(model.schedule.tokens) - 1))
        for span in batch.spans:
            self._compute(span.name, Run(batch.segment, span.start, span.stop))
        batcher.ran(batch)
        outcomes: list[tuple[str, Outcome]] = []
        while asked := batcher.asked(batch):
            assert len({type(work) for _, work in asked}) == 1
            if isinstance(asked[0][1], Gate):
                assert len({work.depth for _, work in asked}) == 1
            answers = [self._answer(name, work) for name, work in asked]
            outcomes += zip((name for name, _ in asked), answers, strict=True)
            batcher.answer(asked, answers)
        ended = batcher.retire(batch)
        self.record.append(
            StepRecord(
                batch=batch,
                outcomes=in_row_order(batch, outcomes),
                arrived=arrived,
                cancelled=gone,
                ended=ended,
            )
        )

    def _compute(self, name: str, run: Run) -> None:
        sequence = self.sequences[name]
        assert sequence.work == run
        assert len(sequence.blocks) * self.pattern.block_size >= run.stop
        model = self._models.get(name)
        if not sequence.prefilling:
            assert model is not None
            model(run)
        elif model is not None:  # what it has lost is computed again
            for position in range(max(N_PROMPT, run.start), run.stop):
                model.computed[run.segment][position] = model.prefix(position)

    def _answer(self, name: str, work: Work) -> Outcome:
        model = self._models.get(name)
        if model is not None:
            return model(work)
        assert work == Verify(N_PROMPT - 1, N_PROMPT, ())
        number = int(name.removeprefix("r"))
        schedule = self.pattern.sequence(number)._make_schedule(FIRST)
        self._models[name] = ToyModel(self.pattern.arrivals[number].seed, schedule)
        self._models[name].schedule = _Later(self.sequences[name])
        return Verdict(0, FIRST)

    def _check(self, batcher: Batcher) -> None:
        """Nobody holds a block twice, and none is lost."""
        held = [block for one in batcher.running.values() for block in one.blocks]
        assert len(held) == len(set(held))
        assert len(held) + batcher.pool.free == batcher.pool.n_blocks
        assert all(not one.blocks for one in batcher.queue)
        assert len(batcher.running) <= batcher.max_num_seqs


class _Later:
    """The schedule of a sequence, which is made once its first token is known."""

    def __init__(self, sequence: BatchedSequence) -> None:
        self._sequence = sequence

    def __getattr__(self, name: str) -> object:
        return getattr(self._sequence.schedule, name)
