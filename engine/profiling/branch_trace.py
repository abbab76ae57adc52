"""Wrong branches that designs go down, and what sampled runs draw, found by running them."""

from __future__ import annotations

from collections.abc import Sequence

from adadecode.engine.profiling.counterfactual import Text
from adadecode.engine.profiling.piece_store import Row
from adadecode.engine.profiling.timed_runs import Watch, columns
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Draft, Outcome, Score, Verdict, Verify, Work

Branch = tuple[int, tuple[int, ...]]
"""The output number of the first wrong draft, and the drafts from there on."""


def recorded_text(prompt: Sequence[int], about: Row, trace: Sequence[Row], n_layers: int) -> Text:
    """Return the text of a prompt from its rows of the tables prompts and trace.

    Args:
        prompt: The token ids of the prompt.
        about: Its row of the table prompts.
        trace: Its rows of the table trace.
        n_layers: The depth of the last layer, whose tokens are the text.
    """
    final = {row["output"]: row["token"] for row in trace if row["depth"] == n_layers}
    outputs = (about["first_token"], *(final[output] for output in sorted(final)))
    return Text(prompt=tuple(prompt), outputs=outputs, ended=about["ended"])


def watch_branches(n_prompt: int, visited: set[Branch]) -> Watch:
    """Return a watcher of a run that adds the wrong branches it goes down to ``visited``.

    Args:
        n_prompt: The number of tokens of the prompt.
        visited: Where branches are added.
    """

    def watch(work: Work, outcome: Outcome) -> None:
        if isinstance(work, Verify) and isinstance(outcome, Verdict):
            wrong = work.drafts[outcome.accepted :]
            if wrong:
                visited.add((work.start - n_prompt + 1 + outcome.accepted, wrong))

    return watch


def watch_draws(design: Design, prompt: int, draws: list[Row]) -> Watch:
    """Return a watcher of a sampled run that adds rows of the table draws to ``draws``.

    Args:
        design: The design that runs.
        prompt: The number of the prompt.
        draws: Where rows are added.
    """

    def watch(work: Work, outcome: Outcome) -> None:
        same = {**columns(design), "prompt": prompt, "index": len(draws)}
        if isinstance(outcome, Score):
            nothing = {"token": 0, "accepted": 0}
            draws.append({**same, "kind": "gate", "confidence": outcome.value, **nothing})
        elif isinstance(outcome, Draft):
            draws.append({**same, "kind": "check", **outcome._asdict(), "accepted": 0})
        elif isinstance(outcome, Verdict):
            unsure = {"confidence": float("nan")}
            draws.append({**same, "kind": "verify", **unsure, **outcome._asdict()})

    return watch
