"""The documents that ``--json`` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document to stdout.

    Raises:
        ValueError: If it holds NaN, which JSON has no word for.
    """
    print(json.dumps(document, indent=2, allow_nan=False))
