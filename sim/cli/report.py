"""``adadecode-sim report``: a sweep or a profile as a page, and as Markdown and CSV."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.schema import MANIFEST
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options import path_of
from adadecode.sim.report.document import Report, ReportError
from adadecode.sim.report.export import csv_files, markdown
from adadecode.sim.report.page import page, require_packages
from adadecode.sim.report.profile_report import profile_report


def report(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="SWEEP_OR_PROFILE",
            help="A directory of adadecode-sim sweep, or of adadecode-profile.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The page to write: one HTML file with everything in it.",
            show_default=False,
        ),
    ],
    as_markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown", help="Also the text and the tables as Markdown.", show_default=False
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="DIRECTORY",
            parser=path_of,
            help="Also every table with plain numbers: a directory, made where it is not there.",
            show_default=False,
        ),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option(
            "--profile",
            help="Where the profile of a sweep is now, if not where it was.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a report: which heads, which gamma, which device, and how sure that is."""
    require_packages()
    made = report_of(path, profile)
    _write(out, page(made))
    if as_markdown is not None:
        _write(as_markdown, markdown(made))
    for name, text in csv_files(made).items() if csv is not None else ():
        assert csv is not None
        _write(csv / name, text, make=True)
    print(f"{out}: {made.headline}")


def report_of(path: Path, profile: Path | None = None) -> Report:
    """The report on a sweep or a profile. profile: that of a sweep, where it has moved. Raises ProfileError, ReportError."""
    created = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if (path / MANIFEST).is_file():
        if profile is not None:
            raise ReportError(f"{path} is a profile itself: leave --profile out")
        return profile_report(read_profile(path), created=created)
    if not path.is_dir():
        raise ProfileError(
            f"wanted a directory that adadecode-sim sweep or adadecode-profile wrote, {path} {'is a file' if path.exists() else 'does not exist'}"
        )
    from adadecode.sim.report.sweep_report import profile_of, sweep_report
    from adadecode.sim.sweep.store import ABOUT, PLAN, read_sweep

    if not any((path / name).is_file() for name in (ABOUT, PLAN)):
        raise ProfileError(
            f"{path} has neither {MANIFEST} nor {ABOUT}: an unfinished recording, which `adadecode-profile --resume` finishes, or none of this project's directories"
        )
    sweep = read_sweep(path)
    found, missing = profile_of(sweep, None if profile is None else str(profile))
    return sweep_report(sweep, found, missing, created=created)


def _write(path: Path, text: str, *, make: bool = False) -> None:
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(
            f"cannot write {path} ({error.strerror}): name a file in a directory that exists"
        ) from None
