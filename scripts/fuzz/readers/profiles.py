"""Profiles: a part of the committed recording, small enough to be read hundreds of times."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scripts.fuzz.reader import Reader, command
from scripts.fuzz.seals import seal_profile

PROMPTS = (0, 12)
"""Two short texts of other domains."""

DESIGNS = ("vanilla", "adadecode 3 gamma 0.5", "adadecode 7 gamma 0.5", "adadecode 3/7 gamma 0.5")
REPEATS = 3
SAMPLES = 2
"""Of a latency point."""


def build() -> None:
    """Write the folder ``profile``: two prompts, four designs and three repeats of a recording."""
    import adadecode.profiles

    whole = Path(adadecode.profiles.__file__).parent / "recorded" / "demo-cpu"
    out = Path("profile")
    out.mkdir()
    manifest = json.loads((whole / "manifest.json").read_text())
    for name in manifest["tables"]:
        table = _part(name, pq.ParquetFile(whole / f"{name}.parquet").read(use_threads=False))
        pq.write_table(table, out / f"{name}.parquet", compression="zstd")
    _describe(manifest)
    (out / "manifest.json").write_text(json.dumps(manifest))
    seal_profile()


def _part(name: str, table: pa.Table) -> pa.Table:
    """Return the rows of the prompts, designs and repeats that are kept."""
    if name == "latency":
        return _thinned(table)
    table = table.filter(pc.is_in(table["prompt"], pa.array(PROMPTS, pa.int32())))
    if "policy" in table.column_names:
        columns = [name for name in _LABELLED if name in table.column_names]
        kept = [_label(row) in DESIGNS for row in table.select(columns).to_pylist()]
        table = table.filter(pa.array(kept, pa.bool_()))
    if "repeat" in table.column_names:
        table = table.filter(pc.less(table["repeat"], REPEATS))
    return _renumbered(table)


def _thinned(table: pa.Table) -> pa.Table:
    """Return few samples of each point of a table of latencies."""
    points = table.select(["kind", "layer", "n_tokens", "context", "reuse"])
    seen: Counter[tuple[Any, ...]] = Counter()
    kept = []
    for point in zip(*(column.to_pylist() for column in points.columns), strict=True):
        seen[point] += 1
        kept.append(seen[point] <= SAMPLES)
    return table.filter(pa.array(kept, pa.bool_()))


_LABELLED = ["policy", "placement", "gammas", "gates"]


def _label(row: dict[str, Any]) -> str:
    if row["policy"] == "vanilla":
        return "vanilla"
    depths = "/".join(map(str, row["placement"]))
    gamma = f" gamma {row['gammas'][0]:g}" if row["gammas"] else ""
    gate = f" gate {row['gates'][0]:g}" if row.get("gates") else ""
    return f"{row['policy']} {depths}{gamma}{gate}"


def _renumbered(table: pa.Table) -> pa.Table:
    """Return the table with its prompts counted from 0 on."""
    index = table.column_names.index("prompt")
    numbers = [PROMPTS.index(prompt) for prompt in table["prompt"].to_pylist()]
    field = table.schema.field(index)
    return table.set_column(index, field, pa.array(numbers, field.type))


def _describe(manifest: dict[str, Any]) -> None:
    """Let a manifest promise what is kept, and no more."""
    prompts = pq.read_table("profile/prompts.parquet")
    rows = pq.ParquetFile("profile/latency.parquet").metadata.num_rows
    manifest["prompts"] |= {"count": 2, "domains": sorted(set(prompts["domain"].to_pylist()))}
    manifest["latency_samples"] = rows
    # An accelerator's, so that its times are carried to others.
    manifest["hardware"]["before"]["device"] = "cuda"
    manifest["settings"] |= {
        "designs": list(DESIGNS),
        "gammas": "0.5",
        "fixed_drafts": 0,
        "limit": 1,
        "n_prompts": 2,
        "repeats": REPEATS,
    }


_DESIGN = ("--gamma", "0.5", "--heads", "3,7")

PROFILE = Reader(
    name="profile",
    build=build,
    seal=seal_profile,
    actions={
        "predict": command("predict", "profile", *_DESIGN, "--json"),
        "validate": command("validate", "profile", "--json"),
        "validate in words": command("validate", "profile"),
        "account": command("account", "profile", *_DESIGN, "--json"),
        "timeline": command(
            "timeline",
            "profile",
            *(*_DESIGN, "--out", "trace.json", "--svg", "trace.svg"),
            outputs=("trace.json", "trace.svg"),
        ),
        "transfer": command("transfer", "profile", "--to", "l4", "--from", "t4", "--json"),
    },
)

REPORTED = Reader(
    name="profile, reported",
    build=build,
    seal=seal_profile,
    actions={
        "report": command(
            "report",
            "profile",
            *("--out", "page.html", "--markdown", "page.md", "--csv", "csv"),
            outputs=("page.html", "page.md", "csv/*.csv"),
        ),
        "limits": command("limits", "profile", *_DESIGN, "--json"),
        "sweep": command(
            "sweep",
            "profile",
            *("--gammas", "0.5", "--heads", "3,7", "--caps", "3", "--threads", "1"),
            *("--out", "out", "--json"),
        ),
    },
)
"""The same files, and what takes longer to be done with them."""
