"""Fill the generated parts of the pages while MkDocs builds the site.

A page marks a generated part by a line such as ``<!-- generated: errors -->``. The pages of the
notebooks are generated whole. Nothing that is generated here is committed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "src")) if path not in sys.path]

from scripts.docs.command_reference import command_reference  # noqa: E402 - after the path is set
from scripts.docs.decision_list import FOLDER as DECISIONS  # noqa: E402 - after the path is set
from scripts.docs.decision_list import decision_list  # noqa: E402 - after the path is set
from scripts.docs.error_reference import error_reference  # noqa: E402 - after the path is set
from scripts.docs.notebook_pages import notebook_pages  # noqa: E402 - after the path is set
from scripts.docs.profile_tables import profile_tables  # noqa: E402 - after the path is set
from scripts.docs.results import LATER, RESULTS, results_table  # noqa: E402 - after the path is set

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

MARKER = re.compile(r"^<!-- generated: (?P<name>[a-z-]+) -->$", re.MULTILINE)


def changelog() -> str:
    """Return the changelog without its title."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n", 1)[1]


def gpu_run() -> str:
    """Return the section of ``scripts/README.md`` on GPU runs, its links made to fit the site."""
    text = (ROOT / "scripts" / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## A GPU run\n", 1)[1]
    return section.replace("\n### ", "\n## ").replace(
        "(../docs/decisions)", "(../decisions/README.md)"
    )


def public_names(package: str) -> str:
    """Return the instructions to document the public classes and functions of a package.

    What it takes from another package stands on that package's page, and exceptions have a page of
    their own.
    """
    module = importlib.import_module(package)
    objects = [getattr(module, name) for name in module.__all__]
    return "\n".join(
        f"::: {found.__module__}.{found.__qualname__}"
        for found in objects
        if inspect.isfunction(found)
        or (inspect.isclass(found) and not issubclass(found, Exception))
        if found.__module__.startswith(f"{package}.")
    )


def snippet(path: Path) -> str:
    """Return an example as a block of code."""
    return f"```python\n{path.read_text(encoding='utf-8').strip()}\n```"


GENERATORS: dict[str, Callable[[], str]] = {
    "changelog": changelog,
    "commands": command_reference,
    "decisions": decision_list,
    "engine-names": lambda: public_names("adadecode.engine"),
    "errors": error_reference,
    "gpu-run": gpu_run,
    "profile-tables": profile_tables,
    "profiles-names": lambda: public_names("adadecode.profiles"),
    "results-table": lambda: results_table("results/"),
    "sim-names": lambda: public_names("adadecode.sim"),
    **{
        f"snippet-{path.stem}": functools.partial(snippet, path)
        for path in sorted((ROOT / "docs" / "snippets").glob("*.py"))
    },
}


def fill_markers(markdown: str) -> str:
    """Replace every marker by what its generator returns.

    Raises:
        KeyError: for a marker without a generator.
    """
    return MARKER.sub(lambda match: GENERATORS[match["name"]](), markdown)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Complete the navigation (called by MkDocs)."""
    config.nav = complete_navigation(config.nav)
    return config


def complete_navigation(nav: list[Any]) -> list[Any]:
    """Return the navigation with every decision record, without pages not measured yet.

    Args:
        nav: The sections and pages of ``mkdocs.yml``: paths, or dictionaries from a title to a path
            or to a section.
    """
    missing = {f"results/{page}" for page, file in LATER.items() if not (RESULTS / file).exists()}
    records = [f"decisions/{path.name}" for path in sorted(DECISIONS.glob("0*.md"))]
    complete = []
    for entry in nav:
        title, inner = next(iter(entry.items())) if isinstance(entry, dict) else (None, entry)
        if isinstance(inner, list):
            section = complete_navigation(inner)
            if title == "Decisions":
                section += records
            complete.append({title: section})
        elif inner not in missing:
            complete.append(entry)
    return complete


def on_page_markdown(markdown: str, **_: object) -> str:
    """Fill the markers of one page (called by MkDocs)."""
    return fill_markers(markdown)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the notebooks and their pictures (called by MkDocs)."""
    from mkdocs.structure.files import File

    for path, content in notebook_pages(ROOT / "notebooks").items():
        files.append(File.generated(config, f"notebooks/{path}", content=content))
    return files
