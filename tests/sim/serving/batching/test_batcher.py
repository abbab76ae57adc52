"""Batches of toy models: every text is its own, no block is lost, and a replay is exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from adadecode.profiles.errors import DesignError, InputError, ProfileError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Schedule, Verdict
from adadecode.sim.serving.batching.batched_sequence import BatchedSequence
from adadecode.sim.serving.batching.batcher import Batcher, Span
from adadecode.sim.serving.batching.block_pool import BlockPool
from adadecode.sim.serving.batching.replayed_batches import replayed_steps
from adadecode.sim.serving.batching.segment_order import Largest, Waiting, segment_order
from adadecode.sim.serving.batching.step_record import (
    EVENT_COLUMNS,
    WORK_COLUMNS,
    event_table,
    steps_of,
    work_table,
)
from tests.support.batched_toys import Arrival, Pattern, ToyRun, patterns
from tests.support.hash_model import FIRST, ToyModel, drive, vanilla_text
from tests.support.property_tests import examples

PATTERN = Pattern(
    design=Design.of("adadecode", gamma=0.3, placement=[1, 2]),
    n_layers=4,
    arrivals=tuple(Arrival(step=2 * k, seed=k, budget=10) for k in range(5)),
    order="lockstep",
    kv_blocks=9,
    block_size=2,
    max_num_seqs=4,
    max_batched_tokens=6,
    eos=frozenset(),
)


@examples(400)
@given(patterns())
def test_each_text_is_its_own_and_no_block_is_lost(pattern: Pattern) -> None:
    run = ToyRun(pattern=pattern).run()
    for number, one in enumerate(pattern.arrivals):
        sequence = run.sequences[f"r{number}"]
        model = ToyModel(one.seed, pattern.sequence(number)._make_schedule(0))
        text = vanilla_text(model, one.budget, pattern.eos)
        if sequence.name in run.cancelled:
            got = [] if sequence.schedule is None else sequence.schedule.tokens
            assert got == text[: len(got)]
        else:
            assert sequence.schedule is not None
            assert sequence.schedule.tokens == text


@examples(100)
@given(patterns(cancelled=False))
def test_rounds_are_those_that_a_sequence_has_alone(pattern: Pattern) -> None:
    run = ToyRun(pattern=pattern).run()
    for number, one in enumerate(pattern.arrivals):
        alone = pattern.sequence(number)._make_schedule(FIRST)
        drive(alone, ToyModel(one.seed, alone))
        schedule = run.sequences[f"r{number}"].schedule
        assert schedule is not None
        assert schedule.rounds == alone.rounds


@examples(200)
@given(patterns())
def test_a_replay_forms_the_same_batches(pattern: Pattern) -> None:
    recorded = ToyRun(pattern=pattern).run().record
    read = steps_of(work_table(recorded), event_table(recorded))
    assert read == recorded
    replayed = replayed_steps(
        [_without_decisions(record) for record in read],
        pattern.batcher(),
        lambda name: pattern.sequence(int(name.removeprefix("r"))),
    )
    assert list(replayed) == recorded


def _without_decisions(record):
    """Return a record whose decisions are wrong: a replay is not to look at them."""
    batch = replace(record.batch, segment=99, spans=(), admitted=("?",), preempted=("?",))
    return replace(record, batch=batch, ended=("?",))


@pytest.mark.parametrize("stepped", [True, False], ids=["running", "queued"])
def test_a_name_that_is_cancelled_and_used_again_is_replayed(stepped: bool) -> None:
    """Also between two steps, of which the record keeps arrivals and cancellations apart."""
    run, batcher = ToyRun(pattern=PATTERN), PATTERN.batcher()
    arrived: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    for again in (False, True):
        if again:
            assert batcher.cancel("r0")
            gone = ("r0",)
        run.sequences["r0"] = PATTERN.sequence(0)
        batcher.arrive(run.sequences["r0"])
        arrived += ("r0",)
        while (again or stepped) and (batch := batcher.next_batch()) is not None:
            run._step(batcher, batch, arrived, gone)
            arrived = gone = ()
            if not again:
                break
    assert run.sequences["r0"].done
    replayed = replayed_steps(run.record, PATTERN.batcher(), lambda _: PATTERN.sequence(0))
    assert list(replayed) == run.record


def test_little_memory_preempts_the_latest_in_mid_round() -> None:
    run = ToyRun(pattern=PATTERN).run()
    preempted = [name for record in run.record for name in record.batch.preempted]
    assert preempted
    assert "r0" not in preempted
    assert all(not record.batch.admitted for record in run.record if record.batch.preempted)
    sequences = run.sequences.values()
    assert sum(one.preemptions for one in sequences) == len(preempted)


def test_a_replay_of_what_was_not_recorded_is_refused() -> None:
    recorded = ToyRun(pattern=PATTERN).run().record

    def replay(**changes: tuple[()]) -> None:
        changed = [replace(record, **changes) for record in recorded]
        numbered = replayed_steps(
            changed,
            PATTERN.batcher(),
            lambda name: PATTERN.sequence(int(name.removeprefix("r"))),
        )
        list(numbered)

    with pytest.raises(ProfileError, match="outcome that was not recorded"):
        replay(outcomes=())
    with pytest.raises(ProfileError, match="nothing is left to run"):
        replay(arrived=())


def test_a_prompt_is_cut_to_what_the_tokens_of_others_leave() -> None:
    """By hand: one segment, at most 4 positions a step."""
    batcher = Batcher(order=segment_order("lockstep"), pool=BlockPool(20, 2), max_batched_tokens=4)
    design = Design.of("vanilla")

    def arrive(name: str, n_prompt: int) -> None:
        batcher.arrive(
            BatchedSequence(
                name,
                n_prompt=n_prompt,
                most_positions=n_prompt + 2,
                n_segments=1,
                make_schedule=lambda first: Schedule(
                    design=design,
                    n_layers=1,
                    n_prompt=n_prompt,
                    first_token=first,
                    max_new_tokens=3,
                ),
            )
        )

    spans = []
    arrive("a", 3)
    arrive("b", 7)
    while (batch := batcher.next_batch()) is not None:
        spans.append(batch.spans)
        batcher.ran(batch)
        while asked := batcher.asked(batch):
            batcher.answer(asked, [Verdict(0, 1) for _ in asked])
        batcher.retire(batch)
    assert spans == [
        (Span("a", 0, 3), Span("b", 0, 1)),
        (Span("a", 3, 4), Span("b", 1, 4)),
        (Span("a", 4, 5), Span("b", 4, 7)),
        (Span("b", 7, 8),),
        (Span("b", 8, 9),),
    ]


# -- orders --------------------


def test_orders_pick_by_their_rule() -> None:
    waiting = [Waiting(0, 1), Waiting(0, 1), Waiting(2, 2), Waiting(1, 3)]
    assert segment_order("deepest").choose(waiting) == 2
    assert segment_order("largest").choose(waiting) == 0
    lockstep = segment_order("lockstep")
    assert [lockstep.choose(waiting) for _ in range(4)] == [0, 1, 2, 0]


def test_the_largest_waits_no_longer_than_its_age_limit() -> None:
    order = Largest(age_limit=3)
    assert order.choose([Waiting(0, 0), Waiting(0, 0), Waiting(1, 2)]) == 0
    assert order.choose([Waiting(0, 1), Waiting(0, 1), Waiting(1, 3)]) == 1


@examples(100)
@given(patterns(cancelled=False))
def test_lockstep_and_deepest_are_the_same_where_everybody_fits_into_a_step(
    pattern: Pattern,
) -> None:
    """Everybody waits at the first segment or right behind the one that ran."""
    roomy = replace(pattern, max_batched_tokens=1000, kv_blocks=1000)
    one, other = (
        ToyRun(pattern=replace(roomy, order=order)).run().record
        for order in ("lockstep", "deepest")
    )
    assert one == other


# -- what is refused --------------------


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(DesignError, match="lockstep"):
        segment_order("random")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "many", None])
def test_limits_are_whole_numbers(wrong: object) -> None:
    with pytest.raises(InputError, match="whole number from 1 on"):
        BlockPool(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="max_num_seqs"):
        Batcher(order=segment_order("deepest"), pool=BlockPool(1), max_num_seqs=wrong)  # type: ignore[arg-type]


def test_blocks_are_numbered_once_and_used_again() -> None:
    pool = BlockPool(10**12)
    first, second = pool.take(2), pool.take(3)
    assert (first, second, pool.free) == ([0, 1], [2, 3, 4], 10**12 - 5)
    pool.give_back(first)
    assert first == []
    assert pool.take(3) == [0, 1, 5]
    assert pool.blocks_of(33) == 3


def test_a_text_that_never_fits_is_refused() -> None:
    with pytest.raises(InputError, match="give more kv_blocks"):
        replace(PATTERN, kv_blocks=2).batcher().arrive(PATTERN.sequence(0))


def test_tables_of_another_kind_are_refused() -> None:
    recorded = ToyRun(pattern=PATTERN).run().record
    work, events = work_table(recorded), event_table(recorded)
    assert list(work) == list(WORK_COLUMNS)
    assert list(events) == list(EVENT_COLUMNS)
    with pytest.raises(InputError, match="segment"):
        steps_of(work.drop(columns="segment"), events)


def test_nothing_is_run_where_nobody_is() -> None:
    batcher = PATTERN.batcher()
    assert batcher.idle
    assert batcher.next_batch() is None
    batcher.cancel("nobody")
    assert batcher.pool.free == PATTERN.kv_blocks
