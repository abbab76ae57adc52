"""CUDA graphs: the same text as without, captured once, and a failed capture that falls back."""

from __future__ import annotations

import pytest
import torch

from engine.decode import AdaDecoder
from engine.graphs import CapturedModel
from engine.heads import ExitHeads
from engine.static import StaticModel, Step
from tests.models import N_LAYERS, greedy_text, random_prompt, tiny_model

pytestmark = pytest.mark.gpu
DESIGNS = [{"policy": "vanilla"}, {"gamma": 0.0, "placement": (2, 4)}, {"policy": "fixed", "placement": (3,), "cap": 3}]


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    model = tiny_model("llama").to("cuda")
    return AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)), graphs="cuda")


@pytest.mark.parametrize("design", DESIGNS)
def test_the_text_is_the_models_own(decoder: AdaDecoder, design: dict) -> None:
    prompt = random_prompt(13).to("cuda")
    text = greedy_text(decoder.parts.model, prompt, 16)
    for _ in range(2):  # captured in the first, replayed alone in the second
        assert decoder.generate(prompt, 16, eos_token_id=(), **design).tokens == text
    assert isinstance(decoder.parts, CapturedModel)
    assert decoder.parts.fallbacks == []


def test_a_graph_is_captured_once(decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = random_prompt(13).to("cuda")
    decoder.generate(prompt, 16, policy="vanilla", eos_token_id=())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: pytest.fail("captured again"))
    decoder.generate(prompt, 16, policy="vanilla", eos_token_id=())


def test_marks_stand_between_graphs_of_single_layers(decoder: AdaDecoder) -> None:
    parts, marks = decoder.parts, []
    with torch.inference_mode():
        parts.allocate(16)
    with parts.session():
        parts.run(0, 3, parts.embed(random_prompt(2).to("cuda"), 5), 5, lambda: marks.append(None))
    assert len(marks) == 4


def test_a_capture_that_fails_on_its_way_falls_back_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer breaks within the second capture; the stream that was current is so again."""
    model = tiny_model("llama").to("cuda")
    prompt = random_prompt(7).to("cuda")
    text = greedy_text(model, prompt, 8)
    decoder = AdaDecoder(model, graphs="cuda")

    layer, begun, stream = StaticModel.layer, [], torch.cuda.current_stream()

    def breaking(self: StaticModel, index: int, hidden: torch.Tensor, step: Step) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            begun.append(index)
            if len(begun) == N_LAYERS + 3:
                raise torch.OutOfMemoryError("no room for the graph")
        return layer(self, index, hidden, step)

    monkeypatch.setattr(StaticModel, "layer", breaking)
    with pytest.warns(UserWarning, match="could not be captured as a CUDA graph .*no room"):
        got = decoder.generate(prompt, 8, policy="vanilla", eos_token_id=())
    assert got.tokens == text
    assert torch.cuda.current_stream() == stream


def test_what_graphs_hold_is_reported(decoder: AdaDecoder) -> None:
    decoder.generate(random_prompt(13).to("cuda"), 4, policy="vanilla", eos_token_id=())
    assert isinstance(decoder.parts, CapturedModel)
    assert decoder.parts.graphs_bytes > 0
    assert decoder.parts._tails
