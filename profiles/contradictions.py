"""Refuse a profile whose tables contradict each other, or its manifest.

Each value alone may be fine (`adadecode.profiles.checks`) and a profile still tell of what cannot
have happened: a text that ended without an end token, rounds that add up to another text, a draft
that follows drafts which nobody made. These checks run once, when a profile is read or written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.columns import DESIGN
from adadecode.profiles.errors import ProfileError
from adadecode.profiles.manifest import has_gates

EXACT = ("float32", "float64")
"""Formats in which a run repeats its recorded text. In others a run may flip a token, and go down
branches that lie on the recorded text."""

CLOCKS = 2.0
"""Pieces of work may take this many times the run that they add up to: clocks differ."""

_Groups = NDArray[np.int64]
_Node = tuple[int, int, tuple[int, ...]]
"""A branch: its prompt, the output of the first wrong draft, and the drafts from there on."""
_Refuse = Callable[[str], ProfileError]


def check_contradictions(
    manifest: Mapping[str, Any], frames: Mapping[str, pd.DataFrame], where: str, todo: str
) -> None:
    """Refuse tables that contradict each other, or the manifest.

    Args:
        manifest: The manifest, checked.
        frames: The tables by name, their values checked.
        where: What the profile is, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If something cannot have happened.
    """

    def refuse(why: str) -> ProfileError:
        return ProfileError(f"{where} contradicts itself: {why}: {todo}")

    frames = {name: frame for name, frame in frames.items() if len(frame)}
    prompts = frames.get("prompts")
    if prompts is None:
        return
    count = manifest["prompts"].get("count")
    if count is not None and count != len(prompts):
        raise refuse(f"the manifest counts {count} prompts, the table prompts has {len(prompts)}")
    _check_gates(manifest, frames, refuse)
    if "trace" in frames:
        texts = _texts(prompts, frames["trace"], int(manifest["model"]["n_layers"]))
        _check_ends(prompts, texts, manifest["eos_token_ids"], refuse)
        if "branches" in frames:
            exact = manifest["dtype"] in EXACT
            _check_branches(frames["branches"], texts, refuse, exact=exact)
    _check_runs(frames, refuse)


def _check_gates(
    manifest: Mapping[str, Any], frames: Mapping[str, pd.DataFrame], refuse: _Refuse
) -> None:
    """Refuse scores of gates that the heads do not have, missing ones, and designs without them."""
    gates, n_layers = has_gates(manifest), int(manifest["model"]["n_layers"])
    for name in ("trace", "branches"):
        if name not in frames:
            continue
        scored = frames[name]["gate"].notna().to_numpy()
        wanted = gates & (frames[name]["depth"].to_numpy() < n_layers)
        wrong = np.flatnonzero(scored != wanted)
        if wrong.size:
            row = frames[name].iloc[int(wrong[0])]
            raise refuse(
                f"the heads have {'' if gates else 'no '}gates by the manifest, and "
                f"{'a' if scored[wrong[0]] else 'no'} score stands at depth {row['depth']} in row "
                f"{wrong[0]} of the table {name}"
            )
    for name in ("runs", "rounds", "works", "draws"):
        if name not in frames:
            continue
        asked = frames[name]["gates"].map(len).to_numpy() > 0
        wrong = np.flatnonzero(asked & (frames[name]["policy"].to_numpy() != "adadecode"))
        if wrong.size or (asked.any() and not gates):
            row = frames[name].iloc[int(wrong[0] if wrong.size else asked.argmax())]
            raise refuse(f"{_design(row)} asks gates, which it does not have, in the table {name}")


def _texts(prompts: pd.DataFrame, trace: pd.DataFrame, n_layers: int) -> dict[int, dict[int, int]]:
    """Return the committed token of each output, by prompt."""
    last = trace[trace["depth"].to_numpy() == n_layers]
    texts: dict[int, dict[int, int]] = {
        prompt: {0: token}
        for prompt, token in zip(
            prompts["prompt"].tolist(), prompts["first_token"].tolist(), strict=True
        )
    }
    columns = (last[name].tolist() for name in ("prompt", "output", "token"))
    for prompt, output, token in zip(*columns, strict=True):
        texts[prompt][output] = token
    return texts


def _check_ends(
    prompts: pd.DataFrame,
    texts: Mapping[int, Mapping[int, int]],
    eos: Sequence[int],
    refuse: _Refuse,
) -> None:
    """Refuse a text that ended without an end token, or went on after one."""
    ends = frozenset(eos)
    columns = (prompts[name].tolist() for name in ("prompt", "n_output", "ended"))
    for prompt, n_output, ended in zip(*columns, strict=True):
        text = texts[prompt]
        early = [output for output in text if text[output] in ends and output < n_output - 1]
        if early:
            raise refuse(
                f"the text of prompt {prompt} goes on after output {early[0]}, which is the end "
                f"token {text[early[0]]}"
            )
        last = text.get(n_output - 1)
        if last is not None and ended != (last in ends):
            said = "ended" if ended else "did not end"
            raise refuse(
                f"the text of prompt {prompt} {said}, and its last token {last} is "
                f"{'no' if ended else 'an'} end token"
            )


def _check_branches(
    branches: pd.DataFrame,
    texts: Mapping[int, Mapping[int, int]],
    refuse: _Refuse,
    *,
    exact: bool,
) -> None:
    """Refuse branches with two outcomes, on the text, or off the tree of recorded drafts."""
    nodes = _nodes(branches, refuse)
    tokens = branches["token"].tolist()
    for prompt, output, path in nodes:
        if not path or min(path) < 0:
            raise refuse(
                f"the drafts of the branch {path} at output {output} of prompt {prompt} are none"
            )
        if exact and texts[prompt].get(output, path[0]) == path[0]:
            raise refuse(
                f"the branch {path} at output {output} of prompt {prompt} begins with no wrong "
                "draft: the text goes the same way, or has ended"
            )
        if len(path) > 1:
            parent = nodes.get((prompt, output, path[:-1]), ())
            if not any(path[-1] in tokens[start:stop] for start, stop in parent):
                raise refuse(
                    f"no head drafts the last of the branch {path} at output {output} of prompt "
                    f"{prompt} after the drafts before it"
                )


def _nodes(branches: pd.DataFrame, refuse: _Refuse) -> dict[_Node, list[tuple[int, int]]]:
    """Return where the rows of each branch stand: its prompt, its output and its drafts.

    The rows of a branch follow each other in every recording, a row for each depth.
    """
    prompt, output, depth = (branches[name].to_numpy() for name in ("prompt", "output", "depth"))
    paths = branches["path"].tolist()
    same = np.fromiter(map(id, paths), dtype=np.int64, count=len(paths))
    first = np.ones(len(paths), dtype=np.bool_)
    first[1:] = np.logical_or.reduce([np.diff(one) != 0 for one in (prompt, output, same)])
    starts = np.flatnonzero(first)
    spans = zip(starts.tolist(), [*starts[1:].tolist(), len(paths)], strict=True)
    nodes: dict[_Node, list[tuple[int, int]]] = {}
    keys = zip(prompt[starts].tolist(), output[starts].tolist(), spans, strict=True)
    for prompt_, output_, span in keys:
        nodes.setdefault((prompt_, output_, paths[span[0]]), []).append(span)
    rises = (np.diff(depth) > 0) | first[1:]
    if len(nodes) < len(starts) or not rises.all():
        _check_twins(branches, nodes, refuse)
    return nodes


def _check_twins(
    branches: pd.DataFrame, nodes: Mapping[_Node, Sequence[tuple[int, int]]], refuse: _Refuse
) -> None:
    """Refuse a head that says two things on the same branch."""
    columns = [branches[name].tolist() for name in ("depth", "token", "confidence")]
    for (prompt, output, path), spans in nodes.items():
        said: dict[int, tuple[int, float]] = {}
        for row in (row for span in spans for row in range(*span)):
            depth, token, confidence = (column[row] for column in columns)
            if said.setdefault(depth, (token, confidence)) != (token, confidence):
                raise refuse(
                    f"the head at depth {depth} says two things after the drafts {path} from "
                    f"output {output} of prompt {prompt} on"
                )


def _check_runs(frames: Mapping[str, pd.DataFrame], refuse: _Refuse) -> None:
    """Refuse runs, rounds, works and draws that do not belong together."""
    held = {name: frames[name] for name in ("runs", "rounds", "works", "draws") if name in frames}
    keys = _keys(held)
    if "rounds" in held:
        rounds = _Ordered(held["rounds"], keys["rounds"])
        rounds.check_numbers("round", "rounds", refuse)
        _check_exits(held["rounds"], refuse)
        _check_asked(held["rounds"], refuse)
        _check_starts(rounds, frames["prompts"], refuse)
    if "draws" in held:
        _Ordered(held["draws"], keys["draws"]).check_numbers("index", "draws", refuse)
    if "runs" in held:
        _check_repeats(held["runs"], keys["runs"], refuse)
    if "runs" in held and "rounds" in held:
        _check_lengths(held, keys, refuse)
    if "works" in held:
        _check_works(held, keys, refuse)
    if "baselines" in frames:
        twice = frames["baselines"].duplicated(["name", "prompt", "repeat"])
        if twice.any():
            row = frames["baselines"][twice].iloc[0]
            raise refuse(
                f"repeat {row['repeat']} of {row['name']} on prompt {row['prompt']} is there twice"
            )


def _check_exits(rounds: pd.DataFrame, refuse: _Refuse) -> None:
    """Refuse a draft that was taken at a depth where its design has no head."""
    designs = list(zip(rounds["placement"], rounds["exits"], strict=True))
    wrong = {pair for pair in set(designs) if not set(pair[1]) <= set(pair[0])}
    if wrong:
        row = rounds.iloc[next(place for place, pair in enumerate(designs) if pair in wrong)]
        raise refuse(
            f"{_design(row)} took drafts at the depths {', '.join(map(str, row['exits']))} "
            f"in round {row['round']}, where it has no head"
        )


def _check_asked(rounds: pd.DataFrame, refuse: _Refuse) -> None:
    """Refuse a gate asked where a design has none, and a head that was asked past its gate."""
    columns = (rounds[name] for name in ("placement", "gates", "gates_asked", "checks"))
    rows = list(zip(*columns, strict=True))
    wrong = {row for row in set(rows) if not _can_be_asked(*row)}
    if wrong:
        row = rounds.iloc[next(place for place, one in enumerate(rows) if one in wrong)]
        raise refuse(
            f"{_design(row)} asked the gates at the depths "
            f"{', '.join(map(str, row['gates_asked'])) or 'none'} in round {row['round']} and the "
            f"heads at {', '.join(map(str, row['checks'])) or 'none'}, by the gate thresholds "
            f"{', '.join(map(str, row['gates'])) or 'none'}"
        )


def _can_be_asked(
    placement: tuple[int, ...],
    gates: tuple[float, ...],
    asked: tuple[int, ...],
    checks: tuple[int, ...],
) -> bool:
    """Whether gates were asked where they have thresholds, before every check there."""
    gated = {depth for depth, gate in zip(placement, gates, strict=True) if gate} if gates else ()
    return set(asked) <= set(gated) and all(
        checks.count(depth) <= asked.count(depth) for depth in gated
    )


def _keys(held: Mapping[str, pd.DataFrame]) -> dict[str, _Groups]:
    """Return a number for each row of some tables, the same for one design on one prompt."""
    sizes = [len(frame) for frame in held.values()]
    if not sizes:
        return {}
    found = np.zeros(sum(sizes), dtype=np.int64)
    for name in (*DESIGN, "prompt"):
        values = pd.concat([frame[name] for frame in held.values()], ignore_index=True)
        codes, known = pd.factorize(values)
        found = pd.factorize(found * max(1, len(known)) + codes)[0].astype(np.int64)
    return dict(zip(held, np.split(found, np.cumsum(sizes)[:-1]), strict=True))


class _Ordered:
    """Rows in the order of their groups, as they follow each other in the table."""

    def __init__(self, frame: pd.DataFrame, groups: _Groups) -> None:
        self.order = np.argsort(groups, kind="stable")
        self.frame, self.groups = frame, groups[self.order]
        self.first = np.ones(len(groups), dtype=np.bool_)
        self.first[1:] = self.groups[1:] != self.groups[:-1]

    def column(self, name: str) -> NDArray[Any]:
        """Return a column in this order."""
        values: NDArray[Any] = self.frame[name].to_numpy()[self.order]
        return values

    def row(self, place: int) -> pd.Series[Any]:
        """Return the row at a place of this order."""
        return self.frame.iloc[int(self.order[place])]

    def check_numbers(self, column: str, what: str, refuse: _Refuse) -> None:
        """Refuse rows of a group that are not numbered 0, 1, 2 and so on."""
        starts = np.flatnonzero(self.first)
        sizes = np.diff(np.append(starts, len(self.groups)))
        wanted = np.arange(len(self.groups)) - np.repeat(starts, sizes)
        wrong = np.flatnonzero(self.column(column) != wanted)
        if wrong.size:
            row = self.row(int(wrong[0]))
            raise refuse(
                f"the {what} of {_design(row)} are not numbered from 0 on: number "
                f"{row[column]} stands where {wanted[wrong[0]]} belongs"
            )


def _check_starts(rounds: _Ordered, prompts: pd.DataFrame, refuse: _Refuse) -> None:
    """Refuse rounds that do not begin where the one before ended."""
    sizes = dict(zip(prompts["prompt"].tolist(), prompts["n_prompt"].tolist(), strict=True))
    start, committed = rounds.column("start"), rounds.column("committed")
    wanted = np.append(0, start[:-1].astype(np.int64) + committed[:-1])
    begins = np.flatnonzero(rounds.first)
    wanted[begins] = [sizes[prompt] for prompt in rounds.column("prompt")[begins].tolist()]
    wrong = np.flatnonzero(start != wanted)
    if wrong.size:
        row = rounds.row(int(wrong[0]))
        raise refuse(
            f"round {row['round']} of {_design(row)} starts at position {row['start']}, not at "
            f"{wanted[wrong[0]]}, where the text before it ends"
        )
    many = np.flatnonzero(committed > rounds.column("accepted") + 1)
    if many.size:
        row = rounds.row(int(many[0]))
        raise refuse(
            f"round {row['round']} of {_design(row)} commits {row['committed']} tokens, with "
            f"{row['accepted']} accepted drafts"
        )


def _check_repeats(runs: pd.DataFrame, groups: _Groups, refuse: _Refuse) -> None:
    """Refuse runs that are there twice, or where a repeat that another design has is missing."""
    timed = ~runs["instrumented"].to_numpy()
    repeats = runs["repeat"].to_numpy()
    for mine in (timed, ~timed):
        pairs = pd.DataFrame({"group": groups[mine], "repeat": repeats[mine]})
        twice = pairs.duplicated().to_numpy()
        if twice.any():
            row = runs[mine].iloc[int(twice.argmax())]
            raise refuse(f"repeat {row['repeat']} of {_design(row)} is there twice")
        counts = pairs["group"].value_counts()
        if len(counts) and counts.min() != pairs["repeat"].nunique():
            few = (pairs["group"] == counts.idxmin()).to_numpy()
            raise refuse(
                f"{_design(runs[mine].iloc[int(few.argmax())])} has {counts.min()} of the "
                f"{pairs['repeat'].nunique()} repeats that were recorded"
            )


def _check_lengths(
    held: Mapping[str, pd.DataFrame], keys: Mapping[str, _Groups], refuse: _Refuse
) -> None:
    """Refuse rounds that add up to another number of tokens than their runs have."""
    count = 1 + max(int(groups.max()) for groups in keys.values())
    wanted = 1 + np.bincount(
        keys["rounds"], weights=held["rounds"]["committed"].to_numpy(), minlength=count
    )
    # An instrumented run goes other rounds where a model does not compute the same twice.
    timed = ~held["runs"]["instrumented"].to_numpy()
    wrong = np.flatnonzero(timed & (held["runs"]["n_tokens"].to_numpy() != wanted[keys["runs"]]))
    if wrong.size:
        row = held["runs"].iloc[int(wrong[0])]
        raise refuse(
            f"repeat {row['repeat']} of {_design(row)} has {row['n_tokens']} tokens, its rounds "
            f"add up to {int(wanted[keys['runs'][wrong[0]]])}"
        )
    strange = np.flatnonzero(~np.isin(keys["rounds"], keys["runs"]))
    if strange.size:
        raise refuse(f"there are rounds of {_design(held['rounds'].iloc[int(strange[0])])}, no run")


def _check_works(
    held: Mapping[str, pd.DataFrame], keys: Mapping[str, _Groups], refuse: _Refuse
) -> None:
    """Refuse pieces of work that belong to no instrumented run, or are not those of its rounds."""
    works = held["works"]
    repeats = works["repeat"].to_numpy().astype(np.int64)
    most = 1 + int(repeats.max())
    groups = keys["works"] * most + repeats
    ordered = _Ordered(works, groups)
    ordered.check_numbers("index", "works", refuse)
    first = np.flatnonzero(ordered.first)
    runs = held.get("runs")
    if runs is None:
        raise refuse(f"there are works of {_design(works.iloc[0])}, no run")
    mine = np.flatnonzero(runs["instrumented"].to_numpy())
    own = keys["runs"][mine] * most + runs["repeat"].to_numpy()[mine]
    lost = np.flatnonzero(~np.isin(ordered.groups[first], own))
    if lost.size:
        raise refuse(
            f"there are works of {_design(ordered.row(int(first[lost[0]])))}, no instrumented run"
        )
    spent = dict(
        zip(
            ordered.groups[first].tolist(),
            np.add.reduceat(ordered.column("seconds"), first).tolist(),
            strict=True,
        )
    )
    taken = runs["decode_s"].to_numpy()[mine].tolist()
    for place, group, seconds in zip(mine.tolist(), own.tolist(), taken, strict=True):
        if spent.get(group, 0.0) > CLOCKS * seconds:
            row = runs.iloc[place]
            raise refuse(
                f"the works of {_design(row)} take {spent[group]:.4g} s, their run {seconds:.4g} s"
            )


def _design(row: pd.Series[Any]) -> str:
    """Return the design and prompt of a row, in words."""
    heads = f" {', '.join(map(str, row['placement']))}" if row["placement"] else ""
    return f"{row['policy']}{heads} on prompt {row['prompt']}"
