"""The outcome of every head at every position: along the committed text, and after wrong drafts.

Greedy decoding commits the same text whatever the exits. So one walk through it, one token at a
time as the decode loop does, serves every design. A sampled text is drawn on the way, as vanilla
draws it with the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.sampling import Sampling, make_token_selector, read_draft
from adadecode.engine.decoding.sequence import gate_score, head_logits
from adadecode.sim.core.scheduler import Verify

Row = dict[str, Any]

Depths = tuple[int, ...]
"""Depths at which drafts were taken, one after the other."""

WrongExits = tuple[int, Depths]
"""The output of a first wrong draft, and the depths of it and of the drafts after it."""


@dataclass(frozen=True, kw_only=True)
class Text:
    """The text of a prompt.

    Args:
        prompt: The tokens of the prompt.
        outputs: The tokens that follow.
        ended: Whether the text ended by itself.
    """

    prompt: tuple[int, ...]
    outputs: tuple[int, ...]
    ended: bool


class Counterfactual:
    """What every head gives at every position of a text. Use within ``decoder.parts.session()``.

    Args:
        decoder: The model with its heads.
        sampling: How the text is drawn; greedily where None.
    """

    def __init__(self, decoder: AdaDecoder, sampling: Sampling | None = None) -> None:
        self.decoder, self.sampling = decoder, sampling
        self.selector = make_token_selector(sampling)
        self.parts, self.heads = decoder.parts, decoder.heads

    def step(self, token: int, position: int) -> tuple[list[Row], torch.Tensor]:
        """Run all layers on one token.

        Args:
            token: The token.
            position: Its position.

        Returns:
            A row for each head and for the last layer, and the logits (V,) of the last layer. Of a
            row, token is the most likely one, confidence its probability, and acceptance
            sum(min(p, q)) of the last layer's and the head's probabilities: of those that are
            sampled from, or of the plain softmax where decoding is greedy. Gate is the score of the
            head's gate; NaN where it has none, and of the last layer.
        """
        parts = self.parts
        hidden = parts.embed(torch.tensor([[token]], device=parts.device), position)
        outputs: list[tuple[int, torch.Tensor, float]] = []
        reached = 0
        for depth in self.heads.depths:
            hidden = parts.run(reached, depth, hidden, position)
            reached = depth
            score = self._gate(depth, hidden)
            outputs.append((depth, head_logits(parts, self.heads, depth, hidden), score))
        final = parts.logits(parts.run(reached, parts.n_layers, hidden, position))[0, -1]
        outputs.append((parts.n_layers, final, math.nan))
        probabilities = self._probabilities(final)
        rows = []
        for depth, logits, score in outputs:
            draft, own = read_draft(logits), self._probabilities(logits)
            confidence = draft.confidence if self.sampling is None else float(own.amax())
            acceptance = float(torch.minimum(own, probabilities).sum())
            rows.append(
                {
                    "depth": depth,
                    "token": draft.token,
                    "confidence": confidence,
                    "acceptance": min(1.0, acceptance),
                    "gate": score,
                }
            )
        return rows, final

    def _gate(self, depth: int, hidden: torch.Tensor) -> float:
        if self.heads.gates is None:
            return math.nan
        return gate_score(self.parts, self.heads, depth, hidden)

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(0) if self.sampling is None else self.sampling.probabilities(logits)

    def prefill(self, tokens: tuple[int, ...]) -> int:
        """Run a prompt through all layers, and return its first output token."""
        parts = self.parts
        hidden = parts.run(
            0, parts.n_layers, parts.embed(torch.tensor([tokens], device=parts.device), 0), 0
        )
        return self.selector.first(parts.logits(hidden[:, -1:])[0, -1])

    def trace(self, prompt: tuple[int, ...], max_new_tokens: int) -> tuple[Text, list[Row]]:
        """Decode through all layers, with the outcome of every head on the way.

        Args:
            prompt: Token ids.
            max_new_tokens: Longest text.

        Returns:
            The text, and rows of the table trace that lack the prompt's number.
        """
        self.heads = self.decoder.heads.for_text(prompt)
        token = self.prefill(prompt)
        outputs, rows = [token], []
        while len(outputs) < max_new_tokens and token not in self.decoder.eos:
            position = len(prompt) + len(outputs) - 1
            found, final = self.step(token, position)
            token = self.selector.verdict(final[None], Verify(position, position + 1, ())).token
            found[-1]["token"] = token
            rows += [
                {**row, "output": len(outputs), "agrees": row["token"] == token} for row in found
            ]
            outputs.append(token)
        return Text(prompt=prompt, outputs=tuple(outputs), ended=token in self.decoder.eos), rows

    def branches(
        self,
        text: Text,
        trace: list[Row],
        visited: Iterable[WrongExits],
        *,
        floor: float,
        longest: int,
        room: int,
    ) -> Iterator[Row]:
        """Yield what every head gives after wrong drafts.

        Every branch that a design went down is followed, and every likely one: where the product of
        its drafts' confidences, each the highest of any head, is at least ``floor``. The text is
        gone through backwards, so that a branch overwrites only slots that no later one needs.

        Args:
            text: The committed text.
            trace: The rows that `trace` returned for it.
            visited: Where designs went wrong, and the depths at which they drafted from there on.
            floor: The least probability of a likely branch.
            longest: Most drafts on a branch after which heads are still recorded.
            room: How many positions there are.

        Yields:
            Rows of the table branches that lack the prompt's number.
        """
        self.heads = self.decoder.heads.for_text(text.prompt)
        self.prefill(text.prompt + text.outputs)
        wrong: dict[int, dict[int, float]] = {}
        for row in trace:
            if not row["agrees"] and row["token"] not in self.decoder.eos:
                drafts = wrong.setdefault(row["output"], {})
                drafts[row["token"]] = max(drafts.get(row["token"], 0.0), row["confidence"])
        said = {(row["output"], row["depth"]): row["token"] for row in trace if not row["agrees"]}
        followed: dict[tuple[int, int], set[Depths]] = {}
        for output, (first, *depths) in visited:
            # A run that flipped a token may have called a draft wrong that the text holds.
            token = said.get((output, first))
            if token is not None and token not in self.decoder.eos:
                followed.setdefault((output, token), set()).add(tuple(depths))
        for output in sorted(wrong, reverse=True):
            position = len(text.prompt) + output
            for token, confidence in sorted(wrong[output].items()):
                yield from self._grow(
                    output,
                    (token,),
                    position,
                    confidence,
                    followed.get((output, token), set()),
                    floor=floor,
                    longest=longest,
                    room=room,
                )

    def _grow(
        self,
        output: int,
        path: tuple[int, ...],
        position: int,
        likely: float,
        followed: set[Depths],
        *,
        floor: float,
        longest: int,
        room: int,
    ) -> Iterator[Row]:
        """Yield the rows of one node of the tree of wrong drafts, and of those after it.

        Args:
            output: The output of the first wrong draft.
            path: The drafts from there to this node.
            position: Where the last of them stands.
            likely: The product of their confidences.
            followed: The depths at which designs that came here drafted on; empty where none came.
            floor: See `branches`.
            longest: See `branches`.
            room: See `branches`.
        """
        if (likely < floor and not followed) or len(path) > longest or position >= room:
            return
        rows = self.step(path[-1], position)[0][:-1]
        nexts: dict[int, float] = {}
        for row in rows:
            nexts[row["token"]] = max(nexts.get(row["token"], 0.0), row["confidence"])
            yield {
                "output": output,
                "path": list(path),
                "depth": row["depth"],
                "token": row["token"],
                "confidence": row["confidence"],
                "gate": row["gate"],
            }
        drafted = {row["depth"]: row["token"] for row in rows}
        for token, confidence in sorted(nexts.items()):
            if token not in self.decoder.eos:
                yield from self._grow(
                    output,
                    (*path, token),
                    position + 1,
                    likely * confidence,
                    {rest[1:] for rest in followed if rest and drafted[rest[0]] == token},
                    floor=floor,
                    longest=longest,
                    room=room,
                )
