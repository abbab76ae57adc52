"""Pages of the notebooks, with the outputs that are stored in them. Nothing is run."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PICTURES = {"image/svg+xml": "svg", "image/png": "png"}
"""Pictures that a page can show, the better one first, and the suffix of their files."""


def notebook_pages(folder: Path) -> dict[str, str | bytes]:
    """Return the files to add for the notebooks in a folder, by name: pages and their pictures."""
    files: dict[str, str | bytes] = {}
    for path in sorted(folder.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        source = f"*Made from [`notebooks/{path.name}`]({path.name}), which can be run.*"
        parts = []
        for index, cell in enumerate(notebook["cells"]):
            text = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(text)
                continue
            parts.append(f"```python\n{text}\n```")
            for number, output in enumerate(cell["outputs"]):
                name = f"{path.stem}-{index}-{number}"
                parts.append(output_markdown(output, name, files))
        title, _, rest = "\n\n".join(parts).partition("\n")
        files[f"{path.stem}.md"] = f"{title}\n\n{source}\n{rest}\n"
        files[path.name] = path.read_bytes()
    return files


def output_markdown(output: Mapping[str, Any], name: str, files: dict[str, str | bytes]) -> str:
    """Return one output of a cell as Markdown; a picture is added to ``files``."""
    data = output.get("data", {})
    for kind, suffix in PICTURES.items():
        if kind in data:
            content = "".join(data[kind])
            picture = content.encode() if suffix == "svg" else base64.b64decode(content)
            files[f"{name}.{suffix}"] = picture
            return f"![Plot of the cell above]({name}.{suffix})"
    if "text/html" in data:
        table = "".join(data["text/html"])
        table = table[table.index("<table") : table.rindex("</table>") + len("</table>")]
        return f'<div class="notebook-table">{table}</div>'
    return "```text\n" + "".join(data.get("text/plain", output.get("text", ""))) + "\n```"
