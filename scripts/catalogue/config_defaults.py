"""Write what ``transformers`` takes for keys that configs leave out, for the families shaped here.

Run ``python -m scripts.catalogue.config_defaults`` after another release of ``transformers``, or
when a family or a key is added. A test compares the file with what is installed.
"""

from __future__ import annotations

import json
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from adadecode.profiles.atomic_write import write_text
from adadecode.profiles.catalog import layered_config
from adadecode.profiles.catalog.layered_config import READ
from adadecode.profiles.catalog.layered_families import FAMILIES

FILE = layered_config.DEFAULTS


def config_defaults() -> dict[str, dict[str, Any]]:
    """Return by model_type the numbers and flags of a default config, as far as they are read."""
    found = {}
    for kind in sorted(FAMILIES):
        if kind in CONFIG_MAPPING:
            own = CONFIG_MAPPING[kind]().to_dict()
            found[kind] = {
                key: own[key]
                for key in sorted(set(READ) & own.keys())
                if isinstance(own[key], int | float)
            }
    return found


def write() -> None:
    """Write the file."""
    text = json.dumps(config_defaults(), indent=1)
    write_text(FILE, f"{text}\n")


if __name__ == "__main__":
    write()
