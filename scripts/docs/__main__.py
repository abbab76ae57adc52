"""Write the generated pages of results and the README's table: ``python -m scripts.docs``."""

from __future__ import annotations

from scripts.docs.results import README, ROOT, readme, result_pages


def main() -> None:
    """Write every file that is generated and committed, and name those that changed."""
    for path, text in {**result_pages(), README: readme()}.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
