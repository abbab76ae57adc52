"""Layers of models carried between all devices of some kernel tables, against what was measured.

A layer is the sum of its four products. Element-wise kernels and attention are not among the
tables of products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Protocol

import numpy as np

from adadecode.profiles.catalog.devices import Device, catalogue
from adadecode.profiles.catalog.model_shape import ModelShape
from adadecode.profiles.errors import DeviceError, LatencyError, ShapeError
from adadecode.sim.hardware.cost_model import Cost
from adadecode.sim.hardware.importers.aiconfigurator import catalogue_name
from adadecode.sim.hardware.kernel_tables.library import KernelLibrary
from adadecode.sim.hardware.kernel_tables.products import ProductTimes
from adadecode.sim.hardware.roofline import Carrier, Interval
from adadecode.sim.hardware.transfer_law import LawCarrier

DTYPE = "bf16"
"""Format of the products that are compared: the one that every table has."""

_BYTES = 2.0


class Carries(Protocol):
    """What carries the seconds of some work to another device."""

    def carry(self, seconds: float, cost: Cost, target_cost: Cost) -> Interval:
        """Return the seconds on the target."""
        ...


RULES: Mapping[str, Callable[..., Carries]] = {"law": LawCarrier, "efficiency": Carrier}
"""How seconds are carried: by the law (decision 0050), or as an efficiency (decision 0013)."""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product of rows of width ``k`` with a matrix of ``k`` x ``n``."""

    name: str
    n: int
    k: int

    def cost(self, n_tokens: int) -> Cost:
        """Return its cost with so many rows."""
        return Cost(
            weights=_BYTES * self.n * self.k,
            activations=_BYTES * n_tokens * (self.n + self.k),
            flops=2.0 * n_tokens * self.n * self.k,
            kernels=1,
        )


@dataclass(frozen=True, kw_only=True)
class PairErrors:
    """How far layers carried from one device to another lie from what was measured there.

    Attributes:
        source: Name of the device in the catalogue that they are carried from.
        target: Name of the device that they are carried to.
        model: Name of the model.
        errors: Relative error of each batch.
        covered: Whether the interval of each batch holds what was measured.
        widths: Half of each interval over the prediction.
    """

    source: str
    target: str
    model: str
    errors: tuple[float, ...]
    covered: tuple[bool, ...]
    widths: tuple[float, ...]

    def to_dict(self) -> dict[str, str | float]:
        """Return the row that ``adadecode-sim transfer-matrix --json`` prints."""
        magnitudes = np.abs(self.errors)
        return {
            "from": self.source,
            "to": self.target,
            "model": self.model,
            "median_error": float(np.median(magnitudes)),
            "p90_error": float(np.percentile(magnitudes, 90)),
            "coverage": float(np.mean(self.covered)),
            "mean_width": float(np.mean(self.widths)),
        }


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """What came of carrying layers between all pairs of devices of a folder.

    Attributes:
        pairs: Errors of each ordered pair and model.
        left_out: A sentence on each system or pair that could not be compared.
    """

    pairs: tuple[PairErrors, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, list[dict[str, str | float]]]:
        """Return the document that ``adadecode-sim transfer-matrix --json`` prints."""
        return {"pairs": [pair.to_dict() for pair in self.pairs]}


def layer_products(shape: ModelShape) -> tuple[Product, ...]:
    """Return the products of a dense layer: queries, keys and values; output; up and gate; down.

    Raises:
        ShapeError: If the model has experts, or layers of several kinds.
    """
    layers = {(layer.n_experts, layer.shared, layer.mlp_width) for layer in shape.kinds}
    if len(layers) != 1 or shape.each_layer[0].n_experts:
        raise ShapeError(
            f"{shape.name} has experts or layers that differ: wanted a dense model, of which every "
            "layer has the same four products"
        )
    width, attended = shape.hidden_size, shape.n_heads * shape.head_dim
    wide = shape.intermediate_size
    return (
        Product(name="qkv", n=attended + 2 * shape.n_kv_heads * shape.head_dim, k=width),
        Product(name="attention_out", n=width, k=attended),
        Product(name="mlp_up", n=2 * wide if shape.gated_mlp else wide, k=width),
        Product(name="mlp_down", n=width, k=wide),
    )


def layer_cost(products: Iterable[Product], n_tokens: int) -> Cost:
    """Return the cost of a layer of these products."""
    return sum((one.cost(n_tokens) for one in products), Cost())


def compare(
    source: Device,
    target: Device,
    shape: ModelShape,
    times: tuple[ProductTimes, ProductTimes],
    tokens: Sequence[int],
    rule: str = "law",
) -> PairErrors:
    """Carry a model's layer between two devices, and compare.

    Args:
        source: The device it is carried from.
        target: The device it is carried to.
        shape: The model.
        times: What was measured on the source, and on the target.
        tokens: Tokens at once.
        rule: How it is carried, one of `RULES`.

    Raises:
        DeviceError: If a device has no BF16.
        LatencyError: If the tables do not hold the products.
        ShapeError: If the model is not dense.
    """
    products = layer_products(shape)
    carrier = RULES[rule](source=source, target=target, source_dtype=DTYPE, target_dtype=DTYPE)
    errors, covered, widths = [], [], []
    for n_tokens in tokens:
        here, there = (
            sum(
                one.time(product.name, n_tokens, product.n, product.k).seconds
                for product in products
            )
            for one in times
        )
        cost = layer_cost(products, n_tokens)
        carried = carrier.carry(here, cost, cost)
        errors.append(carried.middle / there - 1)
        covered.append(carried.low <= there <= carried.high)
        widths.append((carried.high - carried.low) / 2 / carried.middle)
    return PairErrors(
        source=source.name,
        target=target.name,
        model=shape.name,
        errors=tuple(errors),
        covered=tuple(covered),
        widths=tuple(widths),
    )


def device_of(system: str) -> Device:
    """Return the device of the catalogue that a folder of tables is of.

    Args:
        system: Its name there, such as ``h200_sxm``.

    Raises:
        DeviceError: If the catalogue has no such device, or several.
    """
    known = catalogue()
    name = catalogue_name(system)
    if name in known:
        return known[name]
    near = [one for one in known if one.startswith(f"{name}-") or name.startswith(f"{one}-")]
    if len(near) != 1:
        raise DeviceError(
            f"the catalogue has {'several devices' if near else 'no device'} by the name of the "
            f"system {system}: name its folder as one that `adadecode-sim devices` lists"
        )
    return known[near[0]]


def transfer_matrix(
    library: KernelLibrary,
    shapes: Sequence[ModelShape],
    tokens: Sequence[int],
    *,
    backend: str = "vllm",
    rule: str = "law",
) -> Matrix:
    """Carry layers between all ordered pairs of devices of some kernel tables.

    Two devices are compared in the newest version of the engine that both were measured with, and
    in the newest of each where there is none.

    Args:
        library: The tables.
        shapes: The models.
        tokens: Tokens at once.
        backend: The engine.
        rule: As for `compare`.

    Raises:
        LatencyError: If no pair can be compared; the message says why.
        ProfileError: If a table is damaged.
        ShapeError: If a model is not dense.
    """
    for shape in shapes:
        layer_products(shape)
    devices, left_out = _devices(library, backend)
    times: dict[tuple[str, str], ProductTimes] = {}
    pairs: list[PairErrors] = []
    for systems in permutations(devices, 2):
        ends = list(zip(systems, _versions(library, systems, backend), strict=True))
        try:
            for end in ends:
                if end not in times:
                    rows = library.tables(end[0], backend, end[1]).products(DTYPE)
                    times[end] = ProductTimes(table=rows)
            pairs += [
                compare(
                    devices[systems[0]],
                    devices[systems[1]],
                    shape,
                    (times[ends[0]], times[ends[1]]),
                    tokens,
                    rule,
                )
                for shape in shapes
            ]
        except (DeviceError, LatencyError) as problem:
            left_out.append(f"{systems[0]} to {systems[1]}: {problem}")
    if not pairs:
        reasons = "; ".join(left_out) or f"{library.folder} has one system"
        raise LatencyError(f"no two devices can be compared ({reasons}): give tables of two")
    return Matrix(pairs=tuple(pairs), left_out=tuple(left_out))


def _devices(library: KernelLibrary, backend: str) -> tuple[dict[str, Device], list[str]]:
    """Return the devices of all systems that an engine was measured on, and what was left out."""
    devices: dict[str, Device] = {}
    left_out = []
    for system in library.systems:
        try:
            library.versions(system, backend)
            devices[system] = device_of(system)
        except DeviceError as problem:
            left_out.append(f"{system}: {problem}")
    return devices, left_out


def _versions(library: KernelLibrary, systems: tuple[str, ...], backend: str) -> Iterator[str]:
    """Yield the version to compare each of some systems in."""
    known = [library.versions(system, backend) for system in systems]
    common = [one for one in known[0] if all(one in versions for versions in known)]
    return (common[-1] if common else versions[-1] for versions in known)
