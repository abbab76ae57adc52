"""The engine's command-line tools, and how all of them fail: one sentence on stderr and exit code 2 for what a user can put right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adadecode.engine.cli.device import app
from adadecode.engine.cli.errors import plain_errors, refuse_torchrun

if TYPE_CHECKING:
    pass


def train_main() -> None:
    """``adadecode-train``."""
    with plain_errors():
        refuse_torchrun("adadecode-train")
        from adadecode.engine.cli.train import app

        app()


def profile_main() -> None:
    """``adadecode-profile``."""
    with plain_errors():
        from adadecode.engine.cli.profile import app

        app()


def flips_main() -> None:
    """``adadecode-flips``."""
    with plain_errors():
        refuse_torchrun("adadecode-flips")
        from adadecode.engine.cli.flips import app

        app()


def device_main() -> None:
    """``adadecode-device``."""
    with plain_errors():
        app()
