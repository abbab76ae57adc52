"""What heads are trained on: the model's own greedy continuations, and its normed hidden states at every output, kept on disk.

Everything here can be interrupted at any moment and goes on from what is complete on disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from adadecode.engine.decoding.decoder import AdaDecoder
from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Policy

GENERATIONS = "generations.jsonl"
SHARD_BYTES = 128 << 20
WINDOW_BYTES = 1 << 30
"""Hidden states held in memory at once; rows are shuffled within such a window."""

Advance = Callable[[int], None]
"""Called with how many units are newly done."""


def continuations(
    decoder: AdaDecoder,
    prompts: Sequence[torch.Tensor],
    folder: Path,
    *,
    max_new_tokens: int,
    advance: Advance,
) -> list[Continuation]:
    """Greedy continuations of prompts, each (1, n), one line of ``generations.jsonl`` each. ``advance`` counts prompts."""
    path = folder / GENERATIONS
    outputs = _generated(path, len(prompts))
    advance(len(outputs))
    if len(outputs) < len(prompts):
        partial = path.with_suffix(".part")  # drop a line that an interruption cut
        partial.write_text(
            "".join(f"{json.dumps(tokens)}\n" for tokens in outputs), encoding="ascii"
        )
        partial.replace(path)
        with path.open("a", encoding="ascii") as file:
            for prompt in prompts[len(outputs) :]:
                outputs.append(
                    decoder.generate(
                        prompt, max_new_tokens=max_new_tokens, policy=Policy.VANILLA
                    ).tokens
                )
                file.write(f"{json.dumps(outputs[-1])}\n")
                file.flush()
                advance(1)
    return [
        Continuation(prompt=prompt, output=output)
        for prompt, output in zip(prompts, outputs, strict=True)
    ]


def _generated(path: Path, wanted: int) -> list[list[int]]:
    """The outputs of the first prompts, as far as whole lines go."""
    outputs: list[list[int]] = []
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        try:
            tokens = json.loads(line)
        except ValueError:
            break
        if (
            not isinstance(tokens, list)
            or not tokens
            or not all(isinstance(token, int) for token in tokens)
        ):
            break
        outputs.append(tokens)
    return outputs[:wanted]


def write_states(
    parts: SegmentedModel,
    texts: Sequence[Continuation],
    depths: Sequence[int],
    folder: Path,
    name: str,
    *,
    dtype: torch.dtype,
    advance: Advance,
) -> States:
    """Normed hidden states of every position that predicts an output token, in shards ``name-00000.safetensors``...

    A shard is (rows, D + 1, d): the D depths, then the last layer. ``advance`` counts rows. Raises InputError.
    """
    row_bytes = (len(depths) + 1) * parts.hidden_size * dtype.itemsize
    shards = []
    for index, group in enumerate(_groups(texts, max(1, SHARD_BYTES // row_bytes))):
        path = folder / f"{name}-{index:05}.safetensors"
        rows = sum(len(text.output) for text in group)
        shape = (rows, len(depths) + 1, parts.hidden_size)
        shards.append(Shard(path=path, rows=rows, nbytes=rows * row_bytes))
        if _holds(path, shape):
            advance(rows)
            continue
        found = torch.empty(shape, dtype=dtype)
        done = 0
        for text in group:
            stop = done + len(text.output)
            found[done:stop] = states_of(parts, text, depths)
            if not torch.isfinite(found[done:stop]).all():
                raise InputError(
                    f"a hidden state of this model is not a finite number in {dtype}: run the model with --dtype bfloat16 (or float32)"
                )
            advance(stop - done)
            done = stop
        partial = path.with_suffix(".part")
        save_file({"states": found}, partial)
        partial.replace(path)
    return States(shards)


def _groups(texts: Sequence[Continuation], rows: int) -> Iterator[list[Continuation]]:
    """Consecutive texts, ``rows`` outputs or a little more to a group."""
    group: list[Continuation] = []
    held = 0
    for text in texts:
        group.append(text)
        held += len(text.output)
        if held >= rows:
            yield group
            group, held = [], 0
    if group:
        yield group


def _holds(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a whole shard of this shape is there."""
    try:
        with safe_open(path, framework="pt") as file:
            return tuple(file.get_slice("states").get_shape()) == shape
    except (OSError, SafetensorError):
        return False


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of hidden states."""

    path: Path
    rows: int
    nbytes: int


class States:
    """The hidden states of some shards, handed out in batches. rows: how many positions there are."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.rows = sum(shard.rows for shard in shards)
        self._windows: list[list[Shard]] = []
        held = WINDOW_BYTES
        for shard in shards:
            if held + shard.nbytes > WINDOW_BYTES:
                self._windows.append([])
                held = 0
            self._windows[-1].append(shard)
            held += shard.nbytes
        self._only: torch.Tensor | None = None

    def steps(self, size: int) -> int:
        """Batches of at most ``size`` rows in one pass."""
        return sum(-(-sum(shard.rows for shard in window) // size) for window in self._windows)

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[torch.Tensor]:
        """All rows once, in batches (n, D + 1, d) of nearly equal n <= size; shuffled where a CPU generator is given."""
        windows = (
            range(len(self._windows))
            if generator is None
            else torch.randperm(len(self._windows), generator=generator).tolist()
        )
        for window in windows:
            rows = self._load(window)
            order = (
                torch.arange(len(rows))
                if generator is None
                else torch.randperm(len(rows), generator=generator)
            )
            for chosen in order.tensor_split(-(-len(rows) // size)):
                yield rows[chosen]

    def _load(self, window: int) -> torch.Tensor:
        """The rows (n, D + 1, d) of one window; the only one stays in memory."""
        if self._only is not None:
            return self._only
        rows = torch.cat([load_file(shard.path)["states"] for shard in self._windows[window]])
        if len(self._windows) == 1:
            self._only = rows
        return rows
