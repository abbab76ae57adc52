"""What heads are trained on, kept on disk: greedy continuations and their hidden states.

Everything here can be interrupted at any moment and goes on from what is complete on disk.
"""

from __future__ import annotations

import functools
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
from adadecode.profiles.atomic_write import write_text, write_with
from adadecode.profiles.errors import InputError
from adadecode.sim.core.design import Policy

GENERATIONS = "generations.jsonl"
SHARD_BYTES = 128 << 20
"""Size of a file of hidden states."""
WINDOW_BYTES = 1 << 30
"""Bytes of hidden states in memory at once; rows are shuffled within such a window."""

Advance = Callable[[int], None]
"""Called with how many units have just been done."""


def continuations(
    decoder: AdaDecoder,
    prompts: Sequence[torch.Tensor],
    folder: Path,
    *,
    max_new_tokens: int,
    advance: Advance,
) -> list[Continuation]:
    """Return greedy continuations of prompts, and keep each as a line of ``generations.jsonl``.

    Args:
        decoder: The model.
        prompts: Token ids, each (1, n).
        folder: Where the file is.
        max_new_tokens: Longest continuation.
        advance: Counts prompts.
    """
    path = folder / GENERATIONS
    outputs = _generated(path, len(prompts))
    advance(len(outputs))
    if len(outputs) < len(prompts):
        # Drop a line that an interruption cut.
        write_text(path, "".join(f"{json.dumps(tokens)}\n" for tokens in outputs))
        with path.open("a", encoding="ascii") as file:
            for prompt in prompts[len(outputs) :]:
                done = decoder.generate(
                    prompt, max_new_tokens=max_new_tokens, policy=Policy.VANILLA
                )
                outputs.append(done.tokens)
                file.write(f"{json.dumps(done.tokens)}\n")
                file.flush()
                advance(1)
    return [
        Continuation(prompt=prompt, output=output)
        for prompt, output in zip(prompts, outputs, strict=True)
    ]


def _generated(path: Path, wanted: int) -> list[list[int]]:
    """Return the outputs of the first prompts, as far as whole lines go."""
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
    """Write the normed hidden states of every position that predicts an output token.

    They are kept in shards ``name-00000.safetensors`` and so on, of shape (rows, D + 1, d): the D
    depths, then the last layer.

    Args:
        parts: The model.
        texts: Prompts and their outputs.
        depths: Depths of the heads.
        folder: Where the shards are.
        name: What their names begin with.
        dtype: Their format.
        advance: Counts rows, first all those that an earlier run wrote.

    Raises:
        InputError: A hidden state is not finite in this format, or cannot be written.
    """
    row_bytes = (len(depths) + 1) * parts.hidden_size * dtype.itemsize
    shards, missing = [], []
    for index, group in enumerate(_groups(texts, max(1, SHARD_BYTES // row_bytes))):
        path = folder / f"{name}-{index:05}.safetensors"
        rows = sum(len(text.output) for text in group)
        shape = (rows, len(depths) + 1, parts.hidden_size)
        shards.append(Shard(path=path, rows=rows, nbytes=rows * row_bytes))
        if not _holds(path, shape):
            missing.append((path, shape, group))
    advance(sum(shard.rows for shard in shards) - sum(shape[0] for _, shape, _ in missing))
    for path, shape, group in missing:
        found = torch.empty(shape, dtype=dtype)
        done = 0
        for text in group:
            stop = done + len(text.output)
            found[done:stop] = states_of(parts, text, depths)
            if not torch.isfinite(found[done:stop]).all():
                raise InputError(
                    f"a hidden state of this model is not a finite number in {dtype}: "
                    "run the model with --dtype bfloat16 (or float32)"
                )
            advance(stop - done)
            done = stop
        write_with(path, functools.partial(save_file, {"states": found}))
    return States(shards)


def _groups(texts: Sequence[Continuation], rows: int) -> Iterator[list[Continuation]]:
    """Yield consecutive texts in groups of ``rows`` outputs or a little more."""
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
    """Return whether a whole shard of this shape is there."""
    try:
        with safe_open(path, framework="pt") as file:
            return tuple(file.get_slice("states").get_shape()) == shape
    except (OSError, SafetensorError):
        return False


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A file of hidden states."""

    path: Path
    rows: int
    nbytes: int


class States:
    """The hidden states of some shards, in batches.

    Args:
        shards: The files.

    Attributes:
        rows: How many positions there are.
    """

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
        """Return how many batches of at most ``size`` rows one pass has."""
        return sum(-(-sum(shard.rows for shard in window) // size) for window in self._windows)

    def batches(
        self, size: int, generator: torch.Generator | None = None
    ) -> Iterator[torch.Tensor]:
        """Yield all rows once, in batches (n, D + 1, d) of nearly equal n <= size.

        Args:
            size: Most rows in a batch.
            generator: Shuffles the rows; they keep their order where None.
        """
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
        """Return the rows (n, D + 1, d) of a window; one that is the only one stays in memory."""
        if self._only is not None:
            return self._only
        rows = torch.cat([load_file(shard.path)["states"] for shard in self._windows[window]])
        if len(self._windows) == 1:
            self._only = rows
        return rows
