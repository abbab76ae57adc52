"""The blocks of Python on the pages run, each page's in order in one namespace."""

from __future__ import annotations

import re
import shutil

import pytest

pytest.importorskip("jinja2", reason="fills markers: install the extra 'docs'")

from scripts.docs import hook
from tests.support.paths import ROOT

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHARED_SNIPPETS = {"snippet-predict"}
"""Examples that later blocks of their page build on; `test_snippets` runs every example alone."""


def python_blocks(text: str) -> list[str]:
    """Return the blocks of Python of a page, with the shared examples where they are shown."""
    filled = hook.MARKER.sub(
        lambda match: (
            hook.GENERATORS[match["name"]]() if match["name"] in SHARED_SNIPPETS else match[0]
        ),
        text,
    )
    return FENCE.findall(filled)


PAGES = [
    page
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    if python_blocks(page.read_text(encoding="utf-8"))
]


def test_the_pages_with_python_are_found():
    names = {page.name for page in PAGES}
    assert {"README.md", "python-api.md", "trust.md", "sampling.md", "errors.md"} <= names


@pytest.mark.parametrize(
    "page", PAGES, ids=[path.relative_to(ROOT).with_suffix("").as_posix() for path in PAGES]
)
def test_python_on_a_page_runs(page, tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="some blocks decode")
    committed = ROOT / "profiles" / "recorded" / "demo-cpu"
    for place in ("profiles/recorded/demo-cpu", "out/demo"):
        shutil.copytree(committed, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "example"}
    for block in python_blocks(page.read_text(encoding="utf-8")):
        exec(compile(block, page.name, "exec"), namespace)  # noqa: S102 - our own pages
