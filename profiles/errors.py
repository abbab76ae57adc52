"""Every exception that this project raises on purpose.

::

    AdaDecodeError
    └── InputError              the user gave something unusable; commands exit with code 2
        ├── DesignError         a policy, gamma, placement or cap makes no sense
        ├── SamplingError       a temperature, top-k, top-p or seed makes no sense
        ├── ProfileError        a profile is damaged, incomplete, too new, or holds absurd numbers
        ├── LatencyError        a latency is needed that was not measured
        ├── PromptError         a prompt file is empty or malformed
        ├── HeadsError          exit heads are missing, damaged, or of another model
        ├── DeviceError         a device is unknown, or its figures are missing or absurd
        ├── ShapeError          the shape of a model is unknown, incomplete or impossible
        └── UnsupportedModel    the engine cannot serve a model

A message says what was wanted, what was got, and what to do. Arguments are positional, because
SimPy rebuilds exceptions as ``type(e)(*e.args)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_MESSAGE = 560
"""Characters of the longest message. A value that it quotes may be of any length."""

_END = 170
"""Characters of its end, which says what to do, that stay where a message is too long."""


class AdaDecodeError(Exception):
    """Base of every exception of this project."""

    def __str__(self) -> str:
        """Return the message, without its middle where that is too long to be read."""
        text = super().__str__()
        if len(text) <= LONGEST_MESSAGE:
            return text
        return f"{text[: LONGEST_MESSAGE - _END - 5]} ... {text[-_END:]}"


class InputError(AdaDecodeError):
    """Raised when something that the user gave cannot be used."""


class DesignError(InputError):
    """Raised for a policy, gamma, placement or cap that makes no sense."""


class SamplingError(InputError):
    """Raised for a temperature, top-k, top-p or seed that makes no sense."""


class ProfileError(InputError):
    """Raised for a profile that is damaged, incomplete, too new, or holds absurd numbers."""


class LatencyError(InputError):
    """Raised when a latency is needed that was not measured."""


class PromptError(InputError):
    """Raised for an empty or malformed prompt file."""


class HeadsError(InputError):
    """Raised for exit heads that are missing, damaged, or of another model."""


class DeviceError(InputError):
    """Raised for a device that is unknown, or whose figures are missing or absurd."""


class ShapeError(InputError):
    """Raised for a model whose shape is unknown, incomplete or impossible."""


class UnsupportedModel(InputError):
    """Raised for a model that the engine cannot serve."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known names most like ``name``, as a phrase for a message.

    Names that contain it come first. Where none is like it, the phrase lists all of them.
    """
    names = sorted(known)
    near = similar(name, names)
    return f"the nearest are {', '.join(near)}" if near else f"known are {', '.join(names)}"


def similar(name: str, known: Iterable[str]) -> list[str]:
    """Return up to five known names that are much like ``name``; none where none is."""
    names = sorted(known)
    containing = [one for one in names if name and name in one]
    near = dict.fromkeys([*containing, *get_close_matches(name, names, n=3, cutoff=0.6)])
    return list(near)[:5]
