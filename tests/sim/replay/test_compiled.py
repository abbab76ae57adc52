"""The compiled replay against the SimPy model: the same work, the same counts, the same price."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.profiles import LatencyTable, Profile, write_profile
from adadecode.profiles.errors import DesignError, LatencyError, ProfileError
from adadecode.profiles.manifest import tables_of
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import Check, Gate, Run, Work
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.compiled import CompiledReplay
from adadecode.sim.replay.price_list import TIME_PARTS, PriceList
from adadecode.sim.replay.pricer import Pricer
from adadecode.sim.replay.simulation import Replay, ReplayedRun
from adadecode.sim.replay.work_columns import CHECK, GATE, RUN, VERIFY
from adadecode.sim.replay.work_histogram import WorkHistogram
from tests.support.property_tests import examples
from tests.support.synthetic_profile import EOS, synthetic_profile

L = 8
DEPTHS = tuple(range(1, L))
MOST = 10


class Diary(Pricer):
    """Prices, and keeps each piece of work as the histogram has it, with its context."""

    def __init__(self, latency: LatencyTable, boundaries: tuple[int, ...]) -> None:
        super().__init__(latency, boundaries)
        self.kept: list[tuple[int, ...]] = []

    def __call__(self, work: Work) -> float:
        seconds = super().__call__(work)
        if isinstance(work, Run):
            layers = self.boundaries[work.segment], self.boundaries[work.segment + 1]
            self.kept.append((RUN, *layers, work.stop - work.start, self._reuse, work.stop))
        elif isinstance(work, Check):
            self.kept.append((CHECK, work.depth, 0, 1, self._reuse, 0))
        elif isinstance(work, Gate):
            self.kept.append((GATE, work.depth, 0, 1, 0, 0))
        else:
            self.kept.append((VERIFY, 0, 0, work.stop - work.start, 0, 0))
        return seconds


def discarded(run: ReplayedRun, boundaries: tuple[int, ...]) -> Counter[int]:
    """Tokens of runs, verified rows and checks that a rejection rolled back, by kind, told from the
    events.
    """
    lost: Counter[int] = Counter()
    rounds = iter(run.rounds)
    now = next(rounds, None)
    for event in run.events:
        assert now is not None
        keep = now.start + now.accepted + 1
        work = event.work
        if isinstance(work, Run):
            lost[RUN] += max(0, work.stop - max(work.start, keep))
        elif isinstance(work, Check):
            lost[CHECK] += work.position >= keep
        elif isinstance(work, Gate):
            lost[GATE] += work.position >= keep
        else:
            lost[VERIFY] += work.stop - work.start - now.accepted - 1
            now = next(rounds, None)
    return lost


@pytest.fixture(
    scope="module", params=["branches", "no branches", "sampled", "sampled, no branches"]
)
def profile(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Some of the recorded branches draft an end."""
    folder, branches = tmp_path_factory.mktemp("compiled"), "no branches" not in request.param
    sampling = (
        {"temperature": 1.0, "top_k": None, "top_p": None, "seed": 0}
        if "sampled" in request.param
        else None
    )
    made = synthetic_profile(
        folder / "made",
        n_layers=L,
        depths=DEPTHS,
        branches=branches,
        gates=True,
        max_tokens=9,
        sampling=sampling,
    )
    tables = {name: getattr(made, name) for name in tables_of(made.manifest)}
    tables["branches"] = made.branches.assign(
        token=made.branches["token"].where(
            (made.branches.index % 7 != 0) | (made.branches["depth"] == DEPTHS[0]), EOS
        )
    )
    return write_profile(folder / "p", made.manifest, tables)


class Both:
    """The two sides of a comparison; hypothesis prints its arguments, and these are long."""

    def __init__(self, profile: Profile) -> None:
        self.predictor = Predictor.of(profile)
        self.trace, self.latency, self.model = (
            self.predictor.trace,
            self.predictor.latency,
            self.predictor.model,
        )
        self.compiled = CompiledReplay.of(self.trace, self.model)
        low, high = self.compiled.contexts
        self.every = range(low, high + 1)

    def __repr__(self) -> str:
        return "both"


@pytest.fixture(scope="module")
def both(profile: Profile) -> Both:
    return Both(profile)


@st.composite
def any_design(draw: st.DrawFn) -> Design:
    policy = draw(st.sampled_from(list(Policy)))
    placement = sorted(
        draw(
            st.sets(
                st.sampled_from(DEPTHS), min_size=0 if policy is Policy.ADADECODE else 1, max_size=4
            )
        )
    )
    if policy is Policy.FIXED:
        placement = placement[:1]
    gammas = draw(
        st.lists(
            st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]),
            min_size=max(1, len(placement)),
            max_size=max(1, len(placement)),
        )
    )
    gamma = gammas if policy is not Policy.FIXED and len(placement) == len(gammas) else gammas[0]
    return Design.of(
        policy,
        gamma=gamma,
        placement=placement,
        cap=draw(st.integers(1, 7)),
        verify=draw(st.booleans()),
        gate=draw(
            st.lists(
                st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.9, 1.0]),
                min_size=max(1, len(placement)),
                max_size=max(1, len(placement)),
            )
            | st.just(0.0)
        ),
    )


def kinds(work: WorkHistogram) -> Counter[tuple[int, ...]]:
    """Pieces of work by kind, where every context has an interval of its own."""
    found: Counter[tuple[int, ...]] = Counter()
    for (_, kind, start, stop, n, reuse, _), (count, context, *_) in zip(
        work.keys.tolist(), work.sums.tolist(), strict=True
    ):
        # the first interval holds two contexts, both ends of it
        if kind == RUN and context % count:
            low = context // count
            found[kind, start, stop, n, reuse, low] += count * (low + 1) - context
            found[kind, start, stop, n, reuse, low + 1] += context - count * low
        else:
            found[kind, start, stop, n, reuse, context // count if kind == RUN else 0] += count
    return found


@examples(200)
@given(design=any_design())
def test_every_piece_of_work_is_the_simulators(both: Both, design: Design) -> None:
    """All policies and prompts, greedy and sampled, with branches recorded, half recorded and
    drawn: work, reuse, contexts, modelled rounds, counts.
    """
    boundaries = design.boundaries(L)
    for prompt in both.trace.prompts:
        diary = Diary(both.latency, boundaries)
        run = Replay(both.trace, design, diary, model=both.model).run(prompt, events=True)
        work = both.compiled.count([design], [prompt], contexts=both.every)
        assert kinds(work) == Counter(diary.kept)
        tally = {
            name: int(work.tally(name)[0])
            for name in ("rounds", "tokens", "differs", "tested", "drafts", "accepted")
        }
        assert (tally["rounds"], tally["tokens"], tally["differs"]) == (
            len(run.rounds),
            run.n_tokens,
            run.left_text,
        )
        heads = boundaries[1:-1]
        assert work.drafted[0, 0].tolist() == [
            sum(r.exits.count(depth) for r in run.rounds) for depth in heads
        ]
        assert work.drafted[0, 1].tolist() == [
            sum(r.exits[: r.accepted].count(depth) for r in run.rounds) for depth in heads
        ]
        assert (tally["drafts"], tally["accepted"]) == (
            work.drafted[0, 0].sum(),
            work.drafted[0, 1].sum(),
        )
        tested = sum(
            (r.gates if design.gate(heads[0]) else r.checks).count(heads[0])
            for r in run.rounds
            if heads
        )
        if design.policy is Policy.ORACLE:
            tested = sum(len(r.exits) + (len(r.exits) < design.cap) for r in run.rounds)
        assert tally["tested"] == tested
        assert work.sum("modelled").any() == (run.modelled_seconds > 0)
        if design.verify:
            lost = discarded(run, boundaries)
            assert [
                work.sum("discarded")[work.key("kind") == kind].sum()
                for kind in (RUN, CHECK, VERIFY, GATE)
            ] == [lost[kind] for kind in (RUN, CHECK, VERIFY, GATE)]


@examples(150)
@given(designs=st.lists(any_design(), min_size=1, max_size=4))
def test_the_price_is_the_simulators(both: Both, designs: list[Design]) -> None:
    """Seconds of several designs counted together, and those of modelled rounds, to 1e-9."""
    work = both.compiled.count(designs, contexts=both.latency.contexts)
    prices = PriceList(latency=both.latency, n_layers=L, marks=work.marks, max_tokens=MOST).price(
        work
    )
    for design, priced in zip(designs, prices, strict=True):
        pricer = Pricer(both.latency, design.boundaries(L))
        seconds = modelled = 0.0
        for prompt in both.trace.prompts:
            pricer.reset()
            run = Replay(both.trace, design, pricer, model=both.model).run(prompt)
            seconds, modelled = seconds + run.seconds, modelled + run.modelled_seconds
        split = dict(zip(TIME_PARTS, priced.tolist(), strict=True))
        assert sum(split.values()) - split["modelled"] == pytest.approx(seconds, rel=1e-9)
        assert split["modelled"] == pytest.approx(modelled, rel=1e-9, abs=1e-12)


def test_designs_counted_together_are_counted_as_alone(both: Both) -> None:
    """Whatever they share the arrays with, and however often these have to grow."""
    designs = [
        Design.of(gamma=g, placement=p, cap=c, gate=gate)
        for g, gate in ((0.2, 0.0), (0.5, 0.4))
        for p in ((2,), (1, 3, 5), (2, 4, 6, 7))
        for c in (1, 5)
    ]
    together = both.compiled.count(designs, contexts=both.every)
    for place, design in enumerate(designs):
        alone = both.compiled.count([design], contexts=both.every)
        mine = together.key("design") == place
        assert (together.keys[mine, 1:] == alone.keys[:, 1:]).all()
        assert (together.sums[mine] == alone.sums).all()
        assert (together.tallies[place] == alone.tallies[0]).all()


def test_prompts_that_are_not_there_are_refused(both: Both) -> None:
    with pytest.raises(ProfileError, match=r"no prompt 99 in the trace \(it holds 0, 1, 2\)"):
        both.compiled.count([Design.of("vanilla")], [99])


def test_a_head_that_was_not_trained_is_refused(tmp_path: Path) -> None:
    """The simulator refuses it in the same words."""
    profile = synthetic_profile(tmp_path / "p")
    trace = Trace.from_profile(profile)
    untrained = next(d for d in range(1, profile.n_layers) if d not in profile.depths)
    with pytest.raises(DesignError, match=rf"no head at depth {untrained} \(trained: "):
        CompiledReplay.of(trace, BranchModel(trace)).count([Design.of(placement=(untrained,))])


def test_gates_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """The simulator refuses them in the same words."""
    trace = Trace.from_profile(synthetic_profile(tmp_path / "p"))
    design = Design.of(placement=trace.depths, gate=0.3)
    with pytest.raises(DesignError, match=r"no gates in this recording.*train heads with gates"):
        CompiledReplay.of(trace).count([design])
    with pytest.raises(DesignError, match=r"no gates in this recording.*train heads with gates"):
        Replay(trace, design, lambda _: 0.0)


def test_work_that_was_not_measured_is_refused(tmp_path: Path) -> None:
    """Batches of more tokens than the table has, contexts beyond it."""
    both = Both(synthetic_profile(tmp_path / "p", max_tokens=2))
    work = both.compiled.count(
        [Design.of(gamma=0.0, placement=both.trace.depths[:1])], contexts=both.latency.contexts
    )
    with pytest.raises(LatencyError, match="n_tokens"):
        PriceList(
            latency=both.latency, n_layers=both.trace.n_layers, marks=work.marks, max_tokens=MOST
        ).price(work)
    short = Both(synthetic_profile(tmp_path / "q", contexts=(4, 12)))
    work = short.compiled.count([Design.of("vanilla")], contexts=short.latency.contexts)
    with pytest.raises(LatencyError, match="context"):
        PriceList(
            latency=short.latency, n_layers=short.trace.n_layers, marks=work.marks, max_tokens=MOST
        ).price(work)
