"""Baselines: each writes generate's text and times its two parts, or says why it does not run."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import accumulate, chain, repeat
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.cache_utils import StaticLayer
from typer.testing import CliRunner

from adadecode.engine.baselines import generate, static_cache
from adadecode.engine.baselines.baseline import TimedRun, n_same
from adadecode.engine.baselines.designs import DesignBaseline, attempt
from adadecode.engine.baselines.factory import DraftModel, make_baselines
from adadecode.engine.baselines.generate import FirstStep, GenerateBaseline
from adadecode.engine.baselines.static_cache import StaticCacheBaseline, static_cache_baseline
from adadecode.engine.cli.profile import app
from adadecode.engine.cli.tables import baseline_tables
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.profiling import baseline_runs
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.pieces import piece_name
from adadecode.engine.profiling.plan import RecordingPlan
from adadecode.engine.profiling.recorder import Recorder, record_plan
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.core.design import Design
from benchmarks import baselines as benchmark
from tests.support.models import greedy_text, random_prompt, tiny_model

CUT = ["gemma", "phi", "cohere", "qwen3_moe"]
"""Architectures on which assistant_early_exit works, besides llama."""
WHOLE = {
    "gpt2": "all its layers",
    "opt": "all its layers",
    "cohere2": "all its layers",
    "qwen3": "layer_types",
    "gemma2": "layer_types",
}
"""Those on which it does not, and why."""
NEW = 14
PROMPT = random_prompt(9)
TIMINGS = ["prefill_s", "decode_s", "compile_s", "energy_j"]
DESIGNS = (
    Design.of("vanilla"),
    Design.of(gamma=0.05, placement=(2, 4), cap=2),
    Design.of("fixed", placement=(2,), cap=2),
)


def decoding(model: PreTrainedModel) -> AdaDecoder:
    return AdaDecoder(model, ExitHeads.identity(model, [1, 2, 3, 4, 5]))


def drafter(**config: Any) -> DraftModel:
    return DraftModel(
        name="three layers",
        model=tiny_model("llama", torch.float32, num_hidden_layers=3, **config),
        tokenizer=None,
    )


@pytest.fixture(scope="module")
def decoder() -> AdaDecoder:
    return decoding(tiny_model("llama", torch.float32))


@pytest.fixture(scope="module")
def text(decoder: AdaDecoder) -> list[int]:
    return greedy_text(decoder.parts.model, PROMPT, NEW, eos=sorted(decoder.eos))


# -- their texts and their times --------------------


@pytest.mark.parametrize("name", ["generate", "lookup:10", "early-exit:1", "early-exit:4", "draft"])
def test_a_baseline_writes_the_text_of_generate(
    decoder: AdaDecoder, text: list[int], name: str
) -> None:
    """Its tokens are those of ``generate`` in FP32."""
    made = {
        one.name: one
        for one in make_baselines(
            "lookup,early-exit,early-exit:4,draft", decoder, longest=32, draft=drafter()
        )
    }
    assert made[name].run(PROMPT, NEW).tokens == text


@pytest.mark.parametrize("design", DESIGNS, ids=lambda design: design.label)
def test_our_designs_run_in_the_same_harness(
    decoder: AdaDecoder, text: list[int], design: Design
) -> None:
    """They give one token in the first step."""
    done = DesignBaseline(decoder=decoder, design=design).run(PROMPT, NEW)
    assert (done.tokens, done.n_first) == (text, 1)


@pytest.mark.parametrize("architecture", CUT)
def test_early_exit_works_where_layers_are_cut(architecture: str) -> None:
    """Its text is that of greedy decoding by the whole model."""
    model = tiny_model(architecture, torch.float32)
    own = decoding(model)
    (_, early) = make_baselines("early-exit:2", own, longest=32)
    assert early.run(PROMPT, NEW).tokens == greedy_text(model, PROMPT, NEW, eos=sorted(own.eos))


@pytest.mark.parametrize("architecture", WHOLE)
def test_early_exit_says_where_layers_are_not_cut(architecture: str) -> None:
    """Before it is run, and the model keeps its layers."""
    own = decoding(tiny_model(architecture, torch.float32))
    (_, early) = make_baselines("early-exit:2", own, longest=32)
    message = str(attempt(early, PROMPT, NEW))
    assert "cannot exit early" in message
    assert WHOLE[architecture] in message
    assert own.parts.config.num_hidden_layers == 6


def test_a_failing_drafter_is_reported_and_leaves_the_model_whole() -> None:
    """Over a sliding window the cache of transformers' drafter cannot be cropped."""
    model = tiny_model("mistral", torch.float32)
    own = decoding(model)
    settings, reference = model.generation_config, greedy_text(model, PROMPT, NEW)
    (_, early) = make_baselines("early-exit:3", own, longest=32)
    assert str(attempt(early, PROMPT, NEW)).startswith("RuntimeError: ")
    assert model.config.num_hidden_layers == 6
    assert model.generation_config is settings
    assert greedy_text(model, PROMPT, NEW) == reference


@pytest.mark.parametrize("name", ["generate", "early-exit:2"])
def test_a_baseline_leaves_the_model_to_other_threads(name: str) -> None:
    """Its settings and its number of layers are what they were at every step."""
    model = tiny_model("llama", torch.float32)
    own = decoding(model)
    settings, n_layers, seen = model.generation_config, own.parts.n_layers, []
    settings.repetition_penalty = 9.0

    def watch(*_: object) -> torch.Tensor:
        seen.append((model.generation_config is settings, model.config.num_hidden_layers))
        return torch.zeros(1, dtype=torch.bool)

    *_, baseline = make_baselines(name, own, longest=32)
    watched = replace(baseline, options={**baseline.options, "stopping_criteria": [watch]})
    tokens = watched.run(PROMPT, NEW).tokens
    assert set(seen) == {(True, n_layers)}
    assert tokens != greedy_text(model, PROMPT, NEW, eos=sorted(own.eos))
    settings.repetition_penalty = 1.0
    assert tokens == greedy_text(model, PROMPT, NEW, eos=sorted(own.eos))


def test_a_compiled_baseline_times_compilation_apart(text: list[int]) -> None:
    """The run that is timed compiled nothing; a second call has nothing left to compile."""
    own = decoding(tiny_model("llama", torch.float32))
    static = static_cache_baseline(own, 32, backend="eager")
    first, second = static.run(PROMPT, NEW), static.run(PROMPT, NEW)
    assert first.tokens == second.tokens == text
    assert first.compile_s > 0 == second.compile_s


def uncompiled(
    monkeypatch: pytest.MonkeyPatch, decoder: AdaDecoder, seconds: list[float]
) -> StaticCacheBaseline:
    """Run as transformers does where it compiles, without the wait.

    Compiling takes these seconds, run by run, then none.
    """
    clock = accumulate(chain.from_iterable((0.0, spent) for spent in chain(seconds, repeat(0.0))))
    monkeypatch.setattr(static_cache, "compiling_seconds", lambda: next(clock))
    monkeypatch.setattr(decoder.parts.model, "_compiled_call", None, raising=False)
    static = static_cache_baseline(decoder, 32)
    static.options["compile_config"]._compile_all_devices = False
    return static


def test_a_static_cache_is_made_once(
    decoder: AdaDecoder, text: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a graph was captured on stays in place; the cache's past changes no text."""
    made: list[int] = []
    initialise = StaticLayer.lazy_initialization
    monkeypatch.setattr(
        StaticLayer,
        "lazy_initialization",
        lambda self, *args: (made.append(1), initialise(self, *args)),
    )
    static = uncompiled(monkeypatch, decoder, [])
    other = static.run(random_prompt(17), 5)
    places = [layer.keys.data_ptr() for layer in static.cache.layers]
    assert static.run(PROMPT, NEW).tokens == text
    assert other.tokens == greedy_text(
        decoder.parts.model, random_prompt(17), 5, eos=sorted(decoder.eos)
    )
    assert [layer.keys.data_ptr() for layer in static.cache.layers] == places
    assert len(made) == len(places) == 6


def test_two_runs_after_compiling_are_not_counted(
    decoder: AdaDecoder, text: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one that compiles; later runs count at once, until one compiles again."""
    static = uncompiled(monkeypatch, decoder, [3.0, 0.0, 0.0, 0.0, 0.0, 2.0])
    done = [static.run(PROMPT, NEW) for _ in range(4)]
    assert [(one.compile_s, one.uncounted) for one in done] == [
        (3.0, 3),
        (0.0, 0),
        (2.0, 3),
        (0.0, 0),
    ]
    assert all(one.tokens == text for one in done)


def test_a_static_cache_describes_how_it_is_kept(decoder: AdaDecoder) -> None:
    about = static_cache_baseline(decoder, 32).about()
    assert (about["cache"], about["max_cache_len"]) == (
        "one StaticCache, emptied before each run",
        32,
    )
    assert about["uncounted"] == "runs that compile, and 2 after each"


def test_a_text_that_a_static_cache_cannot_hold_is_reported(decoder: AdaDecoder) -> None:
    """The length is checked before anything is run."""
    assert "a static cache of 20 positions" in str(
        attempt(static_cache_baseline(decoder, 20), PROMPT, NEW)
    )


class Full(GenerateBaseline):
    """A baseline that runs out of memory."""

    def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
        raise RuntimeError("CUDA error: out of memory")


def test_memory_that_runs_out_is_no_result(decoder: AdaDecoder, tmp_path: Path) -> None:
    """The recording stops without the piece, which is made when it is resumed."""
    plan, out = plan_of(), tmp_path / "p"
    full = Full(name="lookup:10", model=decoder.parts.model, eos=decoder.eos)
    with pytest.raises(RuntimeError, match="out of memory"):
        record_plan(
            decoder,
            plan,
            out,
            resume=False,
            baselines=(*make_baselines("generate", decoder, longest=32), full),
        )
    pieces = PieceStore.open(out, plan.settings, resume=True)
    assert pieces.has(piece_name("trace", "0001"))
    assert not pieces.has(piece_name("baselines", "0000"))


def test_what_fails_in_our_own_design_is_raised(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no result of a comparison, but a fault."""

    def failing(*_: object, **__: object) -> None:
        raise ValueError("a fault")

    monkeypatch.setattr(AdaDecoder, "start", failing)
    with pytest.raises(ValueError, match="a fault"):
        attempt(DesignBaseline(decoder=decoder, design=DESIGNS[0]), PROMPT, NEW)


def test_a_model_that_is_not_compiled_is_reported(decoder: AdaDecoder) -> None:
    """transformers goes on without compiling, with no more than a warning."""
    static = static_cache_baseline(decoder, 32)
    static.options["compile_config"]._compile_all_devices = False
    assert "without compiling" in str(attempt(static, PROMPT, NEW))


def test_a_model_that_compiles_in_every_run_is_reported(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time would be that of the compiler."""
    clock = iter(range(100))
    monkeypatch.setattr(static_cache, "compiling_seconds", lambda: float(next(clock)))
    monkeypatch.setattr(decoder.parts.model, "_compiled_call", None, raising=False)
    static = static_cache_baseline(decoder, 32)
    static.options["compile_config"]._compile_all_devices = False
    assert "compiled anew in each of 4 runs" in str(attempt(static, PROMPT, NEW))


def test_the_first_step_is_where_prefill_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt is no step; later steps change nothing."""
    clock = iter([5.0, 7.0])
    monkeypatch.setattr(generate, "synchronized_now", lambda _device: next(clock))
    first = FirstStep(torch.device("cpu"))
    for tokens in (torch.zeros(1, 9), torch.zeros(1, 3), torch.zeros(1, 2)):
        first.put(tokens)
    first.end()
    assert (first.at, first.n_first) == (5.0, 3)


def test_prefill_and_decode_are_timed_apart(
    decoder: AdaDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begin, first step, end: no other moment counts."""
    clock = iter([10.0, 11.5, 15.0])
    monkeypatch.setattr(generate, "synchronized_now", lambda _device: next(clock))
    done = GenerateBaseline(name="generate", model=decoder.parts.model, eos=decoder.eos).run(
        PROMPT, 4
    )
    assert (done.prefill_s, done.decode_s, done.n_first) == (1.5, 3.5, 1)


def test_a_drafter_may_give_more_than_one_token_first(decoder: AdaDecoder) -> None:
    """A draft model that is the model itself is always right."""
    twin = DraftModel(name="twin", model=tiny_model("llama", torch.float32), tokenizer=None)
    twin.model.generation_config.assistant_confidence_threshold = 0.0
    (_, draft) = make_baselines("draft", decoder, longest=32, draft=twin)
    done = draft.run(PROMPT, NEW)
    assert 1 < done.n_first <= len(done.tokens)


def test_settings_that_bend_greedy_decoding_are_left_out(text: list[int]) -> None:
    """Our decoder leaves them out too."""
    model = tiny_model("llama", torch.float32)
    own = decoding(model)
    model.generation_config.repetition_penalty = 3.0
    (plain,) = make_baselines("generate", own, longest=32)
    assert plain.run(PROMPT, NEW).tokens == text
    assert model.generation_config.repetition_penalty == 3.0


@pytest.mark.parametrize(
    ("tokens", "same"), [([1, 2, 3], 3), ([1, 2], 2), ([1, 2, 3, 4], 3), ([1, 9, 3], 1), ([], 0)]
)
def test_tokens_until_the_first_difference(tokens: list[int], same: int) -> None:
    assert n_same(tokens, [1, 2, 3]) == same


# -- naming them --------------------


def test_all_names_every_baseline(decoder: AdaDecoder) -> None:
    """The one that lacks its model says so."""
    made = make_baselines("all", decoder, longest=32)
    assert [one.name for one in made] == [
        "generate",
        "static",
        "lookup:10",
        "early-exit:1",
        "draft",
    ]
    assert attempt(made[-1], PROMPT, NEW) == "no --draft-model was given"


def test_generate_is_always_among_them_and_none_is_twice(decoder: AdaDecoder) -> None:
    assert [
        one.name for one in make_baselines("lookup,lookup:10,lookup:3", decoder, longest=32)
    ] == ["generate", "lookup:10", "lookup:3"]


def test_a_scripted_recording_has_only_those_without_drafts(decoder: AdaDecoder) -> None:
    """Their texts do not end early."""
    made = make_baselines("all", decoder, longest=32, scripted=True)
    assert [(one.name, one.eos) for one in made] == [
        ("generate", frozenset()),
        ("static", frozenset()),
    ]
    with pytest.raises(InputError, match="no text of its own to draft from"):
        make_baselines("lookup", decoder, longest=32, scripted=True)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("eagle", "no baseline 'eagle': known are all, generate"),
        ("", "no baseline ''"),
        ("static:3", "like lookup:10 or early-exit:4, got 'static:3'"),
        ("lookup:0", "like lookup:10"),
        ("lookup:x", "like lookup:10"),
        ("early-exit:6", "depth 1..5 of this model, got 6"),
        ("draft", "name it with --draft-model"),
    ],
)
def test_a_bad_name_is_refused(decoder: AdaDecoder, named: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_baselines(named, decoder, longest=32)


def test_a_draft_model_that_generate_does_not_go_with_is_refused(decoder: AdaDecoder) -> None:
    """Of another size without tokenizers that say how to translate."""
    with pytest.raises(
        InputError,
        match=r"the draft model has a vocabulary of 150, the model .*: take one of the same family",
    ):
        make_baselines("draft", decoder, longest=32, draft=drafter(vocab_size=150))


# -- recording them --------------------


def plan_of(settings: dict[str, Any] | None = None) -> RecordingPlan:
    return RecordingPlan(
        prompts=(Prompt(text="a", domain="x"), Prompt(text="b", domain="y")),
        encoded=((5, 6, 7), (8, 9, 10, 11, 3)),
        designs=DESIGNS,
        contexts=(4,),
        walks=(4,),
        max_tokens=3,
        max_new_tokens=10,
        repeats=2,
        samples=1,
        floor=0.9,
        seed=0,
        settings={"model": "tiny", "heads": "identity", **(settings or {})},
    )


def with_a_broken_one(decoder: AdaDecoder) -> tuple[GenerateBaseline, ...]:
    broken = GenerateBaseline(
        name="broken", model=decoder.parts.model, eos=decoder.eos, options={"no_such_option": 1}
    )
    return (*make_baselines("lookup,early-exit:2", decoder, longest=32), broken)


@pytest.fixture(scope="module")
def recorded(decoder: AdaDecoder, tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return record_plan(
        decoder,
        plan_of(),
        tmp_path_factory.mktemp("baselines") / "p",
        resume=False,
        baselines=with_a_broken_one(decoder),
    )


def test_a_recording_holds_checks_then_timed_runs(recorded: Profile) -> None:
    """Of every baseline on every prompt in every repeat; designs are checked alone."""
    table = recorded.baselines
    counts = table.groupby("name")["repeat"].agg(lambda repeats: sorted(repeats.tolist()))
    for name in ("generate", "lookup:10", "early-exit:2"):
        assert counts[name] == [-1, -1, 0, 0, 1, 1]
    for design in DESIGNS:
        assert counts[design.label] == [-1, -1]
    ran = table[table["error"] == ""]
    assert ran["exact"].all()
    assert (ran["n_same"] == ran["n_tokens"]).all()


def test_a_baseline_that_fails_is_recorded_with_its_reason(recorded: Profile) -> None:
    """Once a prompt, when it is checked; it is not timed."""
    failed = recorded.baselines[recorded.baselines["name"] == "broken"]
    assert failed["repeat"].tolist() == [-1, -1]
    assert failed["error"].str.contains("no_such_option").all()
    assert failed["prefill_s"].isna().all()


def test_the_manifest_says_what_the_baselines_were(recorded: Profile) -> None:
    about = recorded.manifest["baselines"]
    assert about["early-exit:2"]["assistant_early_exit"] == 2
    assert about["lookup:10"]["prompt_lookup_num_tokens"] == 10
    assert {"torch", "transformers"} <= recorded.manifest["software"].keys()


def test_an_interrupted_recording_resumes_with_its_baselines(
    decoder: AdaDecoder, recorded: Profile, tmp_path: Path
) -> None:
    """Everything but the seconds is as without the interruption."""
    plan = plan_of()
    steps = Recorder(
        decoder,
        plan,
        PieceStore.open(tmp_path / "p", plan.settings, resume=False),
        with_a_broken_one(decoder),
    ).run()
    for _ in range(6):
        next(steps)
    again = record_plan(
        decoder, plan, tmp_path / "p", resume=True, baselines=with_a_broken_one(decoder)
    )
    whole, resumed = (profile.baselines.drop(columns=TIMINGS) for profile in (recorded, again))
    sort = ["name", "prompt", "repeat"]
    pd.testing.assert_frame_equal(
        whole.sort_values(sort, ignore_index=True), resumed.sort_values(sort, ignore_index=True)
    )


def test_other_text_is_counted_until_it_differs(decoder: AdaDecoder) -> None:
    """A baseline that is not lossless."""

    class Wrong(GenerateBaseline):
        def run(self, ids: torch.Tensor, max_new_tokens: int) -> TimedRun:
            done = super().run(ids, max_new_tokens)
            done.tokens[5] += 1
            return done

    plain = GenerateBaseline(name="generate", model=decoder.parts.model, eos=decoder.eos)
    wrong = Wrong(name="wrong", model=decoder.parts.model, eos=decoder.eos)
    fight = baseline_runs.Contest(
        decoder, (plain, wrong), (), Recorder(decoder, plan_of(), PieceStore(Path("unused"))).meter
    )
    rows = {row["name"]: row for row in fight.check(0, PROMPT, NEW)}
    assert (rows["generate"]["exact"], rows["wrong"]["exact"], rows["wrong"]["n_same"]) == (
        True,
        False,
        5,
    )
    assert math.isnan(rows["wrong"]["energy_j"])


def test_a_recording_says_if_generate_itself_fails(decoder: AdaDecoder, tmp_path: Path) -> None:
    """There is no text to hold anything against."""
    broken = GenerateBaseline(
        name="generate", model=decoder.parts.model, eos=decoder.eos, options={"no_such_option": 1}
    )
    with pytest.raises(InputError, match="record without --baselines"):
        record_plan(decoder, plan_of(), tmp_path / "p", resume=False, baselines=(broken,))


def test_the_table_that_ends_a_recording_has_them(recorded: Profile) -> None:
    """The caption names those that failed."""
    (table,) = baseline_tables(recorded)
    assert set(table.columns[0].cells) == {
        "generate",
        "lookup:10",
        "early-exit:2",
        *(design.label for design in DESIGNS),
    }
    assert "broken did not run: " in str(table.caption)


# -- the command --------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a smaller one to draft for it, their tokenizer, and prompts."""
    folder = tmp_path_factory.mktemp("models")
    words = {"<pad>": 0, "<s>": 1, "</s>": 2, **{f"w{i}": i for i in range(3, 97)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )
    for name, layers in (("model", 6), ("draft", 2)):
        tiny_model("llama", torch.float32, num_hidden_layers=layers).save_pretrained(folder / name)
        fast.save_pretrained(folder / name)
    (folder / "prompts.jsonl").write_text(
        json.dumps({"prompt": "w10 w11 w12", "domain": "d"}) + "\n"
    )
    return folder


def options(saved: Path, out: Path) -> list[str]:
    model = [
        "--model",
        str(saved / "model"),
        "--heads",
        "identity:2,4",
        "--prompts",
        str(saved / "prompts.jsonl"),
    ]
    return [
        *model,
        "--out",
        str(out),
        "--max-new-tokens",
        "8",
        "--gammas",
        "0.05",
        "--placements",
        "2",
        "--repeats",
        "1",
        *("--cap", "2", "--contexts", "4,11"),
    ]


def test_the_command_records_what_its_options_name(saved: Path, tmp_path: Path) -> None:
    """A draft model by its path; the profile reads back."""
    named = ["--baselines", "lookup:4,draft", "--draft-model", str(saved / "draft")]
    done = CliRunner().invoke(app, [*options(saved, tmp_path / "p"), *named])
    assert done.exit_code == 0, done.output
    assert "lookup:4" in done.stdout
    profile = read_profile(tmp_path / "p")
    assert profile.manifest["baselines"]["draft"]["class"] == "LlamaForCausalLM"
    assert set(profile.baselines["name"]) >= {"generate", "lookup:4", "draft", "vanilla"}
    assert profile.baselines["exact"].all()


def test_a_resumed_recording_keeps_its_draft_model(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other weights in its folder are refused."""

    def stopping(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PieceStore, "write", stopping)
        named = ["--baselines", "draft", "--draft-model", str(saved / "draft")]
        assert CliRunner().invoke(app, [*options(saved, tmp_path / "p"), *named]).exit_code == 130
    refused = CliRunner().invoke(
        app, ["--out", str(tmp_path / "p"), "--resume", "--draft-model", str(saved / "model")]
    )
    assert isinstance(refused.exception, InputError)
    assert "draft_model was" in str(refused.exception)
    assert CliRunner().invoke(app, ["--out", str(tmp_path / "p"), "--resume"]).exit_code == 0
    assert (read_profile(tmp_path / "p").baselines["name"] == "draft").any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--draft-model", "m"], "add --baselines"),
        (["--baselines", "eagle"], "no baseline 'eagle'"),
        (["--baselines", "draft"], "name it with --draft-model"),
        (["--baselines", "draft", "--draft-model", str(Path(__file__).parent)], "no tokenizer for"),
        (["--baselines", "generate", "--temperature", "0.7"], "baselines decode greedily"),
    ],
)
def test_bad_options_are_refused(
    saved: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    refused = CliRunner().invoke(app, [*options(saved, tmp_path / "p"), *change])
    assert isinstance(refused.exception, InputError), refused.output
    assert message in str(refused.exception)
    assert not (tmp_path / "p").exists()


# -- the benchmark --------------------


def test_the_benchmark_compares_all_and_reports_failures(decoder: AdaDecoder) -> None:
    """Ratios are taken repeat by repeat; a method over itself is 1."""
    ours = [DesignBaseline(decoder=decoder, design=design) for design in DESIGNS]
    result = benchmark.compare(
        "d",
        [*with_a_broken_one(decoder), *ours],
        [(PROMPT, NEW), (random_prompt(5), NEW)],
        repeats=2,
    )
    assert "no_such_option" in result["baselines"]["broken"]["error"]
    rest = {name: one for name, one in result["baselines"].items() if name != "broken"}
    assert all(
        (one["texts"], one["equal"], one["first_difference"]) == (2, 2, None)
        for one in rest.values()
    )
    assert (
        rest["vanilla"]["over_vanilla"]
        == rest["generate"]["over_generate"]
        == {"median": 1.0, "min": 1.0, "max": 1.0}
    )
    assert len(benchmark.table_of(result).rows) == len(result["baselines"])
