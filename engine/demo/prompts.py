"""The demo's held-out prompt sets: arithmetic, code, prose (out of domain), unpredictable.

A small model's greedy text falls into loops, and a loop flatters every figure, so of the candidates those are kept whose
continuation repeats itself least, as measured by distinct 4-grams.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine.demo.corpus import problems, python_files

COUNT = 32
"""Prompts of each domain."""

FRESH = 0.85
"""Distinct 4-grams a continuation needs to be kept at once; if too few reach it, the freshest are taken."""


def distinct_4grams(tokens: Sequence[int]) -> float:
    """Share of the 4-grams of a text that are different ones; 1.0 for texts too short to have two."""
    grams = list(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def arithmetic() -> Iterator[str]:
    """Held-out word problems of three to six steps."""
    for problem in problems(11, held_out=True, events=(3, 6)):
        yield problem.prompt


def code(*, held_out: bool = True) -> Iterator[str]:
    """Library source up to the end of a function's first line, five lines before included."""
    rng = random.Random(12)
    files = python_files(held_out=held_out)
    seen: set[str] = set()
    while True:
        lines = rng.choice(files).splitlines(keepends=True)
        starts = [i for i, line in enumerate(lines) if line.lstrip().startswith("def ") and line.rstrip().endswith(":") and i > 6]
        if starts:
            at = rng.choice(starts)
            text = "".join(lines[at - 5 : at + 1])
            if text not in seen:
                seen.add(text)
                yield text


def prose() -> Iterator[str]:
    """First sentences of English books in the public domain, and a few plain ones."""
    yield from Path(__file__).with_name("prose.txt").read_text(encoding="utf-8").splitlines()


def unpredictable() -> Iterator[str]:
    """Text drawn at random: base64, made-up words, digits and signs."""
    rng = random.Random(13)
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    for turn in itertools.count():
        if turn % 3 == 0:
            yield base64.b64encode(rng.randbytes(60)).decode()
        elif turn % 3 == 1:
            yield " ".join("".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(16))
        else:
            yield "".join(rng.choices("0123456789#%&*+-/=<>?@!;: ", k=60))


SOURCES: dict[str, tuple[Callable[[], Iterator[str]], int]] = {
    "arithmetic": (arithmetic, 32),
    "code": (code, 160),
    "prose": (prose, 40),
    "unpredictable": (unpredictable, 64),
}
"""By domain: the candidates, and how many are tried."""


def choose_prompts(continue_: Callable[[str], Sequence[int]]) -> tuple[list[dict[str, str]], dict[str, dict[str, float]]]:
    """COUNT prompts of each domain, and by domain the mean and lowest distinct 4-grams of the kept ones and the mean of all tried.

    continue_: the model's greedy continuation of a prompt, as tokens.
    """
    chosen, repetition = [], {}
    for domain, (source, tries) in SOURCES.items():
        scored = [(distinct_4grams(continue_(text)), text) for text in itertools.islice(source(), tries)]
        fresh = [pair for pair in scored if pair[0] >= FRESH][:COUNT]
        rest = sorted((pair for pair in scored if pair not in fresh), key=lambda pair: -pair[0])
        kept = [*fresh, *rest[: COUNT - len(fresh)]]
        chosen += [{"domain": domain, "prompt": text} for _, text in kept]
        scores = [score for score, _ in kept]
        repetition[domain] = {
            "mean": sum(scores) / len(scores),
            "lowest": min(scores),
            "mean_of_tried": sum(s for s, _ in scored) / len(scored),
        }
    return chosen, repetition


def write_prompts(prompts: Sequence[dict[str, str]], path: Path) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(p, ensure_ascii=False) + "\n" for p in prompts), encoding="utf-8")
