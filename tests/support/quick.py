"""Mark the parameters of a test that only ``make test-all`` runs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest


def quick_or_slow(value: Any, *, quick: Collection[Any], id: str | None = None) -> Any:  # noqa: A002 -- as pytest has it
    """Return a value as a test parameter, marked slow unless it is one of the quick ones.

    Args:
        value: The value; a tuple is as many parameters.
        quick: The values that ``make test`` runs.
        id: The parameter's name in pytest's output.
    """
    values = value if isinstance(value, tuple) else (value,)
    return pytest.param(*values, marks=() if value in quick else pytest.mark.slow, id=id)
