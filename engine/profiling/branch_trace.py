"""Wrong branches that designs go down, and what sampled runs draw, found by running them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adadecode.engine.profiling.counterfactual import Text, WrongExits
from adadecode.engine.profiling.piece_store import Row
from adadecode.engine.profiling.timed_runs import columns
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Draft, Outcome, Score, Verdict


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


def wrong_exits(rounds: Iterable[Row], n_prompt: int) -> set[WrongExits]:
    """Return where designs went wrong in the runs of a prompt, and how they went on.

    Which tokens they drafted there need not be kept, nor the runs be made again: a draft is what
    the head at its depth says, and that is in the trace and on the branch itself.

    Args:
        rounds: Rows of the table rounds.
        n_prompt: The number of tokens of the prompt.
    """
    return {
        (row["start"] - n_prompt + 1 + row["accepted"], tuple(row["exits"][row["accepted"] :]))
        for row in rounds
        if row["verify"] and row["accepted"] < len(row["exits"])
    }


def draw_rows(design: Design, prompt: int, outcomes: Iterable[Outcome]) -> list[Row]:
    """Return the rows of the table draws of a sampled run.

    Args:
        design: The design that ran.
        prompt: The number of the prompt.
        outcomes: Those of its pieces of work, in order.
    """
    draws: list[Row] = []
    for outcome in outcomes:
        same = {**columns(design), "prompt": prompt, "index": len(draws)}
        if isinstance(outcome, Score):
            nothing = {"token": 0, "accepted": 0}
            draws.append({**same, "kind": "gate", "confidence": outcome.value, **nothing})
        elif isinstance(outcome, Draft):
            draws.append({**same, "kind": "check", **outcome._asdict(), "accepted": 0})
        elif isinstance(outcome, Verdict):
            unsure = {"confidence": float("nan")}
            draws.append({**same, "kind": "verify", **unsure, **outcome._asdict()})
    return draws
