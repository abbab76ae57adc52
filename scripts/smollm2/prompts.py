"""Write the prompts on which the heads of SmolLM2 are trained: 400 conversations of our own.

Four kinds (chat, arithmetic, code, summary), drawn by a seed from parts that we wrote. The prompts
of the committed profile (``engine/demo/smollm2/prompts.jsonl``) were written apart and are not
among them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random

from adadecode.profiles.atomic_write import write_text
from scripts.smollm2 import code_tasks, problems, questions
from scripts.smollm2.texts import TEXTS

PROMPTS = Path(__file__).with_name("prompts.jsonl")
EACH = 100
SEED = 20

Messages = list[dict[str, str]]

_SUMMARIES = (
    "Summarize the following text in one sentence.",
    "Summarize this in two or three sentences.",
    "What are the main points of this text? Use bullet points.",
    "Write a headline for this text and one sentence that explains it.",
    "Explain in your own words what this text says.",
    "Who does what in this text, and why? Answer briefly.",
    "Rewrite this text for a child.",
    "Give three questions that this text answers, each with its answer.",
)


def user(text: str) -> Messages:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


def chats(draw: Random) -> Iterator[Messages]:
    """Yield questions of many forms, some with a system prompt or an answer that came before."""
    pool = [
        *questions.SHORT,
        *questions.WRITING,
        *(form.format(thing=one) for one in questions.THINGS for form in questions.ABOUT),
        *(form.format(task=one) for one in questions.TASKS for form in questions.TO_DO),
    ]
    fixed = len(questions.SHORT) + len(questions.WRITING)
    chosen = [*pool[:fixed], *draw.sample(pool[fixed:], 4 * EACH)]
    for index, text in enumerate(chosen):
        found = user(text)
        if index % 9 == 4:
            found = [{"role": "system", "content": "Answer in a friendly and brief way."}, *found]
        if index % 11 == 7:
            follow = draw.choice(questions.SECOND_TURNS)
            reply = "Here is what I would say about that, as shortly as I can."
            found = [*found, {"role": "assistant", "content": reply}, *user(follow)]
        yield found


def arithmetic(draw: Random) -> Iterator[Messages]:
    """Yield word problems."""
    while True:
        yield user(problems.problem(draw))


def code(draw: Random) -> Iterator[Messages]:
    """Yield programming tasks, questions on programs, and programs to go on with."""
    pool = [form.format(task=task) for task in code_tasks.TASKS for form in code_tasks.FORMS]
    pool = draw.sample(pool, EACH)
    asked = [f"{asks}\n\n```\n{snippet}\n```" for snippet, asks in code_tasks.SNIPPETS]
    yield from map(user, [*code_tasks.OTHER, *asked, *pool])


def summaries(draw: Random) -> Iterator[Messages]:
    """Yield texts with a request, before or after them."""
    pairs = [(text, asks) for text in TEXTS for asks in _SUMMARIES]
    for text, asks in draw.sample(pairs, len(pairs)):
        yield user(f"{asks}\n\n{text}" if draw.random() < 0.7 else f"{text}\n\n{asks}")


KINDS: dict[str, Callable[[Random], Iterator[Messages]]] = {
    "chat": chats,
    "arithmetic": arithmetic,
    "code": code,
    "summary": summaries,
}


def training_prompts(seed: int = SEED, each: int = EACH) -> list[dict[str, object]]:
    """Return the prompts, all different, the kinds in turn.

    Args:
        seed: Draws the parts.
        each: Prompts of each kind.
    """
    found: dict[str, list[Messages]] = {}
    for kind, make in KINDS.items():
        seen: dict[str, Messages] = {}
        for messages in make(Random(f"{seed} {kind}")):
            seen.setdefault(json.dumps(messages), messages)
            if len(seen) == each:
                break
        found[kind] = list(islice(seen.values(), each))
    return [
        {"domain": kind, "messages": messages[index]}
        for index in range(each)
        for kind, messages in found.items()
    ]


def main() -> None:
    """Write the file of prompts."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=PROMPTS)
    out = parser.parse_args().out
    lines = [json.dumps(prompt, ensure_ascii=False) for prompt in training_prompts()]
    write_text(out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
