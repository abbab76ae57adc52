"""The loss of exit heads: the same however the vocabulary is cut."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.training.kl_divergence import (
    Teacher,
    Vocabulary,
    divergence,
    divergence_stats,
)
from adadecode.profiles.errors import UnsupportedModel
from tests.support.models import tiny_model


@pytest.mark.parametrize("chunk", [1, 16, 96, 97, 1000])
@pytest.mark.parametrize("architecture", ["llama", "gemma2", "cohere", "phi"])
def test_the_chunked_loss_is_the_plain_one(architecture: str, chunk: int) -> None:
    """KL and its gradient, however the vocabulary is cut.

    For a plain LM head, and for one with a soft cap, with a scale, and with a bias.
    """
    parts = SegmentedModel(tiny_model(architecture))
    generator = torch.Generator().manual_seed(0)
    final, student = torch.randn(2, 7, 64, generator=generator, dtype=torch.float64)
    one, other = student.clone().requires_grad_(), student.clone().requires_grad_()
    found = divergence(Teacher(Vocabulary.of(parts, chunk), final), one)
    p, q = (parts.finish(parts.lm_head(x)).log_softmax(-1) for x in (final, other))
    plain = F.kl_div(q, p, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(found, plain, rtol=1e-10, atol=1e-12)
    weights = torch.arange(1.0, 8.0, dtype=torch.float64)
    (found * weights).sum().backward()
    (plain * weights).sum().backward()
    torch.testing.assert_close(one.grad, other.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chunk", [10, 97])
def test_agreement_is_equality_of_the_most_probable_tokens(chunk: int) -> None:
    """Found across chunks as over the whole vocabulary; KL the same as the loss."""
    parts = SegmentedModel(tiny_model("llama", torch.float32))
    final, student = torch.randn(2, 50, 64, generator=torch.Generator().manual_seed(0))
    student[::2] = final[::2]
    teacher = Teacher(Vocabulary.of(parts, chunk), final)
    with torch.no_grad():
        wanted = parts.unembed(final).argmax(-1) == parts.unembed(student).argmax(-1)
    found = divergence_stats(teacher, student)
    assert torch.equal(found.agree, wanted)
    torch.testing.assert_close(found.kl, divergence(teacher, student))
    assert 25 <= int(wanted.sum()) < 50


def test_an_lm_head_narrower_than_the_layers_is_refused() -> None:
    """A head is a square matrix on hidden states that the LM head must be able to read."""
    with pytest.raises(UnsupportedModel, match="LM head is 32 wide, its layers 64"):
        Vocabulary.of(SegmentedModel(tiny_model("opt", word_embed_proj_dim=32)))


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "phi"])
def test_a_sample_of_everything_is_the_whole_vocabulary(architecture: str) -> None:
    """Whatever is likely: KL and its gradient are those of all tokens."""
    vocabulary = Vocabulary.of(SegmentedModel(tiny_model(architecture)))
    generator = torch.Generator().manual_seed(0)
    final, student = torch.randn(2, 7, 64, generator=generator, dtype=torch.float64)
    whole, sampled = (student.clone().requires_grad_() for _ in range(2))
    likely = torch.randint(97, (7, 3), generator=generator)
    drawn = vocabulary.sampled(likely, 97, generator)
    kl = divergence(Teacher(vocabulary, final), whole)
    torch.testing.assert_close(divergence(Teacher(drawn, final), sampled), kl)
    kl.sum().backward()
    divergence(Teacher(drawn, final), sampled).sum().backward()
    torch.testing.assert_close(sampled.grad, whole.grad)


def test_a_sample_stands_for_the_whole_in_the_mean() -> None:
    """Each token that was drawn counts for as many as were left out."""
    vocabulary = Vocabulary.of(SegmentedModel(tiny_model("llama", torch.float32)))
    generator = torch.Generator().manual_seed(0)
    final = 3 * torch.randn(5, 64, generator=generator)
    logits = final @ vocabulary.weight.T
    likely = logits.topk(8, -1).indices
    means = torch.stack(
        [
            drawn.logits(final, drawn.parts[0]).exp().sum(-1)
            for drawn in (vocabulary.sampled(likely, 10, generator) for _ in range(2000))
        ]
    ).mean(0)
    torch.testing.assert_close(means, logits.exp().sum(-1), rtol=0.01, atol=0)
