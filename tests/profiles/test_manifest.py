"""Parts of a manifest."""

from __future__ import annotations

import pytest

from adadecode.profiles.manifest import section

MANIFEST = {"hardware": {"before": {"host": {"threads": 8}}}, "seed": 0}


def test_a_section_is_found_level_by_level() -> None:
    assert section(MANIFEST, "hardware", "before", "host") == {"threads": 8}
    assert section(MANIFEST) == MANIFEST


@pytest.mark.parametrize("keys", [("absent",), ("hardware", "after", "host"), ("seed",)])
def test_a_section_that_is_not_there_is_empty(keys: tuple[str, ...]) -> None:
    assert section(MANIFEST, *keys) == {}


def test_what_is_no_mapping_has_no_sections() -> None:
    assert section(None) == section([1], "x") == {}
