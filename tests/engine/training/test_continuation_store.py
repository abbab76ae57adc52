"""Continuations: batches give the texts that single prompts give, and are made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.training import batched_generation, continuation_store
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.continuation_store import ContinuationStore, own_share
from adadecode.engine.training.run_folder import CONTINUATIONS
from adadecode.sim.core.design import Policy
from tests.support.models import tiny_model

N_NEW = 20


def prompts(count: int = 7) -> list[torch.Tensor]:
    """Of 1 to ``count`` tokens, and no two the same."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(3, 97, (1, 1 + 2 * n), generator=generator) for n in range(count)]


@pytest.fixture(scope="module", params=["llama", "gpt2", "opt", "gpt_neox", "olmo2"])
def decoder(request: pytest.FixtureRequest) -> AdaDecoder:
    made = AdaDecoder(tiny_model(request.param, torch.float64))
    with torch.inference_mode():
        made.parts.allocate(64)
    return made


def alone(decoder: AdaDecoder, prompt: torch.Tensor) -> list[int]:
    return decoder.generate(prompt, max_new_tokens=N_NEW, policy=Policy.VANILLA).tokens


@pytest.fixture
def ends(decoder: AdaDecoder) -> frozenset[int]:
    """Tokens that end some of the texts early, at different places."""
    decoder.eos = frozenset()
    texts = [alone(decoder, prompt) for prompt in prompts()]
    decoder.eos = frozenset({texts[0][4], texts[3][11], texts[5][17]})
    return decoder.eos


@pytest.mark.parametrize("stride", [1, 3, 16, 64])
def test_a_batch_gives_the_texts_of_single_prompts(
    decoder: AdaDecoder, ends: frozenset[int], stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In FP64: no padding is read, texts end where they end, whatever leaves the batch when."""
    monkeypatch.setattr(batched_generation, "STRIDE", stride)
    made = BatchedGeneration(decoder.parts.model, ends)
    wanted = [alone(decoder, prompt) for prompt in prompts()]
    assert made.continued(prompts(), N_NEW) == wanted
    assert len({len(text) for text in wanted}) > 1


@pytest.fixture
def llama() -> AdaDecoder:
    made = AdaDecoder(tiny_model("llama", torch.float64))
    with torch.inference_mode():
        made.parts.allocate(64)
    return made


def kept(decoder: AdaDecoder, folder: Path, owner: str = "a", **changes: Any) -> list[list[int]]:
    store = ContinuationStore(folder, owner, changes.pop("earlier", None))
    options = {"max_new_tokens": N_NEW, "batch": 3, "advance": lambda _: None, **changes}
    texts = store.continuations(decoder, options.pop("prompts", prompts()), **options)
    return [text.output for text in texts]


def test_an_earlier_runs_continuations_count(
    llama: AdaDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where some prompts are new: their batches alone are computed. Not of another model."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    texts = kept(llama, before, prompts=prompts()[:6])
    calls: list[int] = []
    whole = BatchedGeneration.continued
    monkeypatch.setattr(
        BatchedGeneration,
        "continued",
        lambda self, some, n: calls.append(len(some)) or whole(self, some, n),
    )
    assert kept(llama, after, earlier=before)[:6] == texts
    assert calls == [1]
    assert len((after / CONTINUATIONS).read_text().splitlines()) == 7
    calls.clear()
    kept(llama, tmp_path, owner="b", earlier=before)
    assert calls == [3, 3, 1]


def test_only_what_is_missing_is_continued_whatever_its_length(
    llama: AdaDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New prompts spread over the lengths make one batch, and not one with each group of all."""
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    kept(llama, before, prompts=[prompts()[number] for number in (1, 2, 4, 5)])
    given: list[list[int]] = []
    whole = BatchedGeneration.continued
    monkeypatch.setattr(
        BatchedGeneration,
        "continued",
        lambda self, some, n: given.append([one.shape[1] for one in some]) or whole(self, some, n),
    )
    assert kept(llama, after, earlier=before) == [alone(llama, prompt) for prompt in prompts()]
    assert given == [[1, 7, 13]]


def test_a_model_that_reads_padding_is_continued_one_by_one(
    llama: AdaDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is noticed by the text of the shortest prompt, and said."""
    whole = BatchedGeneration.continued

    def unmasked(self: BatchedGeneration, some: Any, n: int) -> list[list[int]]:
        longest = max(one.shape[1] for one in some)
        full = [torch.cat([one.new_zeros(1, longest - one.shape[1]), one], 1) for one in some]
        return whole(self, full, n)

    monkeypatch.setattr(BatchedGeneration, "continued", unmasked)
    with pytest.warns(UserWarning, match="other texts in a batch than alone"):
        found = kept(llama, tmp_path, batch=7)
    assert found == [alone(llama, prompt) for prompt in prompts()]


def test_the_share_of_its_own_tokens_is_that_of_greedy_choices(llama: AdaDecoder) -> None:
    prompt = prompts()[2]
    text = alone(llama, prompt)
    assert own_share(llama, Continuation(prompt=prompt, output=text)) == 1.0
    other = (text[-1] + 1) % 97
    changed = Continuation(prompt=prompt, output=[*text[:-1], other])
    assert own_share(llama, changed) == pytest.approx(1 - 1 / len(text))


@pytest.mark.parametrize(
    "line",
    [
        {"prompt": "x", "output": [5]},
        {"prompt": 3, "output": [5]},
        {"prompt": "", "output": []},
        {"prompt": "", "output": [97]},
        {"prompt": "", "output": [True]},
        {"prompt": "", "output": [5], "more": 1},
    ],
)
def test_lines_that_are_no_continuation_do_not_count(line: dict[str, Any]) -> None:
    """Whoever sealed them."""
    assert not continuation_store._is_output(line, {""}, 97)
    assert continuation_store._is_output({"prompt": "", "output": [96, 0]}, {""}, 97)


def test_the_models_settings_stay_as_they_are(model: PreTrainedModel) -> None:
    """Its cache, its end tokens and its configuration are not touched by a batch."""
    before = (model.config.to_dict(), model.generation_config.to_dict())
    BatchedGeneration(model, {5}).continued(prompts(), 4)
    assert (model.config.to_dict(), model.generation_config.to_dict()) == before


@pytest.fixture
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)
