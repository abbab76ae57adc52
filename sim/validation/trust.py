"""May I trust this recording? The answer, from its own measured runs and what its machine did."""

from __future__ import annotations

from adadecode.profiles.store import Profile
from adadecode.sim.validation.criteria import Trust, judge
from adadecode.sim.validation.result import Validation
from adadecode.sim.validation.tiers import validate

__all__ = ["Trust", "assess"]


def assess(profile: Profile, validation: Validation | None = None) -> Trust:
    """Decide whether a recording is to be trusted.

    Args:
        profile: The recording.
        validation: What `adadecode.sim.validation.tiers.validate` found for it; computed if None.

    Returns:
        The verdict with its reasons. A recording without measured runs is not trusted, as nothing
        of it was checked.
    """
    if validation is not None:
        return validation.trust
    if profile.runs.empty and profile.rounds.empty:
        return judge(
            profile,
            compared_structures=0,
            differing_structures=0,
            time_error=None,
            time_noise=None,
            speedup_error=None,
            speedup_noise=None,
        )
    return validate(profile).trust
