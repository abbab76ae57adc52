"""What to do where a cap needs larger batches than were measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adadecode.profiles.errors import LatencyError
from adadecode.profiles.store import Profile


@contextmanager
def explaining_cap(profile: Profile | None, cap: int, option: str = "--cap") -> Iterator[None]:
    """Say at once how far latencies must reach for a cap, where one of them is missing.

    A verification runs the drafts of a round and one token more, so that a cap needs latencies of
    ``cap + 1`` tokens at once. The first one that is missing is usually of fewer tokens.

    Args:
        profile: Where latencies are taken from as measured; None where they are carried or
            estimated, which says itself how far that reaches.
        cap: The largest cap.
        option: Name of the option that set it.

    Raises:
        LatencyError: In place of the one that the block raises, if the profile was not recorded for
            this cap.
    """
    try:
        yield
    except LatencyError as error:
        largest = 0 if profile is None else _largest_batch(profile)
        if not 0 < largest < cap + 1:
            raise
        lower = f", or take {option} {largest - 1}" if largest > 1 else ""
        raise LatencyError(
            f"{option} {cap} needs latencies of up to {cap + 1} tokens at once, those of "
            f"{profile and profile.path} reach to {largest}: profile with --max-tokens {cap + 1}"
            f"{lower}"
        ) from error


def _largest_batch(profile: Profile) -> int:
    """Return the most tokens at once that a layer was measured with; 0 of none."""
    layers = profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]
    return int(layers.max()) if len(layers) else 0
