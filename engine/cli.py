"""The engine's command-line tools, and how all of them fail: one sentence on stderr and exit code 2 for what a user can put right."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from profiles.errors import InputError

_EXTRA = {"huggingface_hub", "psutil", "safetensors", "tokenizers", "torch", "transformers"}
"""What the extra ``engine`` installs."""


@contextmanager
def plain_errors() -> Iterator[None]:
    """Within: an InputError becomes ``error: ...`` on stderr and exit code 2, as does a missing extra. Ctrl-C: exit code 130."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before a command has begun anything that it could go on with
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        print(f"error: {error.name} is not installed: pip install 'adadecode[engine]'", file=sys.stderr)
        sys.exit(2)


def train_main() -> None:
    """``adadecode-train``."""
    with plain_errors():
        refuse_torchrun("adadecode-train")
        from engine.train_cli import app

        app()


def refuse_torchrun(command: str) -> None:
    """Raises InputError where several processes were started: every one of them would do, and write, the same."""
    count = os.environ.get("WORLD_SIZE", "1")
    if count.isdigit() and int(count) > 1:
        raise InputError(
            f"{command} is one process, torchrun started {count}: run it without; a sharded model is decoded from Python, by AdaDecoder"
        )


def profile_main() -> None:
    """``adadecode-profile``."""
    with plain_errors():
        refuse_torchrun("adadecode-profile")
        from engine.profile_cli import app

        app()


def flips_main() -> None:
    """``adadecode-flips``."""
    with plain_errors():
        refuse_torchrun("adadecode-flips")
        from engine.flips_cli import app

        app()
