"""Frequent tokens: counted in a profile, in a file of texts, or in a model's own continuations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adadecode.engine.loading.prompts import encode, read_prompts
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.manifest import SHARED
from adadecode.profiles.store import read_profile
from adadecode.profiles.trace import Trace


def by_frequency(texts: Iterable[Iterable[int]], ends: Iterable[int]) -> tuple[int, ...]:
    """Return every token of these texts, the most frequent first, the lower id on a tie.

    Args:
        texts: Token ids.
        ends: Tokens that end a text. They come before all others: a head that cannot end
            a text drafts a wrong token there.
    """
    counts = Counter(token for text in texts for token in text)
    first = sorted(set(ends))
    rest = sorted(counts.keys() - set(first), key=lambda token: (-counts[token], token))
    return (*first, *rest)


def frequent_in(source: str, tokenizer: Any) -> tuple[int, ...]:
    """Return tokens by frequency in a profile's outputs or in a file of texts.

    Args:
        source: The directory of a profile, or a file that `adadecode.engine.loading.prompts` reads.
        tokenizer: Encodes the texts of a file.

    Raises:
        ProfileError: The profile cannot be read.
        PromptError: The file cannot be read.
        HeadsError: The profile holds no text, or only stand-ins for it.
    """
    if Path(source).is_dir():
        profile = read_profile(source)
        if profile.prompts.empty:
            raise HeadsError(
                f"{source} holds no text to count tokens in: name a profile that adadecode-profile "
                "recorded, or a file of texts"
            )
        if profile.manifest.get(SHARED):
            raise HeadsError(
                f"{source} was shared without its text, and no stand-in of a token is frequent: "
                "name the recording itself, or a file of texts"
            )
        trace = Trace.from_profile(profile)
        return by_frequency(
            (trace.tokens(prompt)[:, -1].tolist() for prompt in trace.prompts), trace.eos
        )
    end = tokenizer.eos_token_id
    return by_frequency(
        (encode(tokenizer, text)[0].tolist() for text in read_prompts(source)),
        () if end is None else (end,),
    )
