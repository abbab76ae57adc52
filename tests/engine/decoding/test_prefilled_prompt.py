"""A prompt that was run once gives every text that follows it, bit for bit."""

from __future__ import annotations

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampling
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Design, Policy
from tests.support.models import random_prompt, tiny_model

PROMPT = random_prompt(9)
DESIGNS = (
    Design.of(Policy.VANILLA),
    Design.of(Policy.ADADECODE, gamma=0.02, placement=(2, 4)),
    Design.of(Policy.FIXED, placement=(3,), cap=3),
)


@pytest.fixture(params=["eager", "static"])
def decoder(request: pytest.FixtureRequest) -> AdaDecoder:
    model = tiny_model("llama", torch.float32)
    return AdaDecoder(model, ExitHeads.identity(model, (2, 3, 4)), graphs=request.param)


@pytest.mark.parametrize("sampling", [None, Sampling.of(temperature=1.0, seed=5)])
def test_texts_after_a_restored_prompt_are_those_after_the_prompt(
    decoder: AdaDecoder, sampling: Sampling | None
) -> None:
    """Under each design, whatever another text left in the buffers, with the same rounds."""
    runs = {}
    prefilled = decoder.prefill(PROMPT, 24)
    with torch.inference_mode():
        prefilled.keep(decoder.parts)
    for restored in (None, prefilled):
        for design in DESIGNS:
            decoder.generate(random_prompt(30), 4)
            run = decoder.start(
                PROMPT, design, max_new_tokens=24, sampling=sampling, prefilled=restored
            )
            run.run_to_end()
            n = PROMPT.shape[1] + 20
            kept = [keys[:, :, :n].clone() for keys in decoder.parts.kv.keys if keys is not None]
            first = runs.setdefault(design, (run.schedule, kept))
            assert run.schedule.tokens == first[0].tokens
            assert run.schedule.rounds == first[0].rounds
            assert all(map(torch.equal, kept, first[1]))


def test_a_text_whose_buffers_a_restored_prompt_took_is_refused(decoder: AdaDecoder) -> None:
    """As one that another prompt took."""
    prefilled = decoder.prefill(PROMPT, 8)
    with torch.inference_mode():
        prefilled.keep(decoder.parts)
    old = decoder.start(PROMPT, DESIGNS[0], max_new_tokens=8)
    decoder.start(PROMPT, DESIGNS[0], max_new_tokens=8, prefilled=prefilled)
    with pytest.raises(InputError, match="began another text in place of one"):
        old.run_to_end()
