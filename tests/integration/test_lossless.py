"""The engine's text is that of ``generate`` of transformers on every architecture, in FP64."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.profiles.errors import InputError, UnsupportedModel
from adadecode.sim.core.scheduler import Outcome, Verdict, Verify, Work
from tests.support.models import (
    ARCHITECTURES,
    N_LAYERS,
    QUICK,
    REFUSED,
    SLIDING,
    VOCABULARY,
    WINDOW,
    architectures,
    greedy_text,
    random_heads,
    random_prompt,
    tiny_model,
)

N_TOKENS = 16
LENGTHS = (1, 5, WINDOW, WINDOW + 5)
ALL = tuple(range(1, N_LAYERS))
PLACEMENTS = ((3,), (1, 4), (2, 3, 5), ALL)
GAMMAS = (0.0, 0.3, 0.75, 1.0)
HEADS = ("own", "random")

# Every architecture runs a quarter of these, and each quarter is run by seven architectures.
GRID = [{"gamma": g, "placement": p, "heads": h} for g, p, h in product(GAMMAS, PLACEMENTS, HEADS)]
random.Random(0).shuffle(GRID)
ON_ALL: list[dict[str, Any]] = [
    {"policy": "vanilla", "heads": "own"},
    {"gamma": 0.0, "placement": (2, 5), "heads": "own"},
    {"policy": "fixed", "placement": (4,), "cap": 3, "heads": "own"},
]


@dataclass
class Served:
    """One architecture: the model, its own texts, and decoders with two kinds of heads.

    The texts are made before the engine first sees the model.
    """

    name: str
    model: PreTrainedModel
    texts: dict[int, list[int]]
    decoders: dict[str, AdaDecoder] = field(init=False)

    def __post_init__(self) -> None:
        own = AdaDecoder(self.model, ExitHeads.identity(self.model, ALL))
        wrong = AdaDecoder(self.model, random_heads(self.model))
        self.decoders = {"own": own, "random": wrong}

    @property
    def designs(self) -> list[dict[str, Any]]:
        return ON_ALL + GRID[ARCHITECTURES.index(self.name) % 4 :: 4]


@pytest.fixture(scope="module", params=architectures())
def served(request: pytest.FixtureRequest) -> Served:
    model = tiny_model(request.param)
    return Served(
        request.param, model, {n: greedy_text(model, random_prompt(n), N_TOKENS) for n in LENGTHS}
    )


def test_the_text_is_the_models_own_whatever_the_design(served: Served) -> None:
    accepted = rejected = 0
    for case, design in enumerate(served.designs):
        length = LENGTHS[case % len(LENGTHS)]
        decoder = served.decoders[design["heads"]]
        options = {name: value for name, value in design.items() if name != "heads"}
        got = decoder.generate(random_prompt(length), N_TOKENS, eos_token_id=(), **options)
        assert got.tokens == served.texts[length], f"{served.name}, prompt of {length}, {design}"
        accepted += sum(r.accepted for r in got.rounds)
        rejected += sum(len(r.exits) > r.accepted for r in got.rounds)
    assert accepted > 0, "no draft was right: the test shows little"
    assert rejected > 0, "no draft was wrong: the test shows little"


def test_quick_architectures_run_the_whole_grid() -> None:
    """Each runs a quarter of it, and together they run all four."""
    assert {ARCHITECTURES.index(name) % 4 for name in QUICK} == {0, 1, 2, 3}


def test_the_texts_compared_are_not_loops(served: Served) -> None:
    assert all(len(set(text)) >= 4 for length, text in served.texts.items() if length > 1)


def test_the_text_ends_at_eos(served: Served) -> None:
    """EOS is a token from the middle of the text, if possible one that a head drafts.

    So is a token that heads draft, but the text lacks.
    """
    length = LENGTHS[-1]
    prompt, text = random_prompt(length), served.texts[length]
    right, wrong = drafts_of(served.decoders["own"], prompt, gamma=0.0)
    inside = [
        token for at, token in enumerate(text) if 3 <= at < N_TOKENS - 3 and text.index(token) == at
    ]
    end = next((token for token in inside if token in right), inside[0])
    never = [token for token in wrong if token not in text][:1]
    reference = greedy_text(served.model, prompt, N_TOKENS, eos=[end, *never])
    assert reference == text[: text.index(end) + 1]
    for heads, options in (
        ("own", {"policy": "vanilla"}),
        ("own", {"gamma": 0.0}),
        ("own", {"policy": "fixed", "placement": (5,)}),
        ("random", {"gamma": 0.2, "placement": (2, 5)}),
    ):
        got = served.decoders[heads].generate(
            prompt, N_TOKENS, eos_token_id=[end, *never], **options
        )
        assert got.tokens == reference, (heads, options)


def test_small_budgets_cut_the_same_text_short(served: Served) -> None:
    for budget, length in product((1, 2, 3), (1, LENGTHS[-1])):
        for decoder in served.decoders.values():
            assert (
                decoder.generate(random_prompt(length), budget, gamma=0.0, eos_token_id=()).tokens
                == served.texts[length][:budget]
            )


def test_the_model_stays_as_it_was(served: Served) -> None:
    """After the engine's runs ``generate`` gives what it gave before."""
    assert served.model.config._attn_implementation in {"sdpa", "eager"}
    assert greedy_text(served.model, random_prompt(5), N_TOKENS) == served.texts[5]


@pytest.mark.parametrize("architecture", architectures("qwen2", "gemma2", "gpt_oss", among=SLIDING))
def test_the_window_matters(architecture: str) -> None:
    """Where a window is claimed, the text differs without it."""
    sliding, whole = tiny_model(architecture), tiny_model(architecture, sliding_window=64)
    prompts = [random_prompt(30, seed) for seed in range(4)]
    assert any(
        greedy_text(sliding, prompt, N_TOKENS) != greedy_text(whole, prompt, N_TOKENS)
        for prompt in prompts
    )


@pytest.mark.parametrize("architecture", REFUSED)
def test_a_model_that_cannot_be_served_is_refused_by_name(architecture: str) -> None:
    model = tiny_model(architecture, torch.float32)
    with pytest.raises(UnsupportedModel, match=type(model).__name__):
        AdaDecoder(model)
    assert model.config._attn_implementation in {"sdpa", "eager"}


def test_heads_fit_a_model_that_projects_before_its_lm_head() -> None:
    """OPT-350m: layers of one width, an LM head of another."""
    model = tiny_model("opt", word_embed_proj_dim=32)
    matrix = torch.randn((32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    decoder = AdaDecoder(model, ExitHeads(model, {2: matrix, 4: None}))
    assert decoder.generate(random_prompt(13), 8, gamma=0.0, eos_token_id=()).tokens == greedy_text(
        model, random_prompt(13), 8
    )


# ---- one architecture is enough for these ----


@pytest.fixture(scope="module")
def llama() -> Served:
    model = tiny_model("llama", seed=1)
    return Served(
        "llama", model, {n: greedy_text(model, random_prompt(n), N_TOKENS) for n in (1, 13, 90)}
    )


@pytest.mark.parametrize(
    "options", [{"gamma": 1.0}, {"gamma": (1.0, 1.0), "placement": (2, 4)}, {"placement": ()}]
)
def test_without_a_head_to_test_the_work_is_vanillas(
    llama: Served, options: dict[str, Any]
) -> None:
    decoder = llama.decoders["own"]
    vanilla = decoder.generate(random_prompt(13), 8, policy="vanilla", eos_token_id=())
    assert decoder.generate(random_prompt(13), 8, eos_token_id=(), **options) == vanilla
    assert vanilla.rounds[0].work == ((0, 1),)


def test_lengths_may_come_in_any_order(llama: Served) -> None:
    """Buffers are kept between runs: a short text sees nothing of a long one before it."""
    decoder = AdaDecoder(llama.model, ExitHeads.identity(llama.model, ALL))
    for length in (13, 1, 90, 13, 1):
        assert (
            decoder.generate(random_prompt(length), N_TOKENS, gamma=0.0, eos_token_id=()).tokens
            == llama.texts[length]
        )


@pytest.mark.parametrize("max_new_tokens", [2, 10, N_TOKENS])
@pytest.mark.parametrize(
    "options",
    [
        {"policy": "vanilla"},
        {"gamma": 0.0},
        {"gamma": 0.0, "verify": False},
        {"policy": "fixed", "placement": (4,)},
    ],
)
def test_a_stream_gives_the_same_tokens(
    llama: Served, max_new_tokens: int, options: dict[str, Any]
) -> None:
    decoder = llama.decoders["own"]
    whole = decoder.generate(random_prompt(13), max_new_tokens, eos_token_id=(), **options).tokens
    assert (
        list(decoder.stream(random_prompt(13), max_new_tokens, eos_token_id=(), **options)) == whole
    )


def test_a_stream_may_be_one_token(llama: Served) -> None:
    assert list(llama.decoders["own"].stream(random_prompt(13), 1)) == llama.texts[13][:1]


def test_a_stream_ends_at_eos(llama: Served) -> None:
    end = llama.texts[13][10]
    whole = (
        llama.decoders["own"]
        .generate(random_prompt(13), N_TOKENS, gamma=0.0, eos_token_id=end)
        .tokens
    )
    assert whole[-1] == end
    assert (
        list(llama.decoders["own"].stream(random_prompt(13), N_TOKENS, gamma=0.0, eos_token_id=end))
        == whole
    )


def test_the_model_can_be_used_between_two_tokens_of_a_stream(llama: Served) -> None:
    stream = llama.decoders["own"].stream(random_prompt(13), N_TOKENS, gamma=0.0, eos_token_id=())
    got = [next(stream)]
    assert greedy_text(llama.model, random_prompt(1), N_TOKENS) == llama.texts[1]
    assert [*got, *stream] == llama.texts[13]


def test_two_streams_of_one_decoder_do_not_disturb_each_other(llama: Served) -> None:
    decoder = llama.decoders["own"]
    streams = {
        n: decoder.stream(random_prompt(n), N_TOKENS, gamma=0.0, eos_token_id=())
        for n in (13, 1, 90)
    }
    got: dict[int, list[int]] = {n: [] for n in streams}
    for _ in range(N_TOKENS):
        for n, stream in streams.items():
            got[n].append(next(stream))
    assert got == llama.texts


def test_without_verification_the_budget_is_spent_all_the_same(llama: Served) -> None:
    got = llama.decoders["random"].generate(
        random_prompt(13), N_TOKENS, gamma=0.0, verify=False, eos_token_id=()
    )
    assert len(got.tokens) == N_TOKENS
    assert got.tokens != llama.texts[13]
    assert all(r.accepted == len(r.exits) for r in got.rounds)


def test_without_verification_an_eos_draft_ends_the_text(llama: Served) -> None:
    got = llama.decoders["random"].generate(
        random_prompt(13), N_TOKENS, gamma=0.0, verify=False, eos_token_id=()
    )
    end = got.tokens[6]
    ended = llama.decoders["random"].generate(
        random_prompt(13), N_TOKENS, gamma=0.0, verify=False, eos_token_id=end
    )
    assert ended.tokens == got.tokens[: got.tokens.index(end) + 1]


def test_a_head_without_doubt_or_with_little_changes_nothing(llama: Served) -> None:
    """Matrices of zeros make every logit equal; huge ones make every probability 0 or 1."""
    for scale in (0.0, 1e6):
        decoder = AdaDecoder(llama.model, random_heads(llama.model, scale=scale))
        assert (
            decoder.generate(random_prompt(13), N_TOKENS, gamma=0.5, eos_token_id=()).tokens
            == llama.texts[13]
        )


@pytest.mark.parametrize(
    ("generation", "config", "given", "ends"),
    [
        ("inside", "outside", None, True),
        (["inside", "outside"], "outside", None, True),
        ("outside", "inside", None, False),  # the generation settings have the word
        (None, "inside", None, False),
        ("outside", "outside", "inside", True),
        ("outside", "outside", ["outside", "inside"], True),
        ("inside", "inside", (), False),
    ],
)
def test_which_eos_counts(generation: Any, config: Any, given: Any, ends: bool) -> None:
    """The one given, or else that of the generation settings, as for ``generate``."""
    model = tiny_model("llama", seed=1)
    text = greedy_text(model, random_prompt(13), N_TOKENS)
    names = {
        "inside": text[10],
        "outside": next(token for token in range(3, VOCABULARY) if token not in text),
    }

    def token(eos: Any) -> Any:
        return [names[e] for e in eos] if isinstance(eos, list) else names.get(eos, eos)

    model.generation_config.eos_token_id = token(generation)
    model.config.eos_token_id = token(config)
    wanted = text[: text.index(names["inside"]) + 1] if ends else text
    if given is None:
        prompt = random_prompt(13)
        own = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=N_TOKENS,
            pad_token_id=0,
        )
        assert own[0, 13:].tolist() == wanted
    decoder = AdaDecoder(model, ExitHeads.identity(model, ALL))
    assert (
        decoder.generate(random_prompt(13), N_TOKENS, gamma=0.0, eos_token_id=token(given)).tokens
        == wanted
    )


@pytest.mark.parametrize(
    "architecture",
    [
        "gpt2",
        "opt",
        "llama",
    ],
)
def test_a_text_may_fill_every_position_the_model_has(architecture: str) -> None:
    """128 positions, of which the last new token needs none."""
    model = tiny_model(architecture)
    for length in (128 - N_TOKENS, 128 - N_TOKENS + 1):
        prompt = random_prompt(length)
        decoder = AdaDecoder(model, ExitHeads.identity(model, ALL))
        assert decoder.generate(prompt, N_TOKENS, gamma=0.0, eos_token_id=()).tokens == greedy_text(
            model, prompt, N_TOKENS
        )


def test_a_text_too_long_for_the_model_leaves_the_decoder_usable() -> None:
    model = tiny_model("gpt2")
    decoder = AdaDecoder(model, ExitHeads.identity(model, ALL))
    with pytest.raises(InputError, match="128"):
        decoder.generate(random_prompt(120), 40)
    assert decoder.parts.kv.capacity < 128
    assert decoder.generate(random_prompt(13), N_TOKENS, eos_token_id=()).tokens == greedy_text(
        model, random_prompt(13), N_TOKENS
    )


@pytest.mark.parametrize(
    "architecture",
    architectures(among=["llama", "gemma2", "gpt2", "mixtral", "gpt_oss", "cohere", "phi3", "opt"]),
)
def test_bfloat16_runs(architecture: str) -> None:
    """Every token is the model's best or close to it: a batched pass may flip a near-tie."""
    model = tiny_model(architecture, torch.bfloat16)
    for heads in (ExitHeads.identity(model, ALL), random_heads(model)):
        prompt = random_prompt(13)
        tokens = (
            AdaDecoder(model, heads).generate(prompt, N_TOKENS, gamma=0.0, eos_token_id=()).tokens
        )
        assert len(tokens) == N_TOKENS
        with torch.no_grad():
            logits = model(torch.cat([prompt, torch.tensor([tokens])], 1)).logits[0, 12:-1].float()
        short = logits.max(-1).values - logits.gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        assert float(short.max()) < 0.05 * float(logits.max() - logits.min())


def drafts_of(
    decoder: AdaDecoder, prompt: torch.Tensor, **options: Any
) -> tuple[list[int], list[int]]:
    """The drafts that held, and the first one of each round that did not."""
    right: list[int] = []
    wrong: list[int] = []

    def watch(work: Work, outcome: Outcome) -> None:
        if isinstance(work, Verify) and isinstance(outcome, Verdict):
            right.extend(work.drafts[: outcome.accepted])
            wrong.extend(work.drafts[outcome.accepted : outcome.accepted + 1])

    design = decoder.design(placement=None, policy="adadecode", cap=5, **options)
    decoding = decoder.start(prompt, design, max_new_tokens=N_TOKENS, eos_token_id=())
    with decoder.parts.session():
        for _ in decoding.steps(watch):
            pass
    return right, wrong


def test_settings_that_bend_greedy_decoding_are_named() -> None:
    """``generate`` applies a repetition penalty without sampling too; this decoder does not."""
    model = tiny_model("llama")
    model.generation_config.repetition_penalty = 1.3
    with pytest.warns(UserWarning, match=r"repetition_penalty=1\.3"):
        AdaDecoder(model)


def test_a_token_that_the_model_does_not_embed_is_refused() -> None:
    """A tokenizer of another model, most likely."""
    decoder = AdaDecoder(tiny_model("llama"))
    with pytest.raises(
        InputError,
        match=(
            f"token id {VOCABULARY + 3} of the input is outside the model's {VOCABULARY} embeddings"
        ),
    ):
        decoder.generate(torch.tensor([[1, VOCABULARY + 3]]), 4)
