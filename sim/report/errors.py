"""What keeps a report from being written."""

from __future__ import annotations

from adadecode.profiles.errors import InputError


class ReportError(InputError):
    """A package that is not installed, a sweep and a profile that do not belong together, or a file that cannot be written."""
