"""The commands of ``adadecode-sim`` about other hardware: import latencies, and carry them to another device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from profiles.devices import Device, catalogue, find_device
from profiles.errors import DeviceError, LatencyError, ShapeError
from profiles.latency import LatencyTable
from profiles.models import find_model
from profiles.shape import ModelShape
from profiles.store import Profile, read_profile
from sim.cost import ModelCost
from sim.transfer import CarriedLatencies, Carrier
from sim.vidur import import_vidur

DTYPES = {"float32": ("fp32", 4.0), "float16": ("fp16", 2.0), "bfloat16": ("bf16", 2.0)}
ENDS = ("low", "middle", "high")

imports = typer.Typer(help="Latencies that others recorded, as a latency profile.", no_args_is_help=True)


@imports.command("vidur")
def import_vidur_csv(
    csv: Annotated[Path, typer.Argument(help="Vidur's mlp.csv of one model on one GPU", show_default=False)],
    model: Annotated[str, typer.Option(help="the model it was recorded on: a name, or a config.json")],
    device: Annotated[str, typer.Option(help="the GPU it was recorded on: a name of the catalogue, or FILE.toml")],
    out: Annotated[Path, typer.Option(help="directory of the new profile")],
) -> None:
    """Operator times of the Vidur simulator: layers without attention, one GPU."""
    profile = import_vidur(csv, find_model(model), find_device(device), out)
    tokens = profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]
    print(f"{out}: layers of {model} on {device} for {tokens.min()}..{tokens.max()} tokens. Next: adadecode-sim transfer {out} --to DEVICE")


def transfer(
    latency_profile: Annotated[Path, typer.Argument(help="a profile with latencies", show_default=False)],
    to: Annotated[str, typer.Option(help="the device to carry them to: a name of the catalogue, or FILE.toml")],
    source: Annotated[str | None, typer.Option("--from", help="the device they were measured on, where the profile does not say")] = None,
    model: Annotated[
        str | None, typer.Option(help="the model, where the profile does not hold its config: a name, or a config.json")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="a profile measured on that device, to hold the prediction against")] = None,
    tokens: Annotated[str, typer.Option(help="batches to tell: FIRST..LAST")] = "1..64",
    *,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Carry the seconds of a decoder layer to another device, with an interval; against measured ones, where there are some."""
    profile = read_profile(latency_profile)
    target = find_device(to)
    carried = carried_latencies(profile, target, source=source, model=model)
    measured = None if against is None else read_profile(against)
    rows = layer_rows(profile, carried, measured, _range(tokens))
    result = {"from": carried.carrier.source.name, "to": target.name, **summary(rows), "rows": rows}
    if as_json:
        print(json.dumps(result, indent=2, allow_nan=False))
        return
    Console().print(_table(result))


def carried_latencies(profile: Profile, target: Device, *, source: str | None = None, model: str | None = None) -> CarriedLatencies:
    """A profile's latencies on another device. source and model: where the profile does not say. Raises DeviceError, ShapeError."""
    here = device_of(profile, source)
    shape = shape_of(profile, model)
    name, size = DTYPES[str(profile.manifest["dtype"])]
    cost = ModelCost(shape=shape, weight_bytes=size, cache_bytes=size, activation_bytes=size)
    eager = profile.manifest.get("graphs") == "eager"
    return CarriedLatencies(
        table=LatencyTable.from_samples(profile.latency, profile.n_layers),
        carrier=Carrier(source=here, target=target, source_dtype=name, target_dtype=name, eager=eager),
        cost=cost,
        target_cost=cost,
        attends=profile.manifest.get("attention") != "excluded",
    )


def device_of(profile: Profile, said: str | None = None) -> Device:
    """The device that a profile was recorded on, or is said to have been where it does not tell.

    Raises DeviceError where neither tells, or both do and differ.
    """
    hardware = profile.manifest["hardware"]
    told = hardware.get("device") or (hardware.get("before") or {}).get("gpu", {}).get("name")
    by_title = {device.title.lower(): device for device in catalogue().values()}
    known = None
    if isinstance(told, str) and (told in catalogue() or told.lower() in by_title):
        known = catalogue().get(told) or by_title[told.lower()]
    if said is not None:
        device = find_device(said)
        if known is not None and device != known:
            raise DeviceError(f"{profile.path} was recorded on {known.name}, not on {device.name}: leave --from out")
        return device
    if known is not None:
        return known
    raise DeviceError(
        f"{profile.path} was recorded on {told or 'a machine'} that the catalogue does not know: say which device it was with --from, a name or FILE.toml"
    )


def shape_of(profile: Profile, said: str | None = None) -> ModelShape:
    """The shape of a profile's model, by its config, by its name, or as it is said to be. Raises ShapeError, also where that is another one's."""
    about = profile.manifest["model"]
    shape = find_model(said) if said else find_model(about["config"] or str(about["name"]))
    parameters = about.get("n_parameters")
    if shape.n_layers != profile.n_layers or (said and parameters and abs(shape.total_parameters / parameters - 1) > 0.01):
        raise ShapeError(
            f"{profile.path} is of {about['name']} ({profile.n_layers} layers, {parameters} parameters), "
            f"{shape.name} has {shape.n_layers} layers and {shape.total_parameters} parameters: name the model that was recorded"
        )
    return shape


def layer_rows(profile: Profile, carried: CarriedLatencies, measured: Profile | None, tokens: Sequence[int]) -> list[dict[str, Any]]:
    """One row for each batch that was measured: n_tokens, and seconds of the middle layer; error and whether it is covered, where measured there."""
    layers = profile.latency[profile.latency["kind"] == "layer"]
    there = None if measured is None else LatencyTable.from_samples(measured.latency, measured.n_layers)
    theirs = None if measured is None else measured.latency[measured.latency["kind"] == "layer"]
    known = set(layers["n_tokens"]) if theirs is None else set(layers["n_tokens"]) & set(theirs["n_tokens"])
    wanted = sorted(n for n in known if tokens[0] <= n <= tokens[-1])
    if not wanted:
        raise LatencyError(f"no batch of {tokens[0]}..{tokens[-1]} tokens was measured: choose others with --tokens")
    layer, context = profile.n_layers // 2, int(layers["context"].min())
    rows: list[dict[str, Any]] = []
    for n in wanted:
        low, middle, high = (carried.at(end).layers(layer, layer + 1, n, context, profile.n_layers) for end in ENDS)
        row = {"n_tokens": n, "source_s": carried.table.layers(layer, layer + 1, n, context, profile.n_layers)}
        row |= {"predicted_s": middle, "low_s": low, "high_s": high}
        if there is not None and measured is not None:
            seconds = there.layer(min(layer, measured.n_layers - 1), n, context, measured.n_layers)
            row |= {"measured_s": seconds, "error": middle / seconds - 1, "covered": low <= seconds <= high}
        rows.append(row)
    return rows


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Median and 90th percentile of the error's magnitude, and how often the interval covers what was measured; null without measurements."""
    errors = [abs(row["error"]) for row in rows if "error" in row]
    if not errors:
        return {"median_error": None, "p90_error": None, "coverage": None}
    covered = [row["covered"] for row in rows]
    return {
        "median_error": float(np.median(errors)),
        "p90_error": float(np.percentile(errors, 90)),
        "coverage": sum(covered) / len(covered),
    }


def _range(text: str) -> tuple[int, int]:
    first, dots, last = text.partition("..")
    try:
        ends = int(first), int(last if dots else first)
    except ValueError:
        raise LatencyError(f"wanted --tokens as FIRST..LAST, like 1..64, got {text!r}") from None
    if not 1 <= ends[0] <= ends[1]:
        raise LatencyError(f"wanted --tokens as FIRST..LAST, from 1 on and rising, got {text!r}")
    return ends


def _table(result: dict[str, Any]) -> Table:
    """For people."""
    errors = ""
    if result["median_error"] is not None:
        errors = f": median error {result['median_error']:.1%}, 90th percentile {result['p90_error']:.1%}, {result['coverage']:.0%} covered"
    table = Table(title=f"one decoder layer as it was measured, {result['from']} to {result['to']}{errors}", title_justify="left")
    for name in ("tokens", "there, us", "predicted, us", "interval, us", "measured, us", "error"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        seconds = [f"{row[key] * 1e6:.1f}" for key in ("source_s", "predicted_s")]
        interval = f"{row['low_s'] * 1e6:.1f} .. {row['high_s'] * 1e6:.1f}"
        told = [f"{row['measured_s'] * 1e6:.1f}", f"{row['error']:+.1%}" + ("" if row["covered"] else " !")] if "error" in row else ["", ""]
        table.add_row(str(row["n_tokens"]), *seconds, interval, *told)
    return table
