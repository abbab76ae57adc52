"""The compiled replay against the SimPy model: the same work in the same order, the same counts, the same price."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiles import LatencyTable, Profile
from profiles.errors import DesignError, LatencyError
from profiles.trace import Trace
from sim.compiled import CompiledReplay
from sim.design import Design, Policy
from sim.histogram import CHECK, RUN, VERIFY, Pricing, pack, unpack
from sim.outcomes import BranchModel
from sim.predict import Predictor
from sim.pricing import Pricer
from sim.replay import Replay
from sim.scheduler import Check, Run, Work
from tests.synthetic import synthetic_profile

L = 8
DEPTHS = tuple(range(1, L))


class Diary(Pricer):
    """Prices, and keeps each piece of work as the histogram has it."""

    def __init__(self, latency: LatencyTable, boundaries: tuple[int, ...]) -> None:
        super().__init__(latency, boundaries)
        self.kept: list[int] = []

    def __call__(self, work: Work) -> float:
        seconds = super().__call__(work)
        if isinstance(work, Run):
            self.kept.append(pack(RUN, work.segment, work.stop - work.start, self._reuse, work.stop))
        elif isinstance(work, Check):
            self.kept.append(pack(CHECK, work.depth, 0, self._reuse, 0))
        else:
            self.kept.append(pack(VERIFY, 0, work.stop - work.start, 0, 0))
        return seconds


@pytest.fixture(scope="module", params=[True, False], ids=["branches", "no branches"])
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(tmp_path_factory.mktemp("compiled") / "p", n_layers=L, depths=DEPTHS, branches=request.param, max_tokens=9)


class Both:
    """The two sides of a comparison; hypothesis prints its arguments, and these are long."""

    def __init__(self, profile: Profile) -> None:
        self.predictor = Predictor.of(profile)
        self.trace, self.latency, self.model = self.predictor.trace, self.predictor.latency, self.predictor.model
        self.compiled = CompiledReplay(trace=self.trace, model=self.model)

    def __repr__(self) -> str:
        return "both"


@pytest.fixture(scope="module")
def both(profile: Profile) -> Both:
    return Both(profile)


@st.composite
def any_design(draw: st.DrawFn) -> Design:
    policy = draw(st.sampled_from(list(Policy)))
    placement = sorted(draw(st.sets(st.sampled_from(DEPTHS), min_size=0 if policy is Policy.ADADECODE else 1, max_size=4)))
    if policy is Policy.FIXED:
        placement = placement[:1]
    gammas = draw(
        st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]), min_size=max(1, len(placement)), max_size=max(1, len(placement)))
    )
    gamma = gammas if policy is not Policy.FIXED and len(placement) == len(gammas) else gammas[0]
    return Design.of(policy, gamma=gamma, placement=placement, cap=draw(st.integers(1, 7)), verify=draw(st.booleans()))


@settings(max_examples=300, deadline=None)
@given(design=any_design())
def test_every_piece_of_work_is_the_simulators(both: Both, design: Design) -> None:
    """All policies and prompts, with branches recorded, half recorded and drawn: work, reuse, contexts, modelled rounds, counts."""
    for prompt in both.trace.prompts:
        diary = Diary(both.latency, design.boundaries(L))
        run = Replay(both.trace, design, diary, model=both.model).run(prompt)
        keys, modelled, tally = both.compiled.events(design, prompt)
        assert keys.tolist() == diary.kept
        assert (tally.rounds, tally.tokens, tally.differs) == (len(run.rounds), run.n_tokens, run.left_text)
        heads = design.boundaries(L)[1:-1]
        assert tally.drafts == tuple(sum(r.exits.count(depth) for r in run.rounds) for depth in heads)
        assert tally.accepted == tuple(sum(r.exits[: r.accepted].count(depth) for r in run.rounds) for depth in heads)
        assert tally.checks == sum(len(r.checks) for r in run.rounds)
        tested = sum(r.checks.count(heads[0]) for r in run.rounds if heads)
        if design.policy is Policy.ORACLE:
            tested = sum(len(r.exits) + (len(r.exits) < design.cap) for r in run.rounds)
        assert tally.tested == tested
        assert modelled.any() == (run.modelled_seconds > 0)


@settings(max_examples=60, deadline=None)
@given(design=any_design())
def test_the_price_is_the_simulators(both: Both, design: Design) -> None:
    """Seconds of every prompt, and those of modelled rounds."""
    work = both.compiled.work(design)
    priced = Pricing(latency=both.latency, contexts=both.latency.contexts).price(work)
    pricer = Pricer(both.latency, design.boundaries(L))
    for place, prompt in enumerate(work.prompts):
        pricer.reset()
        run = Replay(both.trace, design, pricer, model=both.model).run(prompt)
        assert priced.seconds[place] == pytest.approx(run.seconds, rel=1e-9)
        assert priced.modelled[place] == pytest.approx(run.modelled_seconds, rel=1e-9, abs=1e-12)


def test_a_histogram_counts_each_piece_once(both: Both) -> None:
    """The events of all prompts, however they are grouped."""
    design = Design.of(gamma=0.5, placement=(2, 5))
    work = both.compiled.work(design)
    events = np.concatenate([both.compiled.events(design, prompt)[0] for prompt in work.prompts])
    kinds = unpack(events)["kind"]
    assert [work.total(kind) for kind in (RUN, CHECK, VERIFY)] == [np.count_nonzero(kinds == kind) for kind in (RUN, CHECK, VERIFY)]
    assert (work.modelled <= work.count).all()


@given(
    kind=st.integers(0, 2),
    place=st.integers(0, 4095),
    n=st.integers(0, 4095),
    reuse=st.integers(0, 4095),
    context=st.integers(0, 2**22 - 1),
)
def test_packing_loses_nothing(kind: int, place: int, n: int, reuse: int, context: int) -> None:
    columns = unpack(np.array([pack(kind, place, n, reuse, context)]))
    assert {name: column.tolist() for name, column in columns.items()} == {
        "kind": [kind], "place": [place], "n_tokens": [n], "reuse": [reuse], "context": [context],
    }  # fmt: skip


def test_a_head_that_was_not_trained_is_refused(tmp_path: Path) -> None:
    """As by the simulator."""
    profile = synthetic_profile(tmp_path / "p")
    trace = Trace.from_profile(profile)
    untrained = next(d for d in range(1, profile.n_layers) if d not in profile.depths)
    with pytest.raises(DesignError, match=rf"no head at depth {untrained} \(trained: "):
        CompiledReplay(trace=trace, model=BranchModel(trace)).work(Design.of(placement=(untrained,)))


def test_work_that_was_not_measured_is_refused(tmp_path: Path) -> None:
    """Batches of more tokens than the table has."""
    both = Both(synthetic_profile(tmp_path / "p", max_tokens=2))
    work = both.compiled.work(Design.of(gamma=0.0, placement=both.trace.depths[:1]))
    with pytest.raises(LatencyError, match="n_tokens"):
        Pricing(latency=both.latency, contexts=both.latency.contexts).price(work)
