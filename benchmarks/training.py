"""How long training takes by stage, and how good heads are by where they start.

Both as training is, and as it was before: prompts continued one by one, heads that start from the
identity, and a loss over the whole vocabulary. Every model and part is measured on its own:

    python -m benchmarks.training --model smollm2 --part seconds
    python -m benchmarks.training --model smollm2 --part quality
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from adadecode.engine import load_demo
from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.loading.chat_template import chat_prompts
from adadecode.engine.loading.model_loader import load_model
from adadecode.engine.loading.prompts import Prompt, encode
from adadecode.engine.training import trainer as training
from adadecode.engine.training.batched_generation import BatchedGeneration
from adadecode.engine.training.checkpoint import Checkpoint
from adadecode.engine.training.closed_form import LEFT_OUT, closed_form
from adadecode.engine.training.hidden_state_store import N_LIKELY, Batch, States, write_states
from adadecode.engine.training.kl_divergence import Vocabulary
from adadecode.engine.training.options import DEFAULTS, LR_TIMES_WIDTH
from adadecode.engine.training.trainer import Trainer
from adadecode.sim.core.design import Policy
from benchmarks.harness import RESULTS, ratio, write_result

POSITIONS, HELD_OUT = 50_000, 5_000
"""For how many positions the seconds of the stages are given: trained on, and held out."""
EPOCHS_BEFORE = 8
"""The epochs by default, before heads started from the closed form."""
DEPTHS = {"smollm2": (12, 15, 18, 21, 24, 27), "demo": (2, 4, 6, 8, 10, 12)}
PROMPTS = Path("scripts/smollm2/prompts.jsonl")
BATCH, NEW, ALONE, REPEATS = 32, 12, 2, 2
"""Prompts in a batch, new tokens of each, prompts continued alone, and how often all is timed."""
MEASURED = 256
"""Positions that measuring is timed on."""
LENGTH = 96
"""New tokens of a text that heads are trained on for the comparison of starts."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model whose heads are trained.

    Attributes:
        name: Its name.
        decoder: The model.
        prompts: Token ids of prompts (1, n).
        depths: Depths of the heads.
    """

    name: str
    decoder: AdaDecoder
    prompts: list[torch.Tensor]
    depths: tuple[int, ...]

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's LM head."""
        return Vocabulary.of(self.decoder.parts)

    def trainer(self, starts: list[torch.Tensor], epochs: int) -> Trainer:
        """Return a trainer of all depths with the default settings."""
        width = self.decoder.parts.hidden_size
        return Trainer(
            self.vocabulary,
            self.depths,
            starts=starts,
            lr=LR_TIMES_WIDTH / width,
            epochs=epochs,
            batch_tokens=DEFAULTS.batch_tokens,
            seed=0,
        )


def subject(name: str, count: int) -> Subject:
    """Return a model with some prompts of our own."""
    model: PreTrainedModel
    if name == "demo":
        demo = load_demo()
        model, tokenizer = demo.model, demo.tokenizer
        prompts = [Prompt(text=text) for texts in demo.prompts.values() for text in texts]
    else:
        model, tokenizer = load_model(name, "float32", "cpu")
        lines = PROMPTS.read_text(encoding="utf-8").splitlines()
        prompts = chat_prompts(tokenizer, [json.loads(line)["messages"] for line in lines])
    decoder = AdaDecoder(model)
    encoded = [encode(tokenizer, prompt) for prompt in prompts[:: max(1, len(prompts) // count)]]
    with torch.inference_mode():
        decoder.parts.allocate(max(ids.shape[1] for ids in encoded) + LENGTH)
    return Subject(name=name, decoder=decoder, prompts=encoded[:count], depths=DEPTHS[name])


# ---- seconds ----


def measure_seconds(of: Subject) -> dict[str, Any]:
    """Return the seconds of each stage for `POSITIONS`, before and after, timed in turn.

    It is processor time of one thread, so other programs at work hardly matter.
    """
    torch.set_num_threads(1)
    jobs = {**generation_jobs(of), **state_jobs(of), **training_jobs(of)}
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(REPEATS):
        for name, job in jobs.items():
            begun = time.process_time()
            units = job()
            found[name].append((time.process_time() - begun) / units)
    before = {
        "continuations": found["alone"],
        "hidden states": found["states before"],
        "closed form": [0.0] * REPEATS,
        "epochs": [EPOCHS_BEFORE * one for one in found["step before"]],
    }
    after = {
        "continuations": found["batched"],
        "hidden states": found["states"],
        "closed form": found["closed form"],
        "epochs": [DEFAULTS.epochs * one for one in found["step"]],
    }
    measuring = [HELD_OUT / POSITIONS * one for one in found["measuring"]]
    rows = {
        stage: {"before": _total(seconds), "after": _total(after[stage])}
        for stage, seconds in before.items()
    }
    rows["held-out prompts"] = {"before": _total(measuring), "after": _total(measuring)}
    return {
        "positions": POSITIONS,
        "depths": list(of.depths),
        "epochs": {"before": EPOCHS_BEFORE, "after": DEFAULTS.epochs},
        "seconds": rows,
        "speedup of continuations": ratio(found["alone"], found["batched"]),
        "speedup of a step": ratio(found["step before"], found["step"]),
    }


Job = Callable[[], int]
"""Does some work, and returns for how many positions it was."""


def generation_jobs(of: Subject) -> dict[str, Job]:
    """Return how prompts were continued, and how they are."""
    made = BatchedGeneration(of.decoder.parts.model, frozenset())
    ordered = sorted(of.prompts, key=lambda ids: ids.shape[1])
    first = max(0, (len(ordered) - BATCH) // 2)
    middle = ordered[first : first + BATCH]

    def alone() -> int:
        for prompt in middle[:: len(middle) // ALONE][:ALONE]:
            of.decoder.generate(prompt, max_new_tokens=NEW, policy=Policy.VANILLA, eos_token_id=())
        return ALONE * NEW

    return {"alone": alone, "batched": lambda: sum(map(len, made.continued(middle, NEW)))}


def state_jobs(of: Subject) -> dict[str, Job]:
    """Return how hidden states were computed, and how they are."""
    parts, output = of.decoder.parts, list(range(3, 3 + LENGTH))
    text = Continuation(prompt=of.prompts[0], output=output)

    def states() -> int:
        with tempfile.TemporaryDirectory() as folder:
            write_states(
                parts,
                [text, text],
                of.depths,
                Path(folder),
                "t",
                run="",
                dtype=torch.float16,
                advance=lambda _: None,
            )
        return 2 * LENGTH

    def before() -> int:
        for _ in range(2):
            states_of(parts, text, of.depths)
        return 2 * LENGTH

    return {"states before": before, "states": states}


def training_jobs(of: Subject) -> dict[str, Job]:
    """Return a training step as it was and as it is, the closed form, and measuring."""
    size, width = DEFAULTS.batch_tokens, of.decoder.parts.hidden_size
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(size, len(of.depths) + 1, width, generator=generator)
    vocabulary = of.vocabulary
    final = states[:, -1].to(vocabulary.weight.dtype)
    likely = vocabulary.logits(final, slice(None)).topk(N_LIKELY, -1).indices
    eye = [torch.eye(width) for _ in of.depths]
    trainer = of.trainer(eye, 1)
    rows, few = _Rows(states, likely), _Rows(states[:MEASURED], likely[:MEASURED])

    def step(*, whole: bool) -> int:
        drawn = torch.Generator().manual_seed(1)
        over = vocabulary if whole else trainer.vocabulary_of(likely, drawn)
        trainer.step(states, over, [torch.zeros(()) for _ in of.depths])
        return size

    def measure() -> int:
        trainer.measure(few, lambda _: None)
        return few.rows

    def start() -> int:
        closed_form(rows, vocabulary)
        return size * LEFT_OUT * 2

    return {
        "step before": lambda: step(whole=True),
        "step": lambda: step(whole=False),
        "measuring": measure,
        "closed form": start,
    }


class _Rows(States):
    """Hidden states in memory; the closed form, which wants small batches, sees them often."""

    def __init__(self, states: torch.Tensor, likely: torch.Tensor) -> None:
        super().__init__([])
        self.only, self.rows = Batch(states, likely), len(states)

    def with_likely(
        self,
        size: int,
        generator: torch.Generator | None = None,  # noqa: ARG002 - as that of states on disk
    ) -> Iterator[Batch]:
        """Yield the rows once, or several times where they are asked for in small batches."""
        return iter([self.only] * (LEFT_OUT * 2 if size < self.rows else 1))


def _total(each: list[float]) -> dict[str, float]:
    """Return the seconds for all positions: the median of the repeats, and their range."""
    ordered = sorted(POSITIONS * one for one in each)
    middle = len(ordered) // 2
    median = (ordered[middle] + ordered[-1 - middle]) / 2
    return {"median": median, "min": ordered[0], "max": ordered[-1]}


# ---- quality ----


def measure_quality(of: Subject, epochs: int) -> dict[str, Any]:
    """Return KL and agreement by depth on held-out texts, for heads from either start."""
    with tempfile.TemporaryDirectory() as folder:
        seen, unseen = _states(of, Path(folder))
        width = of.decoder.parts.hidden_size
        starts = {
            "identity": [torch.eye(width) for _ in of.depths],
            "closed form": closed_form(seen, of.vocabulary),
        }
        found = {}
        for name, start in starts.items():
            found[name] = {"start": _measured(of, start, 0, seen, unseen, Path(folder))}
            with _over_the_whole_vocabulary(wanted=name == "identity"):
                begun = time.process_time()
                rows = _measured(of, start, epochs, seen, unseen, Path(folder))
                found[name] |= {"trained": rows, "seconds": time.process_time() - begun}
            print(name, json.dumps(found[name]), flush=True)
    return {"positions": seen.rows, "held_out": unseen.rows, "epochs": epochs, "starts": found}


def _states(of: Subject, folder: Path) -> tuple[States, States]:
    """Return the hidden states of texts to train on and of one in eight held out."""
    made = BatchedGeneration(of.decoder.parts.model, of.decoder.eos)
    texts = []
    ordered = sorted(of.prompts, key=lambda ids: ids.shape[1])
    for start in range(0, len(ordered), BATCH):
        group = ordered[start : start + BATCH]
        outputs = made.continued(group, LENGTH)
        texts += [Continuation(prompt=p, output=o) for p, o in zip(group, outputs, strict=True)]
        print(f"{len(texts)} of {len(ordered)} texts", flush=True)
    parts = {
        "unseen": texts[::8],
        "seen": [text for number, text in enumerate(texts) if number % 8],
    }
    written = {
        name: write_states(
            of.decoder.parts,
            some,
            of.depths,
            folder,
            name,
            run="",
            dtype=torch.float16,
            advance=lambda _: None,
        )
        for name, some in parts.items()
    }
    return written["seen"], written["unseen"]


def _measured(
    of: Subject, starts: list[torch.Tensor], epochs: int, seen: States, unseen: States, folder: Path
) -> list[dict[str, float]]:
    """Return depth, KL and agreement of heads after so many epochs."""
    trainer = of.trainer(starts, epochs)
    checkpoint = Checkpoint(path=folder / "checkpoint")
    checkpoint.path.unlink(missing_ok=True)
    trainer.fit(seen, checkpoint, lambda _: None)
    rows = trainer.measure(unseen, lambda _: None)
    return [{key: row[key] for key in ("depth", "kl", "agreement")} for row in rows]


@contextmanager
def _over_the_whole_vocabulary(*, wanted: bool) -> Iterator[None]:
    """Take the loss over the whole of any vocabulary, as it was before."""
    before = training.WHOLE
    training.WHOLE = sys.maxsize if wanted else before
    try:
        yield
    finally:
        training.WHOLE = before


def main(arguments: list[str] | None = None) -> None:
    """Measure one model or all, one part or both, and write the figures beside the others'."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=DEPTHS, help="which model [all]")
    parser.add_argument("--part", choices=("seconds", "quality"), help="which part [both]")
    parser.add_argument("--prompts", type=int, default=160, help="prompts for the quality [160]")
    parser.add_argument("--epochs", type=int, default=3, help="epochs for the quality [3]")
    chosen = parser.parse_args(arguments)
    path = RESULTS / "training.json"
    models = json.loads(path.read_text(encoding="utf-8"))["models"] if path.exists() else {}
    for name in [chosen.model] if chosen.model else DEPTHS:
        measured = subject(name, chosen.prompts)
        parts = models.setdefault(name, {})
        if chosen.part != "quality":
            parts["seconds"] = measure_seconds(measured)
            print(json.dumps(parts["seconds"], indent=1))
        if chosen.part != "seconds":
            parts["quality"] = measure_quality(measured, chosen.epochs)
        write_result("training", {"models": models})


if __name__ == "__main__":
    main()
