"""The hidden states that heads are trained on, kept on disk in files of one size.

Each file carries a digest, and which run and texts it belongs to. A run that goes on computes those
again that are torn, changed, or of another run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from adadecode.engine.decoding.hidden_states import Continuation, states_of
from adadecode.engine.model.segmented_model import SegmentedModel
from adadecode.engine.runtime.tensor_file import read_tensors, write_tensors
from adadecode.engine.training.continuation_store import Advance
from adadecode.profiles.digest import canonical_json, sha256_hex
from adadecode.profiles.errors import InputError

SHARD_BYTES = 128 << 20
"""Size of a file of hidden states."""
WINDOW_BYTES = 1 << 30
"""Bytes of hidden states in memory at once; rows are shuffled within such a window."""

STATES, LIKELY = "states", "likely"
"""The names of the tensors in a file: hidden states, and the last layer's likely tokens."""
N_LIKELY = 16
"""How many of the last layer's most likely tokens are kept of each position."""


def write_states(
    parts: SegmentedModel,
    texts: Sequence[Continuation],
    depths: Sequence[int],
    folder: Path,
    name: str,
    *,
    run: str,
    dtype: torch.dtype,
    advance: Advance,
) -> States:
    """Write the normed hidden states of every position that predicts an output token.

    They are kept in shards ``name-00000.safetensors`` and so on, of shape (rows, D + 1, d): the D
    depths, then the last layer. Beside them are the most likely tokens of the last layer.

    Args:
        parts: The model.
        texts: Prompts and their outputs.
        depths: Depths of the heads.
        folder: Where the shards are.
        name: What their names begin with.
        run: What tells the run from others.
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
        wanted = _Wanted(
            shape=(rows, len(depths) + 1, parts.hidden_size),
            likely=min(N_LIKELY, parts.n_embeddings),
            dtype=dtype,
            about={"run": run, "texts": texts_digest(group)},
        )
        shards.append(Shard(path=path, rows=rows, nbytes=rows * row_bytes))
        if not _holds(path, wanted):
            missing.append((path, wanted, group))
    advance(sum(shard.rows for shard in shards) - sum(wanted.shape[0] for _, wanted, _ in missing))
    for path, wanted, group in missing:
        found = torch.empty(wanted.shape, dtype=dtype)
        likely = torch.empty((len(found), wanted.likely), dtype=torch.int32)
        done = 0
        for text in group:
            stop = done + len(text.output)
            found[done:stop] = states_of(parts, text, depths)
            if not torch.isfinite(found[done:stop]).all():
                raise InputError(
                    f"a hidden state of this model is not a finite number in {dtype}: "
                    "run the model with --dtype bfloat16 (or float32)"
                )
            likely[done:stop] = _likely(parts, found[done:stop, -1], wanted.likely)
            advance(stop - done)
            done = stop
        write_tensors(path, {STATES: found, LIKELY: likely}, wanted.about)
    return States(shards)


@torch.inference_mode()
def _likely(parts: SegmentedModel, final: torch.Tensor, count: int) -> torch.Tensor:
    """Return the most likely tokens (n, count) after normed states of the last layer (n, d)."""
    with parts.session():
        logits = parts.unembed(final.to(parts.device, parts.dtype)[None])[0]
    return logits.topk(count, -1).indices.cpu()


def texts_digest(texts: Sequence[Continuation]) -> str:
    """Return the digest of all tokens of some texts."""
    tokens = [[text.prompt[0].tolist(), text.output] for text in texts]
    return sha256_hex(canonical_json(tokens, "the tokens of texts"))


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


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a file of hidden states must hold, and belong to."""

    shape: tuple[int, ...]
    likely: int
    dtype: torch.dtype
    about: dict[str, str]

    @property
    def layouts(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """The dtype and the shape of every tensor."""
        return {
            STATES: (self.dtype, self.shape),
            LIKELY: (torch.int32, (self.shape[0], self.likely)),
        }


def _holds(path: Path, wanted: _Wanted) -> bool:
    """Return whether a file is there, whole, of finite numbers, and the one that is wanted."""
    if not path.exists():
        return False
    try:
        numbers = sum(math.prod(shape) for _, shape in wanted.layouts.values())
        found = read_tensors(path, "it is written again", numbers=numbers)
    except InputError:
        return False
    return (
        found.layouts() == wanted.layouts
        and found.about == wanted.about
        and found.claimed == found.digest()
        and bool(found.tensors[STATES].isfinite().all())
    )


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
        self._only: Batch | None = None

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
        return (batch.states for batch in self.with_likely(size, generator))

    def with_likely(self, size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """Yield the same batches as `batches`, each with the likely tokens of the last layer."""
        windows = (
            range(len(self._windows))
            if generator is None
            else torch.randperm(len(self._windows), generator=generator).tolist()
        )
        for window in windows:
            states, likely = self._load(window)
            order = (
                torch.arange(len(states))
                if generator is None
                else torch.randperm(len(states), generator=generator)
            )
            for chosen in order.tensor_split(-(-len(states) // size)):
                yield Batch(states[chosen], likely[chosen])

    def _load(self, window: int) -> Batch:
        """Return the rows of a window; one that is the only one stays in memory."""
        if self._only is not None:
            return self._only
        found = [_rows(shard) for shard in self._windows[window]]
        rows = Batch(torch.cat([one.states for one in found]), torch.cat([o.likely for o in found]))
        if len(self._windows) == 1:
            self._only = rows
        return rows


class Batch(NamedTuple):
    """Some positions.

    Attributes:
        states: Normed hidden states (n, D + 1, d) of the depths and of the last layer.
        likely: The most likely tokens (n, k) of the last layer, the likeliest first.
    """

    states: torch.Tensor
    likely: torch.Tensor


def _rows(shard: Shard) -> Batch:
    """Return the rows of a file. Raise InputError where it changed since it was checked."""
    todo = "run the same command again, which computes it again"
    found = read_tensors(shard.path, todo, numbers=shard.nbytes // 2).tensors
    states, likely = found.get(STATES), found.get(LIKELY)
    if states is None or likely is None or not states.ndim == likely.ndim + 1 == 3:
        raise InputError(f"{shard.path} no longer holds hidden states: {todo}")
    if not len(states) == len(likely) == shard.rows:
        raise InputError(f"{shard.path} no longer holds {shard.rows} rows of hidden states: {todo}")
    return Batch(states, likely)
