"""What is generated agrees with what it is generated from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("jinja2", reason="fills templates: install the extra 'docs'")

from adadecode.profiles.schema import ALL_TABLES
from adadecode.sim.measurements.telemetry import BUSY
from adadecode.sim.validation.criteria import MAX_ERROR, MAX_NOISE
from scripts.docs import hook, results
from scripts.docs.command_reference import PROGRAMS, command_reference
from scripts.docs.decision_list import decision_list
from scripts.docs.error_reference import error_reference
from scripts.docs.notebook_pages import notebook_pages
from scripts.docs.profile_tables import profile_tables
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
RENEW = "renew it: .venv/bin/python -m scripts.docs"


@pytest.mark.parametrize("name", results.page_names())
def test_a_page_of_results_holds_the_figures_of_its_file(name):
    assert (results.PAGES / name).read_text(encoding="utf-8") == results.result_page(name), RENEW


def test_the_table_in_the_readme_holds_the_figures_of_the_results():
    assert results.README.read_text(encoding="utf-8") == results.readme(), RENEW


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = results.README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https:")]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_each_results_file_has_a_page():
    templates = "".join(
        path.read_text(encoding="utf-8") for path in results.TEMPLATES.glob("*.jinja")
    )
    files = [path.stem for path in results.RESULTS.glob("*.json")]
    assert files
    assert [stem for stem in files if f"results/{stem}.json" not in templates] == []


def test_every_marker_of_a_page_has_a_generator():
    markers = {
        match["name"]
        for page in PAGES
        for match in hook.MARKER.finditer(page.read_text(encoding="utf-8"))
    }
    assert markers == set(hook.GENERATORS)


def test_a_marker_is_replaced_and_an_unknown_one_refused():
    filled = hook.fill_markers("# Errors\n\n<!-- generated: errors -->\n")
    assert "`AdaDecodeError`" in filled
    assert "<!--" not in filled
    with pytest.raises(KeyError):
        hook.fill_markers("<!-- generated: nothing -->")


def test_the_command_reference_has_every_command_and_option():
    text = command_reference()
    for program in PROGRAMS:
        assert f"## {program}\n" in text
    for command in ("predict", "sweep", "validate", "report", "limits", "memory", "import vidur"):
        assert re.search(f"^#+ adadecode-sim {command}$", text, re.MULTILINE)
    assert re.search(
        r"^\| `--gamma` \|.*confidence.*\| `0.75` \|$", text, re.MULTILINE | re.IGNORECASE
    )
    assert not re.search(r"^\| `--[a-z-]+`[^|]*\|[^|]*\| *\|", text, re.MULTILINE), "no help"


def test_the_error_reference_has_every_exception():
    text = error_reference()
    sources = [path for top in ("profiles", "sim", "engine") for path in (ROOT / top).rglob("*.py")]
    defined = {
        name
        for path in sources
        for name in re.findall(
            r"^class (\w+)\(\w*Error\):", path.read_text(encoding="utf-8"), re.MULTILINE
        )
    }
    assert len(defined) > 10
    assert {name for name in defined if f"**`{name}`**" not in text} == set()


def test_the_profile_page_has_every_column():
    sections = dict(
        re.findall(
            r"^### `(\w+)\.parquet`\n(.*?)(?=^### |\Z)", profile_tables(), re.MULTILINE | re.DOTALL
        )
    )
    for table, schema in ALL_TABLES.items():
        assert re.findall(r"^\| `(\w+)` \|", sections[table], re.MULTILINE) == schema.names


def test_the_decision_list_has_every_record():
    records = sorted((DOCS / "decisions").glob("0*.md"))
    assert decision_list().count("\n| [") == len(records)


def test_the_navigation_has_every_page():
    _, nav = (ROOT / "mkdocs.yml").read_text("utf-8").split("\nnav:\n")
    listed = set(re.findall(r"[\w/-]+\.md", nav))
    decisions = hook.complete_navigation([{"Decisions": ["decisions/README.md"]}])[0]["Decisions"]
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES}
    assert pages <= listed | set(decisions)
    assert len(decisions) == 1 + len(list((DOCS / "decisions").glob("0*.md")))


@pytest.mark.parametrize(
    "page", ["README.md", "docs/getting-started/your-own-model.md", "docs/concepts/adadecode.md"]
)
def test_a_page_leaves_it_to_the_list_how_many_architectures_are_served(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(r"\d+\s+architectures", text) == []
    assert "results/architectures.md" in text


def test_a_notebook_page_shows_code_tables_and_pictures():
    files = notebook_pages(ROOT / "notebooks")
    pages = {name: text for name, text in files.items() if name.endswith(".md")}
    assert len(pages) == 6
    for text in pages.values():
        assert text.startswith("# ")
        assert "```python" in text
        assert "<table" in text
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            assert picture in files


def test_pages_link_to_pages_that_exist():
    """A quick stand-in for the strict build, which checks anchors too."""
    notebooks = {Path("notebooks") / name for name in notebook_pages(ROOT / "notebooks")}
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#\s]+\.md)[^)]*\)", text):
            target = (page.parent / link).resolve()
            assert target.exists() or target.relative_to(DOCS) in notebooks, f"{page.name}: {link}"


def test_the_guide_to_trust_names_the_criteria():
    text = (DOCS / "guides" / "trust.md").read_text(encoding="utf-8")
    for sentence, share in (("more than {} %", BUSY), ("above {} %:", MAX_NOISE)):
        assert sentence.format(round(share * 100)) in text
    assert f"or speedup is above {round(MAX_ERROR * 100)} %" in text
