"""Refuse times that no machine can have: faster than bytes and FLOPs allow, or far slower.

The bounds are broad on purpose, so that no honest recording breaks one (decision 0039). They find
wrong units, swapped columns and invented numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.recorded import recorded_shape
from adadecode.profiles.errors import InputError, ProfileError
from adadecode.profiles.machine_limits import MachineLimits, machine_limits

FASTEST = 1e-9
"""Seconds that every piece of work takes at least: a few instructions."""

SLOWEST = 3600.0
"""Seconds that a piece of work usually takes at most, on any machine: an hour."""

DISTURBED = 30 * 86400.0
"""Seconds for which a single sample may be disturbed, as where its machine slept: a month."""

MOST_WATTS = 1e5
"""Watts that a device draws at most over a run and a second."""

SWAPPED = 2.0
"""An embedding, which looks rows up, takes less than this many times a verification, which
multiplies with the whole LM head. Half of one is usual in a model of 10 M parameters on a CPU."""

SWAPPED_OF_FEW, MANY = 10.0, 16
"""What counts instead where a batch has fewer samples than this, on a machine that may be busy."""

_SERVING_TIMES = ("equal_seconds", "longest_seconds")
"""More columns of times, of the table ``serving``."""

_BYTES = {"float64": 8.0, "float32": 4.0, "float16": 2.0, "bfloat16": 2.0}
_PACKED = 0.25
"""Bytes of one weight in the narrowest packed formats."""

_WIDEST = 4.0
"""Bytes of one number in the widest format that is usual."""

_Array = NDArray[np.float64]
_Where = Callable[[int], str]


class Samples(NamedTuple):
    """Samples of one kind of work.

    Attributes:
        kind: The kind, as in the table ``latency``.
        seconds: What was measured.
        n_tokens: Tokens computed at once, for each sample.
        context: Positions attended to, for each sample.
        rows: Their rows, for messages.
        where: The table or file, for messages.
    """

    kind: str
    seconds: _Array
    n_tokens: _Array
    context: _Array
    rows: NDArray[np.int64]
    where: str

    def place(self, at: int) -> str:
        """Return what one of the samples is of."""
        count = f"{self.n_tokens[at]:.0f} tokens" if self.n_tokens[at] > 1 else "1 token"
        return f"{self.kind} of {count} in row {self.rows[at]} of the latencies of {self.where}"


def check_plausible(
    manifest: Mapping[str, Any], frames: Mapping[str, pd.DataFrame], where: str, todo: str
) -> None:
    """Refuse latencies and runs that the machine of a recording cannot have.

    Args:
        manifest: The manifest, checked.
        frames: The tables by name, their values checked.
        where: What the profile is, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If a bound is broken; the message names it.
    """
    _check_runs(frames, where, todo)
    latency = frames.get("latency")
    if latency is None or latency.empty:
        return
    shape, machine = _shape(manifest), machine_limits(manifest)
    weight = weight_bytes(manifest)
    for samples in _by_kind(latency, where):
        high = np.full_like(samples.seconds, SLOWEST)
        check_between(samples.seconds, FASTEST, high, "any machine", samples.place, todo)
        if shape is not None:
            check_work(samples, shape, weight, machine, todo)
    _check_order(latency, where, todo)


def _by_kind(latency: pd.DataFrame, where: str) -> Iterator[Samples]:
    """Give the samples of each kind of work."""
    codes, kinds = pd.factorize(latency["kind"])
    columns = [
        latency[name].to_numpy(dtype=np.float64) for name in ("seconds", "n_tokens", "context")
    ]
    for code, kind in enumerate(map(str, kinds)):
        rows = np.flatnonzero(codes == code)
        seconds, n_tokens, context = (column[rows] for column in columns)
        yield Samples(kind, seconds, n_tokens, context, rows, where)


def weight_bytes(manifest: Mapping[str, Any]) -> float:
    """Return the bytes that one weight of the recorded model takes at least."""
    return _PACKED if manifest.get("weights") else _BYTES.get(str(manifest.get("dtype")), 1.0)


def check_between(
    seconds: _Array,
    low: float | _Array,
    high: _Array,
    words: str,
    place: _Where,
    todo: str,
) -> None:
    """Refuse seconds below a bound, and such as are above one by their median.

    A single one may be disturbed, by a month at most.

    Args:
        seconds: What was measured.
        low: Seconds at least.
        high: Seconds at most, for each.
        words: Whose bounds they are, for the message.
        place: Returns what one of them is of, for the message.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If a bound is broken.
    """
    usual = np.median(seconds / high) <= 1
    most = high + DISTURBED if usual else high
    wrong = np.flatnonzero(~((seconds >= low) & (seconds <= most)))
    if wrong.size:
        at = int(wrong[0])
        least = np.broadcast_to(low, seconds.shape)[at]
        raise ProfileError(
            f"wanted {least:.3g}..{high[at]:.3g} s, the bounds of {words}, for {place(at)}, "
            f"got {seconds[at]:.4g}: check the unit, or {todo}"
        )


def check_work(
    samples: Samples, shape: ModelShape, weight: float, machine: MachineLimits, todo: str
) -> None:
    """Refuse a kind of work that is faster than its bytes and FLOPs allow, or as a whole too slow.

    Args:
        samples: The samples.
        shape: The model.
        weight: Bytes of one weight at least.
        machine: What the machine can do.
        todo: What to do about it, for the message.

    Raises:
        ProfileError: If a bound is broken.
    """
    read, done = _least(samples, shape)
    low = np.maximum(
        done / machine.flops, max(0.0, read * weight - machine.cached) / machine.bandwidth
    )
    moved, done = _most(samples, shape)
    pauses = shape.n_layers if samples.kind == "prefill" else 1
    high = (
        pauses * machine.pause
        + moved * _WIDEST / machine.least_bandwidth
        + done / machine.least_flops
    )
    words = f"{machine.words} with {shape.name}"
    check_between(samples.seconds, low, high, words, samples.place, todo)


def _least(samples: Samples, shape: ModelShape) -> tuple[float, _Array]:
    """Return the weights that a piece of work reads at least, and its FLOPs."""
    read = {
        "layer": min(layer.multiplied for layer in shape.kinds),
        "verify": shape.lm_head_parameters,
        "prefill": sum(count * layer.multiplied for layer, count in shape.kinds.items()),
    }.get(samples.kind, 0)
    return float(read), 2.0 * read * samples.n_tokens


def _most(samples: Samples, shape: ModelShape) -> tuple[_Array, _Array]:
    """Return the numbers that a piece of work moves at most, and its FLOPs."""
    layers = {"layer": 1, "prefill": shape.n_layers}.get(samples.kind, 0)
    kinds = shape.kinds
    read = {
        "layer": float(max(layer.parameters for layer in kinds)),
        "prefill": float(sum(count * layer.parameters for layer, count in kinds.items())),
    }.get(samples.kind, 0.0)
    if samples.kind in ("head", "verify", "prefill"):
        read += shape.lm_head_parameters + shape.head_parameters
    widths = (max(layer.mlp_width, layer.products // 2, layer.state) for layer in kinds)
    wide = float(max(shape.hidden_size, *widths))
    n_tokens, seen = samples.n_tokens, np.maximum(samples.context, samples.n_tokens)
    moved = read + wide * (16 * n_tokens + 2 * layers * seen)
    return moved, 2.0 * read * n_tokens + 4.0 * layers * n_tokens * seen * wide


def _check_order(latency: pd.DataFrame, where: str, todo: str) -> None:
    """Refuse an embedding that takes far longer than a verification, which does all it does."""
    both = latency[latency["kind"].isin(["embed", "verify"])]
    # One sample may be disturbed for any time: of few, more is asked.
    usual = both.pivot_table(
        "seconds", index="n_tokens", columns="kind", aggfunc=["median", "size"]
    ).dropna()
    if usual.empty or len(usual["median"].columns) < 2:
        return
    ratio = (usual["median"]["embed"] / usual["median"]["verify"]).median()
    most = SWAPPED if usual["size"].to_numpy().min() >= MANY else SWAPPED_OF_FEW
    if ratio > most:
        raise ProfileError(
            f"wanted embeddings that take at most {most:g} times as long as verifications of as "
            f"many tokens in {where}, got {ratio:.3g}: the two may be swapped, so {todo}"
        )


def _check_runs(frames: Mapping[str, pd.DataFrame], where: str, todo: str) -> None:
    """Refuse runs that take no time, years, or the power of a town."""
    for name in ("runs", "baselines", "works", "head_forms", "serving", "load_steps"):
        table = frames.get(name)
        if table is None or table.empty:
            continue
        for column in ("prefill_s", "decode_s", "compile_s", "seconds", *_SERVING_TIMES):
            if column in table:
                seconds = table[column].to_numpy(dtype=np.float64)
                tokens = table["n_tokens"].to_numpy() if "n_tokens" in table else 1
                _check_times(seconds, np.maximum(1, tokens), name, column, where, todo)
        if "energy_j" in table:
            _check_energy(table, name, where, todo)


def _check_times(
    seconds: _Array, pieces: _Array, name: str, column: str, where: str, todo: str
) -> None:
    # No time at all is checked as a value: some runs and pieces have none.
    seconds = np.where(np.isnan(seconds) | (seconds == 0), FASTEST, seconds)
    check_between(
        seconds,
        FASTEST,
        np.broadcast_to(SLOWEST * pieces, seconds.shape),
        "any machine",
        lambda row: f"{column} in row {row} of the table {name} of {where}",
        todo,
    )


def _check_energy(table: pd.DataFrame, name: str, where: str, todo: str) -> None:
    energy = table["energy_j"].to_numpy()
    most = MOST_WATTS * (1.0 + np.nan_to_num((table["prefill_s"] + table["decode_s"]).to_numpy()))
    wrong = np.flatnonzero(energy > most)
    if wrong.size:
        row = int(wrong[0])
        raise ProfileError(
            f"wanted at most {most[row]:.3g} J, {MOST_WATTS:g} watts, as energy_j in row {row} of "
            f"the table {name} of {where}, got {energy[row]:.4g}: check the unit, or {todo}"
        )


def _shape(manifest: Mapping[str, Any]) -> ModelShape | None:
    """Return the shape of the recorded model; None where the manifest tells none that fits."""
    try:
        shape = recorded_shape(manifest)
    except InputError:
        return None
    return shape if shape.n_layers == manifest["model"]["n_layers"] else None
