"""A model whose parts do not compute what the whole does is refused, and rounding is no reason."""

from __future__ import annotations

import pytest
import torch

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import UnsupportedModel
from tests.support.models import tiny_model


class Wrong(SegmentedModel):
    """Parts whose logits are wrong at some of the tokens."""

    wrong = 1

    def _probe_logits(self, tokens: torch.Tensor) -> torch.Tensor:
        logits = super()._probe_logits(tokens)
        logits[: self.wrong] = logits[: self.wrong].flip(-1)
        return logits


class WrongAtMany(Wrong):
    """Parts whose logits are wrong at a third of the tokens."""

    wrong = 4


@pytest.mark.parametrize(
    ("parts", "dtype"),
    [(Wrong, torch.float32), (Wrong, torch.float64), (WrongAtMany, torch.bfloat16)],
)
def test_wrong_parts_are_refused(parts: type[SegmentedModel], dtype: torch.dtype) -> None:
    with pytest.raises(UnsupportedModel, match="taken apart, its logits differ"):
        parts(tiny_model("llama", dtype))


def test_one_token_that_rounding_decides_is_no_reason_in_16_bits() -> None:
    assert Wrong(tiny_model("llama", torch.bfloat16)).n_layers
