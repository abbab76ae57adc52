"""Foreign text is shown: what a terminal would obey is written out, the rest stays."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.core.shown_text import shown


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain [/x] :smile: text", "plain [/x] :smile: text"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x9b31m\x07\r\n\t", r"\x9b31m\x07\r\n\t"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("\ufeff\u2028\u2029\ud800", r"\ufeff\u2028\u2029\ud800"),
        ("Größe 模型 नमस्ते 👩‍💻 ×", "Größe 模型 नमस्ते 👩‍💻 ×"),
        (7, "7"),
    ],
)
def test_what_is_obeyed_is_written_out(text: object, seen: str) -> None:
    assert shown(text) == seen


def test_line_breaks_of_our_own_may_stay() -> None:
    assert shown("a\nb\rc", lines=True) == "a\nb\\rc"


@given(st.text())
def test_all_that_is_shown_can_be_printed_and_is_shown_alike_again(text: str) -> None:
    seen = shown(text)
    seen.encode()
    assert not {unicodedata.category(char) for char in seen} & {"Cc", "Cs", "Zl", "Zp"}
    assert shown(seen) == seen
