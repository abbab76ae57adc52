"""Sampling piece by piece: the transforms, the draw, the verdict, seeds, ends, and refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.generation.logits_process import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Greedy, Sampler, Sampling, draw, rejection_sample
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import SamplingError
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import (
    Check,
    Draft,
    Gate,
    Outcome,
    Run,
    Schedule,
    Score,
    Verdict,
    Verify,
    Work,
)
from tests.support.hash_model import designs, dice, drive
from tests.support.models import random_prompt, tiny_model
from tests.support.property_tests import examples

ALMOST_ONE = math.nextafter(1.0, 0.0)


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama")
    return AdaDecoder(model, ExitHeads.identity(model, (2, 4)))


# ---- reads ----


class Reads(TorchDispatchMode):
    """Counts what a GPU would be waited for: numbers taken out of tensors, single or as a list."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.lists = Lists(self)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class Lists(TorchFunctionMode):
    """The lists, which no operation tells of."""

    def __init__(self, reads: Reads) -> None:
        super().__init__()
        self.reads = reads

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.reads.count += func is torch.Tensor.tolist
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "selector", [Greedy(), Sampler(Sampling(seed=1)), Sampler(Sampling(top_k=3, top_p=0.9, seed=1))]
)
def test_a_token_a_check_and_a_verdict_are_one_read_each(selector: Greedy | Sampler) -> None:
    logits = torch.randn((2, 50), generator=torch.Generator().manual_seed(0))
    reads, counts = Reads(), []
    with reads, reads.lists:
        selector.first(logits[0])
        counts.append(reads.count)
        draft = selector.draft(logits[0], 7)
        counts.append(reads.count)
        selector.verdict(logits, Verify(7, 9, (draft.token,)))
        counts.append(reads.count)
    assert counts == [1, 2, 3]


def test_a_drafts_confidence_is_its_tokens_probability() -> None:
    """Of equally likely tokens the lowest is drafted."""
    draft = Greedy().draft(torch.tensor([0.0, 2.0, -1.0, 2.0]), 0)
    wanted = torch.tensor([0.0, 2.0, -1.0, 2.0]).softmax(0)[1]
    assert (draft.token, draft.confidence) == (1, pytest.approx(float(wanted)))


# ---- the transforms ----


@examples(200)
@given(
    logits=st.lists(
        st.one_of(st.floats(-30, 30), st.integers(-3, 3).map(float)), min_size=1, max_size=12
    ),
    temperature=st.floats(0.05, 5.0),
    top_k=st.none() | st.integers(1, 15),
    top_p=st.none() | st.floats(0.01, 1.0),
)
def test_the_transforms_are_those_of_transformers(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None
) -> None:
    """In the order of its warpers, ties among the top k included."""
    scores = torch.tensor([logits], dtype=torch.float64)
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    warpers += [TopKLogitsWarper(top_k)] if top_k else []
    warpers += [TopPLogitsWarper(top_p)] if top_p is not None and top_p < 1 else []
    wanted = warpers(None, scores - scores.max()).softmax(-1)
    got = Sampling(temperature=temperature, top_k=top_k, top_p=top_p).probabilities(scores)
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-15)


def test_a_tiny_temperature_is_no_overflow() -> None:
    """It is the most likely token, and none other."""
    assert Sampling(temperature=1e-300).probabilities(torch.tensor([3.0, 80.0, -5.0])).tolist() == [
        0.0,
        1.0,
        0.0,
    ]


def test_a_token_without_a_logit_is_never_drawn() -> None:
    """A head may know only some of the vocabulary."""
    got = Sampling(top_k=3, top_p=0.99).probabilities(
        torch.tensor([1.0, -math.inf, 1.0, -math.inf, 1.0])
    )
    assert got[[1, 3]].tolist() == [0.0, 0.0]
    assert float(got.sum()) == pytest.approx(1.0)


# ---- the draw ----


@examples(200)
@given(
    st.lists(st.sampled_from([0.0, 1e-300, 1e-17, 0.1, 1 / 3, 1.0]), min_size=1, max_size=9),
    st.floats(0.0, ALMOST_ONE),
)
def test_a_draw_inverts_the_distribution(weights: list[float], uniform: float) -> None:
    """The first token whose cumulated weight exceeds the number, and never one of weight 0.

    This holds at both ends of [0, 1) too.
    """
    if not any(weights):
        return
    row = torch.tensor(weights, dtype=torch.float64)
    for number in (uniform, 0.0, ALMOST_ONE):
        token = int(draw(row, torch.tensor(number, dtype=torch.float64)))
        assert weights[token] > 0
        mass = row.cumsum(0)
        assert float(mass[token] - row[token]) <= number * float(mass[-1]) * (1 + 1e-15)
        assert float(mass[token]) >= number * float(mass[-1]) * (1 - 1e-15)


def test_many_are_drawn_at_once() -> None:
    """One token is drawn from each row."""
    rows = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 2.0]], dtype=torch.float64)
    assert draw(rows, torch.tensor([0.6, 0.0], dtype=torch.float64)).tolist() == [1, 2]


# ---- the verdict ----

P = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
Q = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.8, 0.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("drafts", "uniform", "wanted"),
    [
        (
            (0, 0),
            (0.49, 0.9, 0.0),
            (2, 2),
        ),  # 0.5 / 1 and 0.2 / 0.2: both hold, then the last layer's own
        ((0, 1), (0.49, 0.37, 0.0), (2, 2)),  # 0.3 / 0.8 = 0.375
        ((0, 1), (0.49, 0.38, 0.7), (1, 2)),  # not held: the rest of row 1 is (0, 0, 0.5)
        (
            (0, 1),
            (0.5, 0.0, 0.99),
            (0, 1),
        ),  # not held: the rest of row 0 is (0, 0.5, 0), whatever follows
    ],
)
def test_drafts_are_judged_in_order(
    drafts: tuple[int, ...], uniform: tuple[float, ...], wanted: tuple[int, int]
) -> None:
    """By hand: the first that does not hold ends the round."""
    accepted, token = rejection_sample(
        P, Q, torch.tensor(drafts), torch.tensor(uniform, dtype=torch.float64)
    )
    assert (int(accepted), int(token)) == wanted


def test_a_draft_that_the_last_layer_never_says_does_not_hold() -> None:
    """It is refused even where the number drawn is 0."""
    accepted, token = rejection_sample(
        P[2:],
        torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64),
        torch.tensor([1]),
        torch.zeros(2, dtype=torch.float64),
    )
    assert (int(accepted), int(token)) == (0, 2)


def test_equal_distributions_always_hold() -> None:
    """For the largest number too; nothing would be left to draw from."""
    accepted, token = rejection_sample(
        P[:2], P[:1], torch.tensor([1]), torch.tensor([ALMOST_ONE, 0.0], dtype=torch.float64)
    )
    assert (int(accepted), int(token)) == (1, 0)


@pytest.mark.parametrize(("number", "wanted"), [(0.37, (1, 1)), (0.38, (1, 2))])
def test_a_draft_behind_the_last_row_is_judged_like_the_others(
    number: float, wanted: tuple[int, int]
) -> None:
    """If accepted, it is the token itself; else the token is drawn from the rest of its row."""
    accepted, token = rejection_sample(
        P[:2], Q, torch.tensor([0, 1]), torch.tensor([0.0, number, 0.0], dtype=torch.float64)
    )
    assert (int(accepted), int(token)) == wanted


# ---- ends ----

END = 0


def schedule_of(design: Design, **options: Any) -> Schedule:
    return Schedule(
        **{
            "design": design,
            "n_layers": 3,
            "n_prompt": 4,
            "first_token": 9,
            "max_new_tokens": 9,
            "eos": frozenset({END}),
        }
        | options
    )


def test_a_sampled_end_is_judged_by_the_last_layer() -> None:
    """Heads at 1 and 2. After a draft and an end no head is asked; both positions run on.

    Two drafts are then verified in two rows.
    """
    schedule = schedule_of(Design.of(gamma=0.5, placement=(1, 2)), sampled=True)
    says = {
        Check(1, 4): Draft(0.9, 7),
        Check(1, 5): Draft(0.9, END),
        Verify(4, 6, (7, END)): Verdict(1, END),
    }
    handed = drive(schedule, says.get)
    assert handed == [
        Run(0, 4, 5),
        Check(1, 4),
        Run(0, 5, 6),
        Check(1, 5),
        Run(1, 4, 6),
        Run(2, 4, 6),
        Verify(4, 6, (7, END)),
    ]
    assert schedule.tokens == [9, 7, END]
    assert [(r.exits, r.accepted, r.committed) for r in schedule.rounds] == [((1,), 1, 2)]


def test_a_sampled_end_that_does_not_hold_ends_nothing() -> None:
    """The last layer's token stands in its place."""
    schedule = schedule_of(Design.of(gamma=0.5, placement=(1,)), sampled=True, max_new_tokens=3)
    says = {
        Check(1, 4): Draft(0.9, END),
        Verify(4, 5, (END,)): Verdict(0, 8),
        Verify(5, 6, ()): Verdict(0, 3),
    }
    drive(schedule, says.get)
    assert schedule.tokens == [9, 8, 3]


@examples(100)
@given(designs(), st.integers(0, 10**6), st.booleans())
def test_what_an_unsure_head_says_changes_nothing(
    case: tuple[Design, int], seed: int, sampled: bool
) -> None:
    """Work and rounds do not depend on the token of a draft that is not taken.

    So no exit is decided by what was drawn, ends included.
    """
    design, n_layers = case

    def answer(work: Work, other: int) -> Outcome:
        if isinstance(work, Gate):
            return Score(dice("gate", seed, work) % 101 / 100)
        if isinstance(work, Check):
            draft = Draft(dice("sure", seed, work) % 100 / 100, dice("token", seed, work) % 6)
            return (
                draft
                if draft.confidence > design.threshold(work.depth)
                else Draft(draft.confidence, other)
            )
        return (
            Verdict(
                dice("held", seed, work) % (work.stop - work.start), dice("own", seed, work) % 6
            )
            if isinstance(work, Verify)
            else None
        )

    found = []
    for other in (END, 5):
        schedule = schedule_of(design, n_layers=n_layers, max_new_tokens=12, sampled=sampled)
        found.append(
            (drive(schedule, lambda work, other=other: answer(work, other)), schedule.rounds)
        )
    assert found[0] == found[1]


# ---- in the engine ----

SAMPLED: dict[str, Any] = {"gamma": 0.05, "temperature": 0.9, "top_k": 50, "top_p": 0.97}


def test_greedy_is_the_default_and_temperature_zero(decoder: AdaDecoder) -> None:
    """Same tokens, same rounds, no seed."""
    plain, cold = (
        decoder.generate(random_prompt(5), 24, gamma=0.05, **options)
        for options in ({}, {"temperature": 0})
    )
    assert plain == cold
    assert plain.seed is None


def test_the_likeliest_token_alone_is_greedy_text(decoder: AdaDecoder) -> None:
    """With top_k=1 nothing is left to chance: the sampler's own path gives the greedy text."""
    greedy = decoder.generate(random_prompt(5), 24, gamma=0.05, eos_token_id=())
    assert (
        decoder.generate(
            random_prompt(5), 24, gamma=0.05, eos_token_id=(), temperature=0.8, top_k=1, seed=1
        ).tokens
        == greedy.tokens
    )


def test_the_same_seed_gives_the_same_text(decoder: AdaDecoder) -> None:
    """Whatever the state of torch's own generator; another seed gives another."""
    torch.manual_seed(1)
    one = decoder.generate(random_prompt(5), 24, seed=7, **SAMPLED)
    torch.manual_seed(2)
    assert decoder.generate(random_prompt(5), 24, seed=7, **SAMPLED) == one
    assert decoder.generate(random_prompt(5), 24, seed=8, **SAMPLED).tokens != one.tokens


def test_a_random_seed_is_told(decoder: AdaDecoder) -> None:
    """The seed gives the same text again."""
    one = decoder.generate(random_prompt(5), 24, **SAMPLED)
    assert one.seed is not None
    assert decoder.generate(random_prompt(5), 24, seed=one.seed, **SAMPLED) == one


def test_two_streams_in_turn_are_the_texts_of_two_generates(decoder: AdaDecoder) -> None:
    """Each has its own stream of random numbers."""
    pairs = list(
        zip(
            *(
                decoder.stream(random_prompt(5), 24, eos_token_id=(), seed=seed, **SAMPLED)
                for seed in (1, 2)
            ),
            strict=True,
        )
    )
    for seed, text in zip((1, 2), zip(*pairs, strict=True), strict=True):
        assert (
            list(text)
            == decoder.generate(random_prompt(5), 24, eos_token_id=(), seed=seed, **SAMPLED).tokens
        )


def test_unverified_drafts_stand_as_drawn(decoder: AdaDecoder) -> None:
    """Nothing is rejected; the ablation samples too."""
    got = decoder.generate(random_prompt(5), 24, verify=False, eos_token_id=(), seed=1, **SAMPLED)
    assert len(got.tokens) == 24
    assert sum(len(r.exits) for r in got.rounds) == sum(r.accepted for r in got.rounds) > 0


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"temperature": -0.5}, "temperature is a finite number of 0 or more, got -0.5"),
        ({"temperature": math.nan}, "temperature is a finite number"),
        ({"temperature": math.inf}, "temperature is a finite number"),
        ({"temperature": "hot"}, "temperature is a number, got 'hot'"),
        ({"temperature": True}, "temperature is a number, got True"),
        ({"temperature": torch.tensor([0.5])}, r"temperature is a number, got tensor\(\[0.5"),
        ({"temperature": None}, "temperature is a number, got None"),
        ({"temperature": 10**400}, "temperature is a finite number"),
        ({"temperature": 1.0, "top_k": -2}, "top_k keeps at least 1 token, got -2: give 0 or -1"),
        ({"temperature": 1.0, "top_k": 2.5}, "top_k is a whole number, got 2.5"),
        ({"temperature": 1.0, "top_k": torch.tensor(2.5)}, r"top_k is a whole number, got tensor"),
        ({"temperature": 1.0, "top_k": False}, "top_k is a whole number, got False"),
        ({"temperature": 1.0, "top_p": "0.9"}, "top_p is a number, got '0.9'"),
        ({"temperature": 1.0, "top_p": 0.0}, r"top_p is a probability in \(0, 1\], got 0.0"),
        ({"temperature": 1.0, "top_p": 1.5}, r"top_p is a probability in \(0, 1\], got 1.5"),
        ({"temperature": 1.0, "top_p": math.nan}, "top_p is a probability"),
        ({"temperature": 1.0, "seed": -1}, "a seed is a whole number of 0 or more, got -1"),
        ({"temperature": 1.0, "seed": 0.5}, "seed is a whole number, got 0.5"),
        ({"temperature": 1.0, "seed": torch.tensor(1.0)}, "seed is a whole number, got tensor"),
        ({"temperature": 1.0, "seed": True}, "seed is a whole number, got True"),
        ({"top_k": 5}, "give a temperature above 0 too"),
        ({"top_p": 0.9}, "give a temperature above 0 too"),
    ],
)
def test_what_makes_no_sense_is_refused(
    decoder: AdaDecoder, options: dict[str, Any], wanted: str
) -> None:
    """Sampling options are checked before anything is computed."""
    with pytest.raises(SamplingError, match=wanted):
        decoder.generate(random_prompt(5), 4, **options)


def test_a_seed_without_a_temperature_is_refused() -> None:
    with pytest.raises(SamplingError, match="a seed belongs to a sampled text"):
        Sampling.of(seed=3)


@pytest.mark.parametrize("top_k", [0, -1, None, 10**6])
@pytest.mark.parametrize("top_p", [1.0, 1, None])
def test_what_keeps_all_tokens_may_be_given(
    decoder: AdaDecoder, top_k: int | None, top_p: float | None
) -> None:
    """top_k 0 is off in transformers and vLLM, -1 in vLLM; nothing is shaped, sampled or greedy."""
    options: dict[str, Any] = {"top_k": top_k, "top_p": top_p}
    plain = decoder.generate(random_prompt(5), 12, seed=7, temperature=1.0)
    assert decoder.generate(random_prompt(5), 12, seed=7, temperature=1.0, **options) == plain
    greedy = decoder.generate(random_prompt(5), 12)
    if top_k != 10**6:
        assert decoder.generate(random_prompt(5), 12, temperature=0, **options) == greedy
