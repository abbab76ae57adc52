"""The page on a phone: nothing covers, cuts or breaks anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.report.page import page as page_of
from adadecode.sim.report.writer import build_report
from tests.support.browser import drawn
from tests.support.handmade import recorded_profile
from tests.support.sweeps import small_sweep

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
pytest.importorskip("jinja2", reason="a report needs jinja2: install the extra 'report'")

WIDTH, HEIGHT = 390, 844

COVERED = """
(figure) => {
  const legend = figure.querySelector(".legend");
  const plot = figure.querySelector(".plot .bglayer .bg") ?? figure.querySelector(".nsewdrag");
  if (!legend || !plot) return 0;
  return legend.getBoundingClientRect().bottom - plot.getBoundingClientRect().top;
}
"""
"""How many pixels of the plot its legend covers."""

CUT = """
(figure) => {
  const frame = figure.querySelector(".main-svg").getBoundingClientRect();
  const outside = [...figure.querySelectorAll(".xtitle, .ytitle")].filter((title) => {
    const box = title.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  });
  return outside.map((title) => title.textContent);
}
"""
"""The titles of axes that reach beyond the figure."""

BROKEN = """
(tables) => tables.flatMap((table) => [...table.querySelectorAll("th, td")]).flatMap((cell) => {
  const node = cell.firstChild;
  if (!node) return [];
  return [...node.textContent.matchAll(/[^\\s-]+/g)].filter((word) => {
    const range = document.createRange();
    range.setStart(node, word.index);
    range.setEnd(node, word.index + word[0].length);
    return new Set([...range.getClientRects()].map((box) => box.top)).size > 1;
  }).map((word) => word[0]);
})
"""
"""The words of tables that are broken over lines; a hyphen may end a line."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phone")
    profile = recorded_profile(folder / "profile", slower={"vanilla": 1.4})
    others = {"h100-sxm": "carried", "rtx-4090": "datasheet"}
    sweep = small_sweep(folder / "sweep", profile, others=others, max_heads=2)
    report = folder / "report.html"
    report.write_text(page_of(build_report(sweep)), encoding="utf-8")
    return report


@pytest.fixture(scope="module")
def phone(browser: Any, path: Path) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, has_touch=True)
    page.goto(path.as_uri())
    yield page
    page.close()


def names(page: Any) -> list[str]:
    """Return the names of all figures."""
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('figure')].map((figure) => figure.id)"
    )
    return found


def test_no_legend_covers_a_plot(phone: Any) -> None:
    """A figure with a legend of several rows grows, once it has been drawn."""
    assert "best-budget" in names(phone)
    for name in names(phone):
        drawn(phone, name)
        phone.wait_for_function(
            f"(name) => ({COVERED})(document.getElementById(name)) <= 0", arg=name
        )


def test_no_title_of_an_axis_is_cut(phone: Any) -> None:
    for name in names(phone):
        assert drawn(phone, name).evaluate(CUT) == [], name


def test_no_word_of_a_table_is_broken(phone: Any) -> None:
    """Tables that are wider than the page scroll. Those of facts may break a digest."""
    phone.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    tables = phone.locator("table:not(.facts-table)")
    assert tables.count() > 5
    assert tables.evaluate_all(BROKEN) == []


def test_the_page_does_not_scroll_sideways(phone: Any) -> None:
    assert phone.evaluate("document.documentElement.scrollWidth") <= WIDTH


def test_whether_to_trust_the_recording_stands_on_the_first_screen_of_a_desktop(
    browser: Any, path: Path
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    for text in ("Trust this recording:", "noise floor", "leans high"):
        box = page.get_by_text(text).first.bounding_box()
        assert box["y"] + box["height"] < 900, text
    page.close()


def test_the_interval_of_the_best_design_is_drawn(phone: Any) -> None:
    """One can read it without hovering."""
    figure = drawn(phone, "speedup-gamma")
    assert figure.locator(".errorbars path, .errorbar path").count() >= 1


def test_the_neutral_colour_is_named_right_in_both_schemes(browser: Any, path: Path) -> None:
    """It is nearly white on white, and dark grey on black: the caption calls it grey."""
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark")
    page.goto(path.as_uri())
    caption = drawn(page, "placements").locator("figcaption").inner_text()
    page.close()
    assert "white" not in caption.lower()
    assert "grey of 1" in caption
