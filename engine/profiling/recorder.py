"""Records a profile: the counterfactual trace, wrong branches, latencies in place, and measured runs, interleaved and repeated.

Every piece is kept as soon as it is finished (`adadecode.engine.profiling.piece_store`), and does not depend on when it was made, so a recording
that was killed goes on where it stopped and ends with the same tables, timing samples aside.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import random
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from adadecode.engine.baselines.generate import Baseline
from adadecode.engine.decoding.decoder import AdaDecoder, Decoding
from adadecode.engine.decoding.hidden_states import Continuation
from adadecode.engine.decoding.sampling import make_token_selector
from adadecode.engine.evaluation.head_coverage import coverage
from adadecode.engine.loading import quantization
from adadecode.engine.loading.device_map import describe_placing
from adadecode.engine.profiling.baseline_runs import Contest
from adadecode.engine.profiling.counterfactual import Counterfactual, Text
from adadecode.engine.profiling.latency_walks import host_seconds, mark_works, walk
from adadecode.engine.profiling.piece_store import Parts, Row
from adadecode.engine.profiling.plan import HOST_ROUNDS, RecordingPlan
from adadecode.engine.runtime.distributed import decided, processes
from adadecode.engine.runtime.environment import EnergyMeter, describe_machine, describe_software
from adadecode.engine.runtime.telemetry import Conditions
from adadecode.engine.runtime.timer import Clock, synchronized_now
from adadecode.profiles.errors import InputError
from adadecode.profiles.manifest import manifest_digest, tables_of
from adadecode.profiles.schema import SCHEMA, SCHEMA_VERSION
from adadecode.profiles.store import Profile, write_profile
from adadecode.sim.core.design import Design
from adadecode.sim.core.scheduler import Draft, Outcome, Round, Verdict, Verify, Work

VISITS = 5
"""Each context is visited at least this often to time latencies."""


def columns(design: Design) -> Row:
    """A design as the columns of the runs, rounds and works tables."""
    return {
        "policy": str(design.policy),
        "placement": list(design.placement),
        "gammas": list(design.gammas),
        "cap": design.cap,
        "verify": design.verify,
    }


Piece = tuple[str, Callable[[], dict[str, Sequence[Row]]]]
"""Its name, and what makes it."""

PIECE_KINDS = ("trace", "runs", "latency", "works", "branches", "baselines")
"""What pieces there are; the place of a piece's kind leads its name, so that names sort as the pieces are put together."""

TIMED = ("latency", "works")
"""Those in which layers are timed."""


def piece_name(kind: str, *numbers: str) -> str:
    """Like ``2-runs-000-0001``."""
    return "-".join((str(PIECE_KINDS.index(kind) + 1), kind, *numbers))


class Recorder:
    """Records one plan into one directory. baselines: ways to decode that are run beside the designs, plain ``generate`` first; often none."""

    own_text = True
    """Whether designs write the model's own text, so that it can be held against generate's."""

    def __init__(
        self,
        decoder: AdaDecoder,
        plan: RecordingPlan,
        parts: Parts,
        baselines: Sequence[Baseline] = (),
    ) -> None:
        self.decoder, self.plan, self.parts = decoder, plan, parts
        self.device = decoder.parts.device
        self.meter = EnergyMeter(self.device)
        self.conditions = Conditions(parts.pieces, self.meter)
        self.started = describe_machine(self.device)
        self.contest = (
            Contest(decoder, baselines, plan.designs if self.own_text else (), self.meter)
            if baselines
            else None
        )
        self._warm = False

    def pieces(self) -> list[Piece]:
        """Everything to do, in order, each with its name."""
        plan, count = self.plan, len(self.plan.prompts)
        todo: list[Piece] = [
            (piece_name("trace", f"{p:04}"), partial(self._trace, p)) for p in range(count)
        ]
        if self.contest is not None:
            todo += [
                (piece_name("baselines", f"{p:04}"), partial(self._baselines, p))
                for p in range(count)
            ]
        for repeat in range(plan.repeats):
            for p in range(count):
                todo.append(
                    (piece_name("runs", f"{repeat:03}", f"{p:04}"), partial(self._runs, repeat, p))
                )
                todo.append(self._visit(repeat * count + p))
        todo += [self._visit(v) for v in range(plan.repeats * count, VISITS * len(plan.contexts))]
        todo += [(piece_name("works", f"{p:04}"), partial(self._works, p)) for p in range(count)]
        todo += [
            (piece_name("branches", f"{p:04}"), partial(self._branches, p)) for p in range(count)
        ]
        return todo

    def _visit(self, number: int) -> Piece:
        return piece_name("latency", f"{number:06}"), partial(self._latency, number)

    def run(self, kinds: Collection[str] = PIECE_KINDS) -> Iterator[tuple[int, int]]:
        """Do what is not done yet of these kinds of pieces; yields (finished, all) after each."""
        wanted, timed = (tuple(piece_name(kind, "") for kind in some) for some in (kinds, TIMED))
        todo = [piece for piece in self.pieces() if piece[0].startswith(wanted)]
        manifest_digest(self._manifest(0))  # what cannot be written is refused now, not at the end
        with torch.inference_mode():
            self.decoder.parts.allocate(self.plan.longest)
        self.decoder.prepare(
            self.plan.designs, self.plan.longest, sampled=self.plan.sampling is not None
        )
        self.conditions.begin()
        for index, (name, do) in enumerate(todo):
            if not self.parts.has(name):
                self._warm_up()
                made = do()
                if name.startswith(timed):
                    self.conditions.timed(self.decoder.parts.timing)
                self.conditions.after(
                    name, self.decoder.parts.fallbacks, last=index + 1 == len(todo)
                )
                self.parts.write(name, made)
            yield index + 1, len(todo)

    def finish(self) -> Profile:
        """Put the pieces together and write the profile; the manifest comes last."""
        covered = self._coverage()
        return decided(lambda: self._finished(covered))

    def _finished(self, covered: dict[str, Any] | None) -> Profile:
        tables = {name: self.parts.table(name) for name in tables_of(self._manifest(0))}
        manifest = self._manifest(tables["latency"].num_rows)
        if self.contest is not None:
            tables["baselines"] = self.parts.table("baselines")
            manifest["baselines"] = self.contest.about()
        manifest["heads"] |= {"form": self.decoder.heads.describe(), "coverage": covered}
        manifest["conditions"] = self.conditions.columns()
        manifest["timing"] = ", ".join(self.conditions.timings()) or manifest["timing"]
        manifest["limitations"] += [
            why for why in self.conditions.fallbacks() if why not in manifest["limitations"]
        ]
        profile = write_profile(self.parts.folder, manifest, tables)
        self.parts.clear()
        return profile

    def _coverage(self) -> dict[str, Any] | None:
        """What the heads' form loses on the recorded texts (`adadecode.engine.evaluation.head_coverage`); None where it is the full one."""
        heads = self.decoder.heads
        if heads.form.is_full:
            return None
        texts = [
            Continuation(prompt=torch.tensor([text.prompt]), output=list(text.outputs))
            for text in map(self._text, range(len(self.plan.encoded)))
        ]
        found = coverage(self.decoder.parts, self.decoder.parts.model, heads, texts)
        return None if found is None else found.to_dict()

    # -- pieces --------------------------------------------------------------------------------------------------------

    def _warm_up(self) -> None:
        """Two unrecorded runs, before anything is timed."""
        if not self._warm:
            for design in (self.plan.designs[0], self.plan.designs[-1]):
                self._decode(design, 0)
            self._warm = True

    def _trace(self, p: int) -> dict[str, Sequence[Row]]:
        with self.decoder.parts.session():
            text, rows = Counterfactual(self.decoder, self.plan.sampling_of(p)).trace(
                self.plan.encoded[p], self.plan.budget(p)
            )
        prompt = self.plan.prompts[p]
        about = {
            "prompt": p,
            "domain": prompt.domain,
            "n_prompt": len(text.prompt),
            "n_output": len(text.outputs),
            "ended": text.ended,
        }
        about |= {
            "first_token": text.outputs[0],
            "sha256": hashlib.sha256(prompt.text.encode()).hexdigest(),
        }
        about["max_new_tokens"] = self.plan.budget(p)
        return {"prompts": [about], "trace": [{"prompt": p, **row} for row in rows]}

    def _baselines(self, p: int) -> dict[str, Sequence[Row]]:
        """Every baseline and design once on one prompt, its text held against generate's."""
        assert self.contest is not None
        return {
            "baselines": self.contest.check(
                p, torch.tensor([self.plan.encoded[p]]), self.plan.budget(p)
            )
        }

    def _runs(self, repeat: int, p: int) -> dict[str, Sequence[Row]]:
        """Every design, and every baseline that ran when it was checked, on one prompt, in an order of its own."""
        order: list[Design | Baseline] = list(self.plan.designs)
        beside: dict[str, Sequence[Row]] = {}
        if self.contest is not None:
            order += self.contest.entrants(
                self.parts.rows(piece_name("baselines", f"{p:04}"), "baselines")
            )
            beside["baselines"] = []
        random.Random(f"{self.plan.seed} {repeat} {p}").shuffle(order)
        runs, rounds = {}, {}
        for design in order:
            if not isinstance(design, Design):
                assert self.contest is not None
                ids = torch.tensor([self.plan.encoded[p]])
                beside["baselines"] = [
                    *beside["baselines"],
                    self.contest.timed(design, repeat, p, ids, self.plan.budget(p)),
                ]
                continue
            done, row = self._decode(design, p)
            runs[design] = {
                **columns(design),
                "prompt": p,
                "repeat": repeat,
                "instrumented": False,
                **row,
            }
            rounds[design] = [
                {**columns(design), "prompt": p, **self._round(k, r)} for k, r in enumerate(done)
            ]
        told = [row for d in self.plan.designs for row in rounds[d]]
        if repeat == 0:
            return {"runs": [runs[d] for d in self.plan.designs], "rounds": told, **beside}
        if told != self.parts.rows(piece_name("runs", "000", f"{p:04}"), "rounds"):
            raise InputError(
                f"repeat {repeat} on prompt {p} went other rounds than the first run: the model does not compute the same twice on"
                f" {self.device}, and its runs cannot be replayed; use deterministic kernels, or record with --repeats 1"
            )
        return {"runs": [runs[d] for d in self.plan.designs], **beside}

    @staticmethod
    def _round(number: int, done: Round) -> Row:
        segments, batches = zip(*done.work, strict=True)
        row = {
            "round": number,
            "start": done.start,
            "exits": list(done.exits),
            "accepted": done.accepted,
            "committed": done.committed,
        }
        return {
            **row,
            "segments": list(segments),
            "batches": list(batches),
            "checks": list(done.checks),
        }

    def _start(self, ids: torch.Tensor, design: Design, p: int) -> Decoding:
        """Prefill prompt number p, ids (1, n)."""
        return self.decoder.start(
            ids, design, max_new_tokens=self.plan.budget(p), sampling=self.plan.sampling_of(p)
        )

    def _decode(
        self, design: Design, p: int, watch: Callable[[Work, Outcome], None] | None = None
    ) -> tuple[list[Round], Row]:
        """One timed run: its rounds, and its row of the runs table."""
        ids = torch.tensor([self.plan.encoded[p]])
        joules = self.meter.joules()
        begun = synchronized_now(*self.decoder.parts.devices)
        decoding = self._start(ids, design, p)
        prefilled = synchronized_now(*self.decoder.parts.devices)
        with self.decoder.parts.session():
            for _ in decoding.steps(watch):
                pass
        ended = synchronized_now(*self.decoder.parts.devices)
        schedule = decoding.schedule
        row = {
            "n_tokens": len(schedule.tokens),
            "prefill_s": prefilled - begun,
            "decode_s": ended - prefilled,
        }
        return schedule.rounds, {**row, "energy_j": self.meter.joules() - joules}

    def _latency(self, visit: int) -> dict[str, Sequence[Row]]:
        """Walks of every depth and batch at one context, the contexts in turn; prefills; host time."""
        plan, parts = self.plan, self.decoder.parts
        context = plan.contexts[visit % len(plan.contexts)]
        rows: list[Row] = []
        text = list(
            itertools.islice(
                itertools.cycle(itertools.chain.from_iterable(plan.encoded)), plan.longest
            )
        )
        filler = torch.tensor(
            [text], device=self.device
        )  # of the prompts themselves: experts are chosen by token
        single = sorted(
            {*plan.walks, *self.decoder.heads.depths}
        )  # every head is checked somewhere
        walks = [(depth, 1) for depth in single] + [
            (depth, n) for depth in plan.walks for n in range(2, plan.max_tokens + 1)
        ]
        random.Random(f"{plan.seed} latency {visit}").shuffle(walks)
        with parts.session():
            parts.run(0, parts.n_layers, parts.embed(filler[:, :context], 0), 0)
            for depth, n in walks:
                stop = max(context, n)
                rows += walk(
                    self.decoder,
                    depth,
                    text[stop - n : stop],
                    stop,
                    plan.samples,
                    visit,
                    plan.sampling,
                )
            rows += self._prefills(filler, visit)
            for depth in (
                0,
                *self.decoder.heads.depths[:: max(1, len(self.decoder.heads.depths) // 3)],
            ):
                seconds = host_seconds(
                    self.decoder, depth, context=1, rounds=HOST_ROUNDS, sampling=plan.sampling
                )
                rows.append(
                    {
                        "kind": "host",
                        "layer": -1,
                        "n_tokens": 1,
                        "context": 0,
                        "reuse": 0,
                        "repeat": visit,
                        "seconds": seconds,
                    }
                )
        rows.sort(key=lambda r: (r["kind"], r["layer"], r["n_tokens"], r["context"], r["reuse"]))
        return {"latency": rows}

    def _prefills(self, filler: torch.Tensor, visit: int) -> Iterator[Row]:
        """Prompts of the shortest, middle and longest length recorded."""
        lengths = sorted(map(len, self.plan.encoded))
        parts, clock = self.decoder.parts, Clock(*self.decoder.parts.devices)
        for n in sorted({lengths[0], lengths[len(lengths) // 2], lengths[-1]}):
            clock.mark()
            hidden = parts.run(0, parts.n_layers, parts.embed(filler[:, :n], 0), 0)
            make_token_selector(self.plan.sampling).first(parts.logits(hidden[:, -1:])[0, -1])
            clock.mark()
            (seconds,) = clock.intervals()
            yield {
                "kind": "prefill",
                "layer": -1,
                "n_tokens": n,
                "context": 0,
                "reuse": 0,
                "repeat": visit,
                "seconds": seconds,
            }

    def _works(self, p: int) -> dict[str, Sequence[Row]]:
        """Every design once on one prompt, instrumented: the seconds of each piece of work."""
        runs: list[Row] = []
        works: list[Row] = []
        for design in self.plan.designs:
            ids = torch.tensor([self.plan.encoded[p]])
            begun = synchronized_now(*self.decoder.parts.devices)
            decoding = self._start(ids, design, p)
            prefilled = synchronized_now(*self.decoder.parts.devices)
            done, clock = mark_works(decoding)
            ended = synchronized_now(*self.decoder.parts.devices)
            same = {**columns(design), "prompt": p, "repeat": 0}
            row = {
                "n_tokens": len(decoding.schedule.tokens),
                "prefill_s": prefilled - begun,
                "decode_s": ended - prefilled,
                "energy_j": float("nan"),
            }
            runs.append({**same, "instrumented": True, **row})
            works += [
                {**same, "index": i, "kind": kind, "seconds": s}
                for i, (kind, s) in enumerate(zip(done, clock.intervals(), strict=True))
            ]
        return {"runs": runs, "works": works}

    def _branches(self, p: int) -> dict[str, Sequence[Row]]:
        """Every wrong branch that a recorded design went down, and every likely one; of sampled runs, what they drew: their branches left other texts."""
        trace = self.parts.rows(piece_name("trace", f"{p:04}"), "trace")
        text = self._text(p)
        longest = max(d.cap for d in self.plan.designs) - 1
        visited: set[tuple[int, tuple[int, ...]]] = set()
        for design in self.plan.designs:
            if design.placement and design.verify and self.plan.sampling is None:
                visited |= self._visited(design, p)
        with self.decoder.parts.session():
            room = len(text.prompt) + self.plan.budget(p)
            found = Counterfactual(self.decoder, self.plan.sampling_of(p)).branches(
                text, trace, visited, floor=self.plan.floor, longest=longest, room=room
            )
            rows = [{"prompt": p, **row} for row in found]
        rows.sort(key=lambda r: (r["output"], r["path"], r["depth"]))
        if self.plan.sampling is None:
            return {"branches": rows}
        return {
            "branches": rows,
            "draws": [row for design in self.plan.designs for row in self._draws(design, p)],
        }

    def _draws(self, design: Design, p: int) -> list[Row]:
        """What one design draws on one prompt, by running it."""
        drawn: list[Row] = []

        def watch(work: Work, outcome: Outcome) -> None:
            same = {**columns(design), "prompt": p, "index": len(drawn)}
            if isinstance(outcome, Draft):
                drawn.append({**same, "kind": "check", **outcome._asdict(), "accepted": 0})
            elif isinstance(outcome, Verdict):
                drawn.append(
                    {**same, "kind": "verify", "confidence": float("nan"), **outcome._asdict()}
                )

        self._decode(design, p, watch)
        return drawn

    def _text(self, p: int) -> Text:
        """The recorded text of prompt number p."""
        trace = self.parts.rows(piece_name("trace", f"{p:04}"), "trace")
        about = self.parts.rows(piece_name("trace", f"{p:04}"), "prompts")[0]
        final = {
            row["output"]: row["token"]
            for row in trace
            if row["depth"] == self.decoder.parts.n_layers
        }
        outputs = (about["first_token"], *(final[i] for i in sorted(final)))
        return Text(prompt=self.plan.encoded[p], outputs=outputs, ended=about["ended"])

    def _visited(self, design: Design, p: int) -> set[tuple[int, tuple[int, ...]]]:
        """The wrong branches of one design on one prompt, by running it: (output of the first wrong draft, drafts from there on)."""
        seen: set[tuple[int, tuple[int, ...]]] = set()
        n_prompt = len(self.plan.encoded[p])

        def watch(work: Work, outcome: Outcome) -> None:
            if isinstance(work, Verify) and outcome is not None and not isinstance(outcome, float):
                accepted = outcome.accepted  # type: ignore[union-attr]
                wrong = work.drafts[accepted:]
                if wrong:
                    seen.add((work.start - n_prompt + 1 + accepted, wrong))

        self._decode(design, p, watch)
        return seen

    # -- manifest ------------------------------------------------------------------------------------------------------

    def _manifest(self, samples: int) -> dict[str, Any]:
        plan, parts, heads = self.plan, self.decoder.parts, self.decoder.heads
        model = parts.model
        packed, packing = quantization.told(model)
        limitations = [
            f"{'greedy' if plan.sampling is None else 'sampled'} decoding, batch 1, {parts.dtype} on {self.device.type}, {self.decoder.graphs}",
            *parts.fallbacks,
            *(
                []
                if self.decoder.numerics == "native"
                else [
                    f"{self.decoder.numerics} numerics: every pass has the shape of the largest, and costs as much"
                ]
            ),
            *packing,
            *(
                []
                if math.isnan(self.meter.joules())
                else [
                    "energy is read from a counter that NVML moves on in steps, so that of a short run is coarse"
                ]
            ),
            *(
                [f"{processes()} processes share the model; clocks and energy are the first one's"]
                if processes() > 1
                else []
            ),
            "wrong branches are recorded where a recorded design went or drafts were likely; elsewhere they are modelled"
            if plan.sampling is None
            else "wrong branches are recorded where drafts were likely; those that sampled runs went down are modelled",
        ]
        digest = hashlib.sha256("\n".join(p.text for p in plan.prompts).encode()).hexdigest()
        return {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "name": self.parts.folder.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "model": {
                "name": plan.settings["model"] or "adadecode demo model",
                "revision": getattr(model.config, "_commit_hash", None),
                "class": type(model).__name__,
                "n_layers": parts.n_layers,
                "hidden_size": parts.hidden_size,
                "n_parameters": model.num_parameters(),
                "config": json.loads(
                    json.dumps(model.config.to_diff_dict(), default=str), parse_constant=str
                ),
            },
            "heads": {
                "name": plan.settings["heads"] or "adadecode demo heads",
                "depths": list(heads.depths),
                "metrics": heads.metrics,
            },
            "hardware": {
                "before": self.started,
                "after": describe_machine(self.device),
                **describe_placing(model),
            },
            "software": describe_software(),
            "dtype": str(parts.dtype).removeprefix("torch."),
            **packed,
            "numerics": self.decoder.numerics,
            "attention": "adadecode over preallocated buffers (scaled_dot_product_attention)",
            "graphs": self.decoder.graphs,
            "graphs_bytes": parts.graphs_bytes,
            "timing": parts.timing,
            "seed": plan.seed,
            "prompts": {
                "sha256": digest,
                "count": len(plan.prompts),
                "domains": sorted({p.domain for p in plan.prompts}),
            },
            "settings": plan.settings,
            "limitations": limitations,
            "eos_token_ids": sorted(self.decoder.eos),
            "max_new_tokens": plan.max_new_tokens,
            "latency_samples": samples,
            **({} if plan.sampling is None else {"sampling": asdict(plan.sampling)}),
        }


def record(
    decoder: AdaDecoder,
    plan: RecordingPlan,
    out: Path,
    *,
    resume: bool,
    baselines: Sequence[Baseline] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Profile:
    """Record a plan into ``out``; returns the finished profile. Raises InputError where ``out`` holds something else."""
    return finished(
        Recorder(decoder, plan, Parts.open(out, plan.settings, resume=resume), baselines), progress
    )


def finished(recorder: Recorder, progress: Callable[[int, int], None] | None = None) -> Profile:
    """Do all that a recorder has left to do; returns the profile. progress: called with (finished, all) pieces after each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="transformers")
        for done, count in recorder.run():
            if progress is not None:
                progress(done, count)
    return recorder.finish()
