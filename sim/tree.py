"""Wrong branches as a tree of arrays, grown where a compiled replay steps on new ground.

A node is a place off the committed text: the output at which the sequence left it and the drafts since. What the heads say there comes
from the same `BranchModel` that answers the SimPy model, asked once and kept for every later design. Which node follows a
draft depends on the node and on the head that drafted alone, so children are plain indices.
"""

from __future__ import annotations

import numpy as np

from profiles.trace import Trace
from sim.outcomes import BranchModel

TEXT = -1
"""The node of a sequence that has not left the committed text; also stands where no child is known yet."""


class BranchTree:
    """Every branch met so far by verified designs, or by unverified ones (``verify`` False: their text goes on after a wrong draft).

    Row n of confidence, token, modelled and child (each with a column per trained head, the last layer's last) is node n. roots: [outputs
    of all prompts one after the other, columns] the node after the first wrong draft, TEXT where not grown. first_output: where a
    prompt's outputs begin in it.
    """

    def __init__(self, trace: Trace, model: BranchModel, *, verify: bool) -> None:
        self.trace, self.model, self.verify = trace, model, verify
        self.depths = (*trace.depths, trace.n_layers)
        lengths = [trace.n_output(prompt) for prompt in trace.prompts]
        self.first_output = dict(zip(trace.prompts, np.cumsum([0, *lengths[:-1]]).tolist(), strict=True))
        width = len(self.depths)
        self.roots = np.full((sum(lengths), width), TEXT, dtype=np.int32)
        self.confidence = np.empty((64, width))
        self.token = np.empty((64, width), dtype=np.int32)
        self.modelled = np.empty((64, width), dtype=np.bool_)
        self.child = np.empty((64, width), dtype=np.int32)
        self._places: list[tuple[int, int, tuple[int, ...]]] = []  # of each node: prompt, output of its first wrong draft, drafts
        self._nodes: dict[tuple[int, int, tuple[int, ...]], int] = {}

    def grow(self, prompt: int, output: int, parent: int, column: int) -> None:
        """Make the node that follows when the head of ``column`` drafts at ``parent``; from the text (TEXT), before ``output``."""
        if parent == TEXT:
            first = int(self.trace.tokens(prompt)[output, column])
            self.roots[self.first_output[prompt] + output, column] = self._node(prompt, output, (first,))
        else:
            prompt, left, path = self._places[parent]
            node = self._node(prompt, left, (*path, int(self.token[parent, column])))
            self.child[parent, column] = node  # after _node, which may replace the arrays

    def _node(self, prompt: int, left: int, path: tuple[int, ...]) -> int:
        if not self.verify:
            path = (0,) * len(path)  # what stands in for the rest of an unverified text depends on how long it has gone on alone
        place = (prompt, left, path)
        if place not in self._nodes:
            self._nodes[place] = len(self._places)
            self._places.append(place)
            self._fill(self._nodes[place], *place)
        return self._nodes[place]

    def _fill(self, node: int, prompt: int, left: int, path: tuple[int, ...]) -> None:
        if node == len(self.token):
            for name in ("confidence", "token", "modelled", "child"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.empty_like(array)]))
        drawn = self.model.branch(prompt, left, path) if self.verify else self.model.committed(prompt, left, len(path))
        for column, depth in enumerate(self.depths):
            heard = self.model.recorded(prompt, left, path, depth) if self.verify else None
            self.modelled[node, column] = heard is None
            self.confidence[node, column], self.token[node, column] = heard or drawn.get(depth, (np.nan, TEXT))
        self.child[node] = TEXT
