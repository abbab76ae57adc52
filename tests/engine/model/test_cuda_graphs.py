"""CUDA graphs: the same text as without, captured once, and timed from within.

A capture that fails falls back.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adadecode.engine.baselines.static_cache import static_cache_baseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import packed_draft, read_draft
from adadecode.engine.decoding.sequence import greedy_draft, head_logits
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.cuda_graphs import CapturedModel
from adadecode.engine.model.static_pass import StaticPass
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.engine.runtime.timer import Clock
from tests.support.models import (
    N_LAYERS,
    VOCABULARY,
    greedy_text,
    random_heads,
    random_prompt,
    tiny_model,
)

pytestmark = pytest.mark.gpu
DESIGNS = [
    {"policy": "vanilla"},
    {"gamma": 0.0, "placement": (2, 4)},
    {"policy": "fixed", "placement": (3,), "cap": 3},
]
compiling = pytest.mark.filterwarnings("default")
"""Compilers warn of themselves; what falls back is held against ``fallbacks``."""


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


def test_layers_timed_in_a_graph_take_what_their_segment_takes(decoder: AdaDecoder) -> None:
    """Their sum is within a factor of two of the plain graph, replayed between two events.

    That is a bound of physics, not of speed.
    """
    parts = decoder.parts
    with torch.inference_mode():
        parts.allocate(16)
    with parts.session():
        hidden = parts.embed(random_prompt(2).to("cuda"), 5)
        laps: list[list[float]] = []
        whole: list[float] = []
        for _ in range(20):
            inside, around = Clock(parts.device), Clock(parts.device)
            timed = parts.run(0, N_LAYERS, hidden, 5, inside)
            torch.cuda.synchronize()
            around.mark()
            plain = parts.run(0, N_LAYERS, hidden, 5)
            around.mark()
            assert torch.allclose(timed, plain)
            laps.append(inside.intervals())
            whole += around.intervals()
    assert parts.timing == "events in graphs"
    assert all(len(lap) == N_LAYERS and min(lap) > 0 for lap in laps)
    inside_s, around_s = sorted(map(sum, laps))[10], sorted(whole)[10]
    assert inside_s < 2 * around_s
    assert (
        around_s < 10 * inside_s
    )  # around it also stand the copies into and out of the graph, and its launch


def test_two_laps_in_a_graph_do_not_mix(decoder: AdaDecoder) -> None:
    """The second replay does not overwrite what the first one told."""
    parts, clock = decoder.parts, Clock(torch.device("cuda"))
    with torch.inference_mode():
        parts.allocate(16)
    with parts.session():
        hidden = parts.embed(random_prompt(2).to("cuda"), 5)
        clock.mark()
        for _ in range(2):
            parts.run(0, 3, hidden, 5, clock)
        clock.mark()
    found = clock.intervals()
    assert len(found) == 1 + 3 + 1 + 3 + 1
    assert min(found) > 0


def test_heads_and_verification_are_captured_whole(decoder: AdaDecoder) -> None:
    """A head's draft is what its logits say, the lowest token on a tie."""
    parts = decoder.parts
    with parts.session():
        hidden = torch.randn((1, 1, parts.hidden_size), device="cuda", dtype=parts.dtype)
        first, again = (greedy_draft(parts, decoder.heads, 2, hidden) for _ in range(2))
        plain = read_draft(head_logits(parts, decoder.heads, 2, hidden))
    assert first == again
    assert (first.token, first.confidence) == (
        plain.token,
        pytest.approx(plain.confidence, rel=1e-5),
    )
    tied = torch.zeros((3, 128256), device="cuda")
    tied[0, [7, 99000]] = 1.0
    assert tied.argmax(-1).tolist() == [7, 0, 0]
    assert packed_draft(tied[0]).tolist()[0] == 7


def test_a_stream_that_ended_leaves_its_graphs_to_the_next(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = random_prompt(13).to("cuda")
    first = list(decoder.stream(prompt, 8, policy="vanilla", eos_token_id=()))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: pytest.fail("captured again"))
    assert list(decoder.stream(prompt, 8, policy="vanilla", eos_token_id=())) == first


def test_a_capture_that_fails_on_its_way_falls_back_with_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A layer breaks within the second capture; the stream that was current is so again."""
    model = tiny_model("llama").to("cuda")
    prompt = random_prompt(7).to("cuda")
    text = greedy_text(model, prompt, 8)
    decoder = AdaDecoder(model, graphs="cuda")

    layer, begun, stream = StaticModel.layer, [], torch.cuda.current_stream()

    def breaking(
        self: StaticModel, index: int, hidden: torch.Tensor, step: StaticPass
    ) -> torch.Tensor:
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


# ---- whatever is captured ----


@compiling
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_layers_and_heads_are_captured(dtype: torch.dtype) -> None:
    """Nothing falls back, and a text is the same again; in FP32 it is the model's own."""
    model = tiny_model("llama", dtype).to("cuda")
    decoder = AdaDecoder(
        model, ExitHeads.identity(model, range(1, N_LAYERS)), graphs="cuda+compile"
    )
    prompt = random_prompt(13).to("cuda")
    texts, again = (
        [decoder.generate(prompt, 16, eos_token_id=(), **design).tokens for design in DESIGNS]
        for _ in range(2)
    )
    assert decoder.parts.fallbacks == []
    assert texts == again
    assert dtype != torch.float32 or texts == [greedy_text(model, prompt, 16)] * len(DESIGNS)


@pytest.mark.parametrize(
    "form", [{"shortlist": 20}, {"dtype": "int8"}, {"shortlist": 20, "dtype": "int8"}]
)
def test_cheaper_heads_are_captured(form: dict[str, Any]) -> None:
    """They draft what they draft without a graph, and change no text."""
    model = tiny_model("llama", torch.float32).to("cuda")
    heads = random_heads(model).shaped(model, frequent=range(3, VOCABULARY), **form)
    assert heads.form.dtype == form.get("dtype")
    prompt = random_prompt(13).to("cuda")
    captured, eager = (
        AdaDecoder(model, heads, graphs=graphs).generate(
            prompt, 16, gamma=0.3, placement=(2, 4), eos_token_id=()
        )
        for graphs in ("cuda", "eager")
    )
    assert captured.tokens == greedy_text(model, prompt, 16)
    assert captured.rounds == eager.rounds


def test_a_room_that_is_outgrown_changes_no_text() -> None:
    """Its graphs go with it; the next room has its own."""
    model = tiny_model("llama", max_position_embeddings=1024).to("cuda")
    decoder = AdaDecoder(model, graphs="cuda")
    rooms = []
    for length in (13, 300, 13):
        prompt = random_prompt(length).to("cuda")
        assert decoder.generate(prompt, 8, policy="vanilla", eos_token_id=()).tokens == greedy_text(
            model, prompt, 8
        )
        rooms.append(decoder.parts.kv.capacity)
    assert rooms[0] < 300 < rooms[1]
    assert decoder.parts.fallbacks == []


@compiling
def test_a_compiled_generate_between_two_texts_changes_none() -> None:
    """It captures graphs of its own on the same model, and writes the same text."""
    model = tiny_model("llama", torch.float32).to("cuda")
    decoder = AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)), graphs="cuda")
    prompt = random_prompt(13).to("cuda")
    before = [decoder.generate(prompt, 16, **design).tokens for design in DESIGNS]
    assert static_cache_baseline(decoder, 64).run(prompt, 16).tokens == before[0]
    assert [decoder.generate(prompt, 16, **design).tokens for design in DESIGNS] == before
    assert decoder.parts.fallbacks == []


@pytest.mark.parametrize("design", DESIGNS)
def test_a_seed_gives_the_text_that_it_gives_without_graphs(design: dict) -> None:
    model = tiny_model("llama", torch.float32).to("cuda")
    heads = ExitHeads.identity(model, range(1, N_LAYERS))
    prompt = random_prompt(13).to("cuda")
    captured, eager = (
        AdaDecoder(model, heads, graphs=graphs).generate(
            prompt, 24, eos_token_id=(), temperature=0.8, top_p=0.9, seed=3, **design
        )
        for graphs in ("cuda", "eager")
    )
    assert (captured.tokens, captured.rounds) == (eager.tokens, eager.rounds)
