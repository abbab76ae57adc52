"""The demo model's texts: arithmetic word problems and the Python standard library.

Texts to train on and held-out texts are kept apart by hash.
"""

from __future__ import annotations

import hashlib
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from scripts.demo_model.arithmetic import Problem, make_problem

VOCABULARY = 1024
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
_GENERATED = {
    "encodings",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "pydoc_data",
    "turtledemo",
    "ensurepip",
    "__pycache__",
}
"""Folders of tables, tests and vendored files, which are not written by hand."""


def is_held_out(key: str) -> bool:
    """Whether a text is held out of all training: one in sixteen, by the hash of its key."""
    return hashlib.sha256(key.encode()).digest()[0] % 16 == 0


def python_files(*, held_out: bool) -> list[str]:
    """Return the texts of the standard library's hand-written modules, in the order of names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts = []
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if _GENERATED & set(relative.parts) or is_held_out(str(relative)) != held_out:
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if 500 < len(text) < 200_000:
            texts.append(text)
    return texts


def problems(seed: int, *, held_out: bool, events: tuple[int, int] = (2, 6)) -> Iterator[Problem]:
    """Yield word problems without end; training and held-out problems share no question."""
    rng = random.Random(seed)
    while True:
        problem = make_problem(rng, events=events)
        if is_held_out(problem.question) == held_out:
            yield problem


def train_tokenizer(texts: Iterator[str]) -> Tokenizer:
    """Train a byte-level BPE in which every digit is a token and ``<s>`` begins every text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[0-9]"), behavior="isolated"),
            pre_tokenizers.Split(
                Regex(r" ?[A-Za-z]+| {2,}(?! )|\n+ *| ?[^A-Za-z0-9\s]+|\s+"), behavior="isolated"
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer
