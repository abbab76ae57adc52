"""Write the generated pages of results and the README's table: ``python -m scripts.docs``."""

from __future__ import annotations

from adadecode.profiles.atomic_write import write_text
from adadecode.sim.cli.errors import exiting_on_error
from scripts.docs.results import PAGES, README, ROOT, page_names, readme, result_page


def main() -> None:
    """Write every file that is generated and committed, and name those that changed."""
    pages = {PAGES / name: result_page(name) for name in page_names()}
    for path, text in {**pages, README: readme()}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    with exiting_on_error():
        main()
