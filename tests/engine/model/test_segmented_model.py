"""A model taken apart computes what the whole does, in any batches, after any rollback."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.model.attention import KeyValues, attend
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.timer import Clock
from tests.support.models import ARCHITECTURES, N_LAYERS, WINDOW, random_prompt, tiny_model

LENGTH = 20
KINDS = [
    "llama",
    "gemma2",
    "gpt2",
    "opt",
    "gpt_oss",
    "cohere2",
]  # one of each way to embed, attend and finish


@pytest.fixture(scope="module", params=KINDS)
def parts(request: pytest.FixtureRequest) -> SegmentedModel:
    return SegmentedModel(tiny_model(request.param))


def fresh(parts: SegmentedModel, capacity: int = LENGTH) -> None:
    """Empty buffers, of exactly the size asked for."""
    parts.kv = KeyValues(parts.n_layers, 0)
    with torch.inference_mode():
        parts.allocate(capacity)


def in_one_pass(parts: SegmentedModel, tokens: torch.Tensor) -> list[torch.Tensor]:
    """Hidden states (1, n, d) at every depth 0..L, each from one batch."""
    with parts.session():
        hidden = [parts.embed(tokens, 0)]
        for layer in range(parts.n_layers):
            hidden.append(parts.run(layer, layer + 1, hidden[-1], 0))
    return hidden


def close(got: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.allclose(got, wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max()))


# ---- hidden states ----


@pytest.mark.parametrize("cuts", [(0, 20), (0, 1, 2, 20), (0, 5, 6, 9, 13, 20), tuple(range(21))])
def test_uneven_batches_give_the_hidden_states_of_one_pass(
    parts: SegmentedModel, cuts: tuple[int, ...]
) -> None:
    """Early layers run token by token, late ones on all that waited."""
    tokens = random_prompt(LENGTH)
    fresh(parts)
    wanted = in_one_pass(parts, tokens)
    fresh(parts)
    with parts.session():
        for start, stop in pairwise(cuts):
            early = [
                parts.run(0, 2, parts.embed(tokens[:, i : i + 1], i), i) for i in range(start, stop)
            ]
            assert close(torch.cat(early, 1), wanted[2][:, start:stop])
            middle = parts.run(2, 5, torch.cat(early, 1), start)
            assert close(middle, wanted[5][:, start:stop])
            assert close(parts.run(5, N_LAYERS, middle, start), wanted[N_LAYERS][:, start:stop])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_logits_are_the_models_own(architecture: str) -> None:
    model = tiny_model(architecture)
    parts = SegmentedModel(model)
    tokens = random_prompt(LENGTH)
    with torch.inference_mode():
        parts.allocate(LENGTH)
        wanted = model(tokens, use_cache=False).logits.float()
    with parts.session():
        assert torch.allclose(
            parts.logits(in_one_pass(parts, tokens)[-1]), wanted, rtol=1e-5, atol=1e-5
        )


def test_a_rollback_and_other_tokens_give_what_a_fresh_start_gives(parts: SegmentedModel) -> None:
    """Keys and values of rejected tokens stay in the buffers: none of them is read again."""
    tokens, rejected = random_prompt(LENGTH), random_prompt(LENGTH, seed=1)
    fresh(parts)
    wanted = in_one_pass(parts, tokens)[-1]
    fresh(parts)
    with parts.session():
        parts.run(0, N_LAYERS, parts.embed(tokens[:, :7], 0), 0)
        parts.run(0, 3, parts.embed(rejected[:, 7:16], 7), 7)  # some only through the first layers
        parts.run(0, N_LAYERS, parts.embed(rejected[:, 7:12], 7), 7)
        again = parts.run(0, N_LAYERS, parts.embed(tokens[:, 7:9], 7), 7)
        rest = parts.run(0, N_LAYERS, parts.embed(tokens[:, 9:], 9), 9)
    assert close(torch.cat([again, rest], 1), wanted[:, 7:])


def test_larger_buffers_change_nothing(parts: SegmentedModel) -> None:
    tokens = random_prompt(LENGTH)
    fresh(parts)
    wanted = in_one_pass(parts, tokens)
    for capacity in (LENGTH + 1, 2 * LENGTH, 90, 12):
        with torch.inference_mode():
            parts.allocate(capacity)
        assert all(
            close(got, want) for got, want in zip(in_one_pass(parts, tokens), wanted, strict=True)
        )
    assert parts.kv.capacity >= 90  # it never shrinks


def test_the_last_position_before_a_rotary_embedding_stretches_is_as_the_first() -> None:
    """Room for as many positions as it knows, an even number, is not made one longer."""
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    model = tiny_model("llama", rope_parameters=rope, max_position_embeddings=LENGTH)
    parts, tokens = SegmentedModel(model), random_prompt(LENGTH)
    with torch.inference_mode():
        parts.allocate(LENGTH)
        wanted = model(tokens, use_cache=False).logits.float()
    with parts.session():
        assert torch.allclose(
            parts.logits(in_one_pass(parts, tokens)[-1]), wanted, rtol=1e-5, atol=1e-5
        )


def test_the_clock_is_marked_before_the_first_layer_and_after_each(parts: SegmentedModel) -> None:
    fresh(parts)
    clock = Clock(torch.device("cpu"))
    with parts.session():
        parts.run(1, 5, parts.embed(random_prompt(3), 0), 0, clock)
    assert len(clock.intervals()) == 4


# ---- keys and values ----


def rows(kv: KeyValues, window: int | None, groups: int = 1) -> list[list[int]]:
    """The slots that each query may see."""
    first = kv.first_visible(window)
    return [
        [first + i for i, seen in enumerate(row) if seen]
        for row in kv.mask(window, groups, torch.device("cpu")).tolist()
    ]


def test_layers_attend_without_cudnn_and_the_choice_is_given_back(
    parts: SegmentedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after an error; `adadecode.engine.model.attending` says why."""
    monkeypatch.setattr(parts, "devices", (parts.device, torch.device("cuda", 1)))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"the stream of {device}")
    assert torch.backends.cuda.cudnn_sdp_enabled()
    seen = []

    def broken() -> None:
        with parts.session():
            seen.append(torch.backends.cuda.cudnn_sdp_enabled())
            raise RuntimeError("broke")

    with pytest.raises(RuntimeError, match="broke"):
        broken()
    assert seen == [False]
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_a_query_sees_every_slot_up_to_its_own() -> None:
    kv = KeyValues(1, 10)
    kv.at(2, 5)
    assert rows(kv, None) == [[0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


def test_a_window_counts_the_query_itself() -> None:
    kv = KeyValues(1, 10)
    kv.at(4, 7)
    assert rows(kv, 3) == [[2, 3, 4], [3, 4, 5], [4, 5, 6]]
    assert kv.first_visible(3) == 2
    assert rows(kv, 100) == rows(kv, None)
    assert kv.first_visible(100) == 0


def test_query_heads_that_share_keys_stand_one_after_the_other() -> None:
    kv = KeyValues(1, 10)
    kv.at(0, 2)
    assert rows(kv, None, groups=3) == [[0], [0, 1]] * 3


def test_masks_do_not_outlive_their_positions() -> None:
    kv = KeyValues(1, 10)
    kv.at(0, 2)
    kv.mask(None, 1, torch.device("cpu"))
    kv.at(3, 5)
    assert rows(kv, None) == [[0, 1, 2, 3], [0, 1, 2, 3, 4]]


def test_writing_keeps_what_lies_before() -> None:
    kv = KeyValues(2, 6)
    assert kv.nbytes == 0
    ones = torch.ones(1, 2, 3, 4)
    kv.at(0, 3)
    kv.write(1, ones, 2 * ones)
    kv.at(2, 4)
    keys, values = kv.write(1, 5 * ones[:, :, :2], 6 * ones[:, :, :2, :1].expand(1, 2, 2, 4))
    assert keys[0, 0, :, 0].tolist() == [1, 1, 5, 5, 0, 0]
    assert values[0, 1, :, 3].tolist() == [2, 2, 6, 6, 0, 0]
    assert kv.keys[0] is None  # a layer that wrote nothing holds nothing
    assert kv.nbytes == 2 * 2 * 6 * 4 * 4


class _Layer(torch.nn.Module):
    layer_idx = 0


@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("sinks", [False, True])
@pytest.mark.parametrize("window", [None, 3, WINDOW])
@pytest.mark.parametrize(("start", "n"), [(0, 1), (0, 6), (0, 12), (5, 1), (5, 4), (11, 2)])
def test_attention_is_what_its_definition_says(
    start: int, n: int, window: int | None, sinks: bool, softcap: float | None
) -> None:
    """Grouped queries, capped scores, a sink per head, and rubbish in later slots."""
    heads, kv_heads, width = 4, 2, 8
    generator = torch.Generator().manual_seed(start * 100 + n)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    kv = KeyValues(1, 16)
    keys, values = draw(1, kv_heads, 16, width), draw(1, kv_heads, 16, width)
    kv.keys[0], kv.values[0] = keys.clone(), values.clone()
    query, new_keys, new_values = (
        draw(1, heads, n, width),
        draw(1, kv_heads, n, width),
        draw(1, kv_heads, n, width),
    )
    sink = draw(heads) if sinks else None
    keys[:, :, start : start + n], values[:, :, start : start + n] = new_keys, new_values
    kv.at(start, start + n)
    got, _ = attend(
        kv,
        _Layer(),
        query,
        new_keys,
        new_values,
        None,
        scaling=0.3,
        sliding_window=window,
        softcap=softcap,
        s_aux=sink,
    )

    assert got.shape == (1, n, heads, width)
    for head in range(heads):
        shared = head // (heads // kv_heads)
        for i in range(n):
            at = start + i
            slots = [s for s in range(at + 1) if not window or s > at - window]
            scores = 0.3 * (keys[0, shared, slots] @ query[0, head, i])
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            if sink is not None:
                scores = torch.cat([scores, sink[head, None]])
            weights = torch.softmax(scores, 0)[: len(slots)]
            assert torch.allclose(got[0, i, head], weights @ values[0, shared, slots])


@pytest.mark.parametrize("graphs", ["eager", "static"])
def test_another_attention_of_the_model_counts_from_the_next_text_on(graphs: str) -> None:
    """SDPA leaves the soft cap of Gemma 2 out, eager attention does not."""
    config = Gemma2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        attn_logit_softcapping=0.3,
        query_pre_attn_scalar=1,
        initializer_range=1.0,
    )
    model = Gemma2ForCausalLM._from_config(config, attn_implementation="sdpa").eval()
    parts = AdaDecoder(model, graphs=graphs).parts
    tokens, logits = random_prompt(8) % 64, []
    for attention in ("sdpa", "eager", "sdpa"):
        model.set_attn_implementation(attention)
        with torch.inference_mode():
            own = model(tokens).logits
            parts.allocate(8)
        with parts.session():
            hidden = [parts.embed(tokens[:, :5], 0), parts.embed(tokens[:, 5:], 5)]
            run = [parts.run(0, 2, one, start) for one, start in zip(hidden, (0, 5), strict=True)]
            got = parts.logits(torch.cat(run, 1))
        assert torch.allclose(got, own, atol=1e-4), attention
        logits.append(own)
    assert not torch.allclose(logits[0], logits[1], atol=0.1)


def test_a_session_follows_the_streams_of_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers of a model on several GPUs lie on each."""

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            waits.append((self.name, other.name))

    waits: list[tuple[str, str]] = []
    parts = SegmentedModel(tiny_model("llama"))
    parts.devices = (torch.device("cpu"), torch.device("cuda:0"), torch.device("cuda:1"))
    for thread in ("first", "second"):
        streams = {device: Stream(f"{thread} {device}") for device in parts.devices}
        monkeypatch.setattr(torch.cuda, "current_stream", streams.__getitem__)
        for _ in range(2):
            with parts.session():
                pass
    assert waits == [(f"second {at}", f"first {at}") for at in ("cuda:0", "cuda:1")]
