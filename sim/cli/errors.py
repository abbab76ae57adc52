"""How commands fail: one sentence on stderr and exit code 2, or 130 after Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adadecode.profiles.errors import InputError
from adadecode.sim.cli.interruption import INTERRUPTED, interruption_line

EXTRAS = {
    "engine": ("huggingface_hub", "psutil", "safetensors", "tokenizers", "torch", "transformers"),
    "parallel": ("accelerate",),
    "report": ("jinja2", "plotly"),
    "sweep": ("dask", "distributed", "optuna"),
}
"""The modules that come with each extra of this package."""


@contextmanager
def exiting_on_error(process: Callable[[], str] = str) -> Iterator[None]:
    """Turn what a user can put right into a sentence on stderr and an exit code.

    An `InputError` or a missing extra becomes ``error: ...`` and exit code 2, Ctrl-C becomes
    ``interrupted: ...`` and exit code 130.

    Args:
        process: Returns which of several processes this is, like `` (process 1 of 2)``; empty by
            default.
    """
    try:
        yield
    except InputError as error:
        print(f"error{process()}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None:
            raise
        print(
            f"error: {error.name} is not installed: pip install 'adadecode[{extra}]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    except KeyboardInterrupt as interrupt:  # before or after a command
        print(interruption_line(interrupt), file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def extra_of(module: str) -> str | None:
    """Return the extra that installs a module, None where none does."""
    package = module.partition(".")[0]
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)
