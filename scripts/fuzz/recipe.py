"""A recipe: which reader is fuzzed, what is changed in its files, and what is then done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One change of one file.

    Attributes:
        change: Name of the change, as `scripts.fuzz.mutations` knows it.
        file: Path of the file in the folder of the case; an asterisk stands for a digest.
        at: Where in the file: keys of JSON, line of a text, column and row of a table, offset.
        value: Name of a value of `scripts.fuzz.values`, or a plain number or text.
    """

    change: str
    file: str
    at: tuple[Any, ...] = ()
    value: Any = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One case.

    Attributes:
        reader: Name of the reader.
        action: Name of what is done with the files.
        mutations: What is changed, in order.
        sealed: Whether the digests are made to fit the changes, so that inner checks are reached.
    """

    reader: str
    action: str
    mutations: tuple[Mutation, ...] = field(default=())
    sealed: bool = False

    def to_json(self) -> str:
        """Return the recipe as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Recipe:
        """Return the recipe that JSON holds."""
        mutations = tuple(Mutation(**{**one, "at": tuple(one["at"])}) for one in entry["mutations"])
        return cls(**{**entry, "mutations": mutations})
