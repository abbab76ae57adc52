"""Frequent tokens: counted in a profile, in a file of texts, or in a model's own continuations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adadecode.engine.loading.prompt_file import read_texts
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.profiles.errors import HeadsError
from adadecode.profiles.manifest import SHARED, section
from adadecode.profiles.prompt_digest import prompt_digest
from adadecode.profiles.store import Profile, read_profile
from adadecode.profiles.trace import Trace


@dataclass(frozen=True, kw_only=True)
class CountedTokens:
    """Tokens that were counted in some texts.

    Attributes:
        frequent: Their ids, the most frequent first.
        texts: How many texts they were counted in.
        left_out: How many texts were left out, as they are those to be recorded.
    """

    frequent: tuple[int, ...]
    texts: int
    left_out: int


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


def frequent_in(
    source: str,
    tokenizer: Any,
    without: Sequence[Prompt] = (),
    *,
    ends: Iterable[int] = (),
    field: str | None = None,
) -> CountedTokens:
    """Return tokens by frequency in a profile's outputs or in a file of texts.

    Args:
        source: The directory of a profile, or a file that
            `adadecode.engine.loading.prompt_file` reads.
        tokenizer: Encodes the texts of a file.
        without: Prompts that a shortlist will be tried on. What was recorded of them, or is them,
            is not counted: a shortlist that was counted on the texts it is tried on looks better
            than it is. Of a chat that is also what was asked, without the template.
        ends: Tokens that end a text of the model.
        field: A field of a JSON file that may hold the texts besides those that are known.

    Raises:
        ProfileError: The profile cannot be read.
        PromptError: The file cannot be read.
        HeadsError: The profile holds no text, or only stand-ins for it.
    """
    if Path(source).is_dir():
        return _in_profile(_with_text(source), without, ends)
    texts = read_texts(source, field=field)
    tried = {text for prompt in without for text in (prompt.text, prompt.asked)}
    counted = [text for text in texts if text.text not in tried]
    end = tokenizer.eos_token_id
    return CountedTokens(
        frequent=by_frequency(
            (encode(tokenizer, text)[0].tolist() for text in counted),
            {*ends, *(() if end is None else (end,))},
        ),
        texts=len(counted),
        left_out=len(texts) - len(counted),
    )


def _with_text(source: str) -> Profile:
    """Return the profile in a directory. Raises HeadsError where it holds no text to count in."""
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
    return profile


def _in_profile(profile: Profile, without: Sequence[Prompt], ends: Iterable[int]) -> CountedTokens:
    salt = section(profile.manifest, "prompts").get("salt")
    tried = {prompt_digest(prompt.text, salt) for prompt in without}
    about = profile.prompts
    counted = about[~about["sha256"].isin(tried)]["prompt"].tolist()
    trace = Trace.from_profile(profile)
    return CountedTokens(
        frequent=by_frequency(
            (trace.tokens(prompt)[:, -1].tolist() for prompt in counted), {*ends, *trace.eos}
        ),
        texts=len(counted),
        left_out=len(about) - len(counted),
    )
