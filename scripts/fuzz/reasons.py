"""Why a changed file may give another answer: by reader and place, each with its reason.

What no rule names must not change an answer. Numbers that nothing can have (`ABSURD`) have no
reason in any file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from scripts.fuzz.recipe import Mutation, Recipe

ABSURD = frozenset({"nan", "inf", "-inf", "1e37", "1e300", "1e400", "10**40", "9" * 40, "9" * 5000})
"""Values that no number of a file or an option can have."""

OWN_WORDS = "what a user writes carries no digest: other words are another question"

MEASURED = "sealed again: a measured value, of which any that is possible may have been measured"

SAMPLES = "sealed again: how many samples were taken, where the manifest promises no number"

DESCRIBED = "sealed again: a description of the recording, which is shown or asked for"

FIGURES = "sealed again: a figure of a design, which only the profile could contradict"

TRAINED = "sealed again: numbers that a training may have come to"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A reason, and where it holds.

    Attributes:
        reader: Pattern of the reader's name.
        change: Pattern of ``FILE KEY.KEY CHANGE``, where numbers in the way are left out.
        reason: The reason.
        sealed: Whether it holds only where the digests were made to fit.
    """

    reader: str
    change: str
    reason: str
    sealed: bool = False


RULES = (
    Rule(
        reader=r"device TOML|model TOML|model config|model folder|Vidur CSV|prompts|device map"
        r"|arguments",
        change=".*",
        reason=OWN_WORDS,
    ),
    Rule(
        reader="profile.*",
        change=r"profile/latency.parquet (seconds|layer|n_tokens|context|reuse|repeat|kind) .*",
        reason=MEASURED,
        sealed=True,
    ),
    Rule(
        reader="profile.*",
        change=r"profile/(runs|works|trace|branches|prompts).parquet \w+_?\w* .*",
        reason=MEASURED,
        sealed=True,
    ),
    Rule(
        reader="profile.*",
        change=r"profile/(latency|runs|rounds|works|branches).parquet\s+rows .*",
        reason=SAMPLES,
        sealed=True,
    ),
    Rule(
        reader="sweep.*",
        change=r"sweep/(designs.parquet|parts/\S+) .*",
        reason=FIGURES,
        sealed=True,
    ),
    Rule(
        reader="sweep",
        change=r"sweep/sweep.json (\w*notes|created|software|model|profile|trace).* json .*",
        reason=DESCRIBED,
        sealed=True,
    ),
    Rule(
        reader="heads|training, resumed",
        change=r"heads/\S+.safetensors \S* (tensor .*|bytes (flip|zeros))",
        reason=TRAINED,
        sealed=True,
    ),
    Rule(
        reader="heads",
        change=r"heads/heads.json ((metrics|coverage).* .*| bytes flip)",
        reason=DESCRIBED,
        sealed=True,
    ),
    Rule(
        reader="recording, resumed",
        change=r"profile/parts/(\S+.parquet|\S+.done tables\S*) .*",
        reason=MEASURED,
        sealed=True,
    ),
    Rule(
        reader="recording, resumed",
        change=r"profile/recording.json settings.* .*",
        reason=DESCRIBED,
        sealed=True,
    ),
    Rule(
        reader="profile.*",
        change=r"profile/manifest.json (?!tables|schema).* json .*",
        reason=DESCRIBED,
        sealed=True,
    ),
)


def of(recipe: Recipe) -> str | None:
    """Return the reason why a recipe may change the answer; None where it must not."""
    found = [of_mutation(recipe, mutation) for mutation in recipe.mutations]
    return found[0] if found and all(found) else None


def of_mutation(recipe: Recipe, mutation: Mutation) -> str | None:
    """Return the reason why one change of a recipe may change the answer."""
    texts = recipe.reader in {"prompts", "device map"}
    if str(mutation.value) in ABSURD and not texts:
        return None
    place = where(mutation)
    return next(
        (
            rule.reason
            for rule in RULES
            if re.fullmatch(rule.reader, recipe.reader)
            and re.fullmatch(rule.change, place, re.DOTALL)
            and (recipe.sealed or not rule.sealed)
        ),
        None,
    )


def where(mutation: Mutation) -> str:
    """Return the file, the way within it without numbers, and the change."""
    keys = ".".join(key for key in mutation.at if isinstance(key, str))
    return f"{mutation.file} {keys} {mutation.change}"
