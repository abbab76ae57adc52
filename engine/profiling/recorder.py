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
from functools import partial
from pathlib import Path
from typing import Any

import torch

from adadecode.engine.baselines.baseline import Baseline
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.evaluation.head_coverage import measure_coverage
from adadecode.engine.profiling.head_forms import describe_ranking
from adadecode.engine.profiling.manifest import describe_recording
from adadecode.engine.profiling.piece_maker import PieceMaker
from adadecode.engine.profiling.piece_store import PieceStore
from adadecode.engine.profiling.pieces import (
    MEASURED,
    PIECE_KINDS,
    TIMED,
    Step,
    Tables,
    piece_name,
)
from adadecode.engine.profiling.plan import Interleaving, RecordingPlan
from adadecode.engine.profiling.prompt_salt import salted
from adadecode.engine.profiling.time_estimate import Pace, estimate_sentence, estimated_seconds
from adadecode.engine.runtime.distributed import decide_together
from adadecode.engine.runtime.environment import describe_machine
from adadecode.engine.runtime.shared_setting import SharedSetting
from adadecode.engine.runtime.telemetry import Conditions
from adadecode.profiles.manifest import manifest_digest, tables_of
from adadecode.profiles.store import Profile, write_profile

VISITS = 5
"""Each context is visited at least this often to time latencies."""


class Recorder(PieceMaker):
    """A recording of one plan into one directory.

    Args:
        decoder: The model with its heads.
        plan: What to record.
        parts: Where finished pieces are kept.
        baselines: Other ways to decode that run in turn with the designs, plain ``generate``
            first; often none.
        notice: Called with how long it will take, which is measured for it; never where None.
    """

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        parts: PieceStore,
        baselines: Sequence[Baseline] = (),
        *,
        notice: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__(decoder, plan, parts, baselines)
        self.notice = notice
        self.conditions = Conditions(parts.pieces, self.meter, parts.recording)
        self.started = describe_machine(self.device)
        self._warm = False

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
            tables["prompts"] = salted(manifest, tables["prompts"])
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

    def _warm_up(self) -> None:
        """Decode twice, unrecorded, before anything is timed."""
        if not self._warm:
            for design in (self.plan.designs[0], self.plan.designs[-1]):
                self._decode(design, 0)
            self._warm = True

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

    def _manifest(self, samples: int) -> dict[str, Any]:
        return describe_recording(
            self.decoder,
            self.plan,
            name=self.parts.folder.name,
            started=self.started,
            has_energy=not math.isnan(self.meter.joules()),
            latency_samples=samples,
        )


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
