"""Run the notebooks and store a picture with each plot: ``python -m scripts.run_notebooks``.

Plotly stores a plot as JSON, which only a running Jupyter draws. The picture, drawn by a headless
Chromium, is what a page, an e-mail or GitHub can show. Needs the extras notebooks, report and dev,
and a Chromium (``--chromium PATH``). The tests run the notebooks without it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbclient
import nbformat
from plotly.offline import get_plotlyjs

from adadecode.profiles.atomic_write import write_text
from adadecode.sim.cli.errors import exiting_on_error

ROOT = Path(__file__).resolve().parents[1]
PLOT = "application/vnd.plotly.v1+json"
WIDTH, HEIGHT, SCALE = 760, 400, 1.5
DRAW = """async ({figure, width, height, scale}) => {
    const margin = {t: 24, r: 24, b: 64, l: 72, ...figure.layout.margin};
    const layout = {...figure.layout, margin, width, height: figure.layout.height || height};
    const plot = document.createElement('div');
    await Plotly.newPlot(plot, figure.data, layout);
    return await Plotly.toImage(plot, {format: 'png', width, height: layout.height, scale});
}"""


def main() -> None:
    """Run the notebooks named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all in notebooks/")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="path of a Chromium")
    chosen = parser.parse_args()
    for path in chosen.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        execute(notebook, path.parent)
        asyncio.run(add_pictures(notebook, chosen.chromium))
        write_text(path, nbformat.writes(notebook).rstrip() + "\n")
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB")


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells, and keep neither times nor the version of this Python."""
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=resources
    ).execute()
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


async def add_pictures(notebook: nbformat.NotebookNode, chromium: str | None) -> None:
    """Add a PNG picture to every output that holds a plot."""
    from playwright.async_api import async_playwright

    plots = list(plots_of(notebook))
    if not plots:
        return
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page()
        await page.add_script_tag(content=get_plotlyjs())
        for data in plots:
            figure = json.loads(json.dumps(data[PLOT]))
            options = {"figure": figure, "width": WIDTH, "height": HEIGHT, "scale": SCALE}
            address = await page.evaluate(DRAW, options)
            data["image/png"] = address.removeprefix("data:image/png;base64,")
        await browser.close()


def plots_of(notebook: nbformat.NotebookNode) -> Iterator[dict[str, Any]]:
    """Yield the data of every output that holds a plot."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if PLOT in output.get("data", {}):
                yield output["data"]


if __name__ == "__main__":
    with exiting_on_error():
        main()
