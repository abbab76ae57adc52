"""The replay compiled: a trace and a design in, a histogram of work out, thousands of times as fast as the SimPy model.

Exits and accepts do not depend on hardware, so a design is replayed once and priced on any number of devices. The rules are those of
`sim.scheduler`, `sim.outcomes` and `sim.pricing`, written once more as a loop over arrays; a property test holds the two equal, work
for work, wrong branches included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from profiles.trace import Trace
from sim.design import Design, Policy
from sim.histogram import CHECK, RUN, VERIFY, Tally, WorkHistogram, pack, unpack
from sim.outcomes import BranchModel, budget, earliest_exits
from sim.tree import TEXT, BranchTree

_DONE, _GROW, _FULL = 0, 1, 2


@dataclass(kw_only=True, repr=False)
class CompiledReplay:
    """Replays designs on the prompts of one trace; keeps the branches that it met."""

    trace: Trace
    model: BranchModel
    _trees: dict[bool, BranchTree] = field(init=False, default_factory=dict)
    _eos: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        self._eos = np.array(sorted(self.trace.eos), dtype=np.int32)

    def events(self, design: Design, prompt: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], Tally]:
        """Every piece of work on one prompt in order, packed (`sim.histogram.pack`), whether it is of a modelled round, and the counts.

        Raises DesignError for a head that was not trained.
        """
        trace = self.trace
        trace.require(design.placement)
        tree = self._trees.get(design.verify) or self._trees.setdefault(design.verify, BranchTree(trace, self.model, verify=design.verify))
        boundaries = design.boundaries(trace.n_layers)
        heads = boundaries[1:-1]
        columns = np.array([tree.depths.index(depth) for depth in (*heads, trace.n_layers)], dtype=np.int64)
        thresholds = np.array([design.threshold(depth) for depth in heads])
        oracle = design.policy is Policy.ORACLE
        earliest = earliest_exits(trace, prompt, design) if oracle else np.empty(0, dtype=np.int64)
        first = tree.first_output[prompt]
        size = 64 * trace.n_output(prompt)
        while True:
            keys, modelled, counts = (
                np.empty(size, dtype=np.int64),
                np.empty(size, dtype=np.bool_),
                np.zeros((2, len(heads)), dtype=np.int64),
            )
            state, output, parent, column, n_events, rounds, tokens, tested, differs = _replay(
                trace.confidences(prompt),
                trace.tokens(prompt),
                tree.roots[first : first + trace.n_output(prompt)],
                tree.confidence,
                tree.token,
                tree.modelled,
                tree.child,
                np.array(boundaries, dtype=np.int64),
                columns,
                thresholds,
                oracle,
                earliest,
                self._eos,
                design.cap,
                design.verify,
                trace.n_prompt(prompt),
                budget(trace, prompt, design),
                keys,
                modelled,
                counts,
            )
            if state == _DONE:
                break
            if state == _GROW:
                tree.grow(prompt, output, parent, column)
            else:
                size *= 2
        keys = keys[:n_events]
        tally = Tally(
            rounds=rounds,
            tokens=tokens,
            tested=tested,
            checks=int(np.count_nonzero(unpack(keys)["kind"] == CHECK)),
            drafts=tuple(counts[0].tolist()),
            accepted=tuple(counts[1].tolist()),
            differs=bool(differs),
        )
        return keys, modelled[:n_events], tally

    def work(self, design: Design, prompts: Iterable[int] | None = None) -> WorkHistogram:
        """The work of one design on these prompts (all, by default). Raises DesignError."""
        chosen = self.trace.prompts if prompts is None else tuple(prompts)
        parts, tallies = [], []
        for place, prompt in enumerate(chosen):
            keys, modelled, tally = self.events(design, prompt)
            kinds, which, count = np.unique(keys, return_inverse=True, return_counts=True)
            parts.append((np.full(len(kinds), place), kinds, count.astype(float), np.bincount(which, modelled, len(kinds))))
            tallies.append(tally)
        which_prompt, packed, counts, in_modelled = (np.concatenate(column) for column in zip(*parts, strict=True))
        columns: dict[str, Any] = unpack(packed)
        return WorkHistogram(
            design=design,
            boundaries=design.boundaries(self.trace.n_layers),
            prompts=tuple(chosen),
            n_prompt=tuple(map(self.trace.n_prompt, chosen)),
            tallies=tuple(tallies),
            prompt=which_prompt,
            count=counts,
            modelled=in_modelled,
            **columns,
        )


_pack = njit(cache=True)(pack)


@njit(cache=True)
def _replay(  # type: ignore[no-untyped-def]
    heard_confidence, heard_token, roots, confidence, token, in_model, child,  # on the text, then off it
    boundaries, columns, thresholds, oracle, earliest, eos, cap, verify, n_prompt, budget_, keys, modelled, counts,
):  # fmt: skip
    """One prompt. Fills keys, modelled and counts; returns a state and, by state, what to grow or what was counted."""
    n_segments = len(boundaries) - 1
    n_layers = boundaries[-1]
    lengths = np.full(n_segments, n_prompt)
    began = np.full(n_segments, -n_layers)
    exits = np.empty(cap + 1, dtype=np.int64)
    passes = 0
    n = 0  # events
    tokens, rounds, tested = 1, 0, 0
    newest = heard_token[0, -1]
    ended = _in(newest, eos)
    node = TEXT  # where the newest token stands ...
    parent, column = TEXT, -1  # ... once somebody asks: the node and the head that it was drafted at, column -1 for one already known
    differs = False
    while tokens < budget_ and not ended:
        first = position = n_prompt + tokens - 1
        drafts, right, segment, reuse = 0, True, 0, 0
        accepted = 0
        round_start, round_modelled = n, False
        stopped = False
        if verify:
            node, column = TEXT, -1
        while True:
            if n + 2 >= len(keys):
                return _FULL, 0, 0, 0, n, rounds, tokens, tested, differs
            start, lengths[segment] = lengths[segment], position + 1
            reuse = min(passes - began[segment], n_layers)
            began[segment] = passes
            passes += boundaries[segment + 1] - boundaries[segment]
            keys[n] = _pack(RUN, segment, position + 1 - start, reuse, position + 1)
            n += 1
            if segment == n_segments - 1:
                break
            segment += 1
            left = budget_ - tokens - drafts
            if drafts >= cap or (left <= 1 and verify):
                continue
            depth = boundaries[segment]
            output = position - n_prompt + 1
            if oracle and depth < earliest[output]:  # off the text, where there is no such output, the oracle never is
                continue
            keys[n] = _pack(CHECK, depth, 0, reuse, 0)
            n += 1
            if segment == 1 and not oracle:
                tested += 1
            if column >= 0:  # the first question about a drafted token
                grown = roots[output - 1, column] if parent == TEXT else child[parent, column]
                if grown == TEXT:
                    return _GROW, output - 1, parent, column, n, rounds, tokens, tested, differs
                node, column = grown, -1
            head = columns[segment - 1]
            if node == TEXT:
                sure, said = heard_confidence[output, head], heard_token[output, head]
            else:
                sure, said = confidence[node, head], token[node, head]
                round_modelled = round_modelled or in_model[node, head]
            if sure <= thresholds[segment - 1] or (verify and _in(said, eos)):
                continue
            exits[drafts] = segment - 1
            counts[0, segment - 1] += 1
            drafts += 1
            newest = said
            if node != TEXT or said != heard_token[output, -1]:
                right = False
                parent, column = node, head
            elif right:
                accepted += 1
            if not verify and (_in(said, eos) or tokens + drafts >= budget_):
                stopped = True
                break
            position += 1
            segment = 0
        if not verify:
            accepted = drafts
        for i in range(accepted):
            counts[1, exits[i]] += 1
        if not stopped:
            if n + 2 >= len(keys):
                return _FULL, 0, 0, 0, n, rounds, tokens, tested, differs
            keys[n] = _pack(VERIFY, 0, position + 1 - first if verify else 1, 0, 0)
            n += 1
            if verify:
                newest = heard_token[tokens + accepted, -1]
            else:
                output = position - n_prompt + 1
                if column >= 0:
                    grown = roots[output - 1, column] if parent == TEXT else child[parent, column]
                    if grown == TEXT:
                        return _GROW, output - 1, parent, column, n, rounds, tokens, tested, differs
                    node, column = grown, -1
                last = columns[-1]
                if node == TEXT:
                    newest = heard_token[output, last]
                else:
                    newest = token[node, last]
                    round_modelled = round_modelled or in_model[node, last]
                    parent, column = node, last
            tokens += accepted + 1
        else:
            tokens += accepted
        differs = differs or (not verify and (node != TEXT or column >= 0))
        rounds += 1
        if oracle:
            tested += drafts + (1 if drafts < cap else 0)
        ended = _in(newest, eos)
        modelled[round_start:n] = round_modelled
        for s in range(n_segments):
            lengths[s] = min(lengths[s], first + accepted + 1)
    return _DONE, 0, 0, 0, n, rounds, tokens, tested, differs


@njit(cache=True)
def _in(item: int, items: Sequence[int]) -> bool:
    for other in items:
        if other == item:
            return True
    return False
