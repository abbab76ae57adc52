"""``adadecode-device``: measure this device, and write it down for the hardware catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from adadecode.profiles.errors import DeviceError

if TYPE_CHECKING:
    from adadecode.engine.runtime.device_benchmark import Bench, BenchmarkDevice

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def device(
    name: Annotated[str, typer.Option(help="what to call it, like my-gpu")],
    out: Annotated[Path, typer.Option(help="file to write, like my-gpu.toml; none is overwritten")],
    *,
    on: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N")] = "auto",
    repeats: Annotated[int, typer.Option(help="of every benchmark, in turn")] = 7,
    threads: Annotated[
        int | None, typer.Option(help="of a CPU; as many as torch takes by default")
    ] = None,
    bandwidth: Annotated[float | None, typer.Option(help="datasheet, bytes/s, like 300e9")] = None,
    peak_fp32: Annotated[
        float | None, typer.Option(help="datasheet, FLOP/s without tensor cores")
    ] = None,
    peak_fp16: Annotated[
        float | None,
        typer.Option(help="datasheet, dense FLOP/s (never with sparsity), like 121e12"),
    ] = None,
    peak_bf16: Annotated[float | None, typer.Option(help="likewise")] = None,
    peak_fp8: Annotated[float | None, typer.Option(help="likewise")] = None,
    peak_int8: Annotated[float | None, typer.Option(help="likewise")] = None,
    tdp_w: Annotated[
        float | None,
        typer.Option(help="board power, watts; the driver's limit by default, where it tells"),
    ] = None,
    memory_gib: Annotated[
        float | None, typer.Option(help="capacity as marketed; as the driver tells it by default")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="its full name; as the driver tells it by default")
    ] = None,
    datasheet: Annotated[
        str | None,
        typer.Option(help="title and address of the datasheet that the figures are from"),
    ] = None,
    array_mib: Annotated[
        float | None,
        typer.Option(
            help="one array of the bandwidth benchmarks; far beyond the caches by default"
        ),
    ] = None,
    matrix: Annotated[
        str | None,
        typer.Option(help="rows of the matrices, like 4096,8192 (the default; on a CPU 1024,2048)"),
    ] = None,
) -> None:
    """Measure what this device sustains, and write it as an entry of the hardware catalogue."""
    # here, so that --help does not wait for torch, and its absence is said in one sentence
    from adadecode.engine.runtime.catalogue_entry import (
        DatasheetFigures,
        check_target,
        doubtful_peaks,
        entry,
        write_entry,
    )
    from adadecode.engine.runtime.device_benchmark import (
        MATRIX_SIZES,
        array_size,
        bandwidth_benches,
        find_device,
        matmul_benches,
        measure,
        usual_dtypes,
    )
    from adadecode.engine.runtime.environment import EnergyMeter, set_threads

    check_target(name, out)
    peaks = {
        "fp32": peak_fp32,
        "fp16": peak_fp16,
        "bf16": peak_bf16,
        "fp8": peak_fp8,
        "int8": peak_int8,
    }
    for option, value in (
        ("bandwidth", bandwidth),
        *peaks.items(),
        ("tdp-w", tdp_w),
        ("memory-gib", memory_gib),
        ("array-mib", array_mib),
    ):
        if value is not None and not 0 < value < float("inf"):
            raise DeviceError(f"wanted a finite number above 0 as the figure {option}, got {value}")
    if repeats < 1:
        raise DeviceError(f"wanted --repeats of at least 1, got {repeats}")
    if threads is not None:
        set_threads(threads)
    place = find_device(on)
    sizes = MATRIX_SIZES[place.device.type] if matrix is None else _sizes(matrix)
    console = Console(stderr=True)
    benches = bandwidth_benches(
        place, array_size(place, None if array_mib is None else max(4, round(array_mib * 2**20)))
    )
    for dtype in usual_dtypes(place):
        try:
            benches += matmul_benches(place, dtype, sizes)
        except RuntimeError as error:  # torch has no such matmul here, which is an answer
            console.print(
                f"{dtype} is left out: {str(error).splitlines()[0][:120]}", highlight=False
            )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(f"measuring {place.title}", total=repeats * len(benches))
        measure(place, benches, repeats, lambda: bar.advance(task))
    given = DatasheetFigures(
        bandwidth=bandwidth,
        peaks={dtype: value for dtype, value in peaks.items() if value is not None},
        watts=tdp_w or EnergyMeter(place.device).describe().get("power_limit_w"),
        memory_gib=memory_gib,
        title=title,
        datasheet=datasheet,
    )
    Console().print(rates_table(place, benches))
    for dtype in doubtful_peaks(benches, given):
        console.print(
            f"the {dtype} peak that was given is far above what was measured: if it is the one with sparsity, give the dense one"
        )
    write_entry(entry(name, place, benches, given), name, out)
    console.print(
        f"{out} written. Next: adadecode-sim memory MODEL --device {out}",
        highlight=False,
        soft_wrap=True,
    )


def rates_table(place: BenchmarkDevice, benches: Sequence[Bench]) -> Table:
    """What was measured, for people."""
    table = Table(
        "benchmark",
        "size",
        "unit",
        title=f"{place.title}: {len(benches[0].rates)} repeats in turn",
        title_justify="left",
    )
    for column in ("median", "lowest", "highest", "spread"):
        table.add_column(column, justify="right")
    for bench in benches:
        scale, prefix = (1e12, "T") if bench.median >= 1e12 else (1e9, "G")
        median, low, high = (
            f"{rate / scale:.4g}" for rate in (bench.median, min(bench.rates), max(bench.rates))
        )
        table.add_row(
            bench.name,
            bench.size,
            f"{prefix}{bench.unit}/s",
            median,
            low,
            high,
            f"{bench.spread:.1%}",
        )
    return table


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or any(n < 32 or n % 16 for n in sizes):
        raise DeviceError(
            f"wanted --matrix as multiples of 16 from 32 on with commas, like 1024,2048, got {text!r}: 8-bit matmuls need them"
        )
    return sizes
