"""What the engine's commands print for people: no figure is cut at any width."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console, RenderableType

from adadecode.engine.cli.demo import show_comparison
from adadecode.engine.cli.device import rates_table
from adadecode.engine.cli.tables import (
    baseline_tables,
    flip_tables,
    gates_table,
    metrics_table,
    summary_table,
)
from adadecode.engine.cli.training_estimate import catalogue_table
from adadecode.engine.heads.exit_heads import ExitHeads
from adadecode.engine.heads.gates import Gates
from adadecode.engine.loading.prompts import Prompt
from adadecode.engine.runtime.choices import Dtype
from adadecode.engine.training.options import TrainingOptions
from adadecode.profiles import Profile
from adadecode.sim.core.design import Design
from adadecode.sim.validation.tiers import validate
from tests.support.handmade import recorded_profile

WIDTHS = (40, 60, 80, 200)
DESIGNS = (
    Design.of("vanilla"),
    Design.of("adadecode", gamma=(0.85, 0.75, 0.65), placement=(2, 4, 6), cap=4),
)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """A recording of a design with a long name."""
    place = tmp_path_factory.mktemp("tables") / "p"
    return recorded_profile(place, designs=DESIGNS, manifest={"graphs": "eager"})


def text_of(tables: Iterable[RenderableType], width: int) -> str:
    """Return tables as a terminal of this many columns shows them."""
    shown = io.StringIO()
    Console(file=shown, width=width).print(*tables)
    return shown.getvalue()


def check(tables: Iterable[RenderableType], figures: Iterable[str]) -> None:
    """Fail where a figure is cut or a line too long, at any width."""
    made = list(tables)
    for width in WIDTHS:
        text = text_of(made, width)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= width
        if width >= 80:
            assert not [figure for figure in figures if figure not in text]


def test_what_a_recording_measured_is_whole(profile: Profile) -> None:
    check([summary_table(profile), *baseline_tables(profile)], ["1.00x", "vanilla"])
    rows = [line for line in text_of([summary_table(profile)], 80).splitlines() if "│" in line]
    numbers = [cell.strip() for cell in rows[1].split("│")[2:5]]  # milliseconds, tokens, speedup
    assert all(re.fullmatch(r"[\d.]+x?", number) for number in numbers), numbers


def test_what_the_demo_compares_is_whole(profile: Profile) -> None:
    comparison = validate(profile)
    for width in WIDTHS:
        shown = io.StringIO()
        show_comparison(Console(file=shown, width=width), profile, comparison)
        assert "…" not in shown.getvalue()


def test_what_training_measured_is_whole() -> None:
    """A head that is worse than none is told below the table."""
    row = {
        "kl_identity": 12.3456,
        "kl": 0.6543,
        "agreement_identity": 0.123,
        "agreement": 0.789,
        "positions": 4787,
    }
    rows = [{"depth": 12, **row}, {"depth": 24, **row, "kl": 13.5}]
    heads = cast("ExitHeads", SimpleNamespace(metrics=rows))
    check([metrics_table(heads)], ["12.3456", "0.6543", "13.5000", "12.3%", "78.9%"])
    assert "worse than T = I at depth 24: take more prompts" in text_of([metrics_table(heads)], 200)
    found = {"depth": 12, "good": 0.123, "auc": 0.891, "found_20": 0.5, "found_30": 0.6}
    gates = cast("Gates", SimpleNamespace(confidence=0.8, metrics=[found]))
    check([gates_table(gates)], ["12.3%", "0.891", "50%", "60%"])


def test_an_estimate_is_whole() -> None:
    prompts = [Prompt(text="hello there")]
    made = catalogue_table("llama-3.1-8b", "h100-sxm", Dtype.BFLOAT16, prompts, TrainingOptions())
    check([made], ["hidden states"])


def test_a_report_of_flips_is_whole() -> None:
    part = {"from": 0.0, "to": 0.125, "tokens": 123456, "flips": 1234}
    counts: dict[str, Any] = {"flips": 1234, "beyond": 12, "gaps": {"max": 0.123}, "tokens": 123456}
    rows = [
        {"design": one.label, "texts": 100, "equal_texts": 99, "by_margin": [part], **counts}
        for one in DESIGNS
    ]
    report: dict[str, Any] = {
        "model": "owner/a-model-with-a-long-name",
        "dtype": "bfloat16",
        "numerics": "native",
        "prompts": 100,
        "tolerance_nats": 0.125,
        "designs": rows,
        "batches": [{"rows": 2, "by_margin": [part], **counts}],
    }
    check(flip_tables(report), ["99 of 100", "1234", "0.123", "123456"])


def test_what_a_device_measured_is_whole() -> None:
    bench = SimpleNamespace(
        name="matrix products in BF16",
        size="8192 x 8192",
        unit="FLOP",
        median=1.234e14,
        rates=[1.2e14, 1.234e14, 1.25e14],
        spread=0.0412,
    )
    place = SimpleNamespace(title="a device with a name that is rather long")
    check(
        [rates_table(cast("Any", place), cast("Any", [bench]))],
        ["123.4", "120", "125", "4.1%", "TFLOP/s"],
    )
