"""The demo's held-out prompt sets: arithmetic, code, prose (out of domain), unpredictable.

A small model's greedy text falls into loops, and a loop makes every figure look better. Each prompt
therefore comes with a length at which its continuation does not loop yet, measured by distinct
4-grams. Of the candidates, those whose continuations are longest are kept.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from adadecode.profiles.atomic_write import write_text
from scripts.demo_model.corpus import problems, python_files

COUNT = 32
"""Prompts of each domain."""

NEW_TOKENS = 128
"""The longest continuation."""

MIN_DISTINCT = 0.85
"""Least share of distinct 4-grams of a continuation that does not loop."""


def distinct_4grams(tokens: Sequence[int]) -> float:
    """Return the share of a text's 4-grams that are distinct; 1.0 where it is too short for two."""
    grams = list(zip(tokens, tokens[1:], tokens[2:], tokens[3:], strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def arithmetic() -> Iterator[str]:
    """Yield held-out word problems of three to six steps."""
    for problem in problems(11, held_out=True, events=(3, 6)):
        yield problem.prompt


def code(*, held_out: bool = True) -> Iterator[str]:
    """Yield library source: the first line of a function and the five lines before it."""
    rng = random.Random(12)
    files = python_files(held_out=held_out)
    seen: set[str] = set()
    while True:
        lines = rng.choice(files).splitlines(keepends=True)
        starts = [
            i
            for i, line in enumerate(lines)
            if line.lstrip().startswith("def ") and line.rstrip().endswith(":") and i > 6
        ]
        if starts:
            start = rng.choice(starts)
            text = "".join(lines[start - 5 : start + 1])
            if text not in seen:
                seen.add(text)
                yield text


def prose() -> Iterator[str]:
    """Yield first sentences of English books in the public domain, and a few plain ones."""
    yield from Path(__file__).with_name("prose.txt").read_text(encoding="utf-8").splitlines()


def unpredictable() -> Iterator[str]:
    """Yield random text: base64, made-up words, digits and signs in turn."""
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
    "code": (code, 220),
    "prose": (prose, 40),
    "unpredictable": (unpredictable, 120),
}
"""By domain, the candidates and how many of them are tried."""


def length_without_loop(tokens: Sequence[int]) -> int:
    """Return the longest beginning of a text whose distinct 4-grams reach `MIN_DISTINCT`."""
    lengths = range(len(tokens), -1, -1)
    return next(n for n in lengths if distinct_4grams(tokens[:n]) >= MIN_DISTINCT)


def choose_prompts(
    continue_: Callable[[str], Sequence[int]],
) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """Choose `COUNT` prompts of each domain.

    Args:
        continue_: Returns the model's greedy continuation of a prompt, of at most `NEW_TOKENS`
            tokens.

    Returns:
        The prompts, each with the length at which its text does not loop yet; and, by domain, what
        repetition remains.
    """
    chosen, repetition = [], {}
    for domain, (source, tries) in SOURCES.items():
        texts = [(text, continue_(text)) for text in itertools.islice(source(), tries)]
        lengths = {text: length_without_loop(tokens) for text, tokens in texts}
        kept = sorted(texts, key=lambda pair: -lengths[pair[0]] / len(pair[1]))[:COUNT]
        for text, tokens in kept:
            whole = lengths[text] == len(tokens)  # it may end by itself: then nothing is cut off
            budget = NEW_TOKENS if whole else lengths[text]
            chosen.append({"domain": domain, "prompt": text, "max_new_tokens": budget})
        scores = [distinct_4grams(tokens[: lengths[text]]) for text, tokens in kept]
        repetition[domain] = {
            "mean": sum(scores) / len(scores),
            "lowest": min(scores),
            "tokens": sum(lengths[text] for text, _ in kept) / len(kept),
            "uncut": sum(distinct_4grams(tokens) for _, tokens in kept) / len(kept),
            "tried_uncut": sum(distinct_4grams(tokens) for _, tokens in texts) / len(texts),
        }
    return chosen, repetition


def write_prompts(prompts: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the prompts, one JSON object a line."""
    write_text(path, "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in prompts))
