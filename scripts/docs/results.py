"""Result pages and the README's table, from ``benchmarks/results/*.json`` and a recording.

``python -m scripts.docs`` writes them; a test compares them with what is committed. The templates
in ``templates/`` hold the words, the figures come from the files.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from scripts.docs.interleaving import compare_orders, spread_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
RECORDED = ROOT / "profiles" / "recorded"
RECORDING = RECORDED / "demo-cpu"
PRETRAINED = RECORDED / "smollm2-cpu"
TEMPLATES = Path(__file__).with_name("templates")
PAGES = ROOT / "docs" / "results"
README = ROOT / "README.md"
LATER = {
    "interleaving.md": "interleaving.json",
    "damaged-files.md": "fuzz.json",
    "few-rows.md": "few_rows.json",
    "pretrained.md": "agreement.json",
    "many-users.md": "batched_engine.json",
}
"""Pages that are there only once their results file has been measured."""
TABLE = re.compile(r"(?<=<!-- results: begin -->\n).*?(?=<!-- results: end -->)", re.DOTALL)


def page_names() -> list[str]:
    """Return the file names of the generated pages of results."""
    names = [path.name.removesuffix(".jinja") for path in TEMPLATES.glob("*.md.jinja")]
    return sorted(
        name
        for name in names
        if not name.startswith("_") and (name not in LATER or (RESULTS / LATER[name]).exists())
    )


def result_page(name: str) -> str:
    """Return the text of a generated page of results."""
    return render(f"{name}.jinja")


def results_table(pages: str) -> str:
    """Return the table of the main results, its links relative to ``pages``."""
    return render("_table.md.jinja", pages=pages)


def readme() -> str:
    """Return the README with its table of results renewed.

    Raises:
        ValueError: if the README has no place for the table.
    """
    text, count = TABLE.subn(
        lambda _: results_table("docs/results/"), README.read_text(encoding="utf-8")
    )
    if count != 1:
        raise ValueError(f"wanted one place for the table in {README.name}, got {count}")
    return text


def render(template: str, **more: object) -> str:
    """Return a template filled with the results, and with more values that go before them."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - Markdown, from files of this repository
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "big": big,
        "percent": percent,
        "shares": shares,
        "spread": spread,
        "x": ratio,
    }
    environment.globals |= {
        "compare_orders": compare_orders,
        "source": source,
        "spread_of": spread_of,
    }
    return environment.get_template(template).render(**{**results(), **more})


@functools.cache
def results() -> dict[str, Any]:
    """Return every results file by its stem, and the validation of the committed recordings."""
    files = {path.stem: json.loads(path.read_text("utf-8")) for path in RESULTS.glob("*.json")}
    found = {"recording": recording(RECORDING), "pretrained": recording(PRETRAINED)}
    return {**files, **found}


def recording(folder: Path) -> dict[str, Any]:
    """Return the validation of a committed recording, with its machine and date."""
    from adadecode.profiles.store import read_profile
    from adadecode.sim.validation.tiers import validate

    profile = read_profile(folder)
    manifest = profile.manifest
    timed = profile.runs[~profile.runs["instrumented"]]
    return {
        "validation": validate(profile).to_dict(),
        "machine": manifest["hardware"]["before"]["host"],
        "software": manifest["software"],
        "when": manifest["created"],
        "prompts": len(profile.prompts),
        "designs": len(manifest["settings"]["designs"]),
        "repeats": int(timed["repeat"].nunique()),
        "run_seconds": float((timed["prefill_s"] + timed["decode_s"]).sum()),
        "bytes": sum(path.stat().st_size for path in folder.iterdir()),
    }


def ratio(value: float, digits: int = 2) -> str:
    """Return a ratio, like ``2.16``."""
    return f"{value:.{digits}f}"


def spread(values: Mapping[str, float], digits: int = 2) -> str:
    """Return a median with the lowest and highest value, like ``2.16 (2.13 .. 2.23)``."""
    low, high = values["min"], values["max"]
    return f"{values['median']:.{digits}f} ({low:.{digits}f} .. {high:.{digits}f})"


def percent(value: float, digits: int = 1) -> str:
    """Return a share as a percentage, like ``2.8 %``."""
    return f"{value * 100:.{digits}f} %"


def shares(values: Mapping[str, float] | None, digits: int = 1) -> str:
    """Return a spread of shares in percent, like ``2.5 % (2.1 .. 3.0)``."""
    if values is None:
        return "not measured"
    low, high = values["min"] * 100, values["max"] * 100
    return f"{percent(values['median'], digits)} ({low:.{digits}f} .. {high:.{digits}f})"


def big(value: float, digits: int = 0) -> str:
    """Return a large number with separators, like ``10,703``."""
    return f"{value:,.{digits}f}"


def source(result: Mapping[str, Any], command: str, file: str) -> str:
    """Return where, when and by which command a result was measured."""
    machine = result.get("machine") or {}
    words = [f"Measured {result['when'][:10]}"]
    if machine:
        words.append(f"on {machine['cores']} cores of an {machine['cpu']}, without a GPU")
    versions = result.get("software") or {}
    if "torch" in versions:
        words.append(f"with torch {versions['torch']}, transformers {versions['transformers']}")
    return f"*{', '.join(words)}.* Command: `{command}`. Data: `{file}`."
