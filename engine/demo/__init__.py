"""Models with exit heads and prompts that come with this program.

The demo model is small, but a real language model; it is here whole, and its card is
``model/README.md``. Of SmolLM2, which others trained, heads and prompts are here, with a card in
``smollm2/README.md``; the model itself is fetched (`adadecode.engine.loading.smollm2`). `Demo`,
`load_demo` and `load_smollm2` load torch when they are first used; the paths do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.engine.demo.bundles import DEMO, MODEL, PROMPTS, SMOLLM2
from adadecode.profiles.lazy_names import lazy_names

if TYPE_CHECKING:
    from adadecode.engine.demo.bundles import Bundle, bundle
    from adadecode.engine.demo.demo_model import Demo, load_demo, load_smollm2
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "Bundle": "adadecode.engine.demo.bundles",
            "Demo": "adadecode.engine.demo.demo_model",
            "bundle": "adadecode.engine.demo.bundles",
            "load_demo": "adadecode.engine.demo.demo_model",
            "load_smollm2": "adadecode.engine.demo.demo_model",
        },
    )

__all__ = [
    "DEMO",
    "MODEL",
    "PROMPTS",
    "SMOLLM2",
    "Bundle",
    "Demo",
    "bundle",
    "load_demo",
    "load_smollm2",
]
