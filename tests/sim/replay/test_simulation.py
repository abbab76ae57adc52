"""The simulation: exact times, exact rounds, and the same total as a plain sum."""

from __future__ import annotations

from pathlib import Path

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles import LatencyTable, Profile
from adadecode.profiles.errors import DesignError, LatencyError, ProfileError
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Outcome, Run, Schedule, Verdict, Verify
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.outcomes import TraceOutcomes, budget
from adadecode.sim.replay.pricer import Pricer
from adadecode.sim.replay.simulation import (
    DeviceServer,
    RecordedDurations,
    SequenceStats,
    replay,
    replay_measured,
    sequence,
)
from tests.support.handmade import ConstantLatency, one_text
from tests.support.hash_model import decode_and_record, designs
from tests.support.property_tests import examples
from tests.support.synthetic_profile import synthetic_profile

FIGURE_2 = {(1, 2): (0.9, 11), (2, 1): (0.9, 12)}
END = frozenset({13})
TWO_HEADS = Design.of("adadecode", gamma=0.5, placement=(1, 2))
TWO_HEADS_OF_THREE = Design.of("adadecode", gamma=0.6, placement=(2, 6))


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("replay") / "profile")


@pytest.fixture(scope="module")
def trace(profile: Profile) -> Trace:
    return Trace.from_profile(profile)


@pytest.fixture(scope="module")
def latency(profile: Profile) -> LatencyTable:
    return LatencyTable.from_samples(profile.latency, profile.n_layers)


def test_vanilla_takes_exactly_its_layers() -> None:
    """Two tokens after the first, each: 3 layers, embedding, verify, two host steps: 3 + 0.125 +
    0.5 + 0.125 s.
    """
    (run,) = replay(one_text([10, 11, 12]), ConstantLatency(), Design.of("vanilla"))
    assert (run.seconds, run.n_tokens) == (7.5, 3)


def test_figure_2_takes_exactly_its_work() -> None:
    """6 layer passes (batches count once), 3 embeddings, 5 checks, 1 verify, 12 host steps: 6 +
    0.375 + 1.25 + 0.5 + 0.75 s.
    """
    (run,) = replay(one_text([10, 11, 12, 13], FIGURE_2, eos=END), ConstantLatency(), TWO_HEADS)
    assert run.seconds == 8.875
    assert [(r.exits, r.accepted, r.committed) for r in run.rounds] == [((2, 1), 2, 3)]


def test_a_rejection_takes_exactly_the_discarded_work_too() -> None:
    """Round 1: layer 1, check, layer 1 again (no check: a token must be left for the last layer),
    layers 2-3 on both, verify. Round 2: no draft.
    """
    design = Design.of("adadecode", gamma=0.5, placement=(1,))
    (run,) = replay(one_text([10, 11, 12], {(1, 1): (0.9, 7)}), ConstantLatency(), design)
    first = (1 + 0.125) + 0.25 + (1 + 0.125) + 2 + 0.5 + 5 * 0.0625
    second = 1 + 0.125 + 2 + 0.5 + 3 * 0.0625
    assert run.seconds == first + second
    assert run.rounds[0].accepted == 0


def test_events_follow_each_other_without_a_gap() -> None:
    """A device with one sequence is never idle: each piece of work starts when the one before it
    ends, the first at 0.
    """
    (run,) = replay(
        one_text([10, 11, 12, 13], FIGURE_2, eos=END), ConstantLatency(), TWO_HEADS, events=True
    )
    assert run.events[0].start_s == 0
    assert [e.start_s + e.seconds for e in run.events] == [
        *(e.start_s for e in run.events[1:]),
        run.seconds,
    ]


def test_an_event_names_the_tokens_of_its_positions() -> None:
    """Figure 2's last pass runs the first token and both drafts; its verify finds both right and
    adds 13.
    """
    (run,) = replay(
        one_text([10, 11, 12, 13], FIGURE_2, eos=END), ConstantLatency(), TWO_HEADS, events=True
    )
    assert (run.events[-2].work, run.events[-2].tokens) == (Run(2, 4, 7), (10, 11, 12))
    assert run.events[-1].outcome == Verdict(2, 13)


def test_events_are_kept_only_where_asked_for(trace: Trace, latency: LatencyTable) -> None:
    """They cost memory."""
    assert replay(trace, latency, TWO_HEADS_OF_THREE, [1])[0].events == ()


@examples(30)
@given(
    gamma=st.sampled_from([0.0, 0.4, 0.7, 0.9, 1.0]),
    heads=st.sets(st.sampled_from([2, 4, 6])),
    cap=st.integers(1, 7),
    verify=st.booleans(),
    prompt=st.integers(0, 2),
)
def test_simpy_equals_a_plain_sum(
    trace: Trace,
    latency: LatencyTable,
    gamma: float,
    heads: set[int],
    cap: int,
    verify: bool,
    prompt: int,
) -> None:
    """Without contention the simulation is the sum of its work, to the last bit."""
    design = Design.of("adadecode", gamma=gamma, placement=sorted(heads), cap=cap, verify=verify)
    schedule = schedule_of(trace, prompt, design)
    answers, price = (
        TraceOutcomes(trace, prompt, schedule, BranchModel(trace)),
        Pricer(latency, schedule.boundaries),
    )
    steps, seconds = schedule.steps(), 0.0
    outcome: Outcome = None
    try:
        while True:
            work = steps.send(outcome)
            seconds += price(work)
            outcome = answers(work)
    except StopIteration:
        pass
    (run,) = replay(trace, latency, design, [prompt])
    assert (run.seconds, run.rounds) == (seconds, tuple(schedule.rounds))


def schedule_of(trace: Trace, prompt: int, design: Design) -> Schedule:
    return Schedule(
        design=design,
        n_layers=trace.n_layers,
        n_prompt=trace.n_prompt(prompt),
        first_token=trace.first_token(prompt),
        max_new_tokens=budget(trace, prompt, design),
        eos=trace.eos,
    )


@examples(60)
@given(
    designs(),
    st.integers(0, 10**6),
    st.integers(2, 40),
    st.sampled_from([frozenset(), frozenset({0})]),
)
def test_a_replay_has_the_rounds_of_the_decoding_it_was_recorded_from(
    case: tuple[Design, int], seed: int, tokens: int, eos: frozenset[int]
) -> None:
    """T0 on a toy model: exits, batches, checks and accepts are those of the run, and nothing needs
    modelling.
    """
    design, n_layers = case
    schedule, trace = decode_and_record(design, n_layers, seed, tokens, eos)
    (run,) = replay(trace, ConstantLatency(), design)
    assert run.rounds == tuple(schedule.rounds)
    assert run.modelled_seconds == 0
    assert not run.left_text


@examples(20)
@given(designs(), st.integers(0, 10**6), st.integers(2, 40))
def test_gamma_one_costs_what_vanilla_costs(
    case: tuple[Design, int], seed: int, tokens: int
) -> None:
    """No head is tested, so not even a check is paid for."""
    design, n_layers = case
    _, trace = decode_and_record(design, n_layers, seed, tokens, frozenset())
    never = Design.of("adadecode", gamma=1.0, placement=range(1, n_layers))
    assert (
        replay(trace, ConstantLatency(), never)[0].seconds
        == replay(trace, ConstantLatency(), Design.of("vanilla"))[0].seconds
    )


def test_every_prompt_starts_on_a_cold_device(trace: Trace, latency: LatencyTable) -> None:
    """A prompt takes as long after others as alone, even where the one before ended on a draft and
    left the lowest layers warm.
    """
    design = Design.of("adadecode", gamma=0.0, placement=(2,), cap=99, verify=False)
    runs = replay(trace, latency, design)
    assert [run.prompt for run in runs] == [0, 1, 2]
    assert [run.seconds for run in runs] == [
        replay(trace, latency, design, [p])[0].seconds for p in (0, 1, 2)
    ]


def test_two_sequences_take_turns_on_one_device() -> None:
    """Work of one second each, run and verify by turns: the first sequence is done after 3 s, the
    second after 4 s.
    """
    trace, vanilla = one_text([10, 11]), Design.of("vanilla")
    env, meters = simpy.Environment(), [SequenceStats(), SequenceStats()]
    device = DeviceServer(env, lambda work: 1.0, sequences=2)
    for meter in meters:
        schedule = schedule_of(trace, 0, vanilla)
        env.process(
            sequence(
                env, device, schedule, TraceOutcomes(trace, 0, schedule, BranchModel(trace)), meter
            )
        )
    env.run()
    assert [meter.ended_s for meter in meters] == [3.0, 4.0]


def test_measured_durations_give_the_measured_time() -> None:
    """Vanilla on two tokens: run, verify, run, verify, in the order recorded."""
    works = [("run", 1.0), ("verify", 0.25), ("run", 2.0), ("verify", 0.5)]
    run = replay_measured(one_text([10, 11, 12]), works, Design.of("vanilla"), 0, events=True)
    assert run.seconds == 3.75
    assert [(type(e.work), e.seconds) for e in run.events] == [
        (Run, 1.0),
        (Verify, 0.25),
        (Run, 2.0),
        (Verify, 0.5),
    ]


@pytest.mark.parametrize(
    ("works", "message"),
    [
        ([("run", 1.0), ("check", 1.0)], "wanted a verify as work 1 .* got check"),
        ([("run", 1.0)], "wanted a verify as work 1 .* got nothing"),
        ([("run", 1.0), ("verify", 1.0), ("run", 1.0)], "wanted 2 pieces of work .* got 3"),
    ],
)
def test_durations_of_another_run_are_refused(works: list[tuple[str, float]], message: str) -> None:
    """Another kind of work, too little of it, or too much."""
    with pytest.raises(ProfileError, match=message):
        replay_measured(one_text([10, 11]), works, Design.of("vanilla"), 0)


def test_a_tape_plays_in_order() -> None:
    """The durations come back one after the other."""
    tape = RecordedDurations([("run", 1.0), ("check", 2.0)])
    assert [tape(Run(0, 4, 5)), tape(Check(1, 4))] == [1.0, 2.0]


def test_a_head_that_was_not_trained_is_refused(trace: Trace, latency: LatencyTable) -> None:
    """Even where gamma 1 would never test it."""
    with pytest.raises(DesignError, match=r"no head at depth 3 \(trained: 2, 4, 6\)"):
        replay(trace, latency, Design.of("adadecode", gamma=1.0, placement=(3,)))


def test_a_text_of_one_token_takes_no_time() -> None:
    """The prefill gave it."""
    (run,) = replay(one_text([10]), ConstantLatency(), TWO_HEADS)
    assert (run.seconds, run.n_tokens, run.rounds) == (0.0, 1, ())


def test_an_error_survives_the_simulation(trace: Trace, tmp_path: Path) -> None:
    """SimPy rebuilds exceptions; the message still says what was not measured."""
    narrow = synthetic_profile(tmp_path / "narrow", max_tokens=2)
    table = LatencyTable.from_samples(narrow.latency, narrow.n_layers)
    with pytest.raises(LatencyError, match=r"n_tokens=6 \(measured 1\.\.2\)"):
        replay(trace, table, Design.of("adadecode", gamma=0.0, placement=(2,)))
