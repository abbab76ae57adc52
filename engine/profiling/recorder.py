"""Record a profile: the trace, wrong branches, latencies in place, and interleaved timed runs.

Every piece is kept as soon as it is finished (`adadecode.engine.profiling.piece_store`), and does
not depend on when it was made. A recording that was killed goes on where it stopped, and ends with
the same tables, timing samples aside.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from adadecode.engine.baselines.baseline import Baseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.decoding.prefilled_prompt import PrefilledPrompt
from adadecode.engine.decoding.sequence import Decoding
from adadecode.engine.evaluation.head_coverage import measure_coverage
from adadecode.engine.profiling.baseline_runs import Contest
from adadecode.engine.profiling.branch_trace import draw_rows, recorded_text, wrong_exits
from adadecode.engine.profiling.counterfactual import Counterfactual, Text, WrongExits
from adadecode.engine.profiling.head_forms import describe_ranking
from adadecode.engine.profiling.latency_visit import LatencyVisit
from adadecode.engine.profiling.manifest import describe_recording
from adadecode.engine.profiling.piece_store import PieceStore, Row
from adadecode.engine.profiling.plan import Interleaving, RecordingPlan
from adadecode.engine.profiling.time_estimate import Pace, estimate_sentence, estimated_seconds
from adadecode.engine.profiling.timed_runs import (
    Prefill,
    columns,
    instrumented_run,
    round_columns,
    timed_prefill,
    timed_run,
)
from adadecode.engine.runtime.distributed import decide_together
from adadecode.engine.runtime.environment import EnergyMeter, describe_machine
from adadecode.engine.runtime.shared_setting import SharedSetting
from adadecode.engine.runtime.telemetry import Conditions
from adadecode.profiles.errors import InputError
from adadecode.profiles.manifest import manifest_digest, tables_of
from adadecode.profiles.prompt_digest import new_salt, prompt_digest, with_salt
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Outcome, Round

VISITS = 5
"""Each context is visited at least this often to time latencies."""

PIECE_KINDS = ("trace", "runs", "latency", "works", "branches", "baselines")
"""The kinds of pieces. The place of its kind here begins a piece's name, so that names sort in the
order in which pieces are put together."""

MEASURED = ("runs", "latency", "works", "baselines")
"""The kinds of pieces that a recording makes itself also where it follows a script."""

TIMED = ("latency", "works")
"""The kinds of pieces in which layers are timed."""

_DIGESTS = ("sha256", "system_sha256")
"""Digests of what is private about prompts: of all together, and of the system message."""

Tables = dict[str, Sequence[Row]]
"""Rows by the name of their table."""


@dataclass(frozen=True)
class Step:
    """One or more pieces that are made together.

    Args:
        names: The names of the pieces.
        make: Takes the names that are wanted, returns the tables of each of them.
    """

    names: tuple[str, ...]
    make: Callable[[Collection[str]], dict[str, Tables]]


def piece_name(kind: str, *numbers: str) -> str:
    """Return the name of a piece, like ``2-runs-000-0001``."""
    return "-".join((str(PIECE_KINDS.index(kind) + 1), kind, *numbers))


class Recorder:
    """A recording of one plan into one directory.

    Args:
        decoder: The model with its heads.
        plan: What to record.
        parts: Where finished pieces are kept.
        baselines: Other ways to decode that run in turn with the designs, plain ``generate``
            first; often none.
        notice: Called with how long it will take, which is measured for it; never where None.
    """

    own_text = True
    """Whether designs write the model's own text, so that it can be compared with generate's."""

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        parts: PieceStore,
        baselines: Sequence[Baseline] = (),
        *,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        self.decoder, self.plan, self.parts = decoder, plan, parts
        self.notice = notice
        self.device = decoder.parts.device
        self.meter = EnergyMeter(self.device)
        self.conditions = Conditions(parts.pieces, self.meter, parts.recording)
        self.started = describe_machine(self.device)
        self.contest = (
            Contest(decoder, baselines, plan.designs if self.own_text else (), self.meter)
            if baselines
            else None
        )
        self._warm = False
        self._text_of_visits: list[PrefilledPrompt] = []

    def steps(self) -> list[Step]:
        """Return everything there is to do, in order.

        Timed runs and latencies take turns: see `Interleaving`. The prompts of each repeat come
        in an order of their own, so that no prompt always meets the same phase of another load.
        """
        plan, count = self.plan, len(self.plan.prompts)
        prompts = range(count)
        todo = [self._single("trace", self._trace, prompt) for prompt in prompts]
        if self.contest is not None:
            todo += [self._single("baselines", self._baselines, prompt) for prompt in prompts]
        for repeat in range(plan.repeats):
            order = list(prompts)
            if plan.interleaving == Interleaving.FINE:
                random.Random(f"{plan.seed} prompts {repeat}").shuffle(order)
            todo += [self._runs_and_visit(repeat, prompt) for prompt in order]
        for visit in range(plan.repeats * count, VISITS * len(plan.contexts)):
            name = piece_name("latency", f"{visit:06}")
            todo.append(Step((name,), partial(self._latency_piece, visit)))
        todo += [self._single("works", self._works, prompt) for prompt in prompts]
        return todo + [self._single("branches", self._branches, prompt) for prompt in prompts]

    @staticmethod
    def _single(kind: str, make: Callable[[int], Tables], prompt: int) -> Step:
        name = piece_name(kind, f"{prompt:04}")
        return Step((name,), lambda _: {name: make(prompt)})

    def _runs_and_visit(self, repeat: int, prompt: int) -> Step:
        visit = repeat * len(self.plan.prompts) + prompt
        runs = piece_name("runs", f"{repeat:03}", f"{prompt:04}")
        latency = piece_name("latency", f"{visit:06}")

        def make(wanted: Collection[str]) -> dict[str, Tables]:
            samples = self._visit(visit) if latency in wanted else None
            made: dict[str, Tables] = {}
            if runs in wanted:
                made[runs] = self._runs(repeat, prompt, samples)
            if samples is not None:
                made[latency] = self._latency_tables(samples)
            return made

        return Step((runs, latency), make)

    def _latency_piece(self, visit: int, wanted: Collection[str]) -> dict[str, Tables]:
        return dict.fromkeys(wanted, self._latency_tables(self._visit(visit)))

    def _visit(self, number: int) -> LatencyVisit:
        """Return a visit to the latency table; on a CPU the text is run once for all of them."""
        kept = self._text_of_visits if self._shares_prefill else None
        return LatencyVisit(self.decoder, self.plan, number, kept)

    def _latency_tables(self, samples: LatencyVisit) -> Tables:
        """Take what is left of a visit, and return its tables."""
        tables: Tables = {"latency": samples.finish()}
        return tables | ({"head_forms": samples.form_rows} if self.plan.forms else {})

    def run(self, kinds: Collection[str] = PIECE_KINDS) -> Iterator[tuple[int, int]]:
        """Make the pieces that are not finished yet.

        Args:
            kinds: The kinds of pieces to make.

        Yields:
            How many pieces are finished, and how many there are: first those that an earlier run
            finished, if it did any, then after each step.
        """
        chosen, timed = (tuple(piece_name(kind, "") for kind in some) for some in (kinds, TIMED))
        todo = [
            Step(names, step.make)
            for step in self.steps()
            if (names := tuple(name for name in step.names if name.startswith(chosen)))
        ]
        count = sum(len(step.names) for step in todo)
        manifest_digest(self._manifest(0))  # what cannot be written is refused now, not at the end
        with torch.inference_mode():
            self.decoder.parts.allocate(self.plan.longest)
        self.decoder.prepare(
            self.plan.designs, self.plan.longest, sampled=self.plan.sampling is not None
        )
        self.conditions.begin()
        missing = [[name for name in step.names if not self.parts.has(name)] for step in todo]
        done = count - sum(map(len, missing))
        self._announce([name for names in missing for name in names])
        if done:
            yield done, count
        for step, wanted in zip(todo, missing, strict=True):
            if not wanted:
                continue
            self._warm_up()
            made = step.make(wanted)
            for name in wanted:
                if name.startswith(timed):
                    self.conditions.timed(self.decoder.parts.timing)
                self.conditions.after(
                    name, self.decoder.parts.fallbacks, last=name == todo[-1].names[-1]
                )
                self.parts.write(name, made[name])
            done += len(wanted)
            yield done, count

    def finish(self) -> Profile:
        """Put the pieces together and write the profile; the manifest comes last."""
        covered = self._coverage()
        return decide_together(lambda: self._finished(covered))

    def _finished(self, covered: dict[str, Any] | None) -> Profile:
        tables = {name: self.parts.table(name) for name in tables_of(self._manifest(0))}
        manifest = self._manifest(tables["latency"].num_rows)
        if self.contest is not None:
            tables["baselines"] = self.parts.table("baselines")
            manifest["baselines"] = self.contest.about()
        if self.plan.forms:
            tables["head_forms"] = self.parts.table("head_forms")
        heads = self.decoder.heads
        manifest["heads"] |= {"form": heads.describe(), "coverage": covered}
        if self.own_text:
            named = self.plan.settings.get("shortlist_from")
            manifest["heads"]["ranking"] = describe_ranking(heads, self.decoder.parts.model, named)
        manifest["conditions"] = self.conditions.columns()
        manifest["timing"] = ", ".join(self.conditions.timings()) or manifest["timing"]
        manifest["limitations"] += [
            why for why in self.conditions.fallbacks() if why not in manifest["limitations"]
        ]
        if self.own_text:
            tables["prompts"] = _salted(manifest, tables["prompts"])
        profile = write_profile(self.parts.folder, manifest, tables)
        self.parts.clear()
        return profile

    def _coverage(self) -> dict[str, Any] | None:
        """Return what the heads' form loses on the recorded texts, None for the full form."""
        heads = self.decoder.heads
        if heads.form.is_full:
            return None
        texts = [
            Continuation(prompt=torch.tensor([text.prompt]), output=list(text.outputs))
            for text in map(self._text, range(len(self.plan.encoded)))
        ]
        found = measure_coverage(self.decoder.parts, self.decoder.parts.model, heads, texts)
        return None if found is None else found.to_dict()

    # -- pieces ----------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """Decode twice, unrecorded, before anything is timed."""
        if not self._warm:
            for design in (self.plan.designs[0], self.plan.designs[-1]):
                self._decode(design, 0)
            self._warm = True

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

    def _announce(self, pieces: Sequence[str]) -> None:
        """Say how long the pieces that are left will take."""
        if self.notice is None or not pieces:
            return
        pace = Pace.measure(self.decoder, self.plan)
        if pace is None:
            return
        baselines = 0 if self.contest is None else len(self.contest.baselines)
        named = [name.split("-") for name in pieces]
        seconds = estimated_seconds(
            self.plan,
            pace,
            [(kind, int(last)) for _, kind, *_, last in named if self.own_text or kind in MEASURED],
            shares_prefill=self._shares_prefill,
            baselines=baselines,
        )
        if sentence := estimate_sentence(seconds):
            self.notice(sentence)

    @property
    def _shares_prefill(self) -> bool:
        """Whether a prompt is run once for all runs that follow.

        It is not on an accelerator: there a prompt takes as long as a few tokens, and memory for a
        second copy of its keys and values is scarce.
        """
        return self.device.type == "cpu"

    def _prefill(self, prompt: int) -> Prefill | None:
        """Run a prompt once for all runs that follow; None where each of them runs it."""
        if not self._shares_prefill:
            return None
        ids = torch.tensor([self.plan.encoded[prompt]])
        return timed_prefill(self.decoder, ids, self.plan.budget(prompt), self.meter)

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

    def _decode(
        self, design: Design, prompt: int, prefill: Prefill | None = None
    ) -> tuple[list[Round], Row]:
        """Time one run: return its rounds, and its own columns of the table runs."""
        ids = torch.tensor([self.plan.encoded[prompt]])
        start = partial(self._start, ids, design, prompt, prefill)
        return timed_run(start, self.decoder.parts.devices, self.meter, prefill)

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

    def _manifest(self, samples: int) -> dict[str, Any]:
        return describe_recording(
            self.decoder,
            self.plan,
            name=self.parts.folder.name,
            started=self.started,
            has_energy=not math.isnan(self.meter.joules()),
            latency_samples=samples,
        )


def _salted(manifest: dict[str, Any], prompts: pa.Table) -> pa.Table:
    """Salt the digests of the prompts, in the manifest in place, and return their table.

    It is done at the end, so that a resumed recording needs no salt to find its prompts again.
    """
    salt = new_salt()
    about, settings = manifest["prompts"], dict(manifest["settings"])
    digests = {key: with_salt(about[key], salt) for key in _DIGESTS if key in about}
    manifest["prompts"] = {**about, **digests, "salt": salt}
    if digest := settings.get("prompts_digest"):
        settings["prompts_digest"] = with_salt(digest, salt)[: len(digest)]
    settings.pop("system", None)  # part of the prompts, of which a recording keeps digests alone
    manifest["settings"] = settings
    place = prompts.schema.get_field_index("sha256")
    column = [with_salt(one, salt) for one in prompts["sha256"].to_pylist()]
    return prompts.set_column(place, prompts.schema.field(place), pa.array(column))


def record_plan(
    decoder: AdaDecoder,
    plan: RecordingPlan,
    out: Path,
    *,
    resume: bool,
    baselines: Sequence[Baseline] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Record a plan into a directory.

    Args:
        decoder: The model with its heads.
        plan: What to record.
        out: The directory.
        resume: Whether to go on with the recording that was begun there.
        baselines: See `Recorder`.
        progress: Called with how many pieces are finished, and how many there are.

    Raises:
        InputError: The directory holds something else.
    """
    parts = PieceStore.open(out, plan.settings, resume=resume)
    return record_all(Recorder(decoder, plan, parts, baselines), progress)


def record_all(recorder: Recorder, progress: Callable[[int, int], None] | None = None) -> Profile:
    """Do all that a recorder has left to do, and return the profile.

    Args:
        recorder: What to do.
        progress: Called with how many pieces are finished, and how many there are.
    """
    with _unwarned.needed():
        for done, count in recorder.run():
            if progress is not None:
                progress(done, count)
    return recorder.finish()


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Let no warning of transformers through."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="transformers")
        yield


_unwarned = SharedSetting(_without_warnings)
