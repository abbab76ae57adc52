"""Options about latencies that were measured kernel by kernel, under production engines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from adadecode.sim.cli.options.catalogue import DEVICE_NAMES, MODEL_NAMES, device, model
from adadecode.sim.cli.options.checks import FILLED, Check, at_least

MOST_DEVICES = 1024
"""More devices than share a layer anywhere."""


@dataclass(frozen=True, kw_only=True)
class KernelTableOptions:
    """Which kernel tables are put together for which model."""

    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="MODEL",
            help=f"The model to put together: {MODEL_NAMES}.",
            show_default=False,
        ),
        Check(model),
    ]
    system: Annotated[
        str,
        typer.Option(
            "--system",
            metavar="SYSTEM",
            help="The system, as the tables call it, such as h200_sxm.",
            show_default=False,
        ),
        FILLED,
    ]
    backend: Annotated[
        str,
        typer.Option("--backend", metavar="ENGINE", help="The engine that was measured."),
        FILLED,
    ] = "vllm"
    version: Annotated[
        str | None,
        typer.Option(
            "--version",
            metavar="VERSION",
            help="The engine's version; by default the newest that was measured.",
            show_default=False,
        ),
    ] = None
    quant: Annotated[
        str,
        typer.Option(
            "--quant",
            metavar="FORMAT",
            help="Number format of the layers' products: bf16, fp8 or fp8_block.",
        ),
        FILLED,
    ] = "bf16"
    cache: Annotated[
        str,
        typer.Option(
            "--kv-dtype",
            metavar="FORMAT",
            help="Number format of keys and values in attention: bf16 or fp8.",
        ),
        FILLED,
    ] = "bf16"
    n_devices: Annotated[
        int,
        typer.Option(
            "--tp",
            metavar="N",
            help="How many devices share every layer (tensor parallel). More than one need tables "
            "of what devices exchange: custom_allreduce_perf.parquet in SYSTEM/comm/ENGINE/VERSION "
            "and nccl_perf.parquet in SYSTEM/comm/nccl/VERSION.",
        ),
        at_least(1, MOST_DEVICES),
    ] = 1
    tables: Annotated[
        str | None,
        typer.Option(
            "--tables",
            metavar="DIRECTORY",
            help="A folder of tables, SYSTEM/gemm/ENGINE/VERSION/gemm_perf.parquet and so on. By "
            "default those of the installed package aiconfigurator-core.",
            show_default=False,
        ),
        FILLED,
    ] = None
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="DEVICE",
            help=f"The device of the system, where its name does not tell: {DEVICE_NAMES}.",
            show_default=False,
        ),
        Check(device),
    ] = None


ServingSimFolder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="LLMServingSim's profile of one model on one GPU: the folder of dense.csv.",
        show_default=False,
    ),
]

ServedModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help=f"The model that was timed, where the folder names none that is known: {MODEL_NAMES}.",
        show_default=False,
    ),
    Check(model),
]

ServedDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="The GPU that it was timed on, where the folder names none that is known: "
        f"{DEVICE_NAMES}.",
        show_default=False,
    ),
    Check(device),
]
