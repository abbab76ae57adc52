"""Import the kernel tables of AIConfigurator as a latency profile of a whole model.

A layer is the sum of its products, its attention and its element-wise work, on one GPU, or on
several that share every layer and exchange their states.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from adadecode.profiles.catalog.devices import Device, catalogue, find_device
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DeviceError, LatencyError
from adadecode.profiles.store import Profile
from adadecode.sim.hardware.importers.imported_profile import (
    NO_HOST,
    ImportedPoints,
    check_layer_times,
    write_imported,
)
from adadecode.sim.hardware.importers.serving_rows import ServingRows
from adadecode.sim.hardware.kernel_tables.model import WIDE, KernelModel
from adadecode.sim.hardware.kernel_tables.products import (
    COMPOSED,
    ESTIMATED,
    INTERPOLATED,
    KernelTime,
)
from adadecode.sim.hardware.kernel_tables.tables import KernelTables
from adadecode.sim.hardware.memory import WEIGHT_BYTES

MOST_ROWS = 64
"""Tokens at once of one sequence, at most: more than a round of drafts has."""

MOST_SEQUENCES = 1024
"""Sequences that decode at once, at most."""

SYSTEMS = {"a100_sxm": "a100-80gb-sxm", "rtx4090": "rtx-4090"}
"""Names in our catalogue of systems that are called otherwise there."""


def catalogue_name(system: str) -> str:
    """Return the name that the device of a system would have in the catalogue."""
    return SYSTEMS.get(system, system.replace("_", "-"))


def system_device(system: str) -> Device:
    """Return the device of a system in the catalogue.

    Raises:
        DeviceError: If the catalogue has none.
    """
    name = catalogue_name(system)
    if name not in catalogue():
        raise DeviceError(
            f"no device of the catalogue is known for the system {system}: name it with --device, "
            "a name that `adadecode-sim devices` lists, or FILE.toml"
        )
    return find_device(name)


def import_kernels(
    tables: KernelTables,
    shape: ModelShape,
    device: Device,
    out: Path,
    quant: str = WIDE,
    *,
    cache: str = WIDE,
    n_devices: int = 1,
) -> Profile:
    """Write a latency profile from kernel tables.

    It holds layers by tokens and context, exit heads at every depth, verification, embedding and
    prefill, in seconds. What each of them rests on is in the manifest (``settings.rests_on``).

    Args:
        tables: The tables.
        shape: The model.
        device: The device that they were measured on.
        out: Directory of the profile; missing or empty.
        quant: Format of the layers' products.
        cache: Format of keys and values.
        n_devices: How many devices share every layer.

    Raises:
        LatencyError: If the tables lack a format, or a width of the model lies beyond them, or they
            do not hold what several devices exchange.
        ShapeError: If layers of the model differ, have experts, or cannot be split so.
        ProfileError: If a file is damaged, or holds times that the device cannot have.
        InputError: If ``out`` is in use, or cannot be written into.
    """
    weights = _weights(quant)
    model = KernelModel.of(tables, shape, device, quant=quant, cache=cache, n_devices=n_devices)
    points = ImportedPoints()
    layers = range(shape.n_layers)
    seconds = {}
    counts = [n for n in model.row_counts if n <= MOST_ROWS]
    if not counts or counts[0] not in model.choice_counts:
        raise LatencyError(
            f"the exchanges of {n_devices} devices that were measured are too short or too long "
            f"for {shape.name}, of width {shape.hidden_size} with {shape.vocab_size} tokens: "
            "choose another number of devices with --tp"
        )
    attention = {context: model.attention.time(context) for context in model.attention.contexts}
    for n_tokens in counts:
        products = model.layer_products(n_tokens)
        seconds[n_tokens] = sum(one.seconds for one in products)
        for context, attended in attention.items():
            points.add(
                "layer",
                (*products, _for_several(attended, n_tokens)),
                layers=layers,
                n_tokens=n_tokens,
                context=context,
                reuse=shape.n_layers,
            )
        if n_tokens in model.choice_counts:
            points.add("verify", model.verify(n_tokens), n_tokens=n_tokens)
        points.add("embed", model.embed(n_tokens), n_tokens=n_tokens)
    points.add("head", model.head(), layers=layers[1:], reuse=shape.n_layers)
    for prompt in model.prompts:
        points.add("prefill", model.prefill(prompt), n_tokens=prompt)
    points.add("host", [NO_HOST])
    check_layer_times(
        tables.name,
        model.part,
        device,
        pd.Series(seconds),
        weight=WEIGHT_BYTES[weights or WIDE],
        todo="give latencies in milliseconds, of this device",
    )
    return write_imported(
        out,
        shape,
        device,
        points,
        serving=serving_of_kernels(model),
        source=f"kernel tables of {tables.name}, layers in {quant}"
        + ("" if cache == WIDE else f", keys and values in {cache}"),
        settings={
            "imported": "AIConfigurator",
            "system": tables.system,
            "backend": tables.backend,
            "version": tables.version,
            "quant": quant,
            "kv_dtype": cache,
            "sha256": tables.digests,
        },
        limitations=[*_limitations(model, points, counts), *tables.notes],
        weights=weights,
        n_devices=n_devices,
    )


def serving_of_kernels(model: KernelModel) -> pd.DataFrame:
    """Return the pieces of a server's step, as the table ``serving``.

    Attention of a prompt beside sequences that decode is in no table, nor that of a chunk after
    others; a window shortens what is seen.

    Raises:
        LatencyError: If a width of the model lies beyond the tables.
    """
    rows = ServingRows()
    for tokens in model.row_counts:
        rows.add("layer", _sum(model.layer_products(tokens)), n_tokens=tokens)
        rows.add("ends", _sum(model.embed(tokens)), n_tokens=tokens)
    for sequences in (one for one in model.choice_counts if one <= MOST_SEQUENCES):
        rows.add("choice", _sum(model.verify(sequences)), n_tokens=sequences)
    decode = model.attention.decode
    for batch, context, seconds in zip(
        *(decode[name].tolist() for name in ("batch", "context", "seconds")), strict=True
    ):
        rows.add("attention", seconds, n_decode=batch, context=context - 1)
    prompts = model.attention.prompts
    for prompt, seconds in zip(
        *(prompts.loc[prompts["batch"] == 1, name].tolist() for name in ("prompt", "seconds")),
        strict=True,
    ):
        rows.add("attention", seconds, chunk=prompt)
    return rows.table()


def _sum(parts: Iterable[KernelTime]) -> float:
    return sum(part.seconds for part in parts)


def _weights(quant: str) -> str | None:
    """Return the format of packed weights; None for wide ones."""
    name = quant.removesuffix("_block")
    if name not in WEIGHT_BYTES or name in ("fp32", "fp16"):
        raise LatencyError(
            f"no layers in {quant} can be priced: wanted one of bf16, fp8, fp8_block with --quant"
        )
    return None if name == WIDE else name


def _for_several(attention: KernelTime, n_tokens: int) -> KernelTime:
    """Return the attention of several tokens of one sequence, which read the same positions."""
    if n_tokens == 1:
        return attention
    note = f"as one token, which reads as many positions ({attention.note})"
    return attention._replace(basis=ESTIMATED, note=note)


def _limitations(model: KernelModel, points: ImportedPoints, counts: list[int]) -> list[str]:
    """Return what the latencies lack, a sentence each."""
    between, composed, guessed = (
        points.share("layer", basis=basis) for basis in (INTERPOLATED, COMPOSED, ESTIMATED)
    )
    elementwise = points.share("layer", part="elementwise")
    lines = [
        *_sharing(model, points),
        (
            f"kernels of {model.tables.name}, each timed alone and again and again; a layer is "
            "their sum, without gaps, and matrices that fit into a cache may have been read from it"
        ),
        (
            f"of the time of layers, {between:.0%} lies between shapes that were measured, "
            f"{composed:.0%} is put together from other kernels and {guessed:.0%} is estimated; "
            "each point says so in the manifest (settings.rests_on)"
        ),
        (
            f"element-wise work is in no table: {elementwise:.1%} of a layer, "
            "estimated from bytes and kernels"
        ),
    ]
    if len(counts) > 1:
        lines.append(
            f"{counts[1]}..{counts[-1]} tokens of one sequence attend as one does, which is the "
            "least; kernels that do not share the context out take longer"
        )
    head = next(one for one in points.rests_on if one["kind"] == "head")
    lines += [
        f"the LM head is {part['basis']} ({part['note']})"
        for part in head["parts"]
        if part["part"] == "lm_head" and part["basis"] in (COMPOSED, ESTIMATED)
    ]
    return lines


def _sharing(model: KernelModel, points: ImportedPoints) -> Iterator[str]:
    """Yield how several devices share the model; nothing for one device."""
    if model.exchanges is None:
        return
    part, whole = model.part, model.shape
    sums = points.share("layer", part="attention_sum") + points.share("layer", part="mlp_sum")
    yield (
        f"{model.n_devices} devices share every layer: each has {part.n_heads} of {whole.n_heads} "
        f"heads and {part.intermediate_size} of {whole.intermediate_size} columns of the MLP; two "
        f"sums a layer are {sums:.0%} of it, one after the other with the rest"
    )
    yield (
        f"each device has {part.vocab_size} rows of the LM head, and logits are gathered; the "
        "matrix of an exit head is whole on each"
    )
