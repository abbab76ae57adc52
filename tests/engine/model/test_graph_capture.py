"""The bookkeeping of captures, with a stand-in for CUDA: what is made and when it goes."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

import pytest
import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampler, Sampling
from adadecode.engine.decoding.sequence import gate_score, greedy_draft
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.engine.model.cuda_graphs import CapturedModel
from adadecode.engine.model.graph_capture import capture
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.engine.profiling.latency_walks import host_seconds, walk
from adadecode.engine.runtime.timer import Clock
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Check, Gate, Run, Verify
from tests.support.cuda_stand_in import PIECE, Device, stand_in
from tests.support.models import N_LAYERS, greedy_text, random_prompt, tiny_model

DESIGNS: list[dict[str, Any]] = [{"policy": "vanilla"}, {"gamma": 0.0, "placement": (2, 4)}]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    return stand_in(monkeypatch)


def captured_decoder(**config: Any) -> tuple[AdaDecoder, CapturedModel]:
    model = tiny_model("llama", **config)
    decoder = AdaDecoder(model, ExitHeads.identity(model, range(1, N_LAYERS)))
    parts = CapturedModel(model, compiling=False)
    decoder.parts = parts
    return decoder, parts


def held(parts: CapturedModel) -> Counter[str]:
    """Graphs by what they are of, whoever owns them."""
    keys = [key for group in parts._groups.values() for key in group.held]
    return Counter(str(key[0]) if isinstance(key[0], str) else "segment" for key in keys)  # type: ignore[index]


# ---- captures ----


def test_the_text_is_the_models_own_and_each_graph_is_captured_once(device: Device) -> None:
    """It is replayed at other positions than it was captured at, and after rollbacks.

    A second text captures nothing.
    """
    decoder, parts = captured_decoder()
    prompt = random_prompt(13)
    text = greedy_text(parts.model, prompt, 14)
    for design in DESIGNS:
        assert decoder.generate(prompt, 14, eos_token_id=(), **design).tokens == text
    assert len(device.graphs) == held(parts).total() > 0
    for design in DESIGNS:
        assert decoder.generate(prompt, 14, eos_token_id=(), **design).tokens == text
    assert len(device.graphs) == held(parts).total()
    assert parts.fallbacks == []


def test_one_stream_captures_all_and_the_pools_are_counted(device: Device) -> None:
    """They count what they grew by within captures. Buffers, model and heads have one each."""
    decoder, parts = captured_decoder()
    decoder.generate(random_prompt(13), 4, gamma=0.0, placement=(2,), eos_token_id=())
    assert len(device.streams) == 1
    assert len(device.used) == len(device.graphs) > 1
    assert parts.graphs_bytes == PIECE * len(device.graphs)
    assert len(device.pools) == len(parts._groups) == 3


def test_a_capture_that_fails_on_its_way_falls_back_with_a_message(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer breaks in the third capture: earlier graphs are replayed, the rest runs."""
    decoder, parts = captured_decoder()
    prompt = random_prompt(7)
    text = greedy_text(parts.model, prompt, 8)
    layer = StaticModel.layer

    def breaking(self: StaticModel, index: int, hidden: torch.Tensor, step: Any) -> torch.Tensor:
        if device.open is not None and len(device.graphs) == 3 and index == 2:
            raise torch.OutOfMemoryError("no room for the graph")
        return layer(self, index, hidden, step)

    monkeypatch.setattr(StaticModel, "layer", breaking)
    with pytest.warns(UserWarning, match="could not be captured as a CUDA graph .*no room"):
        assert decoder.generate(prompt, 8, policy="vanilla", eos_token_id=()).tokens == text
    assert held(parts) == {"logits": 1, "segment": 1}
    assert parts.graphs_bytes == 2 * PIECE
    assert parts.timing == "host clock"
    monkeypatch.undo()
    assert decoder.generate(prompt, 8, policy="vanilla", eos_token_id=()).tokens == text


def test_all_that_runs_need_is_prepared(device: Device) -> None:
    """Greedy and sampled: a run captures nothing."""
    decoder, parts = captured_decoder()
    prompt = random_prompt(13)
    with torch.inference_mode():
        parts.allocate(27)
        parts.logits(torch.zeros((1, 1, parts.hidden_size), dtype=parts.dtype))  # of the prompt
    for sampled in (False, True):
        decoder.prepare([Design.of(gamma=0.0, placement=(2, 4))], 27, sampled=sampled)
        captures = len(device.graphs)
        decoder.generate(
            prompt,
            14,
            gamma=0.0,
            placement=(2, 4),
            eos_token_id=(),
            **({"temperature": 0.7, "seed": 1} if sampled else {}),
        )
        assert len(device.graphs) == captures


def test_a_graphs_workspaces_are_its_own(device: Device) -> None:
    """Those of the warm-up are gone before it is captured, and its own are nobody else's after."""
    pool = device.pool()
    capture(lambda x: x @ x, torch.ones(3, 3), pool=pool, side=device)
    assert device.cleared == ["1 graphs, 0 captures", "1 graphs, 1 captures"]


def test_a_broken_capture_says_why_and_its_pool_is_left(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what its end says; what is captured from then on gets memory of its own."""
    decoder, parts = captured_decoder()
    device.breaking = True
    monkeypatch.setattr(SegmentedModel, "unembed", _refusing_within(device))
    prompt = random_prompt(7)
    with pytest.warns(
        UserWarning,
        match="could not be captured as a CUDA graph .*RuntimeError: no logits in a graph",
    ):
        decoder.generate(prompt, 8, policy="vanilla", eos_token_id=())
    pools = {id(owner): group.pool for owner, group in parts._groups.items()}
    assert len(device.pools) == len(set(pools.values())) + 1


def _refusing_within(device: Device) -> Any:
    unembed = SegmentedModel.unembed

    def refusing(self: SegmentedModel, normed: torch.Tensor) -> torch.Tensor:
        if device.open is not None:
            raise RuntimeError("no logits in a graph")
        return unembed(self, normed)

    return refusing


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x * torch.tensor([2.0]),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.masked_select(x, x > 0),
        lambda x: x.unique(),
        lambda x: x * x.sum().item(),
        lambda x: x * x.tolist()[0],
        lambda x: x.cpu(),
        lambda x: torch.from_numpy(x.numpy()),
    ],
)
def test_the_stand_in_refuses_what_a_capture_refuses(device: Device, work: Any) -> None:
    """Copies from the host, reads, and outputs whose size the data decide."""
    with pytest.raises(RuntimeError, match="not permitted when stream is capturing"):
        capture(work, torch.ones(3), pool=device.pool(), side=device)
    work(torch.ones(3))


def test_a_token_is_embedded_without_a_copy_from_the_host(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which would wait for the device; nor is the number that a draft is drawn by copied."""
    decoder, parts = captured_decoder()
    decoding = decoder.start(
        random_prompt(9), Design.of(gamma=0.0, placement=(2,)), max_new_tokens=9, eos_token_id=()
    )
    monkeypatch.setattr(torch, "tensor", lambda *_, **__: pytest.fail("copied"))
    with parts.session():
        for _ in decoding.steps():
            pass
    Sampler(Sampling(seed=1)).draft(torch.ones(97), 3)


# ---- heads and verification ----


def test_a_check_and_a_verification_are_one_graph_and_one_wait_each(device: Device) -> None:
    decoder, parts = captured_decoder()
    prompt = random_prompt(13)
    design = Design.of(gamma=0.0, placement=(2, 4))
    decoder.generate(prompt, 14, gamma=0.0, placement=(2, 4), eos_token_id=())
    assert held(parts)["the draft at depth 2"] == 1
    assert held(parts)["the verified tokens"] > 0
    assert held(parts)["normed"] == held(parts)["unembed"] == 0
    decoding = decoder.start(prompt, design, max_new_tokens=14, eos_token_id=())
    device.waits = 0
    with parts.session():
        works = list(decoding.steps())
    assert device.waits == sum(isinstance(work, (Check, Verify)) for work in works)


def test_a_gate_is_one_graph_and_one_wait_and_scores_as_it_does_eagerly(device: Device) -> None:
    """Prepared before: a run captures nothing."""
    decoder, parts = captured_decoder()
    decoder.heads = decoder.heads.gated(
        parts.model, Gates.random(decoder.heads.depths, parts.hidden_size)
    )
    prompt, design = random_prompt(13), Design.of(gamma=0.0, placement=(2, 4), gate=0.5)
    text = greedy_text(parts.model, prompt, 14)
    with torch.inference_mode():
        parts.allocate(27)
        parts.logits(torch.zeros((1, 1, parts.hidden_size), dtype=parts.dtype))  # of the prompt
    decoder.prepare([design], 27)
    captures = len(device.graphs)
    decoding = decoder.start(prompt, design, max_new_tokens=14, eos_token_id=())
    device.waits = 0
    with parts.session():
        works = list(decoding.steps())
    assert decoding.schedule.tokens == text
    assert len(device.graphs) == captures
    assert held(parts)["the gate at depth 2"] == held(parts)["the gate at depth 4"] == 1
    assert sum(isinstance(work, Gate) for work in works) > 0
    assert device.waits == sum(isinstance(work, (Gate, Check, Verify)) for work in works)
    plain = AdaDecoder(parts.model, decoder.heads)
    hidden = torch.randn((1, 2, parts.hidden_size), dtype=parts.dtype)
    with parts.session():
        score = gate_score(parts, decoder.heads, 2, hidden)
    assert score == gate_score(plain.parts, decoder.heads, 2, hidden)


@pytest.mark.parametrize("form", [{}, {"shortlist": 20}, {"shortlist": 20, "dtype": "int8"}])
@pytest.mark.filterwarnings("ignore:no int8 heads")
def test_a_captured_head_says_what_it_says_eagerly(device: Device, form: dict[str, Any]) -> None:
    """Of every form, at hidden states it was not captured with."""
    decoder, parts = captured_decoder()
    model = parts.model
    generator = torch.Generator().manual_seed(3)
    matrix = (
        torch.eye(parts.hidden_size, dtype=torch.float64)
        + 0.1 * torch.randn((parts.hidden_size,) * 2, generator=generator).double()
    )
    decoder.heads = ExitHeads(model, {2: matrix}, frequent=range(30)).shaped(model, **form)
    plain = AdaDecoder(model, decoder.heads)
    with parts.session():
        for seed in range(3):
            hidden = torch.randn(
                (1, 2, parts.hidden_size), generator=torch.Generator().manual_seed(seed)
            ).to(parts.dtype)
            draft = greedy_draft(parts, decoder.heads, 2, hidden)
            assert draft == greedy_draft(plain.parts, decoder.heads, 2, hidden)
    assert held(parts) == {"the draft at depth 2": 1}


def test_a_head_that_cannot_be_captured_whole_runs_in_parts(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its norm and LM head in graphs, and segments as before; told once."""
    decoder, parts = captured_decoder()
    prompt = random_prompt(9)
    text = greedy_text(parts.model, prompt, 8)
    apply = ExitHeads.apply

    def breaking(self: ExitHeads, depth: int, normed: torch.Tensor) -> torch.Tensor:
        if device.open is not None:
            raise RuntimeError("no such kernel in a graph")
        return apply(self, depth, normed)

    monkeypatch.setattr(ExitHeads, "apply", breaking)
    with pytest.warns(
        UserWarning, match="the draft at depth 2 of .* could not be captured .*no such kernel"
    ):
        assert (
            decoder.generate(prompt, 8, gamma=0.0, placement=(2,), eos_token_id=()).tokens == text
        )
    assert decoder.generate(prompt, 8, gamma=0.0, placement=(2,), eos_token_id=()).tokens == text
    assert parts.capturing
    assert len(parts.fallbacks) == 1
    assert held(parts)["normed"] == held(parts)["unembed"] == 1
    assert held(parts)["segment"] > 4


def test_the_lowest_of_equal_tokens_is_taken(device: Device) -> None:
    """By heads and by the last layer, captured and not."""
    decoder, parts = captured_decoder()
    with torch.no_grad():
        parts.lm_head.weight[:] = 0
    for _ in range(2):
        assert (
            decoder.generate(random_prompt(5), 6, gamma=0.0, placement=(2,), eos_token_id=()).tokens
            == [0] * 6
        )
        parts.capturing = False


def test_sampled_texts_are_those_of_the_eager_model(device: Device) -> None:
    decoder, parts = captured_decoder()
    eager = AdaDecoder(parts.model, decoder.heads)
    texts = [
        each.generate(
            random_prompt(9),
            12,
            gamma=0.3,
            placement=(2, 4),
            eos_token_id=(),
            temperature=0.8,
            seed=5,
        ).tokens
        for each in (decoder, eager)
    ]
    assert texts[0] == texts[1]
    assert held(parts)["logits"] > 0
    assert held(parts)["the verified tokens"] == 0


def test_graphs_of_heads_go_with_them(device: Device) -> None:
    decoder, parts = captured_decoder()
    decoder.generate(random_prompt(5), 6, gamma=0.0, placement=(2,), eos_token_id=())
    before = parts.graphs_bytes
    decoder.heads = ExitHeads.identity(parts.model, (3,))
    gc.collect()
    assert parts.graphs_bytes == before - PIECE


# ---- graphs with events ----


def ready(parts: CapturedModel) -> torch.Tensor:
    """Room, and hidden states of one token."""
    with torch.inference_mode():
        parts.allocate(16)
        return parts.embed(random_prompt(1), 5)


def test_marks_within_replays_come_in_order_and_none_is_lost(device: Device) -> None:
    """Two laps of three layers, at moments k * k of the stand-in.

    The marks are 1 and 2 to 5, which are read from 6 to 7, then 8 to 11, and 12.
    """
    _, parts = captured_decoder()
    hidden = ready(parts)
    with parts.session():
        parts.run(0, 3, hidden, 5, Clock(torch.device("cuda")))  # the capture
        device.moments = 0
        clock = Clock(torch.device("cuda"))
        parts._groups[parts.kv].held["timed", 0, 3, 1, 64 * 2].clock = None  # type: ignore[attr-defined]
        clock.mark()
        for _ in range(2):
            parts.run(0, 3, hidden, 5, clock)
        clock.mark()
    assert clock.intervals() == [3, 5, 7, 9, 11 + 15, 17, 19, 21, 23]
    assert clock.intervals() == []
    assert held(parts) == {"timed": 1}
    assert parts.timing == "events in graphs"


def test_another_clocks_marks_are_read_before_they_are_overwritten(device: Device) -> None:
    _, parts = captured_decoder()
    hidden = ready(parts)
    clocks = [Clock(torch.device("cuda")) for _ in range(3)]
    with parts.session():
        for clock in clocks:
            parts.run(0, 3, hidden, 5, clock)
    found = [clock.intervals() for clock in clocks]
    assert [len(each) for each in found] == [3, 3, 3]
    assert found[0] < found[1] < found[2]


@pytest.mark.parametrize("fault", ["refused", "unknown"])
def test_where_graphs_take_no_events_layers_are_timed_between_graphs(
    device: Device, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """As many intervals; told once; all else is captured as before."""
    _, parts = captured_decoder()
    hidden = ready(parts)
    if fault == "refused":
        device.refusing = True
    else:
        monkeypatch.setattr(
            torch.cuda, "Event", lambda enable_timing: device.event(enable_timing=enable_timing)
        )
    clock = Clock(torch.device("cuda"))
    with parts.session():
        with pytest.warns(
            UserWarning,
            match=(
                "layers 0 to 3, with events, of .* could not be captured as a CUDA graph .*: "
                "from here on layers are timed"
            ),
        ):
            first = parts.run(0, 3, hidden, 5, clock)
        again = parts.run(0, 3, hidden, 5, clock)
    assert torch.equal(first, again)
    assert len(clock.intervals()) == 3 + 1 + 3
    assert held(parts) == {"segment": 3}
    assert parts.capturing
    assert len(parts.fallbacks) == 1
    assert parts.timing == "host clock"


def test_an_instrumented_text_is_the_same(device: Device) -> None:
    """And graphs with events are captured for it alone: as many marks as eagerly."""
    decoder, parts = captured_decoder()
    prompt = random_prompt(13)
    counts = []
    for each, place in ((decoder, "cuda"), (AdaDecoder(parts.model, decoder.heads), "cpu")):
        plain = each.generate(prompt, 14, gamma=0.3, placement=(2, 4), eos_token_id=()).tokens
        assert held(parts)["timed"] == 0 or each is not decoder
        decoding = each.start(
            prompt, Design.of(gamma=0.3, placement=(2, 4)), max_new_tokens=14, eos_token_id=()
        )
        decoding.clock = Clock(torch.device(place))
        with each.parts.session():
            works = list(decoding.steps())
        assert decoding.schedule.tokens == plain
        runs = [work for work in works if isinstance(work, Run)]
        layers = sum(
            decoding.bounds[run.segment + 1] - decoding.bounds[run.segment] for run in runs
        )
        counts.append(len(decoding.clock.intervals()))
        assert counts[-1] == layers + len(runs) - 1
    assert counts[0] == counts[1]
    assert held(parts)["timed"] > 0
    assert parts.graphs_bytes == PIECE * len(device.graphs)


@pytest.mark.parametrize(
    ("depth", "n_tokens", "kinds"),
    [(4, 1, {"layer": 4, "head": 1}), (6, 3, {"layer": 6, "embed": 1, "verify": 1})],
)
def test_walks_are_timed_in_graphs(
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    depth: int,
    n_tokens: int,
    kinds: dict[str, int],
) -> None:
    """As many samples as on a CPU; later laps are later, for nothing is read twice."""
    monkeypatch.setattr(
        "adadecode.engine.profiling.latency_walks.Clock",
        lambda _device: Clock(torch.device("cuda")),
    )
    decoder, parts = captured_decoder()
    ready(parts)
    with parts.session():
        rows = list(walk(decoder, depth, (5, 6, 7)[:n_tokens], 9, 3, 17))
        assert host_seconds(decoder, 4, context=1, rounds=1) > 0
    assert Counter(row["kind"] for row in rows) == {
        kind: 3 * count for kind, count in kinds.items()
    }
    layers = [row["seconds"] for row in rows if row["kind"] == "layer"]
    assert layers == sorted(set(layers))


def test_host_time_holds_no_capture(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text was decoded once before: the deferred segment has its graph of all drafts then."""
    before: list[int] = []

    def clock(_device: torch.device) -> Clock:
        before.append(len(device.graphs))
        return Clock(torch.device("cuda"))

    monkeypatch.setattr("adadecode.engine.profiling.latency_walks.Clock", clock)
    decoder, parts = captured_decoder()
    ready(parts)
    with parts.session():
        host_seconds(decoder, 4, context=1, rounds=2)
    assert len(before) == 2
    assert before[0] < before[1] == len(device.graphs)
    assert ("timed", 4, N_LAYERS, 8, 128) in parts._groups[parts.kv].held


# ---- rooms ----


def stream(decoder: AdaDecoder, length: int = 9, new: int = 6) -> Any:
    return decoder.stream(random_prompt(length), new, policy="vanilla", eos_token_id=())


def test_a_stream_that_ended_leaves_its_graphs_to_the_next(device: Device) -> None:
    """Whether it came to its end or was closed."""
    decoder, parts = captured_decoder()
    text = greedy_text(parts.model, random_prompt(9), 6)
    assert list(stream(decoder)) == text
    captures = len(device.graphs)
    begun = stream(decoder)
    assert next(begun) == text[0]
    begun.close()
    assert list(stream(decoder)) == text
    assert decoder.generate(random_prompt(9), 6, policy="vanilla", eos_token_id=()).tokens == text
    assert len(device.graphs) == captures


def test_two_streams_at_once_have_graphs_of_their_own(device: Device) -> None:
    """The next two streams have them too."""
    decoder, parts = captured_decoder()
    text = greedy_text(parts.model, random_prompt(9), 6)
    captures = []
    for _ in range(2):
        assert list(zip(stream(decoder), stream(decoder), strict=True)) == list(
            zip(text, text, strict=True)
        )
        captures.append(held(parts)["segment"])
    assert captures == [8, 8]  # four numbers of rows each


def test_a_room_is_seldom_outgrown_and_then_takes_its_graphs_along(device: Device) -> None:
    decoder, parts = captured_decoder(max_position_embeddings=2048)
    decoder.generate(random_prompt(9), 6, policy="vanilla", eos_token_id=())
    assert parts.kv.capacity == 257
    small = parts.graphs_bytes
    assert held(parts)["segment"] == 4
    decoder.generate(random_prompt(250), 20, policy="vanilla", eos_token_id=())
    gc.collect()
    assert parts.kv.capacity == 513
    assert (
        held(parts)["segment"] == 4 + 4
    )  # in the buckets of 256 and 512 slots, all of the new room
    assert parts.graphs_bytes == small + 4 * PIECE


@pytest.mark.parametrize(
    ("limit", "wanted", "capacity"),
    [(2048, 20, 257), (2048, 257, 513), (128, 100, 127), (128, 128, 129), (9000, 4097, 6145)],
)
def test_a_room_is_as_large_as_the_model_allows(
    device: Device, limit: int, wanted: int, capacity: int
) -> None:
    """Powers of two, and multiples of 2048 from there on; below what changes the model."""
    _, parts = captured_decoder(max_position_embeddings=limit)
    assert parts.capacity_for(wanted) == capacity
