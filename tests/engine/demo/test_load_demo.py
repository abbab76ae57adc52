"""The bundled demo: what is shipped is whole, held out, and as the card says."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from adadecode.engine import AdaDecoder, Demo, load_demo
from adadecode.engine.cli.demo import SOURCE, remove_earlier
from adadecode.engine.demo import MODEL
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.profiles.errors import InputError
from adadecode.profiles.store import read_profile
from scripts.demo_model.arithmetic import LARGEST, final_number, make_problem
from scripts.demo_model.corpus import is_held_out, problems
from scripts.demo_model.prompt_sets import COUNT, NEW_TOKENS, distinct_4grams, length_without_loop
from tests.support.models import greedy_text
from tests.support.paths import DEMO_PROFILE


@pytest.fixture(scope="module")
def demo() -> Demo:
    return load_demo()


def test_it_has_heads_at_every_depth_and_prompts_in_four_domains(demo: Demo) -> None:
    """15 heads for 16 layers; at least 32 prompts in each domain, all different."""
    assert demo.heads.depths == tuple(range(1, 16))
    assert set(demo.prompts) == {"arithmetic", "code", "prose", "unpredictable"}
    assert all(len(set(texts)) == len(texts) >= COUNT for texts in demo.prompts.values())


def test_the_committed_recording_is_of_its_heads(demo: Demo) -> None:
    """By their fingerprint, which counted tokens are no part of. It is older than their gates."""
    bare = demo.heads.gated(demo.model, None)
    assert bare.digest() == read_profile(DEMO_PROFILE).manifest["settings"]["heads_digest"]


def test_its_heads_can_have_a_shortlist(demo: Demo) -> None:
    """It holds most of arithmetic, which the model was trained on, and the end of a text always."""
    short = demo.heads.shaped(demo.model, shortlist=256)
    assert short.form.shortlist == 256
    assert set(AdaDecoder(demo.model).eos) <= set(short.tokens or ())
    profile = read_profile(DEMO_PROFILE)
    arithmetic = profile.prompts[profile.prompts["domain"] == "arithmetic"]["prompt"]
    tokens = profile.trace[
        (profile.trace["depth"] == profile.n_layers) & profile.trace["prompt"].isin(arithmetic)
    ]["token"]
    assert tokens.isin(short.tokens).mean() > 0.99


def test_an_unknown_dtype_device_or_domain_is_refused(demo: Demo) -> None:
    for dtype in ("fp8", torch.int8, 3):
        with pytest.raises(InputError, match=r"unknown dtype .*: known are float16, bfloat16"):
            load_demo(dtype)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="unknown device 'tpu': known are auto, cpu, cuda"):
        load_demo(device="tpu")
    with pytest.raises(InputError, match="no examples of the domain 'poems': known are arithmetic"):
        demo.of("poems")


def test_its_folder_is_known_without_torch() -> None:
    code = "import sys; from adadecode.engine.demo import MODEL, PROMPTS; assert PROMPTS.exists(); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True)


def test_it_is_small() -> None:
    """Everything shipped stays under 30 MB."""
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 30e6


def test_its_arithmetic_prompts_are_held_out(demo: Demo) -> None:
    """Every question is one that training never drew."""
    for text in demo.prompts["arithmetic"]:
        question = text.removeprefix("Question: ").removesuffix("\nAnswer:")
        assert is_held_out(question)


def answer(demo: Demo, decoder: AdaDecoder, prompt: str) -> int | None:
    """Return the number that a question is answered with, drafting by the head at depth 4."""
    tokens = decoder.generate(
        encode(demo.tokenizer, Prompt(text=prompt)),
        max_new_tokens=200,
        gamma=0.8,
        placement=(4,),
    ).tokens
    return final_number(demo.tokenizer.decode(tokens, skip_special_tokens=True))


def test_it_answers_held_out_problems_as_recorded(demo: Demo) -> None:
    """Greedy text in FP32 is deterministic: the answers are those of 1 December 2026.

    One of the first four was right: the model writes sums, but does not add well.
    """
    torch.set_num_threads(1)
    decoder = AdaDecoder(demo.model, demo.heads)
    first = list(itertools.islice(problems(31, held_out=True, events=(3, 6)), 4))
    assert [answer(demo, decoder, problem.prompt) for problem in first] == [74, 22, 23, 19]
    assert [problem.result for problem in first] == [99, 22, 22, 11]


@pytest.mark.slow
def test_it_answers_as_often_as_its_card_says(demo: Demo) -> None:
    """The share of right answers to 20 held-out problems is near the card's."""
    torch.set_num_threads(1)
    decoder = AdaDecoder(demo.model, demo.heads)
    drawn = list(itertools.islice(problems(31, held_out=True, events=(3, 6)), 20))
    right = sum(answer(demo, decoder, problem.prompt) == problem.result for problem in drawn)
    claimed = json.loads((MODEL / "facts.json").read_text())["answers"]["right"]
    assert abs(right / len(drawn) - claimed) < 0.3


def test_a_problem_is_consistent() -> None:
    """Every number stays in range, and the answer ends in the result."""
    rng = random.Random(5)
    for _ in range(300):
        problem = make_problem(rng)
        assert final_number(problem.document) == problem.result
        numbers = [
            int(word)
            for word in problem.document.replace(".", " ").replace(",", " ").split()
            if word.isdigit()
        ]
        assert 0 < min(numbers) <= max(numbers) <= LARGEST


def test_a_problems_sums_are_right() -> None:
    """Each step's sum holds."""
    rng = random.Random(6)
    operations = {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a // b,
    }
    for _ in range(300):
        words = make_problem(rng).working.split()
        for at in (i for i, word in enumerate(words) if word == "="):
            left, operation, right, result = (
                words[at - 3],
                words[at - 2],
                words[at - 1],
                words[at + 1],
            )
            assert operations[operation](int(left), int(right)) == int(result.strip("."))


def test_a_text_is_fresh_until_it_loops() -> None:
    """A hundred different tokens, then a loop that soon weighs more than 15 %."""
    assert length_without_loop(range(100)) == 100
    assert 100 < length_without_loop([*range(100), *[1, 2] * 50]) < 130


def test_its_lengths_keep_out_of_loops(demo: Demo) -> None:
    """Each prompt says how far to go, at most 128 tokens."""
    assert all(1 <= (prompt.max_new_tokens or 0) <= NEW_TOKENS for prompt in demo.examples)


def test_distinct_4grams_sees_a_loop() -> None:
    """A loop of two tokens has next to no different 4-grams; a text without repetition has all."""
    assert distinct_4grams([1, 2] * 50) < 0.05
    assert distinct_4grams(range(50)) == 1.0


@pytest.mark.parametrize(
    ("domain", "new_tokens"),
    [
        ("prose", 24),
        *(
            pytest.param(domain, 64, marks=pytest.mark.slow)
            for domain in ("arithmetic", "code", "prose", "unpredictable")
        ),
    ],
)
def test_its_text_is_the_models_own(domain: str, new_tokens: int) -> None:
    """In FP64 it is that of ``generate``, whatever the policy, gamma and placement.

    All 128 prompts: ``make bench ARGS=lossless``.
    """
    demo = load_demo(torch.float64)
    decoder = AdaDecoder(demo.model, demo.heads)
    eos = sorted(decoder.eos)
    ids = encode(demo.tokenizer, Prompt(text=demo.prompts[domain][0]))
    text = greedy_text(demo.model, ids, new_tokens, eos=eos)
    for options in (
        {"policy": "vanilla"},
        {"gamma": 0.0, "placement": (4,)},
        {"gamma": 0.3, "placement": (4, 8)},
        {"gamma": 0.75},
        {"policy": "fixed", "placement": (8,)},
    ):
        assert decoder.generate(ids, new_tokens, **options).tokens == text, options


def test_a_new_demo_removes_only_what_an_earlier_one_recorded(tmp_path: Path) -> None:
    """Its own tables go; anybody else's file stays, and so does another recording."""
    for name, settings in (
        ("own", {"heads": SOURCE.heads, "model": SOURCE.model}),
        ("other", {"heads": "h", "model": "m"}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps({"settings": settings}))
        for file in ("runs.parquet", "notes.txt"):
            (tmp_path / name / file).write_text("")
        remove_earlier(tmp_path / name)
    assert {path.name for path in (tmp_path / "own").iterdir()} == {"notes.txt"}
    assert {path.name for path in (tmp_path / "other").iterdir()} == {
        "manifest.json",
        "runs.parquet",
        "notes.txt",
    }
