"""A model made of hashes for properties of schedules: deterministic and sometimes right.

It is strict about what was computed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import pandas as pd
from hypothesis import strategies as st

from adadecode.profiles.schema import REQUIRED_COLUMNS, TABLES
from adadecode.profiles.trace import Trace
from adadecode.sim.core.design import RUNNABLE, Design, Policy
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

N_PROMPT = 4
FIRST = 100
VOCABULARY = 6


def dice(*what: object) -> int:
    """A number that depends only on its arguments."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=6).digest())


class ToyModel:
    """A model whose last layer's token is a hash of all tokens before it.

    Its heads are sometimes right.

    It keeps what each segment has computed, as the tokens it was computed from, and refuses to
    read anything stale or missing.
    """

    def __init__(self, seed: int, schedule: Schedule) -> None:
        self.seed, self.schedule = seed, schedule
        self.tokens = [FIRST]  # from position N_PROMPT on
        self.computed: list[dict[int, tuple[int, ...]]] = [{} for _ in schedule.lengths]
        self.checked: tuple[int, int] | None = (
            None  # position of the last check and the token it gave
        )

    def final(self, prefix: tuple[int, ...]) -> int:
        return dice("final", self.seed, prefix) % VOCABULARY

    def head(self, depth: int, prefix: tuple[int, ...]) -> Draft:
        right = dice("right", self.seed, depth, prefix) % 4 > 0
        token = (
            self.final(prefix) if right else dice("wrong", self.seed, depth, prefix) % VOCABULARY
        )
        return Draft(dice("sure", self.seed, depth, prefix) % 101 / 100, token)

    def gate(self, depth: int, prefix: tuple[int, ...]) -> Score:
        return Score(dice("gate", self.seed, depth, prefix) % 101 / 100)

    def prefix(self, position: int) -> tuple[int, ...]:
        return tuple(self.tokens[: position - N_PROMPT + 1])

    def read(self, segment: int, start: int, stop: int) -> None:
        for position in range(start, stop):
            assert self.computed[segment].get(position) == self.prefix(position), (
                f"segment {segment} is stale or missing at {position}"
            )

    def take(self, position: int) -> None:
        """A position beyond the text can only hold the draft of the check before it."""
        if position - N_PROMPT == len(self.tokens):
            assert self.checked is not None
            assert self.checked[0] == position - 1
            self.tokens.append(self.checked[1])

    def __call__(self, work: Work) -> Outcome:
        lengths = self.schedule.lengths
        assert lengths == sorted(lengths, reverse=True), (
            "a deeper segment is ahead of a shallower one"
        )
        match work:
            case Run(segment, start, stop):
                assert start < stop
                self.take(stop - 1)
                self.read(segment, N_PROMPT, start)  # the KV it attends to
                if segment > 0:
                    self.read(segment - 1, start, stop)  # the hidden states it starts from
                self.computed[segment].update((p, self.prefix(p)) for p in range(start, stop))
                return None
            case Gate(depth, position):
                self.read(self.schedule.boundaries.index(depth) - 1, position, position + 1)
                return self.gate(depth, self.prefix(position))
            case Check(depth, position):
                self.read(self.schedule.boundaries.index(depth) - 1, position, position + 1)
                draft = self.head(depth, self.prefix(position))
                self.checked = (position, draft.token)
                return draft
            case Verify(start, stop, drafts):
                self.read(len(lengths) - 1, start, stop)
                accepted = 0
                while accepted < len(drafts) and drafts[accepted] == self.final(
                    self.prefix(start + accepted)
                ):
                    accepted += 1
                token = self.final(self.prefix(start + accepted))
                self.tokens = [*self.prefix(start + accepted), token]
                return Verdict(accepted, token)


@st.composite
def designs(draw: st.DrawFn, verify: bool = True, gates: bool = True) -> tuple[Design, int]:
    """Any design and a number of layers it fits, with gates in half of those that may ask them."""
    n_layers = draw(st.integers(2, 8))
    policy = draw(st.sampled_from(RUNNABLE))
    cap = draw(st.integers(1, 6))
    if policy is Policy.FIXED:
        return Design.of(
            policy, placement=(draw(st.integers(1, n_layers - 1)),), cap=cap, verify=verify
        ), n_layers
    placement = sorted(draw(st.sets(st.integers(1, n_layers - 1), max_size=4)))
    gamma: float | list[float] = [
        draw(st.sampled_from([0.0, 0.3, 0.5, 0.75, 0.9, 1.0])) for _ in placement
    ]
    gate: float | list[float] = 0.0
    if gates and draw(st.booleans()):
        gate = [draw(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])) for _ in placement]
    if policy is Policy.VANILLA or not placement:
        gamma, gate = 0.5, 0.0
    return Design.of(
        policy, gamma=gamma, placement=placement, cap=cap, verify=verify, gate=gate
    ), n_layers


def vanilla_text(model: ToyModel, max_new_tokens: int, eos: frozenset[int]) -> list[int]:
    text = [FIRST]
    while len(text) < max_new_tokens and text[-1] not in eos:
        text.append(model.final(tuple(text)))
    return text


def drive(schedule: Schedule, answer: Callable[[Work], Outcome]) -> list[Work]:
    """Run a schedule to its end; return the work it handed out, in order."""
    handed: list[Work] = []
    steps = schedule.steps()
    outcome: Outcome = None
    try:
        while True:
            work = steps.send(outcome)
            handed.append(work)
            outcome = answer(work)
    except StopIteration:
        return handed


def decode_and_record(
    design: Design, n_layers: int, seed: int, budget: int, eos: frozenset[int]
) -> tuple[Schedule, Trace]:
    """Decode with the toy model, and record what a profile would.

    That is every depth along vanilla's text, and on each branch that was visited.
    """
    schedule = Schedule(
        design=design,
        n_layers=n_layers,
        n_prompt=N_PROMPT,
        first_token=FIRST,
        max_new_tokens=budget,
        eos=eos,
    )
    model = ToyModel(seed, schedule)
    text = vanilla_text(model, budget, eos)
    depths = tuple(range(1, n_layers))
    visited: dict[tuple[int, tuple[int, ...]], tuple[int, ...]] = {}

    def watch(work: Work) -> Outcome:
        outcome = model(work)
        if isinstance(work, Gate | Check):
            prefix = model.prefix(work.position)
            left = next(
                (i for i, token in enumerate(prefix) if i >= len(text) or token != text[i]),
                len(prefix),
            )
            if left < len(prefix):
                visited[left, prefix[left:]] = prefix
        return outcome

    drive(schedule, watch)
    trace_rows = []
    for output in range(1, len(text)):
        prefix = tuple(text[:output])
        answers = [
            (depth, *model.head(depth, prefix), *model.gate(depth, prefix)) for depth in depths
        ]
        answers.append((n_layers, 1.0, text[output], math.nan))
        trace_rows += [
            (0, output, depth, token, confidence, token == text[output], confidence, score)
            for depth, confidence, token, score in answers
        ]
    branch_rows = []
    for (output, path), prefix in visited.items():
        for depth in depths:
            confidence, token = model.head(depth, prefix)
            (score,) = model.gate(depth, prefix)
            branch_rows.append((0, output, path, depth, token, confidence, score))
    trace = Trace.from_frames(
        pd.DataFrame(
            [(0, "toy", N_PROMPT, len(text), text[-1] in eos, FIRST, "", budget)],
            columns=list(REQUIRED_COLUMNS["prompts"]),
        ),
        pd.DataFrame(trace_rows, columns=TABLES["trace"].names),
        pd.DataFrame(branch_rows, columns=TABLES["branches"].names),
        n_layers=n_layers,
        depths=depths,
        eos=eos,
    )
    return schedule, trace
