"""Options that name the format of the exit heads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from adadecode.sim.cli.options import panels
from adadecode.sim.cli.options.checks import at_least
from adadecode.sim.core.head_form import DTYPES, HeadForm

Shortlist = Annotated[
    int | None,
    typer.Option(
        "--shortlist",
        metavar="TOKENS",
        help="Let the heads choose among this many frequent tokens only. By default as recorded.",
        show_default=False,
        rich_help_panel=panels.FORM,
    ),
    at_least(1),
]


@dataclass(frozen=True, kw_only=True)
class HeadFormOptions:
    """The format of the heads, where it is not the recorded one."""

    shortlist: Shortlist = None
    shortlist_prompt: Annotated[
        bool,
        typer.Option(
            "--shortlist-prompt",
            help="The tokens of each prompt are on its shortlist too.",
            rich_help_panel=panels.FORM,
        ),
    ] = False
    head_dtype: Annotated[
        str | None,
        typer.Option(
            "--head-dtype",
            metavar="DTYPE",
            help=f"Keep the heads in a number format of their own: {', '.join(DTYPES)}. By "
            "default as recorded.",
            show_default=False,
            rich_help_panel=panels.FORM,
        ),
    ] = None

    def __post_init__(self) -> None:
        self._named()

    def form(self) -> HeadForm | None:
        """Return the format; None, for the recorded one, where no option names any."""
        if self.shortlist is None and self.head_dtype is None:
            return None
        return self._named()

    def _named(self) -> HeadForm:
        return HeadForm(
            shortlist=self.shortlist, dtype=self.head_dtype, prompt=self.shortlist_prompt
        )
