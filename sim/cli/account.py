"""``adadecode-sim account``: what an output token costs in FLOPs, bytes and joules."""

from __future__ import annotations

from adadecode.profiles.store import read_profile
from adadecode.sim.cli.options.costs import WorkOptions
from adadecode.sim.cli.options.design import AnyDesignOptions
from adadecode.sim.cli.options.form import HeadFormOptions
from adadecode.sim.cli.options.grouping import takes_option_sets
from adadecode.sim.cli.options.output import Json
from adadecode.sim.cli.options.scenario import ProfileDirectory
from adadecode.sim.cli.print_json import print_json
from adadecode.sim.prediction.token_account import token_account


@takes_option_sets
def account(
    path: ProfileDirectory,
    *,
    design: AnyDesignOptions,
    work: WorkOptions,
    heads: HeadFormOptions,
    as_json: Json = False,
) -> None:
    """Count the FLOPs, bytes and joules of an output token, and the wasted part."""
    profile = read_profile(path)
    found = token_account(
        profile,
        design.design,
        options=work.options(heads.form()),
        heads_at=work.head_map,
        trace=None if work.trace is None else read_profile(work.trace),
    )
    if as_json:
        print_json(found.to_json())
        return
    from adadecode.sim.cli.tables.account import account_table
    from adadecode.sim.cli.tables.layout import console

    console().print(account_table(found))
