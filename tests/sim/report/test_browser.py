"""The page in a real browser: nothing fails, nothing is loaded, and figures answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adadecode.sim.report.document import Report
from adadecode.sim.report.page import page as page_of
from tests.support.browser import drawn
from tests.support.reports import HOSTILE

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
pytest.importorskip("jinja2", reason="a report needs jinja2: install the extra 'report'")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, hostile: Report) -> Path:
    report = tmp_path_factory.mktemp("browser") / "report.html"
    report.write_text(page_of(hostile), encoding="utf-8")
    return report


@pytest.fixture
def shown(browser: Any, path: Path) -> Iterator[Any]:
    """The page, and at the end: no error, no request but for the file itself."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    messages: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    yield page
    stolen = page.evaluate("window.stolen")
    page.close()
    assert messages == []
    assert [url for url in requested if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert stolen is None


def test_every_figure_is_drawn_as_it_comes_into_view(shown: Any) -> None:
    names = shown.evaluate("[...document.querySelectorAll('figure')].map((figure) => figure.id)")
    assert len(names) > 10
    assert shown.locator(f"#{names[-1]} .main-svg").count() == 0
    for name in names:
        drawn(shown, name)


def test_hovering_shows_a_tooltip(shown: Any) -> None:
    figure = drawn(shown, "speedup-gamma")
    figure.locator(".scatterlayer .points path").nth(2).hover(force=True)
    figure.locator(".hoverlayer .hovertext").first.wait_for()
    assert "ms a token" in (figure.locator(".hoverlayer").text_content() or "")


def test_a_click_on_the_legend_hides_a_line(shown: Any) -> None:
    figure = drawn(shown, "speedup-gamma")
    before = figure.locator(".scatterlayer .trace").count()
    figure.locator(".legendtoggle").nth(1).click()
    shown.wait_for_function(
        "(before) => document.querySelectorAll('#speedup-gamma .scatterlayer .trace').length"
        " === before - 1",
        arg=before,
    )


def test_a_drop_down_changes_the_figure_and_those_beside_it(shown: Any) -> None:
    figure = drawn(shown, "speedup-gamma")
    drawn(shown, "placements")
    first = figure.locator(".summary").inner_text()
    figure.locator("select[data-dimension=device]").select_option("sheet")
    assert figure.locator(".summary").inner_text() != first
    for name in ("speedup-gamma", "placements"):
        assert shown.locator(f"#{name} .summary").inner_text().startswith("sheet:")
        assert shown.locator(f"#{name} select[data-dimension=device]").input_value() == "sheet"


def test_a_choice_without_designs_says_so(shown: Any) -> None:
    """The policy fixed has one head; there is no map of three."""
    figure = drawn(shown, "placements")
    figure.locator("select[data-dimension=policy]").select_option("fixed")
    figure.locator("select[data-dimension=heads]").select_option("3 heads")
    assert "No design of this choice" in figure.locator(".plot").inner_text()
    figure.locator("select[data-dimension=policy]").select_option("adadecode")
    drawn(shown, "placements")


def test_hostile_names_are_shown_as_they_are(shown: Any) -> None:
    assert HOSTILE in shown.locator("h1").inner_text()
    assert HOSTILE in (drawn(shown, "devices").locator(".yaxislayer-above").text_content() or "")


def test_by_night_the_page_and_its_figures_are_dark(shown: Any) -> None:
    figure = drawn(shown, "devices")
    light = figure.locator(".ytick text").first.evaluate("(text) => text.style.fill")
    shown.emulate_media(color_scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 27)"
    shown.wait_for_function(
        "(light) => document.querySelector('#devices .ytick text').style.fill !== light", arg=light
    )


def test_before_printing_every_figure_is_drawn_in_light_colours(shown: Any) -> None:
    shown.emulate_media(color_scheme="dark")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    missing = shown.evaluate(
        "[...document.querySelectorAll('figure')]"
        ".filter((figure) => !figure.querySelector('.main-svg')).map((figure) => figure.id)"
    )
    assert missing == []


def test_a_narrow_page_does_not_scroll_sideways(shown: Any) -> None:
    shown.set_viewport_size({"width": 420, "height": 900})
    assert shown.evaluate("document.documentElement.scrollWidth") <= 420
