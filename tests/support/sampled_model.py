"""A tiny model with known distributions, and the engine's sampling driven on it.

Many texts are driven at once, or one by one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product, starmap
from typing import Any

import numpy as np
import torch
from scipy import stats
from transformers import PreTrainedModel

from adadecode.engine.decoding.sampling import Sampler, Sampling, draw, rejection_sample
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.sim.core.design import Design
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
from tests.support.hash_model import drive
from tests.support.models import tiny_model

SMALL = 6
"""Tokens of the small vocabulary."""
PROMPT = (3, 5, 4)
FIRST = 1
DRAWN = 3
"""Tokens whose joint distribution is looked at, after the first one."""

Text = tuple[int, ...]


def small_model(seed: int = 5, **config: Any) -> PreTrainedModel:
    """Return a model of six layers with six tokens."""
    return tiny_model("llama", vocab_size=SMALL, seed=seed, **config)


def near_heads(model: PreTrainedModel, depths: Iterable[int]) -> ExitHeads:
    """Heads of their own, not far from the model's: the identity and noise."""
    generator = torch.Generator().manual_seed(0)
    width = model.config.hidden_size
    noise = {
        depth: torch.randn((width, width), generator=generator, dtype=torch.float64)
        / (2 * width**0.5)
        for depth in depths
    }
    return ExitHeads(model, {depth: torch.eye(width) + rest for depth, rest in noise.items()})


@dataclass
class Known:
    """What the last layer and each head say after every text of up to DRAWN tokens behind FIRST.

    final, heads: probabilities [text, V], transformed. logits: [text, V] by depth, in FP32 as the
    engine has them; the last layer's at n_layers. scores: of each gate [text] by depth.
    """

    sampling: Sampling
    texts: dict[Text, int]
    final: torch.Tensor
    heads: dict[int, torch.Tensor]
    logits: dict[int, torch.Tensor]
    scores: dict[int, torch.Tensor]
    n_layers: int

    @classmethod
    def of(cls, model: PreTrainedModel, heads: ExitHeads, sampling: Sampling) -> Known:
        """From whole forward passes of the model itself, FP64."""
        parts = SegmentedModel(model)
        texts = [text for n in range(DRAWN + 1) for text in product(range(SMALL), repeat=n)]
        collected, scored = defaultdict(list), defaultdict(list)
        with torch.inference_mode():
            for n in range(DRAWN + 1):
                ids = torch.tensor([(*PROMPT, FIRST, *text) for text in texts if len(text) == n])
                out = model(ids, output_hidden_states=True, use_cache=False)
                collected[parts.n_layers].append(out.logits[:, -1])
                for depth in heads.depths:
                    normed = parts.normed(out.hidden_states[depth][:, -1:])
                    collected[depth].append(heads.logits(parts, depth, normed)[:, -1])
                    if heads.gates is not None:
                        scored[depth].append(heads.gates.score(depth, normed)[:, -1])
            logits = {depth: torch.cat(rows) for depth, rows in collected.items()}
            likely = {depth: sampling.probabilities(rows) for depth, rows in logits.items()}
        return cls(
            sampling=sampling,
            texts={text: i for i, text in enumerate(texts)},
            final=likely.pop(parts.n_layers),
            heads=likely,
            logits={depth: rows.float() for depth, rows in logits.items()},
            scores={depth: torch.cat(rows) for depth, rows in scored.items()},
            n_layers=parts.n_layers,
        )

    def joint(self, eos: frozenset[int]) -> dict[Text, float]:
        """Return vanilla's distribution of what follows FIRST, up to DRAWN tokens."""
        found: dict[Text, float] = {}

        def grow(text: Text, likely: float) -> None:
            if len(text) == DRAWN or (text and text[-1] in eos):
                found[text] = likely
                return
            for token, p in enumerate(self.final[self.texts[text]].tolist()):
                if p > 0:
                    grow((*text, token), likely * p)

        grow((), 1.0)
        return found


Confidence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Return the confidence (n,) of probabilities (n, V) and drawn tokens (n,)."""


def highest(probabilities: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """As the engine does: decided before the draw."""
    return probabilities.amax(-1)


def by_the_draft(probabilities: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """A known mistake: a gate that lets some drawn tokens through and others not."""
    return (tokens % 2 == 0).double()


def of_the_draft(probabilities: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The known mistake: how likely the drawn token was."""
    return probabilities.gather(-1, tokens[:, None])[:, 0]


Split = Iterator[tuple[Outcome, float]]
"""Outcomes and how many of the decodings got them."""


class Decodes:
    """Many decodings of one design side by side.

    Those that went the same way so far share a schedule, and part where their draws differ.

    n decodings draw n times at each piece of work, all by the engine's own functions. `exactly`
    parts them by probabilities instead, of which the rejection sampling is written out here again.
    """

    def __init__(
        self,
        known: Known,
        design: Design,
        eos: frozenset[int],
        *,
        confidence: Confidence = highest,
        sampled: bool = True,
    ) -> None:
        self.known, self.design, self.eos, self.confidence, self.sampled = (
            known,
            design,
            eos,
            confidence,
            sampled,
        )

    def count(self, n: int, seed: int) -> Counter[Text]:
        """What followed FIRST in n decodings, and how often."""
        random = np.random.default_rng(seed)

        def check(q: torch.Tensor, n: float) -> Split:
            q = q.expand(int(n), SMALL)
            tokens = draw(q, torch.from_numpy(random.random(int(n))))
            yield from Counter(
                starmap(
                    Draft, zip(self.confidence(q, tokens).tolist(), tokens.tolist(), strict=True)
                )
            ).items()

        def verify(p: torch.Tensor, q: torch.Tensor, drafts: Text, n: float) -> Split:
            uniform = torch.from_numpy(random.random((int(n), len(drafts) + 1)))
            rows = torch.tensor(drafts, dtype=torch.long).expand(int(n), len(drafts))
            both = rejection_sample(
                p.expand(int(n), *p.shape), q.expand(int(n), *q.shape), rows, uniform
            )
            yield from Counter(
                starmap(Verdict, zip(*(x.tolist() for x in both), strict=True))
            ).items()

        return self._decode(n, check, verify)

    def exactly(self) -> Counter[Text]:
        """The probability of everything that may follow FIRST."""

        def check(q: torch.Tensor, likely: float) -> Split:
            sure = self.confidence(q.expand(SMALL, SMALL), torch.arange(SMALL)).tolist()
            yield from ((Draft(sure[x], x), likely * float(q[x])) for x in range(SMALL) if q[x] > 0)

        def verify(p: torch.Tensor, q: torch.Tensor, drafts: Text, likely: float) -> Split:
            for at, draft in enumerate(drafts):
                holds = min(1.0, float(p[at, draft] / q[at, draft]))
                rest = (p[at] - q[at]).clamp(min=0)
                for x in range(SMALL):
                    if holds < 1 and rest[x] > 0:
                        yield Verdict(at, x), likely * (1 - holds) * float(rest[x] / rest.sum())
                likely *= holds
            if len(drafts) == len(p):
                yield Verdict(len(drafts) - 1, drafts[-1]), likely
            else:
                yield from (
                    (Verdict(len(drafts), x), likely * float(p[-1, x])) for x in range(SMALL)
                )

        return self._decode(1.0, check, verify)

    def _decode(
        self,
        weight: float,
        check: Callable[[torch.Tensor, float], Split],
        verify: Callable[[torch.Tensor, torch.Tensor, Text, float], Split],
    ) -> Counter[Text]:
        found: Counter[Text] = Counter()
        waiting: list[tuple[tuple[Outcome, ...], float]] = [((), weight)]
        while waiting:
            script, weight = waiting.pop()
            schedule, work, text, checked = self._drive(script)
            if work is None:
                found[tuple(schedule.tokens[1:])] += weight  # type: ignore[assignment]
                continue
            parts: Counter[Outcome] = Counter()
            if isinstance(work, Gate):
                place = self._place(text, work.position)
                parts[Score(float(self.known.scores[work.depth][place]))] = weight  # type: ignore[assignment]
            elif isinstance(work, Check):
                place, threshold = (
                    self._place(text, work.position),
                    self.design.threshold(work.depth),
                )
                for outcome, part in check(self.known.heads[work.depth][place], weight):
                    assert isinstance(outcome, Draft)
                    taken = outcome if outcome.confidence > threshold else Draft(-1.0, -1)
                    parts[taken] += part  # type: ignore[assignment]
            else:
                p = self.known.final[
                    [self._place(text, position) for position in range(work.start, work.stop)]
                ]
                drafted = [
                    self.known.heads[checked[at]][self._place(text, at)]
                    for at in range(work.start, work.start + len(work.drafts))
                ]
                for outcome, part in verify(
                    p, torch.stack(drafted) if drafted else p[:0], work.drafts, weight
                ):
                    parts[outcome] += part  # type: ignore[assignment]
            waiting += [((*script, outcome), part) for outcome, part in parts.items()]
        return found

    def _drive(
        self, script: tuple[Outcome, ...]
    ) -> tuple[Schedule, Gate | Check | Verify | None, list[int], dict[int, int]]:
        """Drive a schedule with these outcomes.

        Return the schedule, what it wants next, the tokens by place, and by position the head that
        was checked last.
        """
        schedule = Schedule(
            design=self.design,
            n_layers=self.known.n_layers,
            n_prompt=len(PROMPT),
            first_token=FIRST,
            max_new_tokens=1 + DRAWN,
            eos=self.eos,
            sampled=self.sampled,
        )
        text: list[int] = []
        checked: dict[int, int] = {}
        outcomes = iter(script)
        steps = schedule.steps()
        outcome: Outcome = None
        while True:
            try:
                work: Work = steps.send(outcome)
            except StopIteration:
                return schedule, None, text, checked
            if isinstance(work, Run):
                outcome = None
                if work.segment == 0:
                    text[work.stop - 1 - len(PROMPT) :] = [schedule.newest]
                continue
            if isinstance(work, Check):
                checked[work.position] = work.depth
            outcome = next(outcomes, None)
            if outcome is None:
                return schedule, work, text, checked

    def _place(self, text: list[int], position: int) -> int:
        return self.known.texts[tuple(text[1 : position - len(PROMPT) + 1])]


Sampled = Callable[[Sampling], Sampler]
"""The engine's sampler, or one with a mistake."""


def one_by_one(
    known: Known, design: Design, eos: frozenset[int], seeds: range, sampler: Sampled = Sampler
) -> Counter[Text]:
    """Count what followed FIRST in decodings by the sampler itself, a seed each: DRAWN tokens."""
    counts: Counter[Text] = Counter()
    with torch.inference_mode():
        for seed in seeds:
            counts[_sampled(known, design, eos, sampler(replace(known.sampling, seed=seed)))] += 1
    return counts


def _sampled(known: Known, design: Design, eos: frozenset[int], sampler: Sampler) -> Text:
    """Decode once: the sampler is called as by the engine, with what the layers would say.

    FIRST belongs to the prompt.
    """
    final = known.logits[known.n_layers]
    schedule = Schedule(
        design=design,
        n_layers=known.n_layers,
        n_prompt=len(PROMPT) + 1,
        first_token=sampler.first(final[known.texts[()]]),
        max_new_tokens=DRAWN + 1,
        eos=eos,
        sampled=True,
    )
    text: list[int] = []

    def place(position: int) -> int:
        return known.texts[tuple(text[: position - len(PROMPT)])]

    def answer(work: Work) -> Outcome:
        if isinstance(work, Run):
            if work.segment == 0:
                text[work.stop - 2 - len(PROMPT) :] = [schedule.newest]
            return None
        if isinstance(work, Gate):
            return Score(float(known.scores[work.depth][place(work.position)]))
        if isinstance(work, Check):
            return sampler.draft(known.logits[work.depth][place(work.position)], work.position)
        return sampler.verdict(
            torch.stack([final[place(position)] for position in range(work.start, work.stop)]), work
        )

    drive(schedule, answer)
    return tuple(schedule.tokens[:DRAWN])


class GatedOnTheDraft(Sampler):
    """The known mistake: as sure as the drawn token was likely."""

    def draft(self, logits: torch.Tensor, position: int) -> Draft:
        token = super().draft(logits, position).token
        return Draft(float(self._drafted[position][token]), token)


class JudgedByTheFirst(Sampler):
    """Every draft of a round is judged by the distribution of the first."""

    def verdict(self, logits: torch.Tensor, work: Verify) -> Verdict:
        self._drafted |= {
            work.start + k: self._drafted[work.start] for k in range(len(work.drafts))
        }
        return super().verdict(logits, work)


class JudgedByAnUnsureHead(Sampler):
    """A draft is verified by the distribution of the first head checked there, not of its own."""

    def drafted(self, logits: torch.Tensor, position: int) -> torch.Tensor:
        before = self._drafted.get(position)
        both = super().drafted(logits, position)
        if before is not None:
            self._drafted[position] = before
        return both


def p_value(counts: Mapping[Text, int], expected: Mapping[Text, float]) -> float:
    """Return the p value of counts against probabilities, by chi-square.

    Cells expected less than five times are put together. It is 0 where the impossible was seen.
    """
    if any(text not in expected for text in counts):
        return 0.0
    n = sum(counts.values())
    pairs = [(counts.get(text, 0), n * likely) for text, likely in expected.items()]
    large = [pair for pair in pairs if pair[1] >= 5]
    rest = [pair for pair in pairs if pair[1] < 5]
    if rest:
        large.append((sum(seen for seen, _ in rest), sum(wanted for _, wanted in rest)))
    seen, wanted = np.array(large, dtype=np.float64).T
    return float(stats.chi2.sf(((seen - wanted) ** 2 / wanted).sum(), len(large) - 1))
