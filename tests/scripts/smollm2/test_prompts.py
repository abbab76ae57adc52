"""The prompts of SmolLM2: our own, varied, those of the profile apart from those of training."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from adadecode.engine.loading.conversation import Conversation
from adadecode.engine.loading.prompt_file import read_prompts
from scripts.smollm2.prompts import EACH, KINDS, PROMPTS, training_prompts
from scripts.smollm2.texts import TEXTS
from tests.support.paths import ROOT

PROFILE_PROMPTS = ROOT / "engine" / "demo" / "smollm2" / "prompts.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def asked(prompt: dict[str, Any]) -> str:
    return str(prompt["messages"][-1]["content"])


def test_the_committed_prompts_are_those_that_the_script_writes() -> None:
    assert lines(PROMPTS) == training_prompts()


def test_there_are_four_kinds_of_as_many_different_prompts() -> None:
    prompts = training_prompts()
    assert Counter(prompt["domain"] for prompt in prompts) == dict.fromkeys(KINDS, EACH)
    assert len({json.dumps(prompt) for prompt in prompts}) == len(KINDS) * EACH == 400
    words = [len(asked(prompt).split()) for prompt in prompts]
    assert min(words) < 10
    assert max(words) > 80
    roles = Counter(message["role"] for prompt in prompts for message in prompt["messages"])
    assert roles["system"] >= 5
    assert roles["assistant"] >= 5


def test_another_seed_draws_others() -> None:
    assert training_prompts(seed=1) != training_prompts()


def test_the_prompts_of_the_profile_are_apart() -> None:
    """Four of each kind; no text, story or task of them is one of training."""
    own = lines(PROFILE_PROMPTS)
    assert Counter(prompt["domain"] for prompt in own) == dict.fromkeys(KINDS, 4)
    trained = " ".join(asked(prompt) for prompt in lines(PROMPTS))
    assert not any(asked(prompt) in trained for prompt in own)
    texts = [asked(prompt).split("\n\n")[1] for prompt in own if prompt["domain"] == "summary"]
    assert not any(sentence in trained for text in texts for sentence in text.split(". "))


def test_texts_are_of_an_even_length() -> None:
    assert len(set(TEXTS)) == len(TEXTS) == 24
    assert all(55 <= len(text.split()) <= 95 for text in TEXTS)


def test_all_are_read_as_conversations() -> None:
    for path, count in ((PROMPTS, 400), (PROFILE_PROMPTS, 16)):
        found = read_prompts(path).prompts
        assert len(found) == count
        assert all(isinstance(one, Conversation) for one in found)
