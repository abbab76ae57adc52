"""How many examples a property test draws: few in ``make test``, all in ``make test-all``."""

from __future__ import annotations

from hypothesis import settings

SHARE_WHEN_QUICK = 4
"""``make test`` draws one example in so many, always the same ones."""
MINIMUM_WHEN_QUICK = 15


def examples(count: int) -> settings:
    """Return the settings of a property test, to be used as its decorator.

    Args:
        count: Examples that ``make test-all`` draws (hypothesis profile ``thorough``).
            ``make test`` draws a quarter of them, but at least `MINIMUM_WHEN_QUICK`.
    """
    if settings.get_current_profile_name() == "thorough":
        return settings(max_examples=count)
    return settings(max_examples=min(count, max(MINIMUM_WHEN_QUICK, count // SHARE_WHEN_QUICK)))
