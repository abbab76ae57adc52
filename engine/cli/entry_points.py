"""The engine's commands as they are installed, each with plain errors."""

from __future__ import annotations

from adadecode.engine.cli.errors import plain_errors, refuse_torchrun


def train_main() -> None:
    """Run ``adadecode-train``."""
    with plain_errors():
        refuse_torchrun("adadecode-train")
        from adadecode.engine.cli.train import app

        app()


def profile_main() -> None:
    """Run ``adadecode-profile``."""
    with plain_errors():
        from adadecode.engine.cli.profile import app

        app()


def flips_main() -> None:
    """Run ``adadecode-flips``."""
    with plain_errors():
        refuse_torchrun("adadecode-flips")
        from adadecode.engine.cli.flips import app

        app()


def load_main() -> None:
    """Run ``adadecode-load``."""
    with plain_errors():
        refuse_torchrun("adadecode-load")
        from adadecode.engine.cli.load import app

        app()


def device_main() -> None:
    """Run ``adadecode-device``."""
    with plain_errors():
        from adadecode.engine.cli.device import app

        app()
