"""Cheaper forms of the same heads: no text changes; their files, and what they lose."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch.nn import functional as F
from transformers import PreTrainedModel

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.evaluation.head_coverage import HeadCoverage, measure_coverage
from adadecode.engine.heads import int8
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.int8 import Int8Matrix
from adadecode.engine.heads.token_frequency import by_frequency, frequent_in
from adadecode.engine.loading.chat_template import settle_prompts
from adadecode.engine.loading.prompt_source import PromptSource
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling.head_forms import describe_ranking, form_heads
from adadecode.engine.profiling.options import RecordingOptions
from adadecode.engine.profiling.request import RecordingRequest
from adadecode.engine.profiling.timed_runs import timed_prefill, timed_run
from adadecode.engine.runtime.choices import GraphMode, HeadDtype
from adadecode.engine.runtime.environment import EnergyMeter
from adadecode.engine.training.options import TrainingOptions
from adadecode.engine.training.pipeline import train_heads
from adadecode.profiles.errors import HeadsError, InputError
from adadecode.profiles.token_ranking import TokenRanking
from adadecode.profiles.trace import Trace
from adadecode.sim.cli.tables.heads import coverage_table
from adadecode.sim.core.design import Design
from adadecode.sim.core.head_form import FULL, HeadForm, form_named
from adadecode.sim.core.scheduler import Draft, Outcome, Work
from tests.support.heads_files import as_format
from tests.support.models import (
    N_LAYERS,
    VOCABULARY,
    greedy_text,
    random_heads,
    random_prompt,
    tiny_model,
)
from tests.support.property_tests import examples
from tests.support.synthetic_profile import synthetic_profile
from tests.support.training_run import DEPTHS, PROMPTS, SETTINGS, letter_tokenizer

WIDTH = 64
FREQUENT = tuple((7 * k + 2) % VOCABULARY for k in range(VOCABULARY))
FORMS: list[dict[str, Any]] = [
    {"shortlist": 20},
    {"dtype": "int8"},
    {"shortlist": 20, "dtype": "int8"},
    {"shortlist": 1},
]
DESIGNS: list[dict[str, Any]] = [
    {"gamma": 0.0},
    {"gamma": 0.5, "placement": (2, 4)},
    {"gamma": 0.9, "placement": (1, 3, 5)},
    {"policy": "fixed", "placement": (3,), "cap": 3},
]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model("llama", torch.float32)


@pytest.fixture(scope="module")
def decoder(model: PreTrainedModel) -> AdaDecoder:
    return AdaDecoder(model, random_heads(model))


def of_form(decoder: AdaDecoder, **form: Any) -> ExitHeads:
    return decoder.heads.shaped(decoder.parts.model, frequent=FREQUENT, **form)


def head_logits(decoder: AdaDecoder, heads: ExitHeads, normed: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return heads.logits(decoder.parts, 3, normed)


# -- what they say --------------------


def test_a_full_head_is_the_papers(decoder: AdaDecoder) -> None:
    """Its logits are E*(T h), bit by bit."""
    normed = torch.randn(1, 2, WIDTH)
    with torch.inference_mode():
        wanted = decoder.parts.unembed(decoder.heads.apply(3, normed))
    assert torch.equal(head_logits(decoder, decoder.heads, normed), wanted)


def test_a_shortlist_gives_the_full_logits_of_its_tokens_and_nothing_else(
    decoder: AdaDecoder,
) -> None:
    """Minus infinity elsewhere: probability zero, also for whoever samples."""
    heads, normed = of_form(decoder, shortlist=20), torch.randn(1, 2, WIDTH)
    assert heads.tokens == tuple(sorted(FREQUENT[:20]))
    short, full = head_logits(decoder, heads, normed), head_logits(decoder, decoder.heads, normed)
    held = torch.zeros(VOCABULARY, dtype=torch.bool).scatter(0, torch.tensor(heads.tokens), True)
    torch.testing.assert_close(short[..., held], full[..., held])
    assert (short[..., ~held] == -math.inf).all()


def test_a_shortlists_confidence_is_never_below_the_full_heads(decoder: AdaDecoder) -> None:
    """For the same token: it is the probability within the shortlist."""
    heads, normed = of_form(decoder, shortlist=20), torch.randn(1, 50, WIDTH)
    short, full = (
        head_logits(decoder, form, normed).softmax(-1) for form in (heads, decoder.heads)
    )
    top = short.argmax(-1, keepdim=True)
    assert (short.gather(-1, top) >= full.gather(-1, top) - 1e-6).all()


@pytest.mark.parametrize("shortlist", [None, 20])
def test_int8_heads_say_nearly_what_full_ones_say(
    decoder: AdaDecoder, shortlist: int | None
) -> None:
    """Within some per cent of the largest logit."""
    heads, normed = of_form(decoder, shortlist=shortlist, dtype="int8"), torch.randn(1, 3, WIDTH)
    wide = head_logits(decoder, of_form(decoder, shortlist=shortlist), normed)
    held = wide.isfinite()
    assert (head_logits(decoder, heads, normed)[held] - wide[held]).abs().max() < 0.03 * wide[
        held
    ].abs().max()


@pytest.mark.parametrize("architecture", ["phi", "gemma2", "cohere", "granite"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_biases_caps_and_factors_apply_to_rows_too(architecture: str, dtype: torch.dtype) -> None:
    """Phi's LM head has a bias, Gemma 2 caps its logits, Cohere and Granite scale them."""
    served = AdaDecoder(tiny_model(architecture, dtype))
    served.heads = ExitHeads.identity(served.parts.model, [3])
    normed = torch.randn(1, 2, WIDTH).to(dtype)
    full, held = head_logits(served, served.heads, normed), sorted(FREQUENT[:20])
    for form, off in (({}, 1e-2), ({"dtype": "int8"}, 4e-2)):
        short = head_logits(served, of_form(served, shortlist=20, **form), normed)[..., held]
        assert (short - full[..., held]).abs().max() < off * full.abs().max()


# -- losslessness --------------------


@pytest.mark.parametrize("form", FORMS, ids=lambda form: HeadForm(**form).label)
@pytest.mark.parametrize("kind", ["own", "random"])
def test_no_form_changes_a_text(form: dict[str, Any], kind: str) -> None:
    """It is the model's own whatever the policy; in FP64, so that batches do not matter."""
    model = tiny_model("llama", torch.float64)
    heads = ExitHeads.identity(model, range(1, N_LAYERS)) if kind == "own" else random_heads(model)
    served = AdaDecoder(model, heads.shaped(model, frequent=FREQUENT, **form))
    prompt = random_prompt(5)
    text = greedy_text(model, prompt, 24)
    for design in DESIGNS:
        assert served.generate(prompt, 24, eos_token_id=(), **design).tokens == text, design


def test_a_shortlist_drafts_nothing_else(decoder: AdaDecoder) -> None:
    """Every draft of a text is one of the shortlist's tokens."""
    served = AdaDecoder(decoder.parts.model, of_form(decoder, shortlist=5))
    drafts: list[int] = []

    def watch(_work: Work, outcome: Outcome) -> None:
        if isinstance(outcome, Draft):
            drafts.append(outcome.token)

    design = served.design(gamma=0.0, placement=(3,), cap=5, policy="adadecode")
    decoding = served.start(random_prompt(5), design, max_new_tokens=24, eos_token_id=())
    with served.parts.session():
        assert list(decoding.steps(watch))
    assert drafts
    assert set(drafts) <= set(FREQUENT[:5])


def test_sampling_with_a_shortlist_runs_and_repeats(decoder: AdaDecoder) -> None:
    """Drafts are never from outside, where probabilities are zero; final tokens may be."""
    served = AdaDecoder(decoder.parts.model, of_form(decoder, shortlist=20))
    make = partial(
        served.generate,
        random_prompt(5),
        24,
        gamma=0.0,
        placement=(3,),
        temperature=1.5,
        top_k=50,
        top_p=0.95,
        seed=3,
    )
    text = make(eos_token_id=()).tokens
    assert text == make(eos_token_id=()).tokens
    assert not set(text) <= set(FREQUENT[:20])


# -- int8 --------------------


@examples(40)
@given(
    rows=st.integers(1, 150),
    width=st.integers(1, 100),
    states=st.integers(1, 3),
    seed=st.integers(0, 99),
    big=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_a_product_in_int8_is_the_dense_one(
    rows: int, width: int, states: int, seed: int, big: float
) -> None:
    """Also of widths for which PyTorch's own product is wrong; up to the rounding of BF16."""
    generator = torch.Generator().manual_seed(seed)
    weight, given_ = (
        big * torch.randn(rows, width, generator=generator),
        torch.randn(states, width, generator=generator),
    )
    matrix = Int8Matrix(weight)
    wanted = given_ @ matrix.dense.T
    reach = given_.abs() @ matrix.dense.abs().T
    assert ((matrix(given_) - wanted).abs() <= 2**-6 * reach + 1e-6 * big).all()
    assert ((matrix.dense - weight).abs() <= weight.abs().amax(1, keepdim=True) / 254 * 1.001).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_int8_takes_every_dtype(dtype: torch.dtype) -> None:
    matrix = Int8Matrix(torch.randn(40, 33).to(dtype))
    assert matrix(torch.randn(1, 2, 33).to(dtype)).dtype == torch.float32


def test_a_row_of_zeros_stays_one() -> None:
    """Its scale is no division by zero."""
    weight = torch.randn(40, 33)
    weight[7] = 0.0
    assert (Int8Matrix(weight)(torch.randn(2, 33))[:, 7] == 0.0).all()


def test_the_product_of_gpus_is_the_dense_one_too() -> None:
    """Integers times integers, states quantised one by one: the same arithmetic on a CPU."""
    codes, scales = int8.quantised(torch.randn(50, 40))
    states = F.pad(torch.randn(3, 40) * torch.tensor([[1.0], [1e-4], [1e4]]), (0, 24))
    wanted = states @ (codes.float() * scales[:, None]).T
    assert (
        (int8.dynamic(states, codes, scales) - wanted).abs()
        <= 0.02 * wanted.abs().amax(1, keepdim=True)
    ).all()


@pytest.mark.gpu
def test_int8_on_a_gpu() -> None:
    """Every product that the device has."""
    codes, scales = int8.quantised(torch.randn(4096, 512, device="cuda"))
    states = torch.randn(2, 512, device="cuda", dtype=torch.bfloat16)
    wanted = states.float() @ (codes.float() * scales[:, None]).T
    for name, product in int8.PRODUCTS["cuda"].items():
        assert (product(states, codes, scales) - wanted).abs().max() <= 0.05 * wanted.abs().max(), (
            name
        )


def broken(states: torch.Tensor, codes: torch.Tensor, _scales: torch.Tensor) -> torch.Tensor:
    return torch.full((len(states), len(codes)), 7.0)


def missing(_states: torch.Tensor, _codes: torch.Tensor, _scales: torch.Tensor) -> torch.Tensor:
    raise NotImplementedError("not for this device")


def test_a_product_that_is_wrong_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried before it is trusted."""
    monkeypatch.setitem(
        int8.PRODUCTS, "cpu", {"wrong": broken, "none": missing, "right": int8.weight_only}
    )
    assert Int8Matrix(torch.randn(40, 33)).product == "right"


def test_without_a_product_heads_stay_wide_and_say_so(
    monkeypatch: pytest.MonkeyPatch, decoder: AdaDecoder
) -> None:
    """A shortlist is kept; the form is what they have, not what was asked for."""
    monkeypatch.setitem(int8.PRODUCTS, "cpu", {"wrong": broken, "none": missing})
    with pytest.warns(
        UserWarning,
        match=r"no int8 heads on this device \(wrong: off by .*; none: not for this device\)",
    ):
        heads = of_form(decoder, shortlist=20, dtype="int8")
    assert (heads.form, heads.product) == (HeadForm(shortlist=20), None)
    normed = torch.randn(1, 1, WIDTH)
    assert torch.equal(
        head_logits(decoder, heads, normed),
        head_logits(decoder, of_form(decoder, shortlist=20), normed),
    )


# -- forms, files, fingerprints --------------------


def test_forms_have_names() -> None:
    labels = [HeadForm(**form).label for form in ({}, *FORMS[:3])]
    assert labels == ["full", "shortlist:20", "int8", "shortlist:20 int8"]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: HeadForm(**form).label)
def test_saved_heads_keep_their_form(
    decoder: AdaDecoder, tmp_path: Path, form: dict[str, Any]
) -> None:
    """And the 16-bit matrices and all counted tokens, so that any other form can be had of them."""
    heads = of_form(decoder, **form)
    heads.save(tmp_path)
    loaded = ExitHeads.load(tmp_path, decoder.parts.model)
    assert (loaded.form, loaded.tokens, loaded.frequent) == (heads.form, heads.tokens, FREQUENT)
    full = loaded.shaped(decoder.parts.model)
    assert full.form == FULL
    assert all(
        torch.equal(full.transforms[d], decoder.heads.transforms[d].half().float())
        for d in full.depths
    )


@pytest.mark.filterwarnings("ignore:the heads in .* were saved by an earlier version")
def test_files_of_format_1_are_read(decoder: AdaDecoder, tmp_path: Path) -> None:
    """They say nothing of forms: full heads, and nobody counted tokens."""
    decoder.heads.save(tmp_path)
    as_format(tmp_path, 1, without=("form", "coverage"))
    loaded = ExitHeads.load(tmp_path, decoder.parts.model)
    assert (loaded.form, loaded.frequent, loaded.coverage) == (FULL, (), None)


def test_fingerprints_tell_forms_apart(decoder: AdaDecoder) -> None:
    """Full ones keep the fingerprint they had."""
    digests = {of_form(decoder, **form).digest() for form in ({}, *FORMS, {"shortlist": 21})}
    assert len(digests) == len(FORMS) + 2
    assert of_form(decoder).digest() == decoder.heads.digest()


def test_a_shortlist_longer_than_what_was_counted_goes_on_by_id(decoder: AdaDecoder) -> None:
    """The end of a text (2) is always held."""
    heads = decoder.heads.shaped(decoder.parts.model, shortlist=7, frequent=(50, 3, 80))
    assert (heads.form.shortlist, heads.tokens) == (7, (0, 1, 2, 3, 4, 50, 80))


def test_where_nobody_counted_tokens_they_are_taken_by_id(decoder: AdaDecoder) -> None:
    assert not decoder.heads.frequent
    assert decoder.heads.shaped(decoder.parts.model, shortlist=2).tokens == (0, 2)


@given(
    counted=st.lists(st.integers(0, VOCABULARY - 1), unique=True),
    size=st.integers(1, VOCABULARY - 1),
)
@examples(50)
def test_the_simulator_takes_the_tokens_that_the_engine_takes(
    decoder: AdaDecoder, counted: list[int], size: int
) -> None:
    """From what a manifest holds of the order."""
    heads = decoder.heads.shaped(decoder.parts.model, shortlist=size, frequent=counted)
    about = json.loads(json.dumps(describe_ranking(heads, decoder.parts.model, "some.txt")))
    ranking = TokenRanking.from_manifest({"ranking": about})
    assert ranking is not None
    assert tuple(sorted(ranking.shortlist(size))) == heads.tokens
    assert len(heads.tokens) == size
    assert decoder.eos <= {*heads.tokens} or size < len(decoder.eos)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortlist": 0}, "a shortlist holds at least 1 token, got 0"),
        ({"dtype": "int3"}, "no heads in 'int3': wanted int8"),
        ({"shortlist": VOCABULARY, "frequent": FREQUENT}, f"leaves out none of the {VOCABULARY}"),
        ({"shortlist": 2, "frequent": (1, VOCABULARY)}, "counted with another tokenizer"),
        ({"shortlist": 2, "frequent": (1, 1)}, "each once"),
    ],
)
def test_impossible_forms_are_refused(
    decoder: AdaDecoder, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(HeadsError, match=message):
        decoder.heads.shaped(decoder.parts.model, **options)


class Twice(torch.nn.Linear):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(given)


def test_an_lm_head_that_is_no_plain_matrix_has_no_rows() -> None:
    model = tiny_model("llama", torch.float32)
    odd = Twice(WIDTH, VOCABULARY, bias=False)
    model.set_output_embeddings(odd)
    with pytest.raises(HeadsError, match="the LM head of this model is a Twice, no plain matrix"):
        ExitHeads.identity(model, [3]).shaped(model, shortlist=5, frequent=FREQUENT)


# -- which tokens --------------------


def test_ends_come_first_then_by_count_then_by_id() -> None:
    assert by_frequency([[5, 9, 9], [4, 9, 2]], ends={2, 7}) == (2, 7, 9, 4, 5)


def test_tokens_are_counted_in_a_profiles_outputs(tmp_path: Path) -> None:
    """First tokens too, and its end tokens in front."""
    profile = synthetic_profile(tmp_path / "p")
    final = (
        profile.trace[profile.trace["depth"] == profile.n_layers]["token"].tolist()
        + profile.prompts["first_token"].tolist()
    )
    found = frequent_in(str(tmp_path / "p"), None)
    assert found.frequent == by_frequency([final], profile.manifest["eos_token_ids"])
    assert (found.texts, found.left_out) == (len(profile.prompts), 0)


def test_tokens_are_counted_in_a_file_of_texts(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("aab\nac\n")
    tokenizer = letter_tokenizer()
    a, b, c = (tokenizer(letter)["input_ids"][0] for letter in "abc")
    found = frequent_in(str(tmp_path / "texts.txt"), tokenizer)
    assert (found.frequent, found.texts, found.left_out) == ((2, a, b, c), 2, 0)


def test_the_texts_that_a_shortlist_is_tried_on_are_not_counted(tmp_path: Path) -> None:
    """Neither those of a file, nor what was recorded of them; end tokens are always there."""
    (tmp_path / "texts.txt").write_text("aab\nac\n")
    tokenizer = letter_tokenizer()
    a, c = (tokenizer(letter)["input_ids"][0] for letter in "ac")
    found = frequent_in(str(tmp_path / "texts.txt"), tokenizer, [Prompt(text="aab")], ends=[7])
    assert (found.frequent, found.texts, found.left_out) == ((2, 7, a, c), 1, 1)
    profile = synthetic_profile(tmp_path / "p")  # whose texts are the numbers of its prompts
    outputs = Trace.from_profile(profile)
    others = [outputs.tokens(one)[:, -1].tolist() for one in outputs.prompts if one != 2]
    found = frequent_in(str(tmp_path / "p"), None, [Prompt(text="2"), Prompt(text="no such text")])
    assert found.frequent == by_frequency(others, outputs.eos)
    assert (found.texts, found.left_out) == (len(others), 1)


@pytest.mark.parametrize(("chat", "system"), [(False, None), (True, None), (True, "Be brief.")])
def test_chats_that_a_shortlist_is_tried_on_are_not_counted(
    chat: bool, system: str | None, tmp_path: Path
) -> None:
    """A template writes more than was asked: of the same file nothing is counted."""
    lines = (
        [{"prompt": "aab"}, {"prompt": "ac"}]
        if chat
        else [
            {"messages": [{"role": "user", "content": "aab"}]},
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
                    {"role": "tool", "content": "c"},
                ]
            },
        ]
    )
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tokenizer = letter_tokenizer()
    tokenizer.chat_template = (
        "{% for one in messages %}{{ one.role }}: {{ one.content }}{% endfor %}"
    )
    source = PromptSource(prompts=str(path), chat=chat, system=system)
    found = source.read(path, lambda _: None).prompts
    tried = settle_prompts(found, tokenizer, source, lambda _: None, model="m")
    assert all(prompt.template for prompt in tried)
    counted = frequent_in(str(path), tokenizer, tried)
    assert (counted.texts, counted.left_out) == (0, 2)
    assert frequent_in(str(path), tokenizer, tried[:1]).left_out == 1


# -- what they lose --------------------


def texts_of(model: PreTrainedModel) -> list[Continuation]:
    return [
        Continuation(
            prompt=random_prompt(5, seed), output=greedy_text(model, random_prompt(5, seed), 20)
        )
        for seed in range(3)
    ]


def test_coverage_counts_outputs_outside_and_agreement_by_depth(decoder: AdaDecoder) -> None:
    """By hand: what each head says of each output, one position at a time."""
    model, heads = decoder.parts.model, of_form(decoder, shortlist=20)
    texts = texts_of(model)
    found = measure_coverage(decoder.parts, model, heads, texts)
    assert found is not None
    later = [token for text in texts for token in text.output[1:]]
    assert (found.outputs, found.outside) == (
        len(later),
        sum(token not in heads.tokens for token in later) / len(later),
    )
    assert all(formed <= 1 - found.outside for formed in found.formed)
    tops = []
    for text in texts:
        whole = torch.tensor([[*text.prompt[0].tolist(), *text.output[:-1]]])
        with decoder.parts.session():
            hidden = decoder.parts.run(0, 3, decoder.parts.embed(whole, 0), 0)
            normed = decoder.parts.normed(hidden[:, text.prompt.shape[1] :])
            tops += [
                heads.logits(decoder.parts, 3, normed[:, [k]])[0, 0].argmax().item()
                for k in range(normed.shape[1])
            ]
    agreed = sum(top == token for top, token in zip(tops, later, strict=True)) / len(later)
    assert found.formed[found.depths.index(3)] == pytest.approx(agreed)


def test_full_heads_lose_nothing(decoder: AdaDecoder) -> None:
    found = measure_coverage(
        decoder.parts, decoder.parts.model, decoder.heads, texts_of(decoder.parts.model)
    )
    assert isinstance(found, HeadCoverage)
    assert (found.outside, found.full, found.same) == (
        0.0,
        found.formed,
        (1.0,) * len(found.depths),
    )


def test_texts_of_one_token_tell_nothing(decoder: AdaDecoder) -> None:
    assert (
        measure_coverage(
            decoder.parts,
            decoder.parts.model,
            decoder.heads,
            [Continuation(prompt=random_prompt(3), output=[4])],
        )
        is None
    )


def test_training_counts_tokens_and_saves_the_form(tmp_path: Path, model: PreTrainedModel) -> None:
    """The shortlist is counted on the texts trained on, its loss on the others."""
    options = TrainingOptions(**{"depths": DEPTHS, **SETTINGS, "epochs": 2})
    train = partial(train_heads, model, letter_tokenizer(), PROMPTS)
    formed = replace(options, shortlist=6, head_dtype=HeadDtype.INT8)
    heads = train(out=tmp_path / "a", options=formed)
    plain = train(out=tmp_path / "b", options=options)
    assert heads.form == HeadForm(shortlist=6, dtype="int8")
    assert heads.frequent == plain.frequent
    assert 2 in heads.tokens
    assert plain.coverage is None
    assert heads.coverage is not None
    assert all(torch.equal(heads.transforms[d], plain.transforms[d]) for d in DEPTHS)
    with Console(width=100, record=True) as console:
        console.print(coverage_table(heads.coverage, heads.form))
    assert "of them outside the shortlist" in " ".join(console.export_text().split())
    with pytest.raises(InputError, match=r"form was .*, is now None"):
        train(out=tmp_path / "a", options=options)


# -- options --------------------


def test_options_give_heads_another_form_and_back(decoder: AdaDecoder) -> None:
    """0 and own undo what they were saved with."""

    def take(heads: ExitHeads, **options: Any) -> ExitHeads:
        return form_heads(
            heads,
            decoder.parts.model,
            letter_tokenizer(),
            [],
            options=RecordingOptions(**options),
            notice=lambda _: None,
        )

    short = of_form(decoder, shortlist=20)
    assert take(short) is short
    both = take(short, head_dtype="int8")
    assert both.form == HeadForm(shortlist=20, dtype="int8")
    assert take(both, shortlist=0, head_dtype="own").form == FULL


def notices_of(
    decoder: AdaDecoder, prompts: Sequence[Prompt], shortlist: int, counted_in: Path
) -> str:
    """What forming the heads tells the user."""
    notices: list[str] = []
    form_heads(
        decoder.heads,
        decoder.parts.model,
        letter_tokenizer(),
        prompts,
        options=RecordingOptions(shortlist=shortlist),
        shortlist_from=str(counted_in),
        notice=notices.append,
    )
    return "\n".join(notices)


@pytest.mark.parametrize(
    ("texts", "own"), [(("0", "2", "no such text"), 2), (("no such text",), 0)]
)
def test_texts_that_were_left_out_are_told(
    decoder: AdaDecoder, tmp_path: Path, texts: tuple[str, ...], own: int
) -> None:
    """A synthetic profile's texts are its prompts' numbers."""
    synthetic_profile(tmp_path / "p")
    notices = notices_of(decoder, [Prompt(text=text) for text in texts], 20, tmp_path / "p")
    assert ("are recorded here, and were left out" in notices) == bool(own)
    assert (f"{own} of the texts in {tmp_path / 'p'} are recorded here" in notices) == bool(own)


def test_tokens_that_nobody_counted_are_told(decoder: AdaDecoder, tmp_path: Path) -> None:
    synthetic_profile(tmp_path / "p")
    assert re.search(
        r"(\d+) different tokens were counted: the shortlist holds these and \d+ more by id",
        notices_of(decoder, [], 90, tmp_path / "p"),
    )


def test_tokens_are_counted_for_full_heads_too(decoder: AdaDecoder, tmp_path: Path) -> None:
    """So that a sweep can try shortlists of what was recorded of them."""
    (tmp_path / "texts.txt").write_text("aab\nac\n")
    settings = {"demo": True, "shortlist_from": str(tmp_path / "texts.txt")}
    RecordingRequest.from_settings(settings).with_graphs(GraphMode.EAGER).check()
    heads = form_heads(
        decoder.heads,
        decoder.parts.model,
        letter_tokenizer(),
        [],
        options=RecordingOptions(),
        shortlist_from=str(tmp_path / "texts.txt"),
        notice=lambda _: None,
    )
    assert heads.form == FULL
    assert len(heads.frequent) == 4


def test_heads_of_which_one_cannot_be_quantised_all_stay_wide(
    monkeypatch: pytest.MonkeyPatch, decoder: AdaDecoder
) -> None:
    """Their logits are, bit by bit, those of heads that never were to be int8."""
    made = []

    def third_fails(weight: torch.Tensor) -> Int8Matrix:
        made.append(weight)
        if len(made) == 3:
            raise LookupError("too odd")
        return Int8Matrix(weight)

    monkeypatch.setattr("adadecode.engine.heads.formed_heads.Int8Matrix", third_fails)
    with pytest.warns(UserWarning, match=r"no int8 heads on this device \(too odd\)") as warned:
        heads = of_form(decoder, dtype="int8")
    assert [one.filename for one in warned] == [__file__]  # not where heads are formed
    monkeypatch.undo()
    assert heads.form == FULL
    normed = torch.randn(1, 2, WIDTH)
    for depth in heads.depths:
        assert torch.equal(heads.apply(depth, normed), decoder.heads.apply(depth, normed))


# -- the tokens of a prompt --------------------


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_text_adds_the_tokens_of_its_prompt(decoder: AdaDecoder, dtype: str | None) -> None:
    """Its heads say of all of them what full heads say; others are those of the shortlist alone."""
    heads = of_form(decoder, shortlist=20, prompt=True, dtype=dtype)
    prompt = [90, 91, heads.tokens[0], 91]
    own, normed = heads.for_text(prompt), torch.randn(1, 2, WIDTH)
    held = [*heads.tokens, *sorted({90, 91} - {*heads.tokens})]
    full = head_logits(decoder, decoder.heads.shaped(decoder.parts.model, dtype=dtype), normed)
    said = head_logits(decoder, own, normed)
    assert torch.allclose(said[..., held], full[..., held], rtol=1e-4, atol=1e-4)
    assert (said.isfinite().sum(-1) == len(held)).all()
    assert (head_logits(decoder, heads, normed).isfinite().sum(-1) == 20).all()
    assert heads.for_text([]).held().tolist() == list(heads.tokens)
    assert decoder.heads.for_text(prompt) is decoder.heads


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_text_shares_the_rows_of_the_shortlist(decoder: AdaDecoder, dtype: str | None) -> None:
    """Beside them it holds the rows of its prompt alone, and its tokens rise all the same."""
    heads = of_form(decoder, shortlist=20, prompt=True, dtype=dtype)
    new = sorted({*range(97)} - {*heads.tokens})[:5]
    own = heads.for_text([*new, heads.tokens[3]])
    assert own._rows.matrix is heads._rows.matrix
    assert own.listed.tolist() == sorted([*heads.tokens, *new])
    more = own._rows._more.matrix
    assert (len(more) if dtype is None else more.rows) == len(new)
    assert heads.for_text(heads.tokens).listed is heads.listed


def test_the_heads_of_a_text_are_made_with_its_prefill(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the time of the prefill, and once for all runs that share one."""
    served = AdaDecoder(decoder.parts.model, of_form(decoder, shortlist=3, prompt=True))
    made: list[int] = []
    for_text = ExitHeads.for_text
    monkeypatch.setattr(
        ExitHeads, "for_text", lambda self, ids: made.append(len(ids)) or for_text(self, ids)
    )
    ids, meter = random_prompt(6), EnergyMeter(decoder.parts.device)
    design = Design.of("adadecode", gamma=0.0, placement=(3,), cap=3)
    prefill = timed_prefill(served, ids, 8, meter)
    assert made == [6]
    start = partial(served.start, ids, design, max_new_tokens=8)
    shared = partial(start, prefilled=prefill.prompt)
    rounds = [timed_run(shared, served.parts.devices, meter, prefill)[0] for _ in range(2)]
    assert made == [6]
    assert timed_run(start, served.parts.devices, meter)[0] == rounds[0] == rounds[1]
    assert made == [6, 6]


def test_texts_that_are_decoded_in_turn_keep_their_own_tokens(decoder: AdaDecoder) -> None:
    """No text changes, and each drafts tokens of the shortlist and of its prompt alone."""
    model = decoder.parts.model
    served = AdaDecoder(model, of_form(decoder, shortlist=3, prompt=True))
    prompts = [random_prompt(6, seed) for seed in range(2)]
    options: dict[str, Any] = {"gamma": 0.0, "placement": (3,), "cap": 3}
    streams = [served.stream(ids, 12, **options) for ids in prompts]
    texts = list(zip(*zip(*streams, strict=True), strict=True))
    assert [list(text) for text in texts] == [greedy_text(model, ids, 12) for ids in prompts]
    design = served.design(policy="adadecode", **options)
    for ids in prompts:
        said: set[int] = set()

        def watch(_: Work, outcome: Outcome, said: set[int] = said) -> None:
            said |= {outcome.token} if isinstance(outcome, Draft) else set()

        text = served.start(ids, design, max_new_tokens=12)
        with served.parts.session():
            for _ in text.steps(watch):
                pass
        held = {*served.heads.tokens, *ids[0].tolist()}
        assert said
        assert said <= held == {*text.heads.held().tolist()}


def test_a_prompt_is_added_to_a_shortlist_alone(decoder: AdaDecoder) -> None:
    assert HeadForm(shortlist=8, prompt=True).label == "shortlist:8 prompt"
    assert form_named("shortlist:8+prompt+int8") == HeadForm(shortlist=8, dtype="int8", prompt=True)
    with pytest.raises(HeadsError, match="say how many tokens it has"):
        decoder.heads.shaped(decoder.parts.model, prompt=True)


def test_heads_are_saved_with_the_prompts_tokens(decoder: AdaDecoder, tmp_path: Path) -> None:
    heads = of_form(decoder, shortlist=20, prompt=True)
    heads.save(tmp_path / "h")
    assert ExitHeads.load(tmp_path / "h", decoder.parts.model).form == heads.form
