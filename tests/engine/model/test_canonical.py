"""Canonical numerics: a token's bits are the same whatever its batch, in 16 bits too.

So vanilla and every design agree bit for bit.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.evaluation.bitwise import fingerprint
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model import canonical as numerics
from adadecode.engine.model.canonical import ROWS, CanonicalModel, CanonicalPass
from adadecode.profiles.errors import InputError, UnsupportedModel
from adadecode.sim.core.design import Design, Policy
from tests.support.models import N_LAYERS, greedy_text, random_heads, random_prompt, tiny_model
from tests.support.property_tests import examples
from tests.support.quick import quick_or_slow

VANILLA = Design.of(Policy.VANILLA)
DESIGNS = (
    Design.of(Policy.ADADECODE, gamma=0.0, placement=(2, 4)),
    Design.of(
        Policy.ADADECODE, gamma=0.3, placement=(1, 3, 5), cap=8
    ),  # batches of up to nine: two passes
    Design.of(Policy.FIXED, placement=(4,), cap=3),
)
SERVED = ("llama", "gemma2", "gpt2")
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def canonical(architecture: str, dtype: torch.dtype, **config: Any) -> AdaDecoder:
    """A decoder of a tiny model, its own LM head at every depth."""
    model = tiny_model(architecture, dtype, **config)
    return AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)), numerics="canonical")


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [
        quick_or_slow((architecture, dtype), quick=list(zip(SERVED, DTYPES, strict=True)))
        for architecture in SERVED
        for dtype in DTYPES
    ],
)
def test_every_design_is_vanilla_bit_for_bit(architecture: str, dtype: torch.dtype) -> None:
    decoder = canonical(architecture, dtype)
    prompt = random_prompt(11)[0].tolist()
    own = fingerprint(decoder, prompt, VANILLA, 24)
    for design in DESIGNS:
        assert fingerprint(decoder, prompt, design, 24).differing(own) == 0, design.label


def test_wrong_drafts_leave_no_trace() -> None:
    model = tiny_model("llama", torch.bfloat16)
    decoder = AdaDecoder(model, random_heads(model), numerics="canonical")
    prompt = random_prompt(5)[0].tolist()
    own, got = (fingerprint(decoder, prompt, design, 24) for design in (VANILLA, DESIGNS[0]))
    assert got.differing(own) == 0
    assert any(
        len(r.exits) > r.accepted
        for r in decoder.generate(torch.tensor([prompt]), 24, gamma=0.0, placement=(2, 4)).rounds
    )


def test_a_bucket_may_end_within_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "BUCKET", 8)
    decoder = canonical("mistral", torch.float32)  # some layers see a window of eight
    prompt = random_prompt(4)[0].tolist()
    own = fingerprint(decoder, prompt, VANILLA, 40)
    assert [fingerprint(decoder, prompt, design, 40).differing(own) for design in DESIGNS] == [
        0,
        0,
        0,
    ]


def test_a_text_may_fill_every_position_that_the_model_has() -> None:
    decoder = canonical("gpt2", torch.float32, n_positions=40, eos_token_id=None)
    prompt = random_prompt(8)[0].tolist()
    own = fingerprint(decoder, prompt, VANILLA, 33)
    assert len(own.states) == 40
    assert fingerprint(decoder, prompt, DESIGNS[0], 33).differing(own) == 0


def test_the_text_is_the_models_own() -> None:
    decoder = canonical("qwen2", torch.float64)
    prompt = random_prompt(13)
    assert decoder.generate(prompt, 20, gamma=0.0, eos_token_id=()).tokens == greedy_text(
        decoder.parts.model, prompt, 20
    )


def test_natively_the_bits_do_depend_on_the_batch() -> None:
    """Else the tests above show nothing."""
    model = tiny_model("llama", torch.float32)
    decoder = AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)))
    prompt = random_prompt(11)[0].tolist()
    own = fingerprint(decoder, prompt, VANILLA, 24)
    assert fingerprint(decoder, prompt, DESIGNS[0], 24).differing(own) > 0


@given(start=st.integers(0, 300), n=st.integers(1, ROWS), spare=st.integers(0, ROWS))
@examples(200)
def test_a_position_has_its_row_whatever_the_pass(start: int, n: int, spare: int) -> None:
    now = CanonicalPass.of(
        start,
        start + n,
        start + n - 1 + spare,
        lambda position: (position // 8 + 1) * 8,
        torch.device("cpu"),
    )
    for offset in range(n):
        row = (start + offset) % ROWS
        assert now.back[offset] == row
        assert now.order[row] == offset
        assert now.positions[row] == start + offset
        assert now.late[row] == (len(now.ends) == 2 and start + offset >= now.ends[0])
    assert int(now.positions.max()) <= start + n - 1 + spare
    assert (
        now.mask(now.ends[-1], None, 2).sum(1).tolist()
        == [min(int(p) + 1, now.ends[-1]) for p in now.positions] * 2
    )


def test_a_mixture_of_experts_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match="native numerics"):
        canonical("mixtral", torch.float32)


def test_a_model_whose_bits_depend_on_the_batch_all_the_same_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(CanonicalModel, "run", CanonicalModel.__mro__[1].run)  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedModel, match="depend on their batch"):
        canonical("llama", torch.float32)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InputError, match="native, canonical"):
        AdaDecoder(tiny_model("llama"), numerics="exact")
