"""Every exception this project raises on purpose.

::

    AdaDecodeError
    └── InputError              what the user gave cannot be used; command-line tools exit with code 2
        ├── DesignError         a policy, gamma, placement or cap that makes no sense
        ├── SamplingError       a temperature, top-k, top-p or seed that makes no sense
        ├── ProfileError        a profile that is damaged, incomplete, newer than this program, or holds absurd numbers
        ├── LatencyError        a latency was asked for that was not measured
        ├── PromptError         an empty or malformed prompt file
        ├── HeadsError          exit heads that are missing, damaged, or belong to another model
        ├── DeviceError         a device that is unknown, or described with missing or absurd figures
        ├── ShapeError          a model whose shape is unknown, incomplete or impossible
        └── UnsupportedModel    a model the engine cannot serve

A message says what was wanted, what was got, and what to do. Arguments are positional, because SimPy rebuilds exceptions
as ``type(e)(*e.args)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class AdaDecodeError(Exception):
    """Base of every exception of this project."""


class InputError(AdaDecodeError):
    """What the user gave cannot be used."""


class DesignError(InputError):
    """A policy, gamma, placement or cap that makes no sense."""


class SamplingError(InputError):
    """A temperature, top-k, top-p or seed that makes no sense."""


class ProfileError(InputError):
    """A profile that is damaged, incomplete, newer than this program, or holds absurd numbers."""


class LatencyError(InputError):
    """A latency was asked for that was not measured."""


class PromptError(InputError):
    """An empty or malformed prompt file."""


class HeadsError(InputError):
    """Exit heads that are missing, damaged, or belong to another model."""


class DeviceError(InputError):
    """A device that is unknown, or described with missing or absurd figures."""


class ShapeError(InputError):
    """A model whose shape is unknown, incomplete or impossible."""


class UnsupportedModel(InputError):
    """A model the engine cannot serve."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known names most like ``name``, for a message: those that contain it first, else every one where none is like it."""
    names = sorted(known)
    containing = [one for one in names if name and name in one]
    near = list(dict.fromkeys([*containing, *get_close_matches(name, names, n=3, cutoff=0.5)]))
    return f"the nearest are {', '.join(near[:5])}" if near else f"known are {', '.join(names)}"
