"""What every head and the last layer would say before every output, looked up fast.

Under greedy decoding the committed tokens do not depend on the design, so one trace replays every design on the committed path.
Off it, after a wrong draft, only what was recorded is known: `Trace.branch` answers None elsewhere.

With sampling the committed tokens are distributed alike under every design, so one sampled text stands for all. Whether a draft would hold
on it is decided once, when the trace is read, by a number for each output (`adadecode.profiles.hashing`) held against the probability that a draft of this head
is accepted: it holds and is the committed token, or it is ``OTHER``. All heads share the number, so that designs differ by their heads, not by luck.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.errors import DesignError, HeadsError, ProfileError
from adadecode.profiles.hashing import dice
from adadecode.profiles.store import Profile

HeadOutput = tuple[float, int]
"""What a head says: the probability of its top-1 token, and that token; on a sampled text the one it drafts."""

OTHER = -1
"""Stands for a token that was drawn and did not hold: which one it was is not known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Text:
    """One prompt and its continuation; confidence and token as `Trace.confidences` and `Trace.tokens`, and again as lists."""

    domain: str
    n_prompt: int
    max_new_tokens: int
    ended: bool
    first_token: int
    confidence: NDArray[np.float64]
    token: NDArray[np.int32]
    confidence_rows: list[list[float]] = field(repr=False)
    token_rows: list[list[int]] = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """The heads' answers to every prompt of a profile. Build with `from_profile`.

    n_layers: L. depths: of the trained heads, rising, without L. eos: tokens that end a text. Outputs count from 0, the prefill's own; heads
    spoke from output 1 on. Questions about a prompt or output that is not there raise ProfileError, about a depth without a head
    DesignError; the last layer answers at depth L. sampled: whether the text was sampled.
    """

    n_layers: int
    depths: tuple[int, ...]
    eos: frozenset[int]
    sampled: bool
    _columns: dict[int, int] = field(repr=False)
    _texts: dict[int, _Text] = field(repr=False)
    _branches: dict[tuple[int, int, tuple[int, ...], int], HeadOutput] = field(repr=False)

    @classmethod
    def from_profile(cls, profile: Profile) -> Trace:
        """Raises ProfileError where the manifest names no end tokens or the trace has gaps."""
        eos = profile.manifest.get("eos_token_ids")
        if not isinstance(eos, list) or not all(isinstance(token, int) for token in eos):
            raise ProfileError(
                f"wanted a list of token ids as eos_token_ids in the manifest of {profile.path}, got {eos!r}: record it again"
            )
        return cls.from_frames(
            profile.prompts,
            profile.trace,
            profile.branches,
            n_layers=profile.n_layers,
            depths=profile.depths,
            eos=eos,
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
        """From the tables of a profile. sampled: whether the text was sampled. Raises ProfileError unless every head and the last layer spoke once before each output from 1 on."""
        heads = tuple(depths)
        columns = {depth: column for column, depth in enumerate((*heads, n_layers))}
        ordered = trace.sort_values(["prompt", "output", "depth"], kind="stable")
        parts = {int(str(prompt)): part for prompt, part in ordered.groupby("prompt", sort=False)}
        texts = {
            int(row["prompt"]): _text(
                row, parts.get(int(row["prompt"]), trace.iloc[:0]), tuple(columns), sampled=sampled
            )
            for row in prompts.to_dict("records")
        }
        if strange := sorted(set(parts) - set(texts)):
            raise ProfileError(
                f"wanted a trace of listed prompts only, got prompt {strange[0]}: record it again with `adadecode-profile`"
            )
        said: dict[tuple[int, int, tuple[int, ...], int], HeadOutput] = {}
        for prompt, output, path, depth, token, confidence in zip(
            *(
                branches[name].tolist()
                for name in ("prompt", "output", "path", "depth", "token", "confidence")
            ),
            strict=True,
        ):
            said.setdefault((prompt, output, tuple(path), depth), (confidence, token))
        return cls(
            n_layers=n_layers,
            depths=heads,
            eos=frozenset(eos),
            sampled=sampled,
            _columns=columns,
            _texts=texts,
            _branches=said,
        )

    @property
    def prompts(self) -> tuple[int, ...]:
        """Every prompt, in the order of the table."""
        return tuple(self._texts)

    def head(self, prompt: int, output: int, depth: int) -> HeadOutput:
        """Confidence and token of the head at ``depth`` before committed ``output`` (1 or more)."""
        if output > 0:
            try:
                column, text = self._columns[depth], self._texts[prompt]
                return text.confidence_rows[output][column], text.token_rows[output][column]
            except (KeyError, IndexError):
                pass
        raise self._unknown(prompt, output, depth)

    def final(self, prompt: int, output: int) -> int:
        """The committed token: the last layer's, or for output 0 the prefill's."""
        if output >= 0:
            try:
                return self._texts[prompt].token_rows[output][-1]
            except (KeyError, IndexError):
                pass
        raise self._unknown(prompt, output, self.n_layers)

    def branch(
        self, prompt: int, output: int, path: tuple[int, ...], depth: int
    ) -> HeadOutput | None:
        """The same after the drafts ``path``, the first of them wrong and standing at ``output``; None where it was not recorded."""
        said = self._branches.get((prompt, output, path, depth))
        if said is None and depth not in self._columns:
            raise self._unknown(prompt, output, depth)
        return said

    def branches(self) -> dict[tuple[int, int, tuple[int, ...]], dict[int, HeadOutput]]:
        """Every recorded branch (prompt, output, path), and what each head said there, by depth."""
        nodes: dict[tuple[int, int, tuple[int, ...]], dict[int, HeadOutput]] = {}
        for (prompt, output, path, depth), said in self._branches.items():
            nodes.setdefault((prompt, output, path), {})[depth] = said
        return nodes

    def domain(self, prompt: int) -> str:
        """The prompt's domain."""
        return self._text(prompt).domain

    def n_prompt(self, prompt: int) -> int:
        """Tokens of the prompt."""
        return self._text(prompt).n_prompt

    def n_output(self, prompt: int) -> int:
        """Tokens generated, the prefill's included."""
        return len(self._text(prompt).token_rows)

    def max_new_tokens(self, prompt: int) -> int:
        """The prompt's budget: a text that ended by itself stayed within it, another filled it."""
        return self._text(prompt).max_new_tokens

    def ended(self, prompt: int) -> bool:
        """Whether the text ended by itself, not by the budget."""
        return self._text(prompt).ended

    def first_token(self, prompt: int) -> int:
        """Output 0, from the prefill."""
        return self._text(prompt).first_token

    def confidences(self, prompt: int) -> NDArray[np.float64]:
        """[n_output, n_depths + 1] confidences, a column per head and the last layer's last; row 0, before which no head spoke, is NaN."""
        return self._text(prompt).confidence

    def tokens(self, prompt: int) -> NDArray[np.int32]:
        """[n_output, n_depths + 1] top-1 tokens, columns as in `confidences`; row 0 is -1 but for the first token in the last column.

        On a sampled text: the tokens that are drafted, OTHER where the draft would not hold.
        """
        return self._text(prompt).token

    def require(self, heads: Iterable[int]) -> None:
        """Raises DesignError unless a head was trained at each of these depths."""
        require_heads(heads, self.depths)

    def mapped(self, depths: Mapping[int, int], n_layers: int) -> Trace:
        """The same text as a model of ``n_layers`` layers might have it: the head at each of these depths, at the depth it is mapped to.

        Other heads are left out. What is replayed from such a trace is hypothetical: no model said it. Raises DesignError for a head that was not
        trained, and for depths that lie outside the model or not in the order of the heads.
        """
        self.require(depths)
        heads = sorted(depths)
        places = [depths[head] for head in heads]
        if places != sorted(set(places)) or any(not 1 <= place < n_layers for place in places):
            raise DesignError(
                f"wanted heads {', '.join(map(str, heads))} mapped to rising depths in 1..{n_layers - 1}, got {', '.join(map(str, places))}: "
                "a deeper head stays the deeper one"
            )
        columns = [self._columns[depth] for depth in (*heads, self.n_layers)]
        moved = {**depths, self.n_layers: n_layers}
        return Trace(
            n_layers=n_layers,
            depths=tuple(places),
            eos=self.eos,
            sampled=self.sampled,
            _columns={depth: column for column, depth in enumerate((*places, n_layers))},
            _texts={prompt: _with_columns(text, columns) for prompt, text in self._texts.items()},
            _branches={
                (prompt, at, path, moved[depth]): said
                for (prompt, at, path, depth), said in self._branches.items()
                if depth in moved
            },
        )

    def shortlisted(self, lists: Mapping[int, Sequence[int]]) -> Trace:
        """The same text, said by heads that know only some tokens: by prompt, the most frequent first.

        A head whose token is not among them has another one that is not the last layer's and ends no text, with confidence 0. Raises ProfileError for a list
        without two tokens that end no text, HeadsError for a sampled text.
        """
        if self.sampled:
            raise HeadsError(
                "a sampled text tells how sure a head was and how likely its draft was to hold, not what it would have drawn from fewer tokens: record with "
                "--shortlist and the same sampling, or ask for shortlists of a greedy recording"
            )
        texts, stand_ins = {}, {}
        for prompt, text in self._texts.items():
            held = [token for token in lists[prompt] if token not in self.eos][:2]
            if len(held) < 2:
                raise ProfileError(
                    f"wanted a shortlist with two tokens besides those that end a text, got {list(lists[prompt])}: make it longer"
                )
            stand_ins[prompt] = held[0]
            token, confidence = text.token.copy(), text.confidence.copy()
            outside = ~np.isin(token[:, :-1], list(lists[prompt]))
            outside[0] = False  # before it no head spoke
            wrong = np.where(token[:, -1:] == held[0], held[1], held[0])
            token[:, :-1] = np.where(outside, wrong, token[:, :-1])
            confidence[:, :-1][outside] = 0.0
            texts[prompt] = _with_said(text, confidence, token)
        known = {prompt: frozenset(tokens) for prompt, tokens in lists.items()}
        branches = {
            key: (confidence, token) if token in known[key[0]] else (0.0, stand_ins[key[0]])
            for key, (confidence, token) in self._branches.items()
        }
        return replace(self, _texts=texts, _branches=branches)

    def earliest(self, prompt: int, heads: Sequence[int]) -> NDArray[np.int64]:
        """[n_output] the earliest available depth of each output: of these heads, the first from which on all are right; L where none is.

        Row 0, before which no head spoke, is L. Raises DesignError for a depth without a head.
        """
        self.require(heads)
        token = self._text(prompt).token
        depths = [*heads, self.n_layers]
        right = token[:, [self._columns[depth] for depth in depths]] == token[:, -1:]
        wrong_from = right.shape[1] - np.logical_and.accumulate(right[:, ::-1], axis=1).sum(axis=1)
        answer: NDArray[np.int64] = np.array(depths, dtype=np.int64)[
            np.minimum(wrong_from, len(depths) - 1)
        ]
        answer[0] = self.n_layers
        return answer

    def agreement(self) -> pd.DataFrame:
        """How often each head says what the last layer says (on a sampled text: how often its drafts hold), and how sure it is.

        One row per domain and depth, L last: domain, depth, outputs (how many), agree (share in 0..1), confidence (mean in 0..1).
        Domains without any output after the first have no row.
        """
        rows: list[dict[str, Any]] = []
        for domain in dict.fromkeys(text.domain for text in self._texts.values()):
            texts = [text for text in self._texts.values() if text.domain == domain]
            token = np.concatenate([text.token[1:] for text in texts])
            confidence = np.concatenate([text.confidence[1:] for text in texts])
            for depth, column in self._columns.items() if len(token) else ():
                agree, sure = (
                    float((token[:, column] == token[:, -1]).mean()),
                    float(confidence[:, column].mean()),
                )
                rows.append(
                    {
                        "domain": domain,
                        "depth": depth,
                        "outputs": len(token),
                        "agree": agree,
                        "confidence": sure,
                    }
                )
        return pd.DataFrame(rows, columns=["domain", "depth", "outputs", "agree", "confidence"])

    def _text(self, prompt: int) -> _Text:
        try:
            return self._texts[prompt]
        except KeyError:
            raise self._unknown(prompt, 0, self.n_layers) from None

    def _unknown(self, prompt: int, output: int, depth: int) -> DesignError | ProfileError:
        """What is wrong with a question that has no answer."""
        if depth not in self._columns:
            return _untrained(depth, self.depths)
        if prompt not in self._texts:
            return ProfileError(
                f"no prompt {prompt} in the trace (it holds {', '.join(map(str, self._texts)) or 'none'}): name one of these"
            )
        return ProfileError(
            f"no head spoke before output {output} of prompt {prompt} (1..{self.n_output(prompt) - 1} recorded): profile longer outputs"
        )


def require_heads(wanted: Iterable[int], trained: Sequence[int]) -> None:
    """Raises DesignError unless every head that is wanted was trained."""
    for depth in wanted:
        if depth not in trained:
            raise _untrained(depth, trained)


def _untrained(depth: int, trained: Sequence[int]) -> DesignError:
    known = ", ".join(map(str, trained)) or "none"
    return DesignError(
        f"no head at depth {depth} (trained: {known}): choose among these, or train one there and profile again"
    )


def _with_columns(text: _Text, columns: Sequence[int]) -> _Text:
    """The same text, heard by these heads and the last layer."""
    return _with_said(text, text.confidence[:, columns], text.token[:, columns])


def _with_said(text: _Text, confidence: NDArray[np.float64], token: NDArray[np.int32]) -> _Text:
    """The same text, of which this was said."""
    confidence.flags.writeable = token.flags.writeable = False
    return replace(
        text,
        confidence=confidence,
        token=token,
        confidence_rows=confidence.tolist(),
        token_rows=token.tolist(),
    )


def _text(
    row: dict[Any, Any], part: pd.DataFrame, depths: tuple[int, ...], *, sampled: bool
) -> _Text:
    """One row of prompts with its part of the trace, sorted by output and depth; depths end with L."""
    n_output, width = int(row["n_output"]), len(depths)
    outputs, spoke = part["output"].to_numpy(), part["depth"].to_numpy()
    whole = len(part) == (n_output - 1) * width
    if (
        not whole
        or (outputs != np.repeat(np.arange(1, n_output), width)).any()
        or (spoke != np.tile(depths, n_output - 1)).any()
    ):
        raise ProfileError(
            f"wanted depths {', '.join(map(str, depths))} before each of outputs 1..{n_output - 1} in the trace of prompt {row['prompt']} "
            f"({(n_output - 1) * width} rows), got {len(part)} rows, other ones or with gaps: record it again with `adadecode-profile`"
        )
    confidence = np.full((n_output, width), np.nan)
    token = np.full((n_output, width), -1, dtype=np.int32)
    confidence[1:] = part["confidence"].to_numpy().reshape(-1, width)
    token[1:] = part["token"].to_numpy().reshape(-1, width)
    token[0, -1] = row["first_token"]
    if ((token[1:] == token[1:, -1:]) != part["agrees"].to_numpy().reshape(-1, width)).any():
        raise ProfileError(
            f"wanted agrees to say whether a head's token is the last layer's, it does not for prompt {row['prompt']}: record it again"
        )
    if sampled:
        luck = np.array([dice(int(row["prompt"]), output) for output in range(1, n_output)]) / 2**32
        holds = luck[:, None] < part["acceptance"].to_numpy().reshape(-1, width)[:, :-1]
        token[1:, :-1] = np.where(holds, token[1:, -1:], OTHER)
    confidence.flags.writeable = token.flags.writeable = False
    return _Text(
        domain=str(row["domain"]),
        n_prompt=int(row["n_prompt"]),
        max_new_tokens=int(row["max_new_tokens"]),
        ended=bool(row["ended"]),
        first_token=int(row["first_token"]),
        confidence=confidence,
        token=token,
        confidence_rows=confidence.tolist(),
        token_rows=token.tolist(),
    )
