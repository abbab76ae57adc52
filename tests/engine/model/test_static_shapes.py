"""Segments in static shapes give the model's own text; what cannot be compiled falls back.

This holds whatever is padded, rolled back, or at the end of a buffer.
"""

from __future__ import annotations

import shutil
import warnings
from typing import Any

import pytest
import torch

import adadecode.engine.model.static_shapes
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.cuda_graphs import CompiledModel, take_apart_static
from adadecode.engine.model.inductor import why_uncompilable
from adadecode.engine.model.padding import SIZES, SPARE, bucket_of, size_of
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.model.static_shapes import StaticModel
from adadecode.engine.model.tracing import trace
from adadecode.engine.runtime.timer import Clock
from adadecode.profiles.errors import InputError
from tests.support.models import (
    ARCHITECTURES,
    N_LAYERS,
    architectures,
    greedy_text,
    random_heads,
    random_prompt,
    tiny_model,
)
from tests.support.quick import quick_or_slow

ALL = tuple(range(1, N_LAYERS))
N_TOKENS = 14
DESIGNS: list[dict[str, Any]] = [
    {"policy": "vanilla"},
    {"gamma": 0.0, "placement": (2, 5)},
    {"gamma": 0.0, "cap": 9, "placement": (1, 3)},
    {"policy": "fixed", "placement": (4,), "cap": 3},
]
needs_compiler = pytest.mark.skipif(
    why_uncompilable(torch.device("cpu")) is not None,
    reason=f"needs a C++ compiler: {why_uncompilable(torch.device('cpu'))}",
)


@pytest.mark.parametrize("architecture", architectures())
@pytest.mark.filterwarnings("ignore:batches of more than 8 tokens")
def test_the_text_is_the_models_own(architecture: str) -> None:
    """Heads are often right or nearly always wrong; the last token is in the last slot."""
    model = tiny_model(architecture)
    prompt = random_prompt(13)
    text = greedy_text(model, prompt, N_TOKENS)
    parts = StaticModel(model)
    assert not parts.fallbacks
    for heads in (ExitHeads.identity(model, ALL), random_heads(model)):
        decoder = AdaDecoder(model, heads)
        decoder.parts = parts
        for design in DESIGNS:
            assert decoder.generate(prompt, N_TOKENS, eos_token_id=(), **design).tokens == text, (
                design
            )


def test_batches_beyond_the_largest_are_told_once(recwarn: pytest.WarningsRecorder) -> None:
    """They run eagerly; prompts do so too, and nobody need know."""
    warnings.simplefilter("always")
    model = tiny_model("llama")
    decoder = AdaDecoder(model, ExitHeads.identity(model, ALL), graphs="static")
    for cap, warned in ((7, 0), (8, 1), (12, 1)):
        decoder.generate(random_prompt(13), 30, gamma=0.0, cap=cap, placement=(1,), eos_token_id=())
        assert len(decoder.parts.fallbacks) == len(recwarn) == warned
    assert "more than 8 tokens of Llama" in decoder.parts.fallbacks[0]


def test_a_mask_is_made_once_a_pass_in_the_format_of_the_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not by every layer: what attention is given needs no conversion."""
    model = tiny_model("mistral", torch.bfloat16)
    parts = StaticModel(model)
    masks = []
    attend = adadecode.engine.model.static_shapes.attend_packed
    monkeypatch.setattr(
        adadecode.engine.model.static_shapes,
        "attend_packed",
        lambda q, k, v, mask, *rest: masks.append(mask) or attend(q, k, v, mask, *rest),
    )
    with torch.inference_mode():
        parts.allocate(15)
    with parts.session():
        parts.run(0, N_LAYERS, parts.embed(random_prompt(2), 6), 6)
    assert len(masks) == N_LAYERS
    assert len(set(map(id, masks))) == 1
    assert masks[0].dtype == torch.bfloat16
    seen = torch.arange(masks[0].shape[1])[None] <= torch.tensor([[6], [7]])
    seen &= torch.arange(masks[0].shape[1])[None] > torch.tensor([[6], [7]]) - (
        parts.windows[0] or 99
    )
    assert torch.equal(masks[0][:2] == 0, seen)
    assert masks[0][:2][~seen].eq(-torch.inf).all()


@pytest.fixture(scope="module")
def pair() -> tuple[SegmentedModel, StaticModel]:
    """The same model, eager and in static shapes, with a prompt of 6 computed in room for 15."""
    model = tiny_model("mistral")
    parts = SegmentedModel(model), StaticModel(model)
    for each in parts:
        with torch.inference_mode():
            each.allocate(15)
        with each.session():
            each.run(0, N_LAYERS, each.embed(random_prompt(6), 0), 0)
    return parts


@pytest.mark.parametrize("n", range(1, 9))
def test_padded_rows_change_nothing(pair: tuple[SegmentedModel, StaticModel], n: int) -> None:
    """Hidden states of n tokens, and of the one that follows after a rollback of all but one."""
    last = pair[0].kv.capacity
    tokens = random_prompt(8)[:, :n]
    for start in (6, last - n):
        found = []
        for parts in pair:
            with parts.session():
                parts.run(0, N_LAYERS, parts.embed(random_prompt(last - 1, seed=1), 0), 0)
                together = parts.run(0, N_LAYERS, parts.embed(tokens, start), start)
                after = (
                    parts.run(0, N_LAYERS, parts.embed(tokens[:, :1], start + 1), start + 1)
                    if n > 1
                    else together
                )
                found.append(torch.cat([together, after], 1))
        assert found[1].shape == (1, n + after.shape[1], pair[0].hidden_size)
        assert torch.allclose(found[0], found[1], rtol=1e-10, atol=1e-10)


def test_padding_writes_into_spare_slots_at_the_end_of_the_buffers(
    pair: tuple[SegmentedModel, StaticModel],
) -> None:
    """And a bucket's length is always one that kernels need no copy of the mask for."""
    parts = pair[1]
    assert parts.kv.slots >= parts.kv.capacity + SPARE
    assert parts.kv.slots % 64 == 0
    assert all(keys is not None and keys.shape[2] == parts.kv.slots for keys in parts.kv.keys)


@pytest.mark.parametrize("longest", [20, 126, 128, 129, 200])
def test_all_that_a_text_needs_is_prepared(longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number of rows at every bucket, those of padding rows that lie beyond it included."""
    monkeypatch.setattr(StaticModel, "doubling", True)
    parts = StaticModel(tiny_model("llama", torch.float32))
    with torch.inference_mode():
        parts.allocate(longest)
    seen = set()
    monkeypatch.setattr(
        StaticModel,
        "run_padded",
        lambda self, first, last, hidden, start, clock: seen.add(shape(hidden, start)) or hidden,
    )

    def shape(hidden: torch.Tensor, start: int) -> tuple[int, int]:
        size = hidden.shape[1]
        return size, bucket_of(start + size, parts.kv.slots, doubling=True)

    followed = set()
    parts.prepare(
        [(0, 3), (3, N_LAYERS)],
        longest,
        lambda depth, hidden: followed.add((depth, hidden.shape[1])),
    )
    needed = {
        (size_of(n), bucket_of(start + size_of(n), parts.kv.slots, doubling=True))
        for n in range(1, 9)
        for start in range(1, longest - n + 1)
    }
    assert seen == needed
    assert followed == {(depth, size) for depth in (3, N_LAYERS) for size in SIZES}


def test_marks_stand_around_every_layer(pair: tuple[SegmentedModel, StaticModel]) -> None:
    parts, clock = pair[1], Clock(torch.device("cpu"))
    with parts.session():
        parts.run(1, 4, parts.embed(random_prompt(3), 6), 6, clock)
    assert len(clock.intervals()) == 3


def test_sizes_are_the_next_power_of_two() -> None:
    assert [size_of(n) for n in range(1, 9)] == [1, 2, 4, 4, 8, 8, 8, 8]
    assert SIZES[-1] - 1 == SPARE


@pytest.mark.parametrize(
    ("stop", "slots", "doubling", "bucket"),
    [
        (1, 1000, False, 64),
        (64, 1000, False, 64),
        (65, 1000, False, 128),
        (65, 100, False, 100),
        (1, 1000, True, 128),
        (128, 1000, True, 128),
        (129, 1000, True, 256),
        (600, 1000, True, 1000),
    ],
)
def test_a_bucket_holds_what_is_needed(stop: int, slots: int, doubling: bool, bucket: int) -> None:
    assert bucket_of(stop, slots, doubling=doubling) == bucket


def test_two_streams_keep_buffers_of_their_own() -> None:
    model = tiny_model("llama")
    decoder = AdaDecoder(model, graphs="static")
    prompts = random_prompt(5), random_prompt(9)
    texts = [greedy_text(model, prompt, 8) for prompt in prompts]
    streams = [decoder.stream(prompt, 8, policy="vanilla", eos_token_id=()) for prompt in prompts]
    assert [list(pairs) for pairs in zip(*zip(*streams, strict=True), strict=True)] == texts


@pytest.mark.parametrize("graphs", ["fast", "", "Static"])
def test_an_unknown_mode_is_an_input_error(graphs: str) -> None:
    with pytest.raises(InputError, match="wanted graphs as one of eager, static, compile, cuda"):
        AdaDecoder(tiny_model("llama"), graphs=graphs)


def test_cuda_graphs_of_a_model_on_the_cpu_are_an_input_error() -> None:
    with pytest.raises(InputError, match="this model is on the cpu"):
        take_apart_static(tiny_model("llama"), "cuda")


def test_canonical_numerics_have_no_graphs() -> None:
    with pytest.raises(InputError, match="canonical numerics"):
        AdaDecoder(tiny_model("llama"), numerics="canonical", graphs="static")


# ---- compiled ----


def test_without_a_compiler_it_says_so_and_decodes_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "adadecode.engine.model.cuda_graphs.why_uncompilable",
        lambda device: "no C++ compiler was found: install g++",
    )
    model, prompt = tiny_model("llama"), random_prompt(5)
    text = greedy_text(model, prompt, 6)
    with pytest.warns(UserWarning, match=r"nothing is compiled: no C\+\+ compiler"):
        decoder = AdaDecoder(model, graphs="compile")
    assert decoder.generate(prompt, 6, policy="vanilla", eos_token_id=()).tokens == text


def test_a_missing_compiler_is_noticed() -> None:
    from torch._inductor import config

    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        why = why_uncompilable(torch.device("cpu"))
    assert why is not None
    assert "install g++" in why
    assert shutil.which("no-such-compiler") is None


@pytest.mark.parametrize(
    "fault",
    ["adadecode.engine.model.inductor.trace", "adadecode.engine.model.inductor.compile_trace"],
)
def test_what_fails_to_compile_runs_as_it_is(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr("adadecode.engine.model.cuda_graphs.why_uncompilable", lambda device: None)
    monkeypatch.setattr(fault, fail)
    model, prompt = tiny_model("llama", num_hidden_layers=2), random_prompt(5)
    text = greedy_text(model, prompt, 6)
    decoder = AdaDecoder(model, graphs="compile")
    with pytest.warns(UserWarning, match="it broke"):
        got = decoder.generate(prompt, 6, policy="vanilla", eos_token_id=())
    assert got.tokens == text
    assert isinstance(decoder.parts, CompiledModel)
    assert len(decoder.parts.fallbacks) == 2, "one for the layers, one for the logits"


@needs_compiler
def test_experts_chosen_by_token_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The router's choice decides what is computed: no trace holds that."""
    model, prompt = tiny_model("mixtral", torch.float32), random_prompt(5)
    monkeypatch.setattr(
        "adadecode.engine.model.inductor.compile_trace",
        lambda graph, examples: pytest.fail("an expert layer was traced"),
    )
    parts = CompiledModel(model)
    assert parts.compiler is not None
    parts.compiler._tails.clear()  # only layers here
    with torch.inference_mode():
        parts.allocate(16)
    with parts.session(), pytest.warns(UserWarning, match="a layer of Mixtral.* was not compiled"):
        parts.run(0, 1, parts.embed(prompt[:, :1], 3), 3)


@needs_compiler
def test_compiled_layers_give_the_same_text_and_are_made_once_for_all_layers() -> None:
    """Three layers, one row: a function for the layers, one for the logits, whatever the length."""
    model = tiny_model("llama", torch.float64, num_hidden_layers=3)
    texts = {n: greedy_text(model, random_prompt(n), 8) for n in (5, 80)}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # inductor's own imports
        decoder = AdaDecoder(model, graphs="compile")
        for n, text in texts.items():
            assert (
                decoder.generate(random_prompt(n), 8, policy="vanilla", eos_token_id=()).tokens
                == text
            )
    assert isinstance(decoder.parts, CompiledModel)
    assert decoder.parts.fallbacks == []
    assert decoder.parts.compiler is not None
    assert decoder.parts.compiler.variants == 2
    assert decoder.parts.compiler.seconds > 0


@needs_compiler
@pytest.mark.parametrize("rows", [quick_or_slow(rows, quick=(4,)) for rows in (1, 2, 4, 8)])
def test_compiled_bf16_rounds_no_worse_than_the_model_itself(rows: int) -> None:
    """Its logits are as far from the same weights in FP64 as the uncompiled model's.

    At most half as far again, that is, in passes of one to eight rows.
    """
    model, prompt = tiny_model("llama", torch.bfloat16), random_prompt(40)
    exact = _logits(StaticModel(tiny_model("llama", torch.bfloat16).double()), prompt, rows)
    own = _logits(StaticModel(model), prompt, rows)
    compiled = CompiledModel(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # inductor's own imports
        ours = _logits(compiled, prompt, rows)
    assert (ours - exact).pow(2).mean() <= 1.5**2 * (own - exact).pow(2).mean()
    assert compiled.fallbacks == []


def _logits(parts: SegmentedModel, prompt: torch.Tensor, rows: int) -> torch.Tensor:
    """Of the prompt's later tokens, in passes of so many rows (n, V)."""
    with torch.inference_mode():
        parts.allocate(prompt.shape[1])
    found = []
    with parts.session():
        parts.run(0, parts.n_layers, parts.embed(prompt[:, :8], 0), 0)
        for start in range(8, prompt.shape[1], rows):
            hidden = parts.run(
                0, parts.n_layers, parts.embed(prompt[:, start : start + rows], start), start
            )
            found.append(parts.logits(hidden, start)[0].double())
    return torch.cat(found)


BY_TOKEN = {"gpt_oss", "mixtral", "phimoe", "qwen2_moe", "qwen3_moe"}
"""Those whose experts are chosen by token, in a loop that no trace holds."""


@pytest.mark.parametrize(
    ("rows", "dtype"),
    [
        quick_or_slow((rows, dtype), quick=((4, torch.float32), (8, torch.bfloat16)))
        for rows in (1, 4, 8)
        for dtype in (torch.float32, torch.bfloat16)
    ],
)
def test_weights_are_read_once_for_all_rows(
    dtype: torch.dtype, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU no trace leaves a product to a library; attention has its own."""
    traces: list[Any] = []
    monkeypatch.setattr("adadecode.engine.model.cuda_graphs.why_uncompilable", lambda device: None)
    monkeypatch.setattr(
        "adadecode.engine.model.inductor.compile_trace",
        lambda graph, examples: traces.append(graph) or (lambda inputs: graph(*inputs)),
    )
    parts, prompt = (
        CompiledModel(tiny_model("llama", dtype, num_hidden_layers=2)),
        random_prompt(16),
    )
    _logits(parts, prompt, rows)
    assert parts.fallbacks == []
    found = [node.target for graph in traces for node in graph.graph.nodes]
    assert torch.ops.aten.sum.dim_IntList in found
    assert not {torch.ops.aten.mm.default, torch.ops.aten.addmm.default} & set(found)


def test_a_trace_for_one_length_alone_is_refused() -> None:
    """Else it would be held against the layer at that length, and fail at the next."""
    given, lengths = [torch.zeros(2, 5)], {0: {1: 192}}
    assert len(trace(lambda x: (x + 1,), given, lengths)[1]) == 1
    with pytest.raises(ValueError, match="one length"):
        trace(lambda x: (x + int(x.shape[1]),), given, lengths)


@pytest.mark.parametrize(
    "architecture",
    architectures("llama", "gemma2", "gpt2", among=sorted(set(ARCHITECTURES) - BY_TOKEN)),
)
def test_what_is_compiled_computes_what_the_layers_do(
    architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The traces are run uncompiled: drafts, a catch-up of 3, and all that follows the layers."""
    monkeypatch.setattr("adadecode.engine.model.cuda_graphs.why_uncompilable", lambda device: None)
    monkeypatch.setattr(
        "adadecode.engine.model.inductor.compile_trace",
        lambda graph, examples: lambda inputs: graph(*inputs),
    )
    model, prompt = tiny_model(architecture), random_prompt(9)
    text = greedy_text(model, prompt, 6)
    decoder = AdaDecoder(model, ExitHeads.identity(model, (3,)), graphs="compile")
    got = decoder.generate(prompt, 6, gamma=0.0, cap=2, eos_token_id=())
    assert got.tokens == text
    assert decoder.parts.fallbacks == []
    assert isinstance(decoder.parts, CompiledModel)
    assert decoder.parts.compiler is not None
    assert len(set(decoder.parts.compiler._kinds.values())) <= 2, (
        "layers of the same kind share what is compiled"
    )
