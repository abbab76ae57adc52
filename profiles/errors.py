"""Every exception this project raises on purpose.

::

    AdaDecodeError
    └── InputError              what the user gave cannot be used; command-line tools exit with code 2
        ├── DesignError         a policy, gamma, placement or cap that makes no sense
        ├── ProfileError        a profile that is damaged, incomplete, newer than this program, or holds absurd numbers
        ├── LatencyError        a latency was asked for that was not measured
        ├── PromptError         an empty or malformed prompt file
        ├── HeadsError          exit heads that are missing, damaged, or belong to another model
        └── UnsupportedModel    a model the engine cannot serve

A message says what was wanted, what was got, and what to do. Arguments are positional, because SimPy rebuilds exceptions
as ``type(e)(*e.args)``.
"""

from __future__ import annotations


class AdaDecodeError(Exception):
    """Base of every exception of this project."""


class InputError(AdaDecodeError):
    """What the user gave cannot be used."""


class DesignError(InputError):
    """A policy, gamma, placement or cap that makes no sense."""


class ProfileError(InputError):
    """A profile that is damaged, incomplete, newer than this program, or holds absurd numbers."""


class LatencyError(InputError):
    """A latency was asked for that was not measured."""


class PromptError(InputError):
    """An empty or malformed prompt file."""


class HeadsError(InputError):
    """Exit heads that are missing, damaged, or belong to another model."""


class UnsupportedModel(InputError):
    """A model the engine cannot serve."""
