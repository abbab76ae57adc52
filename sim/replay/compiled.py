"""The compiled replay: a trace and designs in, histograms of work out.

It is thousands of times as fast as the SimPy model. Exits and accepts do not depend on hardware, so
a design is replayed once and priced on any number of devices (docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adadecode.profiles.errors import ProfileError
from adadecode.profiles.trace import Trace, require_gates, require_heads
from adadecode.sim.core.design import Design, Policy
from adadecode.sim.replay.branch_model import BranchModel
from adadecode.sim.replay.branch_tree import BranchTree
from adadecode.sim.replay.work_columns import KEYS, SUMS, TALLY
from adadecode.sim.replay.work_histogram import WorkHistogram

_FIRST_GUESS = 128
"""Entries of one design that there is room for at first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CompiledReplay:
    """Replays designs on the prompts of one trace. Build it with `of`.

    It holds nothing but arrays, so that it can be sent to another process.

    Attributes:
        prompts: Numbers of the prompts.
        domains: Their domains.
        depths: Depths of the trained heads.
        n_layers: L, the layers of the model.
        sampled: Whether the texts were sampled.
        eos: Tokens that end a text.
        confidence: As in `Trace.confidences`, ``[columns, outputs of all prompts]``.
        token: As in `Trace.tokens`, likewise.
        gate: As in `Trace.gates`, likewise.
        has_gates: Whether the heads have gates.
        ends: Whether the token ends a text, likewise.
        first: Where the outputs of each prompt begin, ``[prompts + 1]``.
        n_prompt: Tokens of each prompt.
        budgets: Most tokens without verification and with it, ``[prompts, 2]``.
        tree: Head outputs off the text.
    """

    prompts: tuple[int, ...]
    domains: tuple[str, ...]
    depths: tuple[int, ...]
    n_layers: int
    sampled: bool
    eos: NDArray[np.int64]
    confidence: NDArray[np.float64]
    token: NDArray[np.int32]
    gate: NDArray[np.float64]
    has_gates: bool
    ends: NDArray[np.bool_]
    first: NDArray[np.int64]
    n_prompt: NDArray[np.int64]
    budgets: NDArray[np.int64]
    tree: BranchTree

    @classmethod
    def of(cls, trace: Trace, model: BranchModel | None = None) -> CompiledReplay:
        """Make the replay of a trace.

        Args:
            trace: The trace.
            model: Stands in for branches without a record; the trace's own by default.
        """
        prompts = trace.prompts
        lengths = [trace.n_output(prompt) for prompt in prompts]
        token = np.concatenate([trace.tokens(prompt).T for prompt in prompts], axis=1)
        return cls(
            prompts=prompts,
            domains=tuple(map(trace.domain, prompts)),
            depths=trace.depths,
            n_layers=trace.n_layers,
            sampled=trace.sampled,
            eos=np.array(sorted(trace.eos), dtype=np.int64),
            confidence=np.concatenate([trace.confidences(prompt).T for prompt in prompts], axis=1),
            token=token,
            gate=np.concatenate([trace.gates(prompt).T for prompt in prompts], axis=1),
            has_gates=trace.has_gates,
            ends=np.isin(token, list(trace.eos)),
            first=np.cumsum([0, *lengths]),
            n_prompt=np.array([trace.n_prompt(prompt) for prompt in prompts], dtype=np.int64),
            budgets=np.array(
                [(n, trace.max_new_tokens(p)) for p, n in zip(prompts, lengths, strict=True)],
                dtype=np.int64,
            ),
            tree=BranchTree.of(model or BranchModel(trace)),
        )

    @property
    def contexts(self) -> tuple[int, int]:
        """The smallest and the largest context that any design can reach."""
        return int(self.n_prompt.min()) + 1, int(
            (self.n_prompt + self.budgets.max(axis=1)).max()
        ) - 1

    def of_domain(self, domain: str | None) -> tuple[int, ...]:
        """Return the prompts of a domain; all of them for None.

        Raises:
            ProfileError: If there is none.
        """
        if domain is None:
            return self.prompts
        prompts = zip(self.prompts, self.domains, strict=True)
        chosen = tuple(prompt for prompt, its_domain in prompts if its_domain == domain)
        if not chosen:
            raise ProfileError(
                f"no prompt of the domain {domain!r} in the profile: "
                f"it holds {', '.join(sorted(set(self.domains)))}"
            )
        return chosen

    def count(
        self,
        designs: Sequence[Design],
        prompts: Iterable[int] | None = None,
        *,
        contexts: Iterable[int] = (),
    ) -> WorkHistogram:
        """Count the work of each design on some prompts together.

        Args:
            designs: The designs.
            prompts: Numbers of the prompts; all by default.
            contexts: Contexts between which work is counted apart.

        Raises:
            DesignError: If a head was not trained, or has no gate where one is to be asked.
            ProfileError: If a prompt is not there.
        """
        from adadecode.sim.replay.kernel import count_designs  # numba takes a while to load

        arrays = _DesignArrays.of(designs, self.depths, self.n_layers)
        if any(design.gates for design in designs):
            require_gates(self)
        places = {prompt: place for place, prompt in enumerate(self.prompts)}
        try:
            chosen = np.array(
                [places[prompt] for prompt in (self.prompts if prompts is None else prompts)],
                dtype=np.int64,
            )
        except KeyError as error:
            raise ProfileError(
                f"no prompt {error.args[0]} in the trace "
                f"(it holds {', '.join(map(str, self.prompts))}): name one of these"
            ) from None
        low, high = self.contexts
        marks = np.array(
            sorted({low, max(high, low + 1), *(mark for mark in contexts if low < mark < high)}),
            dtype=np.int64,
        )
        tree = self.tree
        texts = (
            self.confidence,
            self.token,
            self.gate,
            self.ends,
            self.first,
            np.array(self.prompts),
            self.n_prompt,
            self.budgets,
        )
        branches = (tree.confidence, tree.token, tree.gate, tree.recorded, tree.child, tree.roots)
        pools = (
            *(tree.pool_confidence, tree.pool_token, tree.pool_gate),
            *(tree.pools, tree.committed),
        )
        tallies = np.zeros((len(designs), len(TALLY)), dtype=np.int64)
        drafted = np.zeros((len(designs), 2, arrays.heads.shape[1]), dtype=np.int64)
        parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        done, room = 0, _FIRST_GUESS
        while done < len(designs):
            keys = np.empty((room * (len(designs) - done), len(KEYS)), dtype=np.int64)
            sums = np.empty((len(keys), len(SUMS)), dtype=np.int64)
            counted, entries = count_designs(
                *arrays.since(done), *texts, chosen, self.eos, self.sampled, self.n_layers, marks,
                *branches, *pools, keys, sums, tallies[done:], drafted[done:],
            )  # fmt: skip
            keys[:entries, 0] += done
            parts.append((keys[:entries], sums[:entries]))
            room, done = room if counted else 4 * room, done + counted
        return WorkHistogram(
            designs=tuple(designs),
            marks=marks,
            prefills=tuple(self.n_prompt[chosen].tolist()),
            keys=np.concatenate([keys for keys, _ in parts])
            if parts
            else np.empty((0, len(KEYS)), dtype=np.int64),
            sums=np.concatenate([sums for _, sums in parts])
            if parts
            else np.empty((0, len(SUMS)), dtype=np.int64),
            tallies=tallies,
            drafted=drafted,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _DesignArrays:
    """Designs as arrays, a row each. Heads that split nothing (threshold 1) are left out."""

    heads: NDArray[np.int64]
    columns: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    gates: NDArray[np.float64]
    n_heads: NDArray[np.int64]
    caps: NDArray[np.int64]
    verifies: NDArray[np.bool_]
    oracles: NDArray[np.bool_]

    @classmethod
    def of(cls, designs: Sequence[Design], depths: Sequence[int], n_layers: int) -> _DesignArrays:
        """Make the arrays. Raises DesignError for a head that was not trained."""
        column = {depth: place for place, depth in enumerate(depths)}
        split = [design.boundaries(n_layers)[1:-1] for design in designs]
        for design in designs:
            require_heads(design.placement, depths)
        width = max(map(len, split), default=0)
        heads, columns = np.zeros((2, len(designs), width), dtype=np.int64)
        thresholds, gates = np.zeros((2, len(designs), width))
        for row, (design, inner) in enumerate(zip(designs, split, strict=True)):
            heads[row, : len(inner)] = inner
            columns[row, : len(inner)] = [column[depth] for depth in inner]
            thresholds[row, : len(inner)] = [design.threshold(depth) for depth in inner]
            gates[row, : len(inner)] = [design.gate(depth) for depth in inner]
        return cls(
            heads=heads,
            columns=columns,
            thresholds=thresholds,
            gates=gates,
            n_heads=np.array([len(inner) for inner in split], dtype=np.int64),
            caps=np.array([design.cap for design in designs], dtype=np.int64),
            verifies=np.array([design.verify for design in designs], dtype=np.bool_),
            oracles=np.array(
                [design.policy is Policy.ORACLE for design in designs], dtype=np.bool_
            ),
        )

    def since(self, row: int) -> tuple[Any, ...]:
        """Return the arrays from this design on."""
        return tuple(
            array[row:]
            for array in (
                self.heads,
                self.columns,
                self.thresholds,
                self.gates,
                self.n_heads,
                self.caps,
                self.verifies,
                self.oracles,
            )
        )
