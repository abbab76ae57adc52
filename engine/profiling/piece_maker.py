"""The pieces of a recording: what is run, timed and asked for one prompt, or in one visit."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import partial

import torch

from adadecode.engine.baselines.baseline import Baseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.profiling.baseline_runs import Contest
from adadecode.engine.profiling.branch_trace import draw_rows, recorded_text, wrong_exits
from adadecode.engine.profiling.counterfactual import Counterfactual, Text, WrongExits
from adadecode.engine.profiling.latency_visit import LatencyVisit
from adadecode.engine.profiling.piece_store import PieceStore, Row
from adadecode.engine.profiling.pieces import Tables, piece_name
from adadecode.engine.profiling.plan import Interleaving, RecordingPlan
from adadecode.engine.profiling.timed_runs import (
    Prefill,
    columns,
    instrumented_run,
    round_columns,
    timed_prefill,
    timed_run,
)
from adadecode.engine.runtime.environment import EnergyMeter
from adadecode.profiles.errors import InputError
from adadecode.profiles.prompt_digest import prompt_digest
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Outcome, Round


class PieceMaker:
    """Makes the pieces of one plan, each by itself.

    Args:
        decoder: The model with its heads.
        plan: What is recorded.
        parts: Where finished pieces are kept, some of which others go on from.
        baselines: Other ways to decode that run in turn with the designs, plain ``generate``
            first; often none.
    """

    own_text = True
    """Whether designs write the model's own text, so that it can be compared with generate's."""

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        parts: PieceStore,
        baselines: Sequence[Baseline] = (),
    ) -> None:
        self.decoder, self.plan, self.parts = decoder, plan, parts
        self.device = decoder.parts.device
        self.meter = EnergyMeter(self.device)
        self.contest = (
            Contest(decoder, baselines, plan.designs if self.own_text else (), self.meter)
            if baselines
            else None
        )
        self._text_of_visits: list[PrefilledPrompt] = []

    def _trace(self, prompt: int) -> Tables:
        with self.decoder.parts.session():
            counterfactual = Counterfactual(self.decoder, self.plan.sampling_of(prompt))
            text, rows = counterfactual.trace(self.plan.encoded[prompt], self.plan.budget(prompt))
        planned = self.plan.prompts[prompt]
        about = {
            "prompt": prompt,
            "domain": planned.domain,
            "n_prompt": len(text.prompt),
            "n_output": len(text.outputs),
            "ended": text.ended,
            "first_token": text.outputs[0],
            "sha256": prompt_digest(planned.text),
            "max_new_tokens": self.plan.budget(prompt),
            "in_prompt": sorted({*text.outputs, *(row["token"] for row in rows)} & {*text.prompt}),
        }
        return {"prompts": [about], "trace": [{"prompt": prompt, **row} for row in rows]}

    def _baselines(self, prompt: int) -> Tables:
        """Run every baseline and design once, and compare its text with generate's."""
        assert self.contest is not None
        ids = torch.tensor([self.plan.encoded[prompt]])
        return {"baselines": self.contest.check(prompt, ids, self.plan.budget(prompt))}

    def _runs(self, repeat: int, prompt: int, samples: LatencyVisit | None) -> Tables:
        """Time every design, and every baseline that ran when it was checked, on one prompt.

        Args:
            repeat: The number of the repeat.
            prompt: The number of the prompt.
            samples: Latency samples to take between the runs; None where there are none to take.
        """
        order: list[Design | Baseline] = list(self.plan.designs)
        if self.contest is not None:
            checked = self.parts.rows(piece_name("baselines", f"{prompt:04}"), "baselines")
            order += self.contest.entrants(checked)
        random.Random(f"{self.plan.seed} {repeat} {prompt}").shuffle(order)
        runs: dict[Design, Row] = {}
        rounds: dict[Design, list[Row]] = {}
        baselines: list[Row] = []
        share, prefill = self._share(samples, len(order)), self._prefill(prompt)
        for contender in order:
            if isinstance(contender, Design):
                done, row = self._decode(contender, prompt, prefill)
                same = {**columns(contender), "prompt": prompt}
                runs[contender] = {**same, "repeat": repeat, "instrumented": False, **row}
                rounds[contender] = [
                    {**same, **round_columns(number, one)} for number, one in enumerate(done)
                ]
            else:
                assert self.contest is not None
                ids = torch.tensor([self.plan.encoded[prompt]])
                budget = self.plan.budget(prompt)
                baselines.append(self.contest.timed(contender, repeat, prompt, ids, budget))
            if samples is not None:
                samples.take(share)
        tables: Tables = {"runs": [runs[design] for design in self.plan.designs]}
        all_rounds = [row for design in self.plan.designs for row in rounds[design]]
        if repeat == 0:
            tables["rounds"] = all_rounds
        else:
            self._check_repeat(repeat, prompt, all_rounds)
        return tables | ({} if self.contest is None else {"baselines": baselines})

    def _share(self, samples: LatencyVisit | None, n_runs: int) -> int:
        """Return how many latency samples follow each run: none in a coarse plan."""
        if samples is None or self.plan.interleaving == Interleaving.COARSE:
            return 0
        return math.ceil(len(samples) / n_runs)

    def _check_repeat(self, repeat: int, prompt: int, rounds: list[Row]) -> None:
        """Raise InputError unless a repeat went the same rounds as the first run."""
        first = self.parts.rows(piece_name("runs", "000", f"{prompt:04}"), "rounds")
        if rounds != first:
            raise InputError(
                f"repeat {repeat} on prompt {prompt} went other rounds than the first run: the "
                f"model does not compute the same twice on {self.device}, and its runs cannot be "
                "replayed; use deterministic kernels, or record with --repeats 1"
            )

    def _visit(self, number: int) -> LatencyVisit:
        """Return a visit to the latency table; on a CPU the text is run once for all of them."""
        kept = self._text_of_visits if self._shares_prefill else None
        return LatencyVisit(self.decoder, self.plan, number, kept)

    def _latency_tables(self, samples: LatencyVisit) -> Tables:
        """Take what is left of a visit, and return its tables."""
        tables: Tables = {"latency": samples.finish()}
        return tables | ({"head_forms": samples.form_rows} if self.plan.forms else {})

    def _works(self, prompt: int) -> Tables:
        """Run every design once, timing each piece of work, and keep what sampled ones draw."""
        runs: list[Row] = []
        works: list[Row] = []
        draws: list[Row] = []
        ids, prefill = torch.tensor([self.plan.encoded[prompt]]), self._prefill(prompt)
        for design in self.plan.designs:
            start = partial(self._start, ids, design, prompt, prefill)
            outcomes: list[Outcome] = []
            row, pieces = instrumented_run(
                start, self.decoder.parts.devices, outcomes.append, prefill
            )
            if self.plan.sampling is not None:
                draws += draw_rows(design, prompt, outcomes)
            same = {**columns(design), "prompt": prompt, "repeat": 0}
            runs.append({**same, "instrumented": True, **row})
            works += [
                {**same, "index": index, "kind": kind, "seconds": seconds}
                for index, (kind, seconds) in enumerate(pieces)
            ]
        tables: Tables = {"runs": runs, "works": works}
        return tables if self.plan.sampling is None else tables | {"draws": draws}

    def _branches(self, prompt: int) -> Tables:
        """Record the wrong branches that designs went down in the first runs, and every likely one.

        Sampled runs leave other texts, and their branches belong to those; what they drew is
        recorded instead, with their works.
        """
        trace = self.parts.rows(piece_name("trace", f"{prompt:04}"), "trace")
        text = self._text(prompt)
        longest = max(design.cap for design in self.plan.designs) - 1
        visited: set[WrongExits] = set()
        if self.plan.sampling is None:
            rounds = self.parts.rows(piece_name("runs", "000", f"{prompt:04}"), "rounds")
            visited = wrong_exits(rounds, len(text.prompt))
        with self.decoder.parts.session():
            found = Counterfactual(self.decoder, self.plan.sampling_of(prompt)).branches(
                text,
                trace,
                visited,
                floor=self.plan.floor,
                longest=longest,
                room=len(text.prompt) + self.plan.budget(prompt),
            )
            rows = [{"prompt": prompt, **row} for row in found]
        rows.sort(key=lambda row: (row["output"], row["path"], row["depth"]))
        return {"branches": rows}

    def _text(self, prompt: int) -> Text:
        """Return the recorded text of a prompt."""
        piece = piece_name("trace", f"{prompt:04}")
        (about,) = self.parts.rows(piece, "prompts")
        trace = self.parts.rows(piece, "trace")
        return recorded_text(self.plan.encoded[prompt], about, trace, self.decoder.parts.n_layers)

    def _decode(
        self, design: Design, prompt: int, prefill: Prefill | None = None
    ) -> tuple[list[Round], Row]:
        """Time one run: return its rounds, and its own columns of the table runs."""
        ids = torch.tensor([self.plan.encoded[prompt]])
        start = partial(self._start, ids, design, prompt, prefill)
        return timed_run(start, self.decoder.parts.devices, self.meter, prefill)

    def _start(
        self, ids: torch.Tensor, design: Design, prompt: int, prefill: Prefill | None = None
    ) -> Decoding:
        """Prefill a prompt, or restore it.

        Args:
            ids: Its token ids, shape (1, n).
            design: The design that will decode.
            prompt: The number of the prompt.
            prefill: The prompt as it was run before.
        """
        return self.decoder.start(
            ids,
            design,
            max_new_tokens=self.plan.budget(prompt),
            sampling=self.plan.sampling_of(prompt),
            prefilled=None if prefill is None else prefill.prompt,
        )

    def _prefill(self, prompt: int) -> Prefill | None:
        """Run a prompt once for all runs that follow; None where each of them runs it."""
        if not self._shares_prefill:
            return None
        ids = torch.tensor([self.plan.encoded[prompt]])
        return timed_prefill(self.decoder, ids, self.plan.budget(prompt), self.meter)

    @property
    def _shares_prefill(self) -> bool:
        """Whether a prompt is run once for all runs that follow.

        It is not on an accelerator: there a prompt takes as long as a few tokens, and memory for a
        second copy of its keys and values is scarce.
        """
        return self.device.type == "cpu"
