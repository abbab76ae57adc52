"""``adadecode-sim report``: a sweep, a profile or a load as a page, and as Markdown and CSV."""

from __future__ import annotations

from pathlib import Path

from adadecode.profiles.atomic_write import write_together
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.input_file import is_there
from adadecode.profiles.manifest import check_no_heads
from adadecode.profiles.output_path import check_different
from adadecode.profiles.schema import MANIFEST
from adadecode.profiles.store import read_profile
from adadecode.sim.cli.interruption import on_interrupt
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.inspection import ProfileOfSweep, SweepOrProfile
from adadecode.sim.cli.options.output import CsvDirectory, HtmlFile, MarkdownFile
from adadecode.sim.cli.say import say
from adadecode.sim.report.document import Report, ReportError
from adadecode.sim.report.export import csv_files, markdown
from adadecode.sim.report.load.load_report import load_report
from adadecode.sim.report.page import page, require_packages
from adadecode.sim.report.writer import build_report


@takes_option_sets
def report(
    path: SweepOrProfile,
    *,
    out: HtmlFile,
    as_markdown: MarkdownFile = None,
    csv: CsvDirectory = None,
    profile: ProfileOfSweep = None,
) -> None:
    """Write a report on a sweep, a profile, a plan or a load, as one HTML page.

    It says which heads, which gamma and which device are best, or how many servers a load needs and
    what its requests wait; and how sure that is.
    """
    check_different({"--out": out, "--markdown": as_markdown, "--csv": csv})
    require_packages()
    made = report_of(path, profile)
    texts: dict[Path, str | bytes] = {out: page(made)}
    if as_markdown is not None:
        texts[as_markdown] = markdown(made)
    if csv is not None:
        texts |= {csv / name: text for name, text in csv_files(made).items()}
    with on_interrupt("every file that is there is complete; run the same command again"):
        write_together(texts)
    say(f"{out}: {made.headline}")


def report_of(path: Path, profile: Path | None = None) -> Report:
    """Return the report on what a command wrote.

    Args:
        path: The directory of a sweep, a profile, a plan, or a load that was served or observed.
        profile: The profile of a sweep, if it was moved.

    Raises:
        ProfileError: If the directory is none of these, or cannot be read.
        InputError: If a plan or a load is not as it was written.
        ReportError: If ``profile`` is given for something else than a sweep.
    """
    if (load := load_report(path)) is not None:
        if profile is not None:
            raise ReportError(f"{path} is no sweep: leave --profile out")
        return load
    if is_there(path / MANIFEST):
        return build_report(read_profile(path), profile)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ProfileError(
            "wanted a directory that adadecode-sim sweep, plan, serve or observe, or "
            f"adadecode-profile wrote, {path} {what}"
        )
    from adadecode.sim.sweep.store import ABOUT, PLAN, read_sweep

    if not any(is_there(path / name) for name in (ABOUT, PLAN)):
        check_no_heads(path)
        raise ProfileError(
            f"{path} has neither {MANIFEST} nor {ABOUT}: an unfinished recording, which "
            f"`adadecode-profile --out {path} --resume` finishes, or no profile and no sweep"
        )
    return build_report(read_sweep(path), profile)
