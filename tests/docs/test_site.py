"""The documentation builds in strict mode, and its pages load nothing from a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("material", reason="builds the site: install the extra 'docs'")

LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(https?:)?//"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preconnect|preload)[^>]*https?://",
    re.IGNORECASE,
)
"""What a browser would fetch from elsewhere."""


def test_the_site_builds_in_strict_mode_and_loads_nothing_from_elsewhere(tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://127.0.0.1:9"}
    environment["https_proxy"] = environment["http_proxy"]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    pages = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    assert {"index.html", "reference/sim.html", "results/speed.html"} <= set(pages)
    texts = {name: path.read_text(encoding="utf-8") for name, path in pages.items()}
    assert [name for name, text in texts.items() if LOADED.search(text)] == []
    assert [name for name, text in texts.items() if "generated: " in text] == []
    speed = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text("utf-8"))
    median = speed["results"][0]["adadecode_over_vanilla"]["median"]
    assert f"{median:.2f} (" in texts["results/speed.html"]
    assert f"{median:.2f} (" in texts["index.html"]
    inherited = ("AdaDecoder.start", "ExitHeads.logits")
    for name in ("AdaDecoder", "ExitHeads", *inherited):
        assert "adadecode.engine" in texts["reference/engine.html"]
        assert name in texts["reference/engine.html"]
