"""The page, Markdown and CSV: whole, escaped, small."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from adadecode.profiles import Profile, Trace, write_profile
from adadecode.sim.cli.report import report_of
from adadecode.sim.report import page as page_module
from adadecode.sim.report.document import Report
from adadecode.sim.report.export import csv_files, markdown
from adadecode.sim.report.page import in_script, page
from tests.support.handmade import recorded_profile
from tests.support.reports import FORMULA, HOSTILE
from tests.support.synthetic_profile import synthetic_profile, tables_of

pytest.importorskip("plotly", reason="a report needs plotly: install the extra 'report'")
pytest.importorskip("jinja2", reason="a report needs jinja2: install the extra 'report'")

FIGURES = {
    "speedup-gamma",
    "placements",
    "pareto",
    "devices",
    "best-budget",
    "best-exits",
    "measured-designs",
    "agreement",
    "calibration",
    "truth",
}


class Elements(HTMLParser):
    """Every element with its attributes, and the text of scripts by id."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data


@pytest.fixture(scope="module")
def html(hostile: Report) -> str:
    return page(hostile)


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements(html)


def drawings(elements: Elements) -> dict[str, dict[str, Any]]:
    return {
        str(a["id"]): json.loads(text)
        for a, text in elements.scripts
        if str(a.get("id", "")).startswith("data-")
    }


def test_a_sweep_has_every_figure(elements: Elements) -> None:
    assert {name.removeprefix("data-") for name in drawings(elements)} >= FIGURES


def test_plotly_is_there_once_and_nothing_is_loaded(html: str, elements: Elements) -> None:
    assert html.count("plotly.js v") == 1
    assert [
        tag
        for tag, attributes in elements.found
        if attributes.get("src") or tag in {"link", "img", "iframe", "base", "object"}
    ] == []
    assert "default-src 'none'" in html


def test_the_headline_comes_before_the_first_script(html: str) -> None:
    assert html.index("<h1>") < html.index("<script")


def test_only_our_own_scripts_may_run(elements: Elements) -> None:
    """Two with the page's nonce, the rest data."""
    running = [
        attributes
        for attributes, _ in elements.scripts
        if attributes.get("type") != "application/json"
    ]
    assert len(running) == 2
    assert len({attributes["nonce"] for attributes in running}) == 1


def test_hostile_names_are_text_in_the_page(html: str, elements: Elements) -> None:
    assert "<script>window.stolen" not in html
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)
    assert "&lt;script&gt;window.stolen" in html


def test_hostile_names_are_text_in_figures(elements: Elements) -> None:
    """Whatever plotly reads as markup is escaped; summaries, which are set as text, are not."""
    found = 0
    for data in drawings(elements).values():
        for drawing in data["drawings"].values():
            drawn = json.dumps([drawing["data"], drawing["layout"]])
            assert "<script" not in drawn
            assert "<img" not in drawn
            found += drawn.count("&lt;script")
    assert found


def test_every_choice_has_its_drawing_where_there_is_one_to_make(
    hostile: Report, elements: Elements
) -> None:
    for figure in hostile.figures:
        first = ".".join("0" for _ in figure.choices)
        assert first in drawings(elements)[f"data-{figure.name}"]["drawings"], figure.name


def test_a_script_cannot_be_ended_from_within() -> None:
    assert not re.search(
        r"<(/script|script|!--)", in_script("a = '</SCRIPT><script><!--'"), re.IGNORECASE
    )


def test_markdown_holds_no_markup_of_others(hostile: Report) -> None:
    text = markdown(hostile)
    assert text.startswith("# On ")
    assert "<" not in text
    assert "&lt;script&gt;" in text


def test_csv_files_are_tables_without_formulas(hostile: Report) -> None:
    files = csv_files(hostile)
    assert {"designs.csv", "devices.csv", "tiers.csv", "top.csv", "pareto.csv"} <= set(files)
    for name, text in files.items():
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1, name
        cells = [cell for row in rows for cell in row]
        assert not any(cell.startswith(("=", "+", "@")) for cell in cells), name
    assert f"'{FORMULA}" in [
        cell for row in csv.reader(io.StringIO(files["provenance.csv"])) for cell in row
    ]


def test_names_of_files_do_not_come_from_the_profile(hostile: Report) -> None:
    assert all(re.fullmatch(r"[a-z-]+\.csv", name) for name in csv_files(hostile))
    assert all(re.fullmatch(r"[a-z-]+", figure.name) for figure in hostile.figures)


def test_a_profile_alone_answers_with_what_was_measured(tmp_path: Path) -> None:
    recorded_profile(tmp_path / "p", slower={"vanilla": 2.0})
    report = report_of(tmp_path / "p")
    assert report.headline.startswith("On none, heads 2/4/6 at gamma 0.75 give ")
    assert {
        "measured-designs",
        "time-budget",
        "exits",
        "agreement",
        "calibration",
        "layer-time",
        "truth",
    } <= {f.name for f in report.figures}
    assert report.facts[0].label == "best measured"


def test_a_profile_without_runs_says_so(tmp_path: Path) -> None:
    synthetic_profile(tmp_path / "p")
    report = report_of(tmp_path / "p")
    assert "no design was run" in report.headline
    assert "truth" not in {figure.name for figure in report.figures}
    assert "<h1>" in page(report)


def test_a_profile_of_latencies_alone_is_reported_on(tmp_path: Path) -> None:
    whole = synthetic_profile(tmp_path / "whole")
    tables = tables_of(whole)
    kept = {name: frame if name == "latency" else frame.iloc[:0] for name, frame in tables.items()}
    write_profile(tmp_path / "p", whole.manifest, kept)
    report = report_of(tmp_path / "p")
    assert "one layer takes" in report.headline
    assert {figure.name for figure in report.figures} == {"layer-time", "piece-time"}
    assert "<h1>" in page(report)


def test_what_is_missing_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from adadecode.sim.report.document import ReportError

    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(
        ReportError, match=r"a report needs plotly: pip install adadecode\[report\]"
    ):
        page_module.require_packages()


def test_trace_of_the_hostile_profile_is_sane(tmp_path: Path) -> None:
    """The hostile names are in the text of the profile itself, domain included."""
    from tests.support.reports import hostile_profile

    profile: Profile = hostile_profile(tmp_path / "p")
    assert Trace.from_profile(profile).domain(0) == HOSTILE
