"""Many designs at once, against the predictions of the SimPy model one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from adadecode.profiles import Profile
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import LatencyError, ProfileError
from adadecode.sim.core.design import Design
from adadecode.sim.hardware.cost_model import ModelCost
from adadecode.sim.hardware.device_latency import measured_latencies
from adadecode.sim.hardware.memory import Deployment, peak_memory
from adadecode.sim.prediction.accounting import accounting
from adadecode.sim.prediction.evaluator import COLUMNS, Evaluator
from adadecode.sim.prediction.predictor import Predictor
from adadecode.sim.replay.compiled import CompiledReplay
from tests.support.synthetic_profile import synthetic_profile

TINY = ModelShape(
    name="tiny",
    n_layers=8,
    hidden_size=32,
    intermediate_size=64,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    vocab_size=50,
    max_positions=128,
)

DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.5, placement=(2, 5)),
    Design.of(gamma=(0.9, 0.2, 0.4), placement=(1, 4, 7), cap=3),
    Design.of("fixed", placement=(3,), cap=2),
    Design.of("oracle", placement=(2, 4, 6)),
    Design.of(gamma=0.6, placement=(3,), verify=False),
    Design.of(gamma=1.0, placement=(4,)),
    Design.of(gamma=0.5, placement=(2, 5), gate=(0.0, 0.4)),
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return synthetic_profile(
        tmp_path_factory.mktemp("evaluate") / "p",
        depths=tuple(range(1, 8)),
        prompts=6,
        gates=True,
    )


@pytest.fixture(scope="module")
def predictor(profile: Profile) -> Predictor:
    return Predictor.of(profile)


def evaluator(profile: Profile, predictor: Predictor, **settings) -> Evaluator:
    replay = CompiledReplay.of(predictor.trace, predictor.model)
    return Evaluator.of(replay, [measured_latencies(profile)], max_tokens=6, **settings)


def test_every_figure_is_the_simulators(profile: Profile, predictor: Predictor) -> None:
    rows = evaluator(profile, predictor).evaluate(DESIGNS)
    assert tuple(rows.columns) == COLUMNS
    for design, row in zip(DESIGNS, rows.to_dict("records"), strict=True):
        wanted = predictor.predict(design)
        assert row["design"] == design.label
        for name in (
            "tpot_s",
            "tokens_per_s",
            "speedup",
            "ttft_s",
            "early_rate",
            "reject_rate",
            "tokens_per_round",
            "modelled_share",
        ):
            assert row[name] == pytest.approx(getattr(wanted, name), rel=1e-9, abs=1e-12), (
                design.label,
                name,
            )


def test_some_prompts_alone(profile: Profile, predictor: Predictor) -> None:
    some = evaluator(profile, predictor, prompts=(1, 3))
    assert some.evaluate(DESIGNS[1:2])["tpot_s"][0] == pytest.approx(
        predictor.predict(DESIGNS[1], (1, 3)).tpot_s, rel=1e-9
    )


def test_flops_bytes_and_memory_are_the_accounts(profile: Profile, predictor: Predictor) -> None:
    cost = ModelCost(shape=TINY)
    counted = evaluator(profile, predictor, costs=[cost], runs=[Deployment(shape=TINY, context=64)])
    for design, row in zip(DESIGNS, counted.evaluate(DESIGNS).to_dict("records"), strict=True):
        wanted = accounting(predictor.trace, design, cost, model=predictor.model)
        assert row["flops_per_token"] == pytest.approx(wanted.flops.total, rel=1e-9)
        assert row["bytes_per_token"] == pytest.approx(wanted.bytes.total, rel=1e-9)
        wanted_bytes = peak_memory(
            Deployment(shape=TINY, context=64, heads=design.placement, n_tokens=design.cap + 1)
        ).total
        assert row["memory_bytes"] == wanted_bytes


def test_gates_that_nobody_asks_leave_times_to_the_last_digit(
    profile: Profile, predictor: Predictor
) -> None:
    """The seven other parts are summed as they were before there were gates."""
    counted = evaluator(profile, predictor)
    designs = [
        Design.of(gamma=gamma / 20, placement=placement)
        for gamma in range(1, 20)
        for placement in ((2, 5), (3,), (1, 4, 7), (4, 6))
    ]
    first, second = counted.halves(designs)
    work = first + second
    prices = counted.devices[0].prices["middle"].price(work)
    tokens = work.tally("tokens") - len(work.prefills)
    told = counted.evaluate(designs)["tpot_s"].to_numpy()
    assert (told == prices[:, :7].copy().sum(axis=1) / tokens).all()


def test_what_was_discarded_is_told_as_in_the_accounts(
    profile: Profile, predictor: Predictor
) -> None:
    """FLOPs stand in for seconds.

    The split of the compiled price against a walk through the events.
    """
    cost = ModelCost(shape=TINY)
    counted = evaluator(profile, predictor, costs=[cost])
    flops = counted.devices[0].flops
    assert flops is not None
    for design in (*DESIGNS[1:4], DESIGNS[-1]):
        work = counted.count([design])
        price = flops.price(work)[0] / (work.tally("tokens")[0] - 6)
        useful, discarded, heads, heads_lost, verify, verify_lost, host, gates, gates_lost, _ = (
            price.tolist()
        )
        wanted = accounting(predictor.trace, design, cost, model=predictor.model).flops
        assert (useful, discarded, host) == (
            pytest.approx(wanted.useful, rel=1e-9),
            pytest.approx(wanted.discarded, rel=1e-9),
            0,
        )
        assert (heads, heads_lost) == (
            pytest.approx(wanted.heads, rel=1e-9),
            pytest.approx(wanted.heads_discarded, rel=1e-9),
        )
        assert (verify, verify_lost) == (
            pytest.approx(wanted.verify, rel=1e-9),
            pytest.approx(wanted.verify_discarded, rel=1e-9),
        )
        assert (gates, gates_lost) == (
            pytest.approx(wanted.gates, rel=1e-9),
            pytest.approx(wanted.gates_discarded, rel=1e-9),
        )


def test_a_measured_device_has_the_interval_it_was_seen_to_need(
    profile: Profile, predictor: Predictor
) -> None:
    row = evaluator(profile, predictor, spread=0.1).evaluate(DESIGNS[1:2]).iloc[0]
    assert (row["speedup_low"], row["speedup_high"]) == pytest.approx(
        (row["speedup"] / 1.1, row["speedup"] * 1.1)
    )


def test_details_add_up(profile: Profile, predictor: Predictor) -> None:
    one = evaluator(profile, predictor)
    device = one.devices[0].latencies.device
    row, details = one.evaluate(DESIGNS[1:2]).iloc[0], one.details(DESIGNS[1], device)
    parts = details["seconds_per_token"]
    assert sum(parts.values()) - parts["modelled"] == pytest.approx(row["tpot_s"])
    drafts, accepted = (
        sum(head[key] for head in details["heads"]) for key in ("drafts", "accepted")
    )
    assert 1 - accepted / drafts == pytest.approx(row["reject_rate"])
    assert details["vanilla_s"] / row["tpot_s"] == pytest.approx(row["speedup"])


def test_other_prompts_would_give_about_this(profile: Profile, predictor: Predictor) -> None:
    one = evaluator(profile, predictor)
    device = one.devices[0].latencies.device
    interval = one.over_prompts(DESIGNS[1], device)
    assert (
        interval["speedup_low"]
        < one.evaluate(DESIGNS[1:2])["speedup"][0]
        < interval["speedup_high"]
    )


def test_one_prompt_says_nothing_of_others(tmp_path: Path) -> None:
    profile = synthetic_profile(tmp_path / "p", prompts=1)
    one = evaluator(profile, Predictor.of(profile))
    interval = one.over_prompts(DESIGNS[1], one.devices[0].latencies.device)
    assert interval == {"speedup_low": None, "speedup_high": None, "count": 1}


def test_batches_that_were_not_measured_are_refused(tmp_path: Path) -> None:
    profile = synthetic_profile(tmp_path / "p", max_tokens=2)
    with pytest.raises(LatencyError, match="n_tokens"):
        evaluator(profile, Predictor.of(profile)).evaluate([Design.of(gamma=0.0, placement=(2,))])


def test_texts_of_one_token_are_refused(tmp_path: Path) -> None:
    profile = synthetic_profile(tmp_path / "p", outputs=1)
    with pytest.raises(ProfileError, match="second output token"):
        evaluator(profile, Predictor.of(profile))
