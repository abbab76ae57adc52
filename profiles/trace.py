"""What every head and the last layer predict before every output, looked up fast.

Under greedy decoding the committed tokens do not depend on the design, so one trace replays every
design on the committed path. Off it, after a wrong draft, only what was recorded is known:
`Trace.branch` returns None elsewhere.

With sampling the committed tokens are distributed alike under every design, so one sampled text
stands for all. Whether a draft would hold on it is decided once, when the trace is read: a
pseudo-random number for each output (`adadecode.profiles.hashing`) is compared with the probability
that a draft of this head is accepted. Either it holds and is the committed token, or it is
``OTHER``. All heads share the number, so that designs differ by their heads, not by luck.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import DesignError, HeadsError, ProfileError
from adadecode.profiles.store import Profile
from adadecode.profiles.trace_text import OTHER, TraceText

__all__ = ["OTHER", "HeadOutput", "Trace", "require_heads"]

HeadOutput = tuple[float, int]
"""Confidence and token of a head: its most likely token; on a sampled text the one it drafts."""

_Place = tuple[int, int, tuple[int, ...]]
"""A place off the text: prompt, output of the first wrong draft, and the drafts from there on."""

_Off = tuple[int, int, tuple[int, ...], int]
"""A head off the text: its place, and its depth."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """The outputs of the heads on every prompt of a profile. Build it with `from_profile`.

    Outputs count from 0, the prefill's own. Heads are evaluated from output 1 on. The last layer
    stands at depth L. Looking up a prompt or output that is not there raises `ProfileError`, and a
    depth without a head `DesignError`.

    Attributes:
        n_layers: L, the layers of the model.
        depths: Depths of the trained heads, rising, without L.
        eos: Tokens that end a text.
        sampled: Whether the texts were sampled.
        has_gates: Whether the score of a gate is known before every head.
    """

    n_layers: int
    depths: tuple[int, ...]
    eos: frozenset[int]
    sampled: bool
    has_gates: bool
    _columns: dict[int, int] = field(repr=False)
    _texts: dict[int, TraceText] = field(repr=False)
    _branches: dict[_Off, HeadOutput] = field(repr=False)
    _branch_gates: dict[_Off, float] = field(repr=False)

    @classmethod
    def from_profile(cls, profile: Profile) -> Trace:
        """Make the trace of a profile.

        Raises:
            ProfileError: If the trace has gaps.
        """
        return cls.from_frames(
            profile.prompts,
            profile.trace,
            profile.branches,
            n_layers=profile.n_layers,
            depths=profile.depths,
            eos=profile.manifest["eos_token_ids"],
            sampled=profile.sampled,
        )

    @classmethod
    def from_frames(
        cls,
        prompts: pd.DataFrame,
        trace: pd.DataFrame,
        branches: pd.DataFrame,
        *,
        n_layers: int,
        depths: Iterable[int],
        eos: Iterable[int],
        sampled: bool = False,
    ) -> Trace:
        """Make a trace from the tables of a profile.

        Args:
            prompts: The table ``prompts``.
            trace: The table ``trace``.
            branches: The table ``branches``.
            n_layers: L, the layers of the model.
            depths: Depths of the heads, rising.
            eos: Tokens that end a text.
            sampled: Whether the texts were sampled.

        Raises:
            ProfileError: Unless every head and the last layer predicted once before each output
                from 1 on.
        """
        heads = tuple(depths)
        columns = {depth: column for column, depth in enumerate((*heads, n_layers))}
        ordered = trace.sort_values(["prompt", "output", "depth"], kind="stable")
        parts = {int(str(prompt)): part for prompt, part in ordered.groupby("prompt", sort=False)}
        texts = {}
        for row in prompts.to_dict("records"):
            prompt = int(row["prompt"])
            part = parts.get(prompt, trace.iloc[:0])
            texts[prompt] = TraceText.from_rows(row, part, tuple(columns), sampled=sampled)
        if strange := sorted(set(parts) - set(texts)):
            raise ProfileError(
                f"wanted a trace of listed prompts only, got prompt {strange[0]}: "
                "record it again with `adadecode-profile`"
            )
        outputs, scores = _branch_outputs(branches)
        return cls(
            n_layers=n_layers,
            depths=heads,
            eos=frozenset(eos),
            sampled=sampled,
            has_gates="gate" in trace and bool(trace["gate"].notna().any()),
            _columns=columns,
            _texts=texts,
            _branches=outputs,
            _branch_gates=scores,
        )

    @property
    def prompts(self) -> tuple[int, ...]:
        """Every prompt, in the order of the table."""
        return tuple(self._texts)

    def head(self, prompt: int, output: int, depth: int) -> HeadOutput:
        """Return confidence and token of the head at ``depth`` before an output (1 or more)."""
        if output > 0:
            try:
                column, text = self._columns[depth], self._texts[prompt]
                return text.confidence_rows[output][column], text.token_rows[output][column]
            except (KeyError, IndexError):
                pass
        raise self._unknown(prompt, output, depth)

    def gate(self, prompt: int, output: int, depth: int) -> float:
        """Return the score of the gate at ``depth`` before an output (1 or more).

        Raises:
            DesignError: If the heads have no gates.
        """
        self.require_gates()
        if output > 0 and depth != self.n_layers:
            try:
                return self._texts[prompt].gate_rows[output][self._columns[depth]]
            except (KeyError, IndexError):
                pass
        raise self._unknown(prompt, output, depth)

    def final(self, prompt: int, output: int) -> int:
        """Return the committed token: the last layer's, or for output 0 the prefill's."""
        if output >= 0:
            try:
                return self._texts[prompt].token_rows[output][-1]
            except (KeyError, IndexError):
                pass
        raise self._unknown(prompt, output, self.n_layers)

    def branch(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> HeadOutput | None:
        """Return confidence and token of a head off the text.

        Args:
            prompt: The prompt.
            output: Output at which the first wrong draft stands.
            path: The drafts from there on, the wrong one first.
            depth: Depth of the head.

        Returns:
            The output of the head; None where it was not recorded.
        """
        found = self._branches.get((prompt, output, path, depth))
        if found is None and depth not in self._columns:
            raise self._unknown(prompt, output, depth)
        return found

    def branch_gate(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> float | None:
        """Return the score of a gate off the text, or None, as `branch` does.

        Raises:
            DesignError: If the heads have no gates.
        """
        self.require_gates()
        return self._branch_gates.get((prompt, output, path, depth))

    def branches(self) -> dict[_Place, dict[int, HeadOutput]]:
        """Return every recorded branch (prompt, output, path) with its head outputs by depth."""
        nodes: dict[_Place, dict[int, HeadOutput]] = {}
        for (prompt, output, path, depth), found in self._branches.items():
            nodes.setdefault((prompt, output, path), {})[depth] = found
        return nodes

    def branch_gates(self) -> dict[_Place, dict[int, float]]:
        """Return the scores of gates on every recorded branch, as `branches` does."""
        nodes: dict[_Place, dict[int, float]] = {}
        for (prompt, output, path, depth), score in self._branch_gates.items():
            nodes.setdefault((prompt, output, path), {})[depth] = score
        return nodes

    def domain(self, prompt: int) -> str:
        """Return the domain of a prompt."""
        return self._text(prompt).domain

    def n_prompt(self, prompt: int) -> int:
        """Return the number of tokens of a prompt."""
        return self._text(prompt).n_prompt

    def n_output(self, prompt: int) -> int:
        """Return the number of tokens generated, the prefill's included."""
        return len(self._text(prompt).token_rows)

    def max_new_tokens(self, prompt: int) -> int:
        """Return the budget of a prompt.

        A text that ended by itself stayed within it; any other filled it.
        """
        return self._text(prompt).max_new_tokens

    def ended(self, prompt: int) -> bool:
        """Return whether the text ended by itself, not by the budget."""
        return self._text(prompt).ended

    def first_token(self, prompt: int) -> int:
        """Return output 0, from the prefill."""
        return self._text(prompt).first_token

    def confidences(self, prompt: int) -> NDArray[np.float64]:
        """Return the confidences on a text, shape ``[n_output, n_depths + 1]``.

        There is a column per head, and the last layer's last. Row 0, before which no head is
        evaluated, is NaN.
        """
        return self._text(prompt).confidence

    def tokens(self, prompt: int) -> NDArray[np.int32]:
        """Return the most likely tokens on a text, shape ``[n_output, n_depths + 1]``.

        Columns are as in `confidences`. Row 0 is -1 but for the first token in the last column. On
        a sampled text these are the tokens that are drafted, ``OTHER`` where a draft would not
        hold.
        """
        return self._text(prompt).token

    def gates(self, prompt: int) -> NDArray[np.float64]:
        """Return the scores of gates on a text, ``[n_output, n_depths + 1]``.

        Columns are as in `confidences`. Row 0, the last column, and all where heads have no gates,
        are NaN.
        """
        return self._text(prompt).gate

    def require(self, heads: Iterable[int], *, gates: bool = False) -> None:
        """Raise DesignError unless a head was trained at each of these depths, with a gate."""
        require_heads(heads, self.depths)
        if gates:
            self.require_gates()

    def require_gates(self) -> None:
        """Raise DesignError unless the heads have gates."""
        require_gates(self)

    def mapped(self, depths: Mapping[int, int], n_layers: int) -> Trace:
        """Return the same text as a model of another depth might have it.

        What is replayed from such a trace is hypothetical, because no model generated it. Heads
        that are not mapped are left out.

        Args:
            depths: The new depth of each head, by its depth.
            n_layers: Layers of the other model.

        Raises:
            DesignError: If a head was not trained, or the new depths lie outside the model or not
                in the order of the heads.
        """
        self.require(depths)
        heads = sorted(depths)
        places = [depths[head] for head in heads]
        if places != sorted(set(places)) or any(not 1 <= place < n_layers for place in places):
            raise DesignError(
                f"wanted heads {', '.join(map(str, heads))} mapped to rising depths in "
                f"1..{n_layers - 1}, got {', '.join(map(str, places))}: "
                "a deeper head stays the deeper one"
            )
        columns = [self._columns[depth] for depth in (*heads, self.n_layers)]
        moved = {**depths, self.n_layers: n_layers}
        return replace(
            self,
            n_layers=n_layers,
            depths=tuple(places),
            _columns={depth: column for column, depth in enumerate((*places, n_layers))},
            _texts={prompt: text.with_columns(columns) for prompt, text in self._texts.items()},
            _branches=_moved(self._branches, moved),
            _branch_gates=_moved(self._branch_gates, moved),
        )

    def shortlisted(self, lists: Mapping[int, Sequence[int]]) -> Trace:
        """Return the same text with heads that know only some tokens.

        A head whose token is not on the list has another one, which is not the last layer's and
        ends no text, with confidence 0. Gates score the hidden state, and stay as they are.

        Args:
            lists: The tokens that heads know, by prompt, the most frequent first.

        Raises:
            ProfileError: If a list lacks two tokens that end no text.
            HeadsError: If the text was sampled.
        """
        if self.sampled:
            raise HeadsError(
                "a sampled text records how sure a head was and how likely its draft was to hold, "
                "not what it would have drawn from fewer tokens: record with --shortlist and the "
                "same sampling, or take a greedy recording for shortlists"
            )
        texts, stand_ins = {}, {}
        for prompt, text in self._texts.items():
            held = [token for token in lists[prompt] if token not in self.eos][:2]
            if len(held) < 2:
                raise ProfileError(
                    "wanted a shortlist with two tokens besides those that end a text, got "
                    f"{list(lists[prompt])}: make it longer"
                )
            stand_ins[prompt] = held[0]
            token, confidence = text.token.copy(), text.confidence.copy()
            outside = ~np.isin(token[:, :-1], list(lists[prompt]))
            outside[0] = False  # before it no head is evaluated
            wrong = np.where(token[:, -1:] == held[0], held[1], held[0])
            token[:, :-1] = np.where(outside, wrong, token[:, :-1])
            confidence[:, :-1][outside] = 0.0
            texts[prompt] = text.with_outputs(confidence, token)
        known = {prompt: frozenset(tokens) for prompt, tokens in lists.items()}
        branches = {
            key: (confidence, token) if token in known[key[0]] else (0.0, stand_ins[key[0]])
            for key, (confidence, token) in self._branches.items()
        }
        return replace(self, _texts=texts, _branches=branches)

    def earliest(self, prompt: int, heads: Sequence[int]) -> NDArray[np.int64]:
        """Return the earliest available depth of each output, shape ``[n_output]``.

        It is the first of these heads from which on all are right; L where none is, and for row 0,
        before which no head is evaluated.

        Raises:
            DesignError: If a depth has no head.
        """
        self.require(heads)
        token = self._text(prompt).token
        depths = [*heads, self.n_layers]
        right = token[:, [self._columns[depth] for depth in depths]] == token[:, -1:]
        wrong_from = right.shape[1] - np.logical_and.accumulate(right[:, ::-1], axis=1).sum(axis=1)
        found: NDArray[np.int64] = np.array(depths, dtype=np.int64)[
            np.minimum(wrong_from, len(depths) - 1)
        ]
        found[0] = self.n_layers
        return found

    def agreement(self) -> pd.DataFrame:
        """Return how often each head agrees with the last layer, and how sure it is.

        On a sampled text, agreement is how often its drafts hold.

        Returns:
            One row per domain and depth, L last: ``domain``, ``depth``, ``outputs`` (how many),
            ``agree`` (share in 0..1), ``confidence`` (mean in 0..1). Domains without any output
            after the first have no row.
        """
        rows: list[dict[str, Any]] = []
        for domain in dict.fromkeys(text.domain for text in self._texts.values()):
            texts = [text for text in self._texts.values() if text.domain == domain]
            token = np.concatenate([text.token[1:] for text in texts])
            confidence = np.concatenate([text.confidence[1:] for text in texts])
            if not len(token):
                continue
            for depth, column in self._columns.items():
                rows.append(
                    {
                        "domain": domain,
                        "depth": depth,
                        "outputs": len(token),
                        "agree": float((token[:, column] == token[:, -1]).mean()),
                        "confidence": float(confidence[:, column].mean()),
                    }
                )
        return pd.DataFrame(rows, columns=["domain", "depth", "outputs", "agree", "confidence"])

    def _text(self, prompt: int) -> TraceText:
        try:
            return self._texts[prompt]
        except KeyError:
            raise self._unknown(prompt, 0, self.n_layers) from None

    def _unknown(self, prompt: int, output: int, depth: int) -> DesignError | ProfileError:
        """Return the error for a place that the trace does not hold."""
        if depth not in self._columns:
            return _untrained(depth, self.depths)
        if prompt not in self._texts:
            return ProfileError(
                f"no prompt {prompt} in the trace "
                f"(it holds {', '.join(map(str, self._texts)) or 'none'}): name one of these"
            )
        return ProfileError(
            f"no head spoke before output {output} of prompt {prompt} "
            f"(1..{self.n_output(prompt) - 1} recorded): profile longer outputs"
        )


def require_heads(wanted: Iterable[int], trained: Sequence[int]) -> None:
    """Raise DesignError unless every wanted head was trained."""
    for depth in wanted:
        if depth not in trained:
            raise _untrained(depth, trained)


def require_gates(source: _HasGates) -> None:
    """Raise DesignError unless the heads of a recording have gates."""
    if not source.has_gates:
        raise DesignError(
            "no gates in this recording, and a design that asks them: train heads with gates "
            "(`adadecode-train`) and record again, or leave the gate threshold at 0"
        )


def _untrained(depth: int, trained: Sequence[int]) -> DesignError:
    known = ", ".join(map(str, trained)) or "none"
    return DesignError(
        f"no head at depth {depth} (trained: {known}): "
        "choose among these, or train one there and profile again"
    )


class _HasGates(Protocol):
    @property
    def has_gates(self) -> bool: ...


_Known = TypeVar("_Known")


def _moved(known: Mapping[_Off, _Known], depths: Mapping[int, int]) -> dict[_Off, _Known]:
    """Return what is known off the text at the new depths of heads; others are left out."""
    return {
        (prompt, output, path, depths[depth]): found
        for (prompt, output, path, depth), found in known.items()
        if depth in depths
    }


def _branch_outputs(branches: pd.DataFrame) -> tuple[dict[_Off, HeadOutput], dict[_Off, float]]:
    """Return what heads and gates say in the table ``branches``."""
    found: dict[_Off, HeadOutput] = {}
    names = ("prompt", "output", "path", "depth", "token", "confidence")
    columns = [branches[name].tolist() for name in names]
    for prompt, output, path, depth, token, confidence in zip(*columns, strict=True):
        found.setdefault((prompt, output, tuple(path), depth), (confidence, token))
    scores: dict[_Off, float] = {}
    if "gate" in branches:
        for *off, score in zip(*columns[:4], branches["gate"].tolist(), strict=True):
            if not math.isnan(score):
                prompt, output, path, depth = off
                scores.setdefault((prompt, output, tuple(path), depth), score)
    return found, scores
