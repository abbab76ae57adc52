"""The commands of ``adadecode-sim`` about other hardware: import latencies, and carry a layer's to another device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from adadecode.profiles.catalog.devices import Device, find_device
from adadecode.profiles.catalog.models import find_model
from adadecode.profiles.errors import DeviceError, LatencyError, ShapeError
from adadecode.profiles.latency import LatencyTable
from adadecode.profiles.store import Profile, read_profile
from adadecode.sim.cli.options import JsonOption, print_json
from adadecode.sim.hardware.importers.vidur import import_vidur
from adadecode.sim.hardware.memory import WEIGHT_BYTES
from adadecode.sim.hardware.precision import Precision
from adadecode.sim.hardware.provenance import device_of, is_eager, precision_of, shape_of
from adadecode.sim.hardware.roofline import Carrier

imports = typer.Typer(
    help="Latencies that others recorded, as a latency profile.", no_args_is_help=True
)


@imports.command("vidur")
def import_vidur_csv(
    csv: Annotated[
        Path, typer.Argument(help="Vidur's mlp.csv of one model on one GPU", show_default=False)
    ],
    model: Annotated[
        str, typer.Option(help="the model it was recorded on: a name, or a config.json")
    ],
    device: Annotated[
        str, typer.Option(help="the GPU it was recorded on: a name of the catalogue, or FILE.toml")
    ],
    out: Annotated[Path, typer.Option(help="directory of the new profile")],
) -> None:
    """Operator times of the Vidur simulator: layers without attention, one GPU."""
    profile = import_vidur(csv, find_model(model), find_device(device), out)
    tokens = profile.latency.loc[profile.latency["kind"] == "layer", "n_tokens"]
    print(
        f"{out}: layers of {model} on {device} for {tokens.min()}..{tokens.max()} tokens. Next: adadecode-sim transfer {out} --to DEVICE"
    )


def transfer(
    latency_profile: Annotated[
        Path, typer.Argument(help="a profile with latencies", show_default=False)
    ],
    to: Annotated[
        str, typer.Option(help="the device to carry them to: a name of the catalogue, or FILE.toml")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from", help="the device they were measured on, where the profile does not say"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="the model, where the profile does not hold its config: a name, or a config.json"
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help=f"weights in another format there: {', '.join(WEIGHT_BYTES)}")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="a profile measured on that device, to hold the prediction against"),
    ] = None,
    tokens: Annotated[str, typer.Option(help="batches to tell: FIRST..LAST")] = "1..64",
    *,
    as_json: JsonOption = False,
) -> None:
    """Carry the seconds of a decoder layer to another device, with an interval; against measured ones, where there are some."""
    profile, target = read_profile(latency_profile), find_device(to)
    measured = None if against is None else read_profile(against)
    if measured is not None:
        _check_alike(profile, measured, target, model)
    first, last = _range(tokens)
    rows = layer_rows(
        profile, target, measured, range(first, last + 1), source=source, model=model, dtype=dtype
    )
    told = [row["n_tokens"] for row in rows]
    result = {
        "from": device_of(profile, source).name,
        "to": target.name,
        **summary(rows),
        "not_measured": sorted(set(range(first, last + 1)) - set(told)),
        "launch_bound": [row["n_tokens"] for row in rows if row["launch_bound"]],
        "rows": rows,
    }
    if as_json:
        print_json(result)
        return
    Console().print(_table(result))


def _check_alike(profile: Profile, measured: Profile, target: Device, model: str | None) -> None:
    """Raises DeviceError, ShapeError where the profile to hold against is of another device, or of layers that are others."""
    with suppress(
        DeviceError
    ):  # a machine that the catalogue does not know may be the target, under another name
        if (there := device_of(measured).name) != target.name:
            raise LatencyError(
                f"{measured.path} was measured on {there}, the prediction is for {target.name}: give one of the same device"
            )
    ours, theirs = (
        replace(shape_of(one, said), name="", n_layers=1, vocab_size=1)
        for one, said in ((profile, model), (measured, None))
    )
    if ours != theirs:
        raise ShapeError(
            f"{measured.path} is of other layers than {profile.path}: give one of the same model"
        )


def layer_rows(
    profile: Profile,
    target: Device,
    measured: Profile | None,
    tokens: Sequence[int],
    *,
    source: str | None = None,
    model: str | None = None,
    dtype: str | None = None,
) -> list[dict[str, Any]]:
    """One row for each of these batches that was measured: n_tokens, and seconds of the middle layer; error and whether it is covered, where measured there.

    source, model, dtype: as in `adadecode.sim.hardware.carried_latency.carried_latencies`. launch_bound: whether the source was waiting for its host, and so the target will.
    """
    device, shape, was = device_of(profile, source), shape_of(profile, model), precision_of(profile)
    now = was if dtype is None else Precision.of(dtype, was.activations)
    carrier = Carrier(
        source=device,
        target=target,
        source_dtype=was.activations,
        target_dtype=now.activations,
        eager=is_eager(profile),
    )
    here = LatencyTable.from_samples(profile.latency, profile.n_layers)
    there = (
        None if measured is None else LatencyTable.from_samples(measured.latency, measured.n_layers)
    )
    wanted = [n for n in tokens if n in _batches(here) and (there is None or n in _batches(there))]
    if not wanted:
        raise LatencyError(
            f"no batch of {tokens[0]}..{tokens[-1]} tokens was measured: choose others with --tokens"
        )
    layer, context = profile.n_layers // 2, here.contexts[0]
    rows: list[dict[str, Any]] = []
    for n in wanted:
        seconds = here.layer(layer, n, context, profile.n_layers)
        cost = was.cost(shape).layer(n, context)
        carried = carrier.carry(seconds, cost, now.cost(shape).layer(n, context))
        row = {
            "n_tokens": n,
            "source_s": seconds,
            "predicted_s": carried.middle,
            "low_s": carried.low,
            "high_s": carried.high,
        }
        row["launch_bound"] = carrier.waits(seconds, cost)
        if there is not None:
            truth = there.layer(min(layer, there.n_layers - 1), n, context, there.n_layers)
            row |= {
                "measured_s": truth,
                "error": carried.middle / truth - 1,
                "covered": carried.low <= truth <= carried.high,
            }
        rows.append(row)
    return rows


def _batches(table: LatencyTable) -> set[int]:
    """The batches that layers were measured with."""
    return set(table.points.loc[table.points["kind"] == "layer", "n_tokens"])


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
    title = f"one decoder layer as it was measured, {result['from']} to {result['to']}{errors}"
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in ("tokens", "there, us", "predicted, us", "interval, us", "measured, us", "error"):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        seconds = [f"{row[key] * 1e6:.1f}" for key in ("source_s", "predicted_s")]
        interval = f"{row['low_s'] * 1e6:.1f} .. {row['high_s'] * 1e6:.1f}"
        told = (
            [
                f"{row['measured_s'] * 1e6:.1f}",
                f"{row['error']:+.1%}" + ("" if row["covered"] else " !"),
            ]
            if "error" in row
            else ["", ""]
        )
        table.add_row(
            f"{row['n_tokens']}{'*' if row['launch_bound'] else ''}", *seconds, interval, *told
        )
    notes = []
    if result["launch_bound"]:
        notes.append(
            f"* launch-bound: {result['from']} needs far less, so it was waiting for its host, and {result['to']} will wait as long"
        )
    if result["not_measured"]:
        notes.append(f"asked for and not measured: {_runs(result['not_measured'])}")
    table.caption = "\n".join(notes) or None
    return table


def _runs(numbers: Iterable[int]) -> str:
    """Rising numbers, as 3, 5..7."""
    parts = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}..{part[-1]}" for part in parts)
