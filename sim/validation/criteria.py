"""The criteria by which a recording is trusted, applied to the errors of its validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adadecode.profiles.store import Profile
from adadecode.sim.core.number_format import percent
from adadecode.sim.measurements.telemetry import BUSY, FALL, busy_share, clock_fall
from adadecode.sim.validation.evidence import missing_evidence

MAX_NOISE = 0.10
"""Largest noise floor of a trusted recording.

The noise floor is the median difference between even and odd repeats of the same runs. Within
it, no prediction can be called right or wrong.
"""

MAX_ERROR = 0.05
"""Largest median error of predicted times and of predicted speedups (T2) of a trusted recording.

An error up to the noise floor is never held against it.
"""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whether a recording is to be trusted, and why not.

    All quantities are shares (0.05 is 5 %), and None where the recording does not hold them.

    Attributes:
        trusted: Whether predictions from this recording can be relied on.
        reasons: One sentence for each criterion that failed, with what to do; empty if trusted.
        time_error: Median error of predicted run times (T2).
        time_noise: Median difference of run times between even and odd repeats.
        speedup_error: Median error of predicted speedups (T2).
        speedup_noise: Median difference of measured speedups between even and odd repeats.
        busy: Processors that other programs kept busy, on average while recording.
    """

    trusted: bool
    reasons: tuple[str, ...] = ()
    time_error: float | None = None
    time_noise: float | None = None
    speedup_error: float | None = None
    speedup_noise: float | None = None
    busy: float | None = None

    def describe(self) -> list[str]:
        """Return the verdict, the reasons, and the errors with their noise floors, a line each."""
        return [
            f"Trust this recording: {'yes' if self.trusted else 'no'}",
            *self.reasons,
            *_error_sentence("times", self.time_error, self.time_noise),
            *_error_sentence("speedups", self.speedup_error, self.speedup_noise),
            "How busy other programs kept the processors was not recorded."
            if self.busy is None
            else f"Other programs kept {percent(self.busy, 0)} of the processors busy.",
        ]


def judge(
    profile: Profile,
    *,
    compared_structures: int,
    differing_structures: int,
    time_error: float | None,
    time_noise: float | None,
    speedup_error: float | None,
    speedup_noise: float | None,
) -> Trust:
    """Apply the criteria to a profile and the errors of its validation.

    Args:
        profile: The recording, for how busy and how warm its machine was.
        compared_structures: Runs whose rounds were held against their replay.
        differing_structures: Runs whose rounds differ from their replay, with no near-tie to
            explain it.
        time_error: Median error of predicted run times, a share; None where none was measured.
        time_noise: Median difference between even and odd repeats; None of a single repeat.
        speedup_error: As ``time_error``, of speedups.
        speedup_noise: As ``time_noise``, of speedups.
    """
    busy, fall = busy_share(profile), clock_fall(profile)
    reasons = [
        *_structure_reasons(differing_structures),
        *_machine_reasons(busy, fall),
        *_noise_reasons(time_error, time_noise, speedup_noise),
        *_evidence_reasons(profile, compared_structures),
        *_error_reasons("times", time_error, time_noise),
        *_error_reasons("speedups", speedup_error, speedup_noise),
    ]
    return Trust(
        trusted=not reasons,
        reasons=tuple(reasons),
        time_error=time_error,
        time_noise=time_noise,
        speedup_error=speedup_error,
        speedup_noise=speedup_noise,
        busy=busy,
    )


def _structure_reasons(differing: int) -> Iterator[str]:
    if differing:
        yield (
            f"{differing} measured {'run differs' if differing == 1 else 'runs differ'} from the "
            "replay in what was drafted and accepted, and no near-tie explains it: record again, "
            "and report it if it stays."
        )


def _machine_reasons(busy: float | None, fall: float | None) -> Iterator[str]:
    if busy is not None and busy > BUSY:
        yield (
            f"Other programs kept more than {percent(BUSY, 0)} of the processors busy "
            f"({percent(busy, 0)}): record on an idle machine."
        )
    if fall is not None and fall > FALL:
        yield (
            f"The clock fell by {percent(fall, 0)} while recording: lock it, or cool the device, "
            "and record again."
        )


def _noise_reasons(
    time_error: float | None, time_noise: float | None, speedup_noise: float | None
) -> Iterator[str]:
    if time_error is None:
        yield (
            "No run was timed, so that no prediction could be checked: record with "
            "`adadecode-profile` and one repeat or more."
        )
        return
    noise = max(share for share in (time_noise, speedup_noise, 0.0) if share is not None)
    if noise > MAX_NOISE:
        yield (
            f"Repeats of the same runs differ by {percent(noise, 1)} in the median, more than "
            f"{percent(MAX_NOISE, 0)}: record on an idle machine, with more repeats."
        )


def _evidence_reasons(profile: Profile, compared: int) -> Iterator[str]:
    if not compared:
        yield (
            "No run was compared with its replay, as the recording holds no rounds of one: record "
            "again with `adadecode-profile`."
        )
    yield from missing_evidence(profile)


def _error_reasons(quantity: str, error: float | None, noise: float | None) -> Iterator[str]:
    if error is not None and error > max(MAX_ERROR, noise or 0.0):
        floor = "" if noise is None else f" and the noise floor of {percent(noise, 1)}"
        yield (
            f"The median error of predicted {quantity}, {percent(error, 1)}, exceeds "
            f"{percent(MAX_ERROR, 0)}{floor}: the latencies are not those of the runs; record "
            "again."
        )


def _error_sentence(quantity: str, error: float | None, noise: float | None) -> Iterator[str]:
    if error is None:
        return
    floor = (
        "the noise floor is unknown, as it takes 2 repeats or more"
        if noise is None
        else f"repeats of the same runs differ by {percent(noise, 1)} (the noise floor)"
    )
    yield f"Predicted {quantity} are off by {percent(error, 1)} in the median; {floor}."
