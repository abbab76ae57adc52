"""``adadecode-device``: measure this device, and write it down for the hardware catalogue."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from adadecode.engine.cli.derived_options import takes_options
from adadecode.engine.cli.output_options import CatalogueEntryFile
from adadecode.engine.runtime.option_fields import Notation, check_counts, option
from adadecode.profiles.errors import DeviceError
from adadecode.sim.cli.interruption import InterruptibleCommand
from adadecode.sim.cli.plain_console import PlainConsole
from adadecode.sim.cli.progress import showing_stages
from adadecode.sim.cli.say import say
from adadecode.sim.cli.tables import layout
from adadecode.sim.cli.version import version_option

if TYPE_CHECKING:
    from adadecode.engine.runtime.device_benchmark import Bench, BenchmarkDevice

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

MEASURING, DATASHEET = "Measuring", "Figures of the datasheet"
PEAKS = ("fp32", "fp16", "bf16", "fp8", "int8")


def _matrix_sizes(flag: str, text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(word) for word in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or any(size < 32 or size % 16 for size in sizes):
        raise DeviceError(
            f"wanted {flag} as multiples of 16 from 32 on with commas, like 1024,2048, "
            f"got {text!r}: 8-bit matmuls need them"
        )
    return sizes


MATRIX = Notation(parse=_matrix_sizes, write=lambda sizes: ",".join(map(str, sizes)))


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What is measured, and what the datasheet says. Each field is an option of the command.

    Raises:
        DeviceError: A figure is not finite and above 0.
        InputError: A count is not a whole number of at least 1.
    """

    device: str = option("auto, cpu, cuda or cuda:N.", default="auto", panel=MEASURING)
    repeats: int = option("Rounds of all benchmarks.", default=7, panel=MEASURING)
    threads: int | None = option("Threads of a CPU.", shown="torch's own number", panel=MEASURING)
    array_mib: float | None = option(
        "Size of an array of the bandwidth benchmarks, in MiB.",
        shown="far beyond the caches",
        panel=MEASURING,
    )
    matrix: tuple[int, ...] | None = option(
        "Rows of the matrices, separated by commas.",
        shown="4096,8192; on a CPU 1024,2048",
        notation=MATRIX,
        panel=MEASURING,
    )
    bandwidth: float | None = option("Memory bandwidth in bytes/s, like 300e9.", panel=DATASHEET)
    peak_fp32: float | None = option("FLOP/s in FP32 without tensor cores.", panel=DATASHEET)
    peak_fp16: float | None = option(
        "Dense FLOP/s in FP16 (never with sparsity), like 121e12.", panel=DATASHEET
    )
    peak_bf16: float | None = option("Dense FLOP/s in BF16.", panel=DATASHEET)
    peak_fp8: float | None = option("Dense FLOP/s in FP8.", panel=DATASHEET)
    peak_int8: float | None = option("Dense operations/s in INT8.", panel=DATASHEET)
    tdp_w: float | None = option(
        "Board power in watts.",
        shown="the driver's limit, if it reports one",
        panel=DATASHEET,
    )
    memory_gib: float | None = option(
        "Capacity as marketed, in GiB.", shown="as the driver reports it", panel=DATASHEET
    )
    title: str | None = option(
        "The full name of the device.", shown="as the driver reports it", panel=DATASHEET
    )
    datasheet: str | None = option(
        "Title and address of the datasheet that the figures are from.", panel=DATASHEET
    )

    def __post_init__(self) -> None:
        for name in ("bandwidth", *(f"peak_{peak}" for peak in PEAKS)):
            self._check_figure(name, name.removeprefix("peak_"))
        for name in ("tdp_w", "memory_gib", "array_mib"):
            self._check_figure(name, name.replace("_", "-"))
        check_counts(self, "repeats", "threads")

    def _check_figure(self, field: str, label: str) -> None:
        value = getattr(self, field)
        if value is not None and not 0 < value < math.inf:
            raise DeviceError(f"wanted a finite number above 0 as the figure {label}, got {value}")

    def peaks(self) -> dict[str, float]:
        """Return the peaks of the datasheet by format, those that were not given missing."""
        given = {peak: getattr(self, f"peak_{peak}") for peak in PEAKS}
        return {peak: value for peak, value in given.items() if value is not None}


NameOption = Annotated[
    str, typer.Option("--name", help="The name of the entry, like my-gpu.", show_default=False)
]


@app.command(cls=InterruptibleCommand)
@takes_options
def device(
    *,
    name: NameOption,
    out: CatalogueEntryFile,
    _version: Annotated[bool, version_option("adadecode-device")] = False,
    options: BenchmarkOptions,
) -> None:
    """Measure what this device sustains, and write it as an entry of the hardware catalogue."""
    # Imported here, so that --help does not wait for torch.
    from adadecode.engine.runtime.catalogue_entry import (
        DatasheetFigures,
        check_target,
        doubtful_peaks,
        entry,
        reserved,
        scattered,
        write_entry,
    )
    from adadecode.engine.runtime.environment import EnergyMeter
    from adadecode.engine.runtime.timing_lock import timing_alone

    def notice(sentence: str) -> None:
        say(sentence, stderr=True)

    check_target(name, out)
    with reserved(out) as part:
        place, array_bytes = _place(options)
        with timing_alone(notice):
            benches = _measure(place, array_bytes, options, PlainConsole(stderr=True))
        figures = DatasheetFigures(
            bandwidth=options.bandwidth,
            peaks=options.peaks(),
            watts=options.tdp_w or EnergyMeter(place.device).describe().get("power_limit_w"),
            memory_gib=options.memory_gib,
            title=options.title,
            datasheet=options.datasheet,
        )
        PlainConsole().print(rates_table(place, benches))
        for dtype in doubtful_peaks(benches, figures):
            notice(
                f"the {dtype} peak that was given is far above what was measured: "
                "if it is the one with sparsity, give the dense one"
            )
        for bench in scattered(benches):
            notice(
                f"warning: {bench.name} of {bench.size} scattered by {bench.spread:.0%} over "
                f"{len(bench.rates)} repeats, so something else ran on {place.title}: what is "
                "carried from or to this entry gets intervals as wide; end other programs and "
                "measure it again"
            )
        write_entry(entry(name, place, benches, figures), name, part)
    say(f"{out} written. Next: adadecode-sim memory MODEL --device {out}", stderr=True)


def _place(options: BenchmarkOptions) -> tuple[BenchmarkDevice, int]:
    """Return the device and the bytes of an array there: what is refused is refused untimed."""
    from adadecode.engine.runtime.device_benchmark import array_size, find_device
    from adadecode.engine.runtime.environment import set_threads

    if options.threads is not None:
        set_threads(options.threads)
    place = find_device(options.device)
    wanted = None if options.array_mib is None else max(4, round(options.array_mib * 2**20))
    return place, array_size(place, wanted)


def _measure(
    place: BenchmarkDevice, array_bytes: int, options: BenchmarkOptions, console: Console
) -> list[Bench]:
    """Run all benchmarks that this device has."""
    from adadecode.engine.runtime.device_benchmark import (
        MATRIX_SIZES,
        bandwidth_benches,
        matmul_benches,
        measure,
        usual_dtypes,
    )

    sizes = options.matrix or MATRIX_SIZES[place.device.type]
    benches = bandwidth_benches(place, array_bytes)
    for dtype in usual_dtypes(place):
        try:
            benches += matmul_benches(place, dtype, sizes)
        except RuntimeError as error:  # torch has no such matmul here, which is an answer
            reason = str(error).splitlines()[0][:120]
            console.print(f"{dtype} is left out: {reason}", highlight=False)
    done, count = 0, options.repeats * len(benches)
    with showing_stages(console) as show:

        def tick() -> None:
            nonlocal done
            done += 1
            show(f"measuring {place.title}", done, count)

        measure(place, benches, options.repeats, tick)
    return benches


def rates_table(place: BenchmarkDevice, benches: Sequence[Bench]) -> Table:
    """Return a table of what was measured, for a terminal."""
    columns = ("benchmark", "size", "unit", "median", "lowest", "highest", "spread")
    table = layout.table(*columns, texts=("size", "unit"))
    table.title = f"{place.title}: {len(benches[0].rates)} repeats in turn"
    table.title_justify = "left"
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
