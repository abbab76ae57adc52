"""Import what LLMServingSim measured of a model's layers under vLLM, as a latency profile.

Its folder ``profile`` holds times of a layer's kernels (``dense.csv``), of attention by chunk and
cached positions (``attention.csv``), of LM head and sampler (``per_sequence.csv``), in
microseconds, and what they were measured on (``meta.yaml``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from adadecode.profiles.catalog.devices import Device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.catalog.recorded import recorded_device
from adadecode.profiles.errors import DeviceError, InputError, ProfileError
from adadecode.profiles.input_file import is_there, read_text
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.importers.imported_profile import (
    NO_HOST,
    ImportedPoints,
    check_layer_times,
    write_imported,
)
from adadecode.sim.hardware.importers.served_tables import (
    CHOICE,
    ENDS,
    FILES,
    LAYER,
    TODO,
    by_name,
    read_table,
    read_unequal,
    serving_table,
)
from adadecode.sim.hardware.kernel_tables.products import (
    ESTIMATED,
    INTERPOLATED,
    MEASURED,
    KernelTime,
)

MOST_ROWS = 64
"""Tokens at once of one sequence, at most: more than a round of drafts has."""

_SKEW = re.compile(r"^skew_fit:\s*\n\s+enabled: *(true|false)", re.MULTILINE)
"""Whether the one who measured them takes unequal contexts into account."""

_META = re.compile(r"^(\w+): *['\"]?(.*?)['\"]?\s*$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ServedLayers:
    """What a folder holds, in seconds. Build it with `of`.

    Attributes:
        folder: The folder.
        about: The plain lines of its meta.yaml.
        kernels: Seconds of each kernel (a column) by tokens.
        chunks: Seconds of attention of one sequence: by tokens at once, by context.
        choices: Seconds of ``lm_head`` and ``sampler`` by rows.
        serving: What steps of a server take, as the table ``serving``.
        unequal_contexts: Whether the folder says that unequal contexts are to count; True where it
            does not say.
        digests: SHA-256 of each file.
    """

    folder: Path
    about: Mapping[str, str]
    kernels: pd.DataFrame
    chunks: Mapping[int, Mapping[int, float]]
    choices: pd.DataFrame
    serving: pd.DataFrame
    unequal_contexts: bool
    digests: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path) -> ServedLayers:
        """Read a folder.

        Raises:
            InputError: If it is none.
            ProfileError: If a file is missing, damaged, or lacks kernels.
        """
        if not is_there(folder / "meta.yaml") and is_there(folder / "profile"):
            folder /= "profile"
        if not is_there(folder / "meta.yaml"):
            raise InputError(f"no meta.yaml in {folder}: {TODO}")
        meta = read_text(folder / "meta.yaml", error=ProfileError)
        about = dict(_META.findall(meta))
        skew = _SKEW.search(meta)
        digests: dict[str, str] = {}
        tables = {name: read_table(folder / name, digests) for name in FILES}
        kernels = by_name(tables["dense.csv"], "tokens", (*LAYER, *ENDS), folder / "dense.csv")
        choices = by_name(
            tables["per_sequence.csv"], "sequences", CHOICE, folder / "per_sequence.csv"
        )
        chunks = _chunks(tables["attention.csv"])
        if 1 not in chunks or 1 not in kernels.index or 1 not in choices.index:
            raise ProfileError(f"{folder} holds no time of a single token: {TODO}")
        return cls(
            folder=folder,
            about=about,
            kernels=kernels,
            chunks=chunks,
            choices=choices,
            serving=serving_table(
                kernels,
                choices,
                tables["attention.csv"],
                read_unequal(folder / "skew.csv", digests),
            ),
            unequal_contexts=skew is None or skew[1] == "true",
            digests=digests,
        )

    @property
    def model(self) -> ModelShape:
        """The model that was measured, by its name in the catalogue. Raises ShapeError."""
        return find_model(self.about.get("model", ""))

    @property
    def device(self) -> Device:
        """The device that it was measured on. Raises DeviceError where it is unknown."""
        name = self.about.get("gpu", "")
        found = recorded_device({"hardware": {"device": name}})
        if found is None:
            raise DeviceError(
                f"the catalogue has no device {name!r}, which {self.folder} was measured on: name "
                "it with --device"
            )
        return found

    def layer(self, n_tokens: int, context: int) -> tuple[KernelTime, ...]:
        """Return the kernels of one layer, with attention of one sequence."""
        parts = [
            KernelTime(name, times * self.kernel(n_tokens, name), MEASURED)
            for name, times in LAYER.items()
        ]
        return (*parts, self._attention(n_tokens, context))

    def choice(self, n_rows: int) -> tuple[KernelTime, ...]:
        """Return the last norm, the LM head and the sampler, of so many rows."""
        return (
            KernelTime("final_layernorm", self.kernel(n_rows, "final_layernorm"), MEASURED),
            *(
                KernelTime(name, float(self.choices.loc[n_rows, name]), MEASURED)  # type: ignore[arg-type]
                for name in CHOICE
            ),
        )

    def kernel(self, n_tokens: int, name: str) -> float:
        """Return the seconds of one kernel of so many tokens."""
        return float(self.kernels.loc[n_tokens, name])  # type: ignore[arg-type]

    @property
    def contexts(self) -> tuple[int, ...]:
        """Contexts of points: those of a single token, that larger chunks were measured around."""
        return tuple(self.chunks[1])

    def reaches(self, n_tokens: int, context: int) -> bool:
        """Whether attention of at least so many tokens was measured up to this context.

        Fewer positions than tokens count as those of the tokens alone.
        """
        low, high = self._sizes(n_tokens)
        return bool(low and high) and all(context <= max(self.chunks[size]) for size in (low, high))

    def _sizes(self, n_tokens: int) -> tuple[int, int]:
        """Return the measured chunks on both sides of some tokens; 0 where there is none."""
        low = max((size for size in self.chunks if size <= n_tokens), default=0)
        high = min((size for size in self.chunks if size >= n_tokens), default=0)
        return low, high

    def _attention(self, n_tokens: int, context: int) -> KernelTime:
        """Return the attention of tokens of one sequence, between those that were measured."""
        low, high = self._sizes(n_tokens)
        ends = [
            float(np.interp(context, list(self.chunks[size]), list(self.chunks[size].values())))
            for size in (low, high)
        ]
        share = (n_tokens - low) / (high - low) if high > low else 0.0
        exact = low == high and context in self.chunks[low]
        return KernelTime(
            "attention",
            ends[0] + (ends[1] - ends[0]) * share,
            MEASURED if exact else INTERPOLATED,
            "" if exact else f"tokens {low}..{high} at context {context}",
        )


def import_llmservingsim(
    folder: Path, out: Path, model: ModelShape | None = None, device: Device | None = None
) -> Profile:
    """Write a latency profile from a folder of LLMServingSim.

    It holds layers by tokens and context, exit heads at every depth, verification, embedding and
    prefill, and the pieces of a server's steps, in seconds. What each of them rests on is in the
    manifest (``settings.rests_on``).

    Args:
        folder: Its folder ``profile``, or the one above.
        out: Directory of the profile; missing or empty.
        model: The model; the one that the folder names by default.
        device: The device; the one that the folder names by default.

    Raises:
        InputError: If the folder is none, or ``out`` is in use or cannot be written into.
        ProfileError: If a file is damaged, or holds times that the device cannot have.
        ShapeError: If the model is unknown.
        DeviceError: If the device is unknown.
    """
    found = ServedLayers.of(folder)
    shape, device = model or found.model, device or found.device
    points, layers = ImportedPoints(), range(shape.n_layers)
    counts = [n for n in found.kernels.index.tolist() if n <= MOST_ROWS]
    for n_tokens in counts:
        for context in (one for one in found.contexts if found.reaches(n_tokens, one)):
            points.add(
                "layer",
                found.layer(n_tokens, context),
                layers=layers,
                n_tokens=n_tokens,
                context=context,
                reuse=shape.n_layers,
            )
        if n_tokens in found.choices.index:
            points.add("verify", found.choice(n_tokens), n_tokens=n_tokens)
        points.add(
            "embed",
            [KernelTime("embedding", found.kernel(n_tokens, "embedding"), MEASURED)],
            n_tokens=n_tokens,
        )
    points.add(
        "head",
        (*_own_matrix(found, shape), *found.choice(1)),
        layers=layers[1:],
        reuse=shape.n_layers,
    )
    for prompt in (one for one in found.chunks if one > 1 and one in found.kernels.index):
        if prompt in found.chunks[prompt]:
            whole = [
                one._replace(seconds=shape.n_layers * one.seconds)
                for one in found.layer(prompt, prompt)
            ]
            points.add("prefill", (*whole, *found.choice(1)), n_tokens=prompt)
    points.add("host", [NO_HOST])
    bare = found.kernels.loc[counts, list(LAYER)].sum(axis=1)
    check_layer_times(
        found.folder, shape, device, bare, todo="give times in microseconds, of this device"
    )
    return write_imported(
        out,
        shape,
        device,
        points,
        serving=found.serving,
        source=f"LLMServingSim, vLLM {found.about.get('vllm_version', 'of an unknown version')}",
        settings={
            "imported": "LLMServingSim",
            "meta": dict(found.about),
            "unequal_contexts": found.unequal_contexts,
            "sha256": dict(found.digests),
        },
        limitations=[
            (
                "kernels of one layer, each timed alone; a layer is their sum, without gaps, "
                "whatever the host takes"
            ),
            (
                "attention of 2..15 tokens of one sequence lies between that of one and of 16, "
                "whose kernel is another; each point says what it rests on (settings.rests_on)"
            ),
            (
                "a check of an exit head has the sampler's time for its confidence, and the time "
                "of the attention's output product, or an estimate, for its own matrix"
            ),
        ],
    )


def _own_matrix(found: ServedLayers, shape: ModelShape) -> tuple[KernelTime, ...]:
    """Return the product with the matrix of an exit head, which is as wide as the hidden state.

    The product that ends attention has this shape where its heads are as wide together. Elsewhere
    the time of that product for each weight stands for it.
    """
    queries = shape.n_heads * shape.head_dim
    seconds = found.kernel(1, "o_proj") * shape.hidden_size / queries
    same = queries == shape.hidden_size
    return (
        KernelTime(
            "head_matrix",
            seconds,
            MEASURED if same else ESTIMATED,
            "o_proj, of the same shape" if same else "o_proj, by its weights",
        ),
    )


def _chunks(table: pd.DataFrame) -> dict[int, dict[int, float]]:
    """Return the attention of one sequence alone: by tokens at once, by context, both rising."""
    decode = table[(table["prefill_chunk"] == 0) & (table["n_decode"] == 1)]
    alone = table[(table["prefill_chunk"] > 0) & (table["n_decode"] == 0)]
    found: dict[int, dict[int, float]] = {}
    for rows, cached in ((decode.assign(prefill_chunk=1), "kv_decode"), (alone, "kv_prefill")):
        for tokens, past, seconds in zip(
            *(rows[name].tolist() for name in ("prefill_chunk", cached, "seconds")), strict=True
        ):
            found.setdefault(tokens, {})[past + tokens] = seconds
    return {tokens: dict(sorted(found[tokens].items())) for tokens in sorted(found)}
