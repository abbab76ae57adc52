"""One visit to the latency table: every walk once, prefills and host time, in small shares.

What disturbs a machine comes and goes. A visit is therefore cut into shares, which the recorder
does between the timed runs of one prompt, so that a slow minute slows both alike.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

import torch

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sampling import make_token_selector
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.profiling.latency_walks import Row, host_seconds, latency_row, walk
from adadecode.engine.profiling.plan import HOST_ROUNDS, Interleaving, RecordingPlan
from adadecode.engine.runtime.timer import Clock


class LatencyVisit:
    """The samples of one visit, taken in an order of its own.

    A visit walks to every depth with every batch size once. In a fine plan the walks of one visit
    are spread over all contexts, and the next visit gives each walk the next context, so that any
    visits in a row, as many as there are contexts, sample each point once. In a coarse plan all
    walks of a visit are at one context. Heads of other forms are checked after walks of their own.

    Args:
        decoder: The model with its heads.
        plan: What is recorded.
        number: The number of the visit, which its rows have in the column ``repeat``.
        kept: Where the text is kept that fills the buffers, so that it is run once for all visits
            that are given the same; None to run it for this one.

    Attributes:
        form_rows: Rows of the table head_forms, as far as they were taken.
    """

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        number: int,
        kept: list[PrefilledPrompt] | None = None,
    ) -> None:
        self.decoder, self.plan, self.number = decoder, plan, number
        self.kept = kept
        text = itertools.cycle(itertools.chain.from_iterable(plan.encoded))
        self.text = list(itertools.islice(text, plan.longest))
        typical = sorted(plan.encoded, key=lambda tokens: len(set(tokens)))[len(plan.encoded) // 2]
        self.heads = decoder.heads.for_text(typical)
        self.forms = [form.for_text(typical) for form in plan.forms]
        self.rows: list[Row] = []
        self.form_rows: list[Row] = []
        self._left = self._tasks()
        self._filled = False

    def __len__(self) -> int:
        """Return how many samples are left to take."""
        return len(self._left)

    def take(self, count: int) -> None:
        """Take the next ``count`` samples, or all that are left where those are fewer."""
        now, self._left = self._left[:count], self._left[count:]
        if not now:
            return
        with self.decoder.parts.session():
            if not self._filled:
                self._fill()
            for task in now:
                self.rows += task()

    def finish(self) -> list[Row]:
        """Take all samples that are left, and return the rows of the visit in order."""
        self.take(len(self._left))
        return sorted(
            self.rows,
            key=lambda row: (
                row["kind"],
                row["layer"],
                row["n_tokens"],
                row["context"],
                row["reuse"],
            ),
        )

    def _filler(self, length: int) -> torch.Tensor:
        """Return ids (1, length) of the prompts themselves: experts are chosen by token."""
        return torch.tensor([self.text[:length]], device=self.decoder.parts.device)

    def _fill(self) -> None:
        """Run the whole text up to the largest context, so that keys and values are real ones."""
        parts = self.decoder.parts
        length = max(context for context, _ in self._walks_at_contexts())
        self._filled = True
        if self.kept and self.kept[0].n_tokens >= length:
            self.kept[0].restore(parts, length)
            return
        hidden = parts.run(0, parts.n_layers, parts.embed(self._filler(length), 0), 0)
        if self.kept is not None:
            filled = PrefilledPrompt(n_tokens=length, logits=parts.logits(hidden[:, -1:])[0, -1])
            filled.keep(parts)
            self.kept[:] = [filled]

    def _walks_at_contexts(self) -> list[tuple[int, tuple[int, int]]]:
        """Return the context of each walk with the walk's depth and batch size."""
        contexts, plan = self.plan.contexts, self.plan
        # Every head is checked somewhere, also where no walk of larger batches ends.
        single = sorted({*plan.walks, *self.decoder.heads.depths})
        walks = [(depth, 1) for depth in single]
        walks += [(depth, n) for depth in plan.walks for n in range(2, plan.max_tokens + 1)]
        fine = plan.interleaving == Interleaving.FINE
        return [
            (contexts[(self.number + (index if fine else 0)) % len(contexts)], walk)
            for index, walk in enumerate(walks)
        ]

    def _tasks(self) -> list[Callable[[], Sequence[Row]]]:
        """Return what takes the samples: walks, prefills and host times."""
        tasks: list[Callable[[], Sequence[Row]]] = []
        order = random.Random(f"{self.plan.seed} latency {self.number}")
        walks = self._walks_at_contexts()
        order.shuffle(walks)
        tasks += [
            partial(self._walk, depth, n_tokens, context) for context, (depth, n_tokens) in walks
        ]
        tasks += self._form_tasks()
        lengths = sorted(map(len, self.plan.encoded))
        prefills = sorted({lengths[0], lengths[len(lengths) // 2], lengths[-1]})
        tasks += [partial(self._prefill, n_tokens) for n_tokens in prefills]
        depths = self.decoder.heads.depths
        tasks += [partial(self._host, depth) for depth in (0, *depths[:: max(1, len(depths) // 3)])]
        if self.plan.interleaving == Interleaving.FINE:
            order.shuffle(tasks)
        return tasks

    def _form_tasks(self) -> list[Callable[[], Sequence[Row]]]:
        """Return what takes the samples of heads of other forms, at each depth once."""
        contexts = self.plan.contexts
        return [
            partial(self._check, form, depth, contexts[(self.number + index) % len(contexts)])
            for form in self.forms
            for index, depth in enumerate(form.depths)
        ]

    def _check(self, form: ExitHeads, depth: int, context: int) -> Sequence[Row]:
        """Check a head of another form after walks; they are in no row of the table latency."""
        tokens, plan = self.text[context - 1 : context], self.plan
        found = walk(
            self.decoder,
            depth,
            tokens,
            context,
            plan.samples,
            self.number,
            plan.sampling,
            heads=form,
        )
        self.form_rows += [
            {
                "form": form.form.label,
                "depth": depth,
                **{name: row[name] for name in ("reuse", "repeat", "seconds")},
            }
            for row in found
            if row["kind"] == "head"
        ]
        return ()

    def _walk(self, depth: int, n_tokens: int, context: int) -> Sequence[Row]:
        stop = max(context, n_tokens)
        return list(
            walk(
                self.decoder,
                depth,
                self.text[stop - n_tokens : stop],
                stop,
                self.plan.samples,
                self.number,
                self.plan.sampling,
                heads=self.heads,
            )
        )

    def _prefill(self, n_tokens: int) -> Sequence[Row]:
        parts = self.decoder.parts
        ids, clock = self._filler(n_tokens), Clock(*parts.devices)
        clock.mark()
        hidden = parts.run(0, parts.n_layers, parts.embed(ids, 0), 0)
        make_token_selector(self.plan.sampling).first(parts.logits(hidden[:, -1:])[0, -1])
        clock.mark()
        (seconds,) = clock.intervals()
        return [latency_row("prefill", seconds, self.number, n_tokens=n_tokens)]

    def _host(self, depth: int) -> Sequence[Row]:
        seconds = host_seconds(
            self.decoder, depth, context=1, rounds=HOST_ROUNDS, sampling=self.plan.sampling
        )
        return [latency_row("host", seconds, self.number)]
