"""Any design on any prompt: the text is the model's own."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from adadecode.engine.decoding.decoder import AdaDecoder, Generation
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.sim.core.design import RUNNABLE, Policy
from tests.support.models import N_LAYERS, VOCABULARY, greedy_text, random_heads, tiny_model
from tests.support.property_tests import examples

MOST_TOKENS = 20
prompts = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=20)


@st.composite
def designs(draw: st.DrawFn) -> dict[str, object]:
    """Options of ``generate``: heads at some depths, each with a gamma and a gate of its own."""
    placement = tuple(sorted(draw(st.sets(st.integers(1, N_LAYERS - 1), min_size=1))))
    gammas = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0))
    policy = draw(
        st.sampled_from(
            RUNNABLE
            if len(placement) == 1
            else [Policy.VANILLA, Policy.ADADECODE, Policy.ADADECODE]
        )
    )
    gamma = 0.5 if policy is Policy.VANILLA else draw(st.tuples(*[gammas] * len(placement)))
    return {
        "policy": policy,
        "placement": placement,
        "gamma": gamma,
        "cap": draw(st.integers(1, 7)),
        "gate": draw(st.tuples(*[gammas] * len(placement))),
    }


@cache
def llama() -> tuple[PreTrainedModel, SegmentedModel]:
    model = tiny_model("llama", seed=2)
    return model, SegmentedModel(model)


@cache
def reference(prompt: tuple[int, ...]) -> list[int]:
    return greedy_text(llama()[0], torch.tensor([prompt]), MOST_TOKENS)


def generate(
    prompt: list[int],
    scale: float,
    budget: int,
    design: dict[str, object],
    eos: tuple[int, ...] = (),
) -> Generation:
    """A run with random heads; taking the model apart is done once."""
    model, parts = llama()
    decoder = AdaDecoder.__new__(AdaDecoder)
    heads = random_heads(model, scale=scale, gates=True)
    decoder.parts, decoder.heads, decoder.eos = parts, heads, frozenset()
    ids = torch.tensor([prompt])
    mask = torch.ones_like(ids)  # token 0, which pads, is text here
    return decoder.generate(ids, budget, eos_token_id=eos, attention_mask=mask, **design)  # type: ignore[arg-type]


@examples(40)
@given(
    prompt=prompts,
    scale=st.sampled_from([0.0, 0.3, 1.0, 3.0, 30.0]),
    budget=st.integers(1, MOST_TOKENS),
    design=designs(),
)
def test_the_text_is_the_models_own(
    prompt: list[int], scale: float, budget: int, design: dict[str, object]
) -> None:
    got = generate(prompt, scale, budget, design)
    assert got.tokens == reference(tuple(prompt))[:budget]
    assert sum(r.committed for r in got.rounds) == budget - 1
    assert all(len(r.exits) <= design["cap"] for r in got.rounds)  # type: ignore[operator]
    assert [r.start for r in got.rounds[1:]] == [
        r.start + r.committed for r, _ in pairwise(got.rounds)
    ]


@examples(20)
@given(prompt=prompts, at=st.integers(0, MOST_TOKENS - 1), design=designs())
def test_the_text_ends_at_its_first_eos(
    prompt: list[int], at: int, design: dict[str, object]
) -> None:
    text = reference(tuple(prompt))
    assert (
        generate(prompt, 3.0, MOST_TOKENS, design, eos=(text[at],)).tokens
        == text[: text.index(text[at]) + 1]
    )
