"""`GivenOptions`: the options that a user gave, apart from those that were left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic

from adadecode.engine.runtime.option_fields import Options, parsed_values


@dataclass(frozen=True)
class GivenOptions(Generic[Options]):
    """The options of one dataclass that a user gave; the others were left out.

    A recording that is resumed needs the difference: an option that was left out stays as the
    recording was begun, whatever its default is.

    Args:
        owner: The dataclass of the options.
        values: The values that were given, by the names of fields of ``owner``.

    Raises:
        TypeError: A name is not one of a field.
    """

    owner: type[Options]
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.values) - {one.name for one in fields(self.owner)}):
            raise TypeError(f"{self.owner.__name__} has no option {', '.join(unknown)}")

    @classmethod
    def parse(cls, owner: type[Options], texts: Mapping[str, Any]) -> GivenOptions[Options]:
        """Return the options whose values are given as a command line or a manifest writes them.

        Args:
            owner: The dataclass of the options.
            texts: By the names of its fields; None stands for an option that was left out.

        Raises:
            InputError: A value is not one of its option.
            TypeError: A name is not one of a field.
        """
        cls(owner, texts)
        return cls(owner, parsed_values(owner, texts))

    @property
    def names(self) -> frozenset[str]:
        """The names of the options that were given."""
        return frozenset(self.values)

    def build(self) -> Options:
        """Return the options, those that were left out at their defaults.

        Raises:
            InputError: The options make no sense.
        """
        return self.owner(**self.values)

    def replace_in(self, begun: Options) -> Options:
        """Return ``begun`` with the options that were given in place of its own.

        Raises:
            InputError: The options make no sense together.
        """
        return replace(begun, **self.values)
