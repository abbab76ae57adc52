"""Recipes of the fuzzer: every reader refuses a damaged file, or answers as before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.fuzz.campaign import Campaign, recipes_in
from scripts.fuzz.case import Bench
from scripts.fuzz.outcome import LONGEST_MESSAGE, End, of_noise, of_refusal
from scripts.fuzz.reader import Reader, Refused, written
from scripts.fuzz.readers.every import READERS
from scripts.fuzz.recipe import Mutation, Recipe
from scripts.fuzz.values import TAG
from tests.support.paths import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

CORPUS = sorted((ROOT / "tests" / "fuzz" / "corpus").glob("*.json"))

QUICK = ("profile", "device TOML", "Vidur CSV", "heads")

CASES = 12
"""Of each reader, in the quick test."""

CHANGE = Mutation(change="bytes append", file="number.txt", at=(0,), value="30")
"""Appends a zero."""


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the fuzzer in a process without threads, from which it can fork."""
    return subprocess.run(
        [sys.executable, "-m", "scripts.fuzz", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_nothing_is_found_with_a_fixed_seed() -> None:
    """A few cases of the readers that are quick; `make fuzz` runs all for as long as one likes."""
    readers = [word for name in QUICK for word in ("--reader", name)]
    done = fuzz("--cases", str(CASES), "--minutes", "10", "--seed", "13", *readers)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_what_was_found_once_is_mended() -> None:
    """Each recipe was a traceback, a hang or a wrong answer."""
    corpora = [word for path in CORPUS for word in ("--recipes", str(path))]
    done = fuzz(*corpora, "--minutes", "10")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_the_corpus_is_small_and_of_known_readers() -> None:
    """It holds recipes, no files."""
    for path in CORPUS:
        assert path.stat().st_size < 100_000
        assert {recipe.reader for recipe in recipes_in([path])} <= READERS.keys()


def test_the_same_seed_draws_the_same_recipes(tmp_path: Path) -> None:
    """Another seed draws others."""
    reader = {"number": number_reader(lambda text: text)}
    campaigns = [Campaign(reader, tmp_path / f"{i}", seed=seed) for i, seed in enumerate((1, 1, 2))]
    drawn = [[campaign.drawn("number", index) for index in range(8)] for campaign in campaigns]
    assert drawn[0] == drawn[1] != drawn[2]


def number_reader(answer: Callable[[str], str]) -> Reader:
    """A reader of one number."""

    def build() -> None:
        Path("number.txt").write_text("7")

    return Reader(
        name="number", build=build, actions={"read": lambda: answer(Path("number.txt").read_text())}
    )


def refusing(text: str) -> str:
    if text != "7":
        raise Refused("error: wanted 7: write it")
    return text


def raising(text: str) -> str:
    return text if text == "7" else str(1 // 0)


def sleeping(text: str) -> str:
    if text != "7":
        os.mkfifo("pipe")
        Path("pipe").read_text()
    return text


def pasting(text: str) -> str:
    Path("page.html").write_text("<p>" if text == "7" else f"<p>{TAG}")
    return written(("page.html",))


def eating(text: str) -> str:
    return text if text == "7" else bytes(2 * 10**9).hex()[:1]


def ending(text: str) -> str:
    if text != "7":
        os.kill(os.getpid(), signal.SIGKILL)
    return text


@pytest.mark.parametrize(
    ("answer", "end"),
    [
        (refusing, End.REFUSED),
        (lambda text: text[:1], End.SAME),
        (lambda text: text, End.OTHER),
        (raising, End.TRACEBACK),
        (sleeping, End.HANG),
        (eating, End.MEMORY),
        (ending, End.CRASH),
        (pasting, End.MARKUP),
    ],
    ids=["refused", "same", "other", "traceback", "hang", "memory", "crash", "markup"],
)
def test_each_way_to_end_is_told_apart(
    tmp_path: Path, answer: Callable[[str], str], end: End
) -> None:
    """A hang is found without waiting for it, and a crash ends no other case."""
    bench = Bench.of(number_reader(answer), tmp_path)
    recipe = Recipe(reader="number", action="read", mutations=(CHANGE,))
    _, outcome = bench.run(recipe)
    assert outcome.end == end


def test_another_answer_without_a_reason_is_a_finding(tmp_path: Path) -> None:
    """It is counted once for each place, with its recipe."""
    campaign = Campaign({"number": number_reader(lambda text: text)}, tmp_path)
    recipe = Recipe(reader="number", action="read", mutations=(CHANGE,))
    for _ in range(2):
        campaign.judge(recipe)
    (finding,) = campaign.tally.findings.values()
    assert (finding["end"], finding["times"]) == (End.OTHER, 2)
    assert Recipe.of(json.loads(json.dumps(finding["recipe"]))) == recipe


def test_a_refusal_is_one_short_sentence_that_obeys_nothing() -> None:
    """Lines, length and terminal escapes are findings of their own."""
    assert of_refusal("error: wanted 7, got 8: write 7\n").end == End.REFUSED
    for text in ("error: a\nb", "error: \x1b[2J", "error: " + "long " * LONGEST_MESSAGE):
        assert of_refusal(text).end == End.MESSAGE
    noise = of_noise("a\x1b[2J", "")
    assert noise is not None
    assert noise.end == End.MARKUP
