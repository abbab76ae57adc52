"""Make the report on a profile or a sweep, and write its page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from adadecode.profiles.atomic_write import write_text
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.output_path import check_output_file
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.report.document import Report, ReportError
from adadecode.sim.report.page import page, require_packages
from adadecode.sim.report.profile.profile_report import profile_report
from adadecode.sim.report.sweep.sweep_report import sweep_report
from adadecode.sim.sweep.store import Sweep


def write_report(source: Profile | Sweep, out: str | Path) -> Path:
    """Write the report on a profile or a sweep as one HTML page.

    The page holds everything that it shows: it loads nothing and sends nothing.

    Args:
        source: A profile, or a sweep; the profile of a sweep is read from the path in the sweep.
        out: The file to write.

    Returns:
        The file that was written.

    Raises:
        InputError: If the file cannot be written, or plotly or jinja2 is not installed.
    """
    require_packages()
    place = check_output_file(out, "out")
    write_text(place, page(build_report(source)))
    return place


def build_report(source: Profile | Sweep, profile: Path | None = None) -> Report:
    """Return the report on a profile or a sweep.

    Args:
        source: The profile or the sweep.
        profile: Where the profile of a sweep is now, if it was moved.

    Raises:
        ReportError: If ``profile`` is given for a profile, or is not the one that was swept.
        ProfileError: If ``profile`` cannot be read, or the runs of a profile contradict its text.
    """
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if isinstance(source, Profile):
        if profile is not None:
            raise ReportError(f"{source.path} is a profile itself: leave --profile out")
        return profile_report(source, created=created)
    found, missing = find_profile(source, profile)
    return sweep_report(source, found, missing, created=created)


def find_profile(sweep: Sweep, path: Path | None = None) -> tuple[Profile | None, str]:
    """Return the profile that a sweep's text comes from, and why there is none.

    Args:
        sweep: The sweep.
        path: Where the profile is now; by default the path in the sweep.

    Raises:
        ReportError: If ``path`` holds another profile.
        ProfileError: If ``path`` cannot be read.
    """
    about = sweep.about.get("trace") or sweep.about.get("profile") or {}
    place, digest = path or about.get("path"), about.get("digest")
    if not place:
        return None, (
            "The sweep names no profile: what was measured, and how true predictions are, cannot "
            "be shown."
        )
    try:
        profile = read_profile(place)
    except ProfileError:
        if path is not None:
            raise
        return None, (
            "The profile that was swept is not where it was: give it with --profile to see what "
            "was measured, and how true predictions are."
        )
    if digest and profile.manifest.get("digest") != digest:
        if path is not None:
            raise ReportError(
                f"{path} is not the profile that was swept: wanted the digest {digest}, got "
                f"{profile.manifest.get('digest')}: give that profile"
            )
        return None, (
            "The profile that was swept has changed since: what was measured is left out. Give the "
            "original with --profile."
        )
    return profile, ""
