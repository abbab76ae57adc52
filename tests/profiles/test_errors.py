"""What every exception of the project shows."""

from __future__ import annotations

import pickle

import pytest

from adadecode.profiles.errors import LONGEST_MESSAGE, AdaDecodeError, DesignError, InputError


@pytest.mark.parametrize("error", [AdaDecodeError, InputError, DesignError])
def test_a_long_value_in_a_message_leaves_what_was_wanted_and_what_to_do(
    error: type[AdaDecodeError],
) -> None:
    """Files hold texts of any length, and messages quote them."""
    text = f"wanted a word, got {'long ' * 100_000}: give a short one"
    shown = str(error(text))
    assert len(shown) == LONGEST_MESSAGE
    assert shown.startswith("wanted a word, got long")
    assert shown.endswith(" long : give a short one")
    assert " ... " in shown


def test_a_short_message_stays_as_it_is_and_no_message_is_lost() -> None:
    text = "x" * LONGEST_MESSAGE
    assert str(InputError(text)) == text
    long = InputError("y" * 10_000)
    assert pickle.loads(pickle.dumps(long)).args == long.args  # noqa: S301 - of our own


def test_an_exception_without_a_message_shows_nothing() -> None:
    assert not str(InputError())
