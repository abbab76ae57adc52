"""The rows of a file of requests: one check for every format."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import InputError
from adadecode.sim.serving.request import Request
from adadecode.sim.serving.workloads.prompt_blocks import Ids, PromptBlocks, check_block_size
from adadecode.sim.serving.workloads.selection import Selection
from adadecode.sim.serving.workloads.workload import MOST_REQUESTS, MOST_TOKENS, Workload

MOST_SECONDS = 1e11
"""More seconds than any clock shows: 3,000 years."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceRows:
    """Requests of a file, one a row, before they are checked.

    Attributes:
        where: The file.
        lines: The line of each row, for messages.
        arrival_s: Seconds on the clock of the file; NaN where there is no number.
        n_prompt: Tokens of the prompt; NaN where there is no number.
        n_output: Tokens of the output; NaN where there is no number.
        names: What each is called; its number where the file does not say.
        ids: Ids of its prompt's blocks; None where the file has none.
        block_size: Tokens of a block of the file.
        left_out: Rows that were left out.
        in_order: Whether rows must stand in the order of their arrival. A benchmark lists them in
            the order in which they end.
        notes: What was assumed, a sentence each.
    """

    where: str
    lines: NDArray[np.int64]
    arrival_s: NDArray[np.float64]
    n_prompt: NDArray[np.float64]
    n_output: NDArray[np.float64]
    names: tuple[str, ...] | None = None
    ids: tuple[Ids, ...] | None = None
    block_size: int | None = None
    left_out: int = 0
    in_order: bool = True
    notes: tuple[str, ...] = ()

    def workload(self, selection: Selection, block_size: int) -> Workload:
        """Return the requests that are taken.

        Args:
            selection: Which are taken, and how they are scaled.
            block_size: Tokens of a block of the server.

        Raises:
            InputError: If a row cannot be meant, or none is left.
        """
        order = self._checked()
        arrival = self.arrival_s[order] - self.arrival_s[order[0]]
        taken = selection.rows(arrival)
        if not len(taken):
            raise InputError(
                f"wanted requests of {self.where}, got none of its {len(arrival):,} in "
                f"{arrival[-1]:,.3f} s: take a wider window or a larger sample"
            )
        if len(taken) > MOST_REQUESTS:
            raise InputError(
                f"wanted at most {MOST_REQUESTS:,} requests, got {len(taken):,} in {self.where}: "
                "take the first ones, a window or a sample"
            )
        rows = order[taken]
        prompts = selection.prompts(self.n_prompt[rows].astype(np.int64)).tolist()
        outputs = selection.outputs(self.n_output[rows].astype(np.int64)).tolist()
        blocks = self._blocks(rows, prompts, block_size)
        times = selection.times(arrival[taken]).tolist()
        requests = tuple(
            Request(
                name=str(row) if self.names is None else self.names[row],
                arrival_s=time,
                n_prompt=prompt,
                n_output=output,
                blocks=ids,
            )
            for row, time, prompt, output, ids in zip(
                rows.tolist(), times, prompts, outputs, blocks, strict=True
            )
        )
        return Workload(
            requests=requests, source=self.where, left_out=self.left_out, notes=self.notes
        )

    def without_ids(self) -> TraceRows:
        """Return the rows without the ids of blocks."""
        return replace(self, ids=None)

    def _checked(self) -> NDArray[np.int64]:
        """Return the order of arrival. Raises InputError for a row that cannot be meant."""
        if not len(self.lines):
            counted = f", got {self.left_out:,} that were left out" if self.left_out else ""
            raise InputError(f"wanted requests in {self.where}{counted}: it holds none")
        with np.errstate(invalid="ignore"):
            near = np.abs(self.arrival_s) <= MOST_SECONDS
        self._check_numbers("an arrival in seconds", self.arrival_s, near)
        for what, tokens in (("prompt", self.n_prompt), ("output", self.n_output)):
            with np.errstate(invalid="ignore"):
                fine = (tokens >= 1) & (tokens <= MOST_TOKENS) & (np.floor(tokens) == tokens)
            wanted = f"the tokens of the {what} as a whole number, 1 or more"
            self._check_numbers(wanted, tokens, fine)
        if self.names is not None and len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise InputError(
                f"wanted requests of different names in {self.where}, got {twice[:60]!r} twice: "
                "leave one out"
            )
        if not self.in_order:
            return np.argsort(self.arrival_s, kind="stable")
        steps = np.diff(self.arrival_s)
        if (steps < 0).any():
            row = int((steps < 0).argmax())
            raise InputError(
                f"wanted requests in the order in which they arrive, got one in line "
                f"{self.lines[row + 1]} of {self.where} that arrives {-steps[row]:g} s before the "
                f"one in line {self.lines[row]}: sort the file by time"
            )
        return np.arange(len(self.lines))

    def _check_numbers(
        self, wanted: str, values: NDArray[np.float64], fine: NDArray[np.bool_]
    ) -> None:
        if fine.all():
            return
        row = int((~fine).argmax())
        got = "no number" if np.isnan(values[row]) else f"{values[row]:g}"
        raise InputError(
            f"wanted {wanted}, got {got} in line {self.lines[row]} of {self.where}: mend the line "
            "or leave it out"
        )

    def _blocks(
        self, rows: NDArray[np.int64], prompts: list[int], block_size: int
    ) -> list[tuple[int, ...]]:
        """Return the ids of the prompts' blocks, none where the file has none."""
        if self.ids is None or self.block_size is None:
            return [()] * len(rows)
        ids = [self.ids[row] for row in rows.tolist()]
        tokens = self.n_prompt[rows].astype(np.int64).tolist()
        check_block_size(ids, tokens, self.block_size, self.where)
        made = PromptBlocks(self.block_size, block_size)
        return [made.of(one, prompt) for one, prompt in zip(ids, prompts, strict=True)]
