"""The outcomes of work in a replay: outputs of heads and verdicts of the last layer, from a trace.

On the committed text the trace holds them. After a wrong draft the sequence is on a *branch*: what
was recorded there is used, and elsewhere a recorded branch stands in
(`adadecode.sim.replay.branch_model`). What rests on such a draw is flagged as *modelled*.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.trace import HeadOutput, Trace
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.core.scheduler import (
    Check,
    Draft,
    Gate,
    Outcome,
    Run,
    Schedule,
    Score,
    Verdict,
    Verify,
    Work,
)
from adadecode.sim.replay.branch_model import BranchModel, Row

_NOT_DRAWN = (-1, Row({}, {}))


def budget(trace: Trace, prompt: int, design: Design) -> int:
    """Return the most tokens of a replay of this prompt, the prefill's included.

    A text that ended by itself had more left, and a token more or less decides whether a head is
    tested at all. Without verification nothing is known beyond the recorded text, and its length is
    the budget.
    """
    return trace.max_new_tokens(prompt) if design.verify else trace.n_output(prompt)


def earliest_exits(trace: Trace, prompt: int, design: Design) -> NDArray[np.int64]:
    """Return the depth at which the oracle lets each output leave, ``[n_output]``.

    As `Trace.earliest`, but where drafts are verified an end leaves only at L.
    """
    depths = trace.earliest(prompt, design.placement)
    if design.verify:
        depths[np.isin(trace.tokens(prompt)[:, -1], list(trace.eos))] = trace.n_layers
    return depths


def schedule_of(trace: Trace, prompt: int, design: Design, *, own_text: bool = False) -> Schedule:
    """Return the schedule of a prompt as it is after the prefill.

    Args:
        trace: The trace that outcomes come from.
        prompt: The prompt.
        design: The design.
        own_text: Whether outcomes are those of a sampled run itself, which are known to the end
            also where it was not verified.
    """
    n_prompt = trace.n_prompt(prompt)
    earliest = None
    if design.policy is Policy.ORACLE:
        depths = earliest_exits(trace, prompt, design).tolist()

        def earliest(position: int) -> int:
            return int(depths[position - n_prompt + 1])

    return Schedule(
        design=design,
        n_layers=trace.n_layers,
        n_prompt=n_prompt,
        first_token=trace.first_token(prompt),
        max_new_tokens=trace.max_new_tokens(prompt) if own_text else budget(trace, prompt, design),
        eos=trace.eos,
        earliest=earliest,
        sampled=trace.sampled,
    )


class TraceOutcomes:
    """Gives one schedule the outcomes of its work, in order, from a trace.

    Attributes:
        modelled: Whether the round so far rests on a drawn branch.
    """

    def __init__(self, trace: Trace, prompt: int, schedule: Schedule, model: BranchModel) -> None:
        self.trace, self.prompt, self.schedule, self.model = trace, prompt, schedule, model
        self.modelled = False
        self._verifies = schedule.design.verify
        self._n_prompt = schedule.n_prompt
        self._position = -1  # of the last token with a check
        self._path: list[
            int
        ] = []  # tokens since the sequence left the recorded text, the wrong draft first
        self._drawn: tuple[int, Row] = _NOT_DRAWN  # the row drawn for the token at this position

    def __call__(self, work: Work) -> Outcome:
        """Return the outcome of a piece of work.

        Raises:
            DesignError: If no head was trained at the depth of a `Check`, or a `Gate` is asked of
                heads without gates.
        """
        if isinstance(work, Run):
            return None
        if isinstance(work, Check):
            depth, position = work
            if position != self._position:
                self._arrive(position)
            output_of_head = (
                self._off_text(depth)
                if self._path
                else self.trace.head(self.prompt, position - self._n_prompt + 1, depth)
            )
            return Draft(*output_of_head)
        if isinstance(work, Gate):
            return Score(self._score(*work))
        start, stop, drafts = work
        if self._verifies:
            return self._verdict(
                start - self._n_prompt + 1, drafts[: stop - start - 1]
            )  # an end after the last position is its token or none
        if start != self._position:
            self._arrive(start)
        if self._path:
            return Verdict(0, self._off_text(self.model.n_layers)[1])
        return Verdict(0, self.trace.final(self.prompt, stop - self._n_prompt))

    def end_round(self) -> bool:
        """Close a round, and return whether it rested on a draw."""
        modelled, self.modelled = self.modelled, False
        return modelled

    def _arrive(self, position: int) -> None:
        """Note whether the sequence is still on the recorded text at a new position."""
        self._position = position
        newest = self.schedule.newest
        if self._path or newest != self.trace.final(self.prompt, position - self._n_prompt):
            self._path.append(newest)

    def _score(self, depth: int, position: int) -> float:
        """Return the score of a gate, on the text or off it."""
        if position != self._position:
            self._arrive(position)
        if not self._path:
            return self.trace.gate(self.prompt, position - self._n_prompt + 1, depth)
        self.trace.require_gates()
        if self._verifies:
            score = self.model.recorded_gate(self.prompt, self._left, tuple(self._path), depth)
            if score is not None:
                return score
        return self._row().gates[depth]

    def _off_text(self, depth: int) -> HeadOutput:
        if self._verifies:
            path = tuple(self._path)
            output_of_head = self.model.recorded(self.prompt, self._left, path, depth)
            if output_of_head is not None:
                return output_of_head
        return self._row().heads[depth]

    @property
    def _left(self) -> int:
        """The output of the first wrong draft."""
        return self._position - self._n_prompt + 1 - len(self._path)

    def _row(self) -> Row:
        """Return the row that is drawn for this place, where nothing was recorded."""
        self.modelled = True
        if self._drawn[0] != self._position:
            path = self._path
            row = (
                self.model.branch(self.prompt, self._left, tuple(path))
                if self._verifies
                else self.model.committed(self.prompt, self._left, len(path))
            )
            self._drawn = (self._position, row)
        return self._drawn[1]

    def _verdict(self, output: int, drafts: tuple[int, ...]) -> Verdict:
        """Return the last layer's verdict on drafts from ``output`` on.

        Those that stand in the recorded text hold, and the token after them follows.
        """
        accepted = 0
        for draft in drafts:
            if draft != self.trace.final(self.prompt, output + accepted):
                break
            accepted += 1
        self._path.clear()
        self._position = -1
        self._drawn = _NOT_DRAWN
        return Verdict(accepted, self.trace.final(self.prompt, output + accepted))


_OUTCOMES: dict[type, type] = {Gate: Score, Check: Draft, Verify: Verdict}
"""What each kind of work draws."""


class RecordedOutcomes:
    """Gives a schedule the outcomes that a measured sampled run drew, in its order.

    Calling it raises `ProfileError` where the run drew something else than is needed.
    """

    def __init__(self, outcomes: Sequence[Score | Draft | Verdict]) -> None:
        self._outcomes, self._given = outcomes, 0

    def __call__(self, work: Work) -> Outcome:
        """Return the outcome of a piece of work."""
        if isinstance(work, Run):
            return None
        outcome = self._outcomes[self._given] if self._given < len(self._outcomes) else None
        if not isinstance(outcome, _OUTCOMES[type(work)]):
            raise ProfileError(
                f"wanted the outcome of {work} as draw {self._given} of a sampled run, "
                f"got {outcome}: record it again"
            )
        self._given += 1
        return outcome

    def end_round(self) -> bool:
        """Return False: nothing is modelled."""
        return False

    def close(self) -> None:
        """Close the run. Raises ProfileError unless all draws were used."""
        if self._given < len(self._outcomes):
            raise ProfileError(
                f"wanted {self._given} draws of a sampled run, got {len(self._outcomes)}: "
                "record it again"
            )
