"""Numbers and foreign text as a report writes them."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adadecode.sim.core import number_format
from adadecode.sim.core.shown_text import shown
from adadecode.sim.report import formatting, theme

SIGN = "\u00d7"


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (8.766, "8.77"),
        (123456.0, "123,000"),
        (math.nan, number_format.UNKNOWN),
        (-2.345, "-2.35"),
    ],
)
def test_a_number_has_three_digits_that_count(number: float, written: str) -> None:
    assert number_format.significant(number) == written


@given(st.floats(min_value=1e-12, max_value=1e15))
def test_a_written_number_is_near_and_never_in_the_notation_of_computers(number: float) -> None:
    written = number_format.significant(number)
    assert "e" not in written
    assert float(written.replace(",", "")) == pytest.approx(number, rel=0.006)


def test_a_speedup_and_its_interval() -> None:
    assert formatting.times(2.126) == f"2.13{SIGN}"
    assert formatting.span(1.9, 2.3) == "(1.90\u00a0..\u00a02.30)"


def test_a_speedup_without_an_interval_ends_where_it_ends() -> None:
    assert formatting.gain(1.664, 1.664, 1.664) == formatting.times(1.664)
    assert (
        formatting.gain(1.664, 1.5, 1.7) == f"{formatting.times(1.664)} {formatting.span(1.5, 1.7)}"
    )


def test_an_interval_that_is_unknown_or_has_no_width_is_not_written() -> None:
    assert formatting.span(math.nan, 2.0) == formatting.span(2.0, 2.0) == ""


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0284, "2.8%"), (0.00016, "0.016%"), (0.0, "0.0%"), (1.0, "100.0%")],
)
def test_a_small_share_keeps_two_digits(share: float, written: str) -> None:
    assert number_format.percent(share) == written


def test_bytes_get_a_prefix() -> None:
    assert formatting.scaled(22_600_000.0, "B") == "22.6 MB"


def test_text_in_a_figure_has_no_markup_but_keeps_its_quotes() -> None:
    assert formatting.in_plot('<b>"a" & b</b>') == '&lt;b&gt;"a" &amp; b&lt;/b&gt;'


def test_text_in_markdown_stays_text() -> None:
    assert (
        formatting.in_markdown("| a\n# [b](c) <i> `d` *e* $f$")
        == r"\| a \# \[b\](c) &lt;i&gt; \`d\` \*e\* \$f\$"
    )


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-cmd",
        "@SUM(A1)",
        " =1",
        "\u00a0=1",
        "\u200c=1",
        "\u200d=1",
        "\N{MINUS SIGN}1",
        "\N{SMALL PLUS SIGN}1",
    ],
)
@pytest.mark.parametrize("width", ["usual", "full"])
def test_text_that_a_spreadsheet_would_compute_gets_a_quote(text: str, width: str) -> None:
    """Also where it begins with what a spreadsheet passes over, or is written full-width."""
    wide = str.maketrans({char: chr(ord(char) + 0xFEE0) for char in "=+-@"})
    text = text.translate(wide) if width == "full" else text
    assert formatting.in_csv(text) == f"'{text}"


@pytest.mark.parametrize("begin", ["\t", "\r", "\n", "\x0b", "\x1b", "\ufeff", "\u202e", "\u2028"])
def test_text_in_csv_that_begins_with_a_control_gets_a_quote_and_shows_it(begin: str) -> None:
    assert formatting.in_csv(f"{begin}=1") == f"'{shown(begin)}=1"


def test_numbers_and_other_text_in_csv_stay_as_they_are() -> None:
    assert formatting.in_csv(-1.5) == -1.5
    assert formatting.in_csv("heads 3/7") == "heads 3/7"


def test_a_table_for_csv_is_safe_in_names_and_cells_and_keeps_numbers() -> None:
    safe = formatting.safe_csv(
        pd.DataFrame({"=a": ["=b", "c"], "x": [-1.0, 2.0], "placement": [(3, 7), ()]})
    )
    assert safe.to_csv(index=False) == "'=a,x,placement\n'=b,-1.0,3/7\nc,2.0,\n"


@given(st.floats(0.1, 1.0), st.floats(1.0, 3.0))
def test_the_scale_of_speedups_is_neutral_at_one_and_rises(low: float, high: float) -> None:
    scale = theme.speedup_scale(theme.LIGHT, low, high)
    places = [place for place, _ in scale]
    assert places[0] == 0
    assert places[-1] == pytest.approx(1)
    assert places == sorted(places)
    if high > low:
        neutral = [
            low + place * (high - low) for place, colour in scale if colour == theme.LIGHT["middle"]
        ]
        assert 1 in map(pytest.approx, neutral)


def test_mixed_colours_lie_between() -> None:
    assert theme.mix("#000000", "#ff8040", 0.5) == "#804020"
